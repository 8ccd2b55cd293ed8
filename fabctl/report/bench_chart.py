"""`BenchTable` to a chart: busbw against the size of messages, a panel for each collective, a curve for each set of routes."""

from __future__ import annotations

from itertools import groupby

from fabctl.model.chart import Chart, Panel, Series
from fabctl.model.predictions import BenchTable, Prediction
from fabctl.report.output import short_names
from fabctl.units import size_text

MOST_MARKS = 9


def bench_chart(table: BenchTable) -> Chart:
    """Return predicted busbw against size.

    The dashed line is what the hosts' own cables allow: where curves end below it, the fabric or the hosts' insides bound.
    """
    short = short_names(table.routes)
    groups = [list(group) for _, group in groupby(table.predictions, key=lambda prediction: prediction.collective)]
    sizes = [row.size_bytes for prediction in table.predictions for row in prediction.rows]
    ranks = f"{table.n_hosts} hosts x {table.ranks_per_host} ranks"
    return Chart(
        title=f"Predicted bus bandwidth: {ranks}",
        x_title="message size (bytes)",
        y_title="busbw (GB/s)",
        panels=tuple(_panel(group, short) for group in groups),
        x_ticks=tuple((float(size), size_text(size)) for size in _marks(min(sizes), max(sizes))),
        lines=(f"routes: {', '.join(table.routes)}", *table.assumptions),
    )


def _panel(predictions: list[Prediction], short: dict[str, str]) -> Panel:
    curves = [
        Series(
            name=short[prediction.routes],
            x=tuple(float(row.size_bytes) for row in prediction.rows),
            y=tuple(row.busbw_gb_s for row in prediction.rows),
        )
        for prediction in predictions
    ]
    first = predictions[0]
    ends = (curves[0].x[0], curves[0].x[-1])
    allowed = Series("hosts' cables", ends, (first.host_busbw_gb_s,) * 2, dashed=True)
    return Panel(first.collective, (*curves, allowed))


def _marks(least: int, most: int) -> list[int]:
    """Return powers of two that mark an axis, evenly."""
    bits = range(least.bit_length() - 1, most.bit_length() + 1)
    return [1 << bit for bit in bits[:: -(-len(bits) // MOST_MARKS)]]
