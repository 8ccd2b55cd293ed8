"""`BenchTable` to a report: nccl-tests' table per collective, or one column per set of routes side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from fabctl.model.predictions import BenchTable, Bound, Prediction, Row
from fabctl.report.output import Column, Report, Table, rounded, short_names

TYPE = "float"

MAIN = (
    Column("collective", "collective"),
    Column("routes", "routes"),
    Column("size_bytes", "size(B)", right=True),
    Column("count", "count", right=True),
    Column("type", "type"),
    Column("redop", "redop"),
    Column("root", "root", right=True),
    Column("time_us", "time(us)", right=True, digits=2),
    Column("algbw_gb_s", "algbw(GB/s)", right=True, digits=2),
    Column("busbw_gb_s", "busbw(GB/s)", right=True, digits=2),
    Column("latency_us", "latency(us)", right=True, digits=2, wide=True),
    Column("protocol", "proto"),
    Column("bound", "bound by", wide=True),
    Column("bound_flows", "flows", right=True, wide=True),
)
BOUNDS = (
    Column("routes", "routes"),
    Column("mean", "avg busbw", right=True, digits=2),
    Column("peak", "peak busbw", right=True, digits=2),
    Column("share", "of hosts' cables", right=True),
    Column("bound", "bounded by"),
    Column("rate", "rate", right=True),
    Column("flows", "flows", right=True),
)


def bench_report(
    table: BenchTable, *, inputs: Sequence[Mapping[str, Any]] = (), remarks: Sequence[str] = (), warnings: Sequence[str] = ()
) -> Report:
    """Return predictions as a report.

    Parameters
    ----------
    inputs : sequence of dict
        ``path``, ``sha256`` and ``parser`` of each input.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    """
    short = short_names(table.routes)
    named = [replace(prediction, routes=short[prediction.routes]) for prediction in table.predictions]
    by_collective = [list(group) for _, group in groupby(named, key=lambda prediction: prediction.collective)]
    text: list[str | Table] = [
        f"Job     {table.n_hosts} hosts x {table.ranks_per_host} ranks = {table.n_ranks} ranks: {_cut(table.hosts)}",
        f"HCAs    {len(table.rails)} per host, rails {','.join(str(rail) for rail in table.rails)}",
        f"Routes  {', '.join(table.routes)}",
        *(f"        {remark}" for remark in remarks),
    ]
    for predictions in by_collective:
        text += _single(predictions[0]) if len(predictions) == 1 else _side_by_side(predictions)
    text += ["\nAssumptions", *(f"  {line}" for line in table.assumptions)]
    if table.notes:
        text += ["\nNotes", *(f"  {line}" for line in table.notes)]
    return Report(
        kind="BenchTable",
        data=_data(table),
        text=text,
        main=Table("", MAIN, [_main_row(prediction, row) for prediction in table.predictions for row in prediction.rows]),
        inputs=inputs,
        warnings=warnings,
    )


def _single(prediction: Prediction) -> Iterator[str | Table]:
    columns = tuple(column for column in MAIN if column.key not in ("collective", "routes"))
    rows = [{**_main_row(prediction, row), "time_us": _time(row.time_us)} for row in prediction.rows]
    yield Table(f"{prediction.collective} ({prediction.algorithm}), {prediction.routes}", columns, rows)
    yield (
        f"Avg bus bandwidth {prediction.mean_busbw_gb_s:.2f} GB/s; large messages reach {prediction.peak_busbw_gb_s:.2f} GB/s, "
        f"{_share(prediction)} of what the hosts' own cables allow"
    )
    yield f"Bounded by {_bound(prediction.bound)}"


def _side_by_side(predictions: Sequence[Prediction]) -> Iterator[str | Table]:
    first = predictions[0]
    columns = [Column("size_bytes", "size(B)", right=True), Column("count", "count", right=True)]
    for index, prediction in enumerate(predictions):
        columns.append(Column(f"time_{index}", f"{prediction.routes} time(us)", right=True))
        columns.append(Column(f"busbw_{index}", "busbw(GB/s)", right=True, digits=2))
    rows = []
    for lines in zip(*(prediction.rows for prediction in predictions), strict=True):
        cells: dict[str, Any] = {"size_bytes": lines[0].size_bytes, "count": lines[0].count}
        for index, line in enumerate(lines):
            cells |= {f"time_{index}": _time(line.time_us), f"busbw_{index}": line.busbw_gb_s}
        rows.append(cells)
    yield Table(f"{first.collective} ({first.algorithm}), {TYPE}, redop {first.redop}, root {first.root}", tuple(columns), rows)
    yield Table(
        f"{first.collective}: what bounds large messages (GB/s)",
        BOUNDS,
        [
            {
                "routes": prediction.routes,
                "mean": prediction.mean_busbw_gb_s,
                "peak": prediction.peak_busbw_gb_s,
                "share": _share(prediction),
                "bound": prediction.bound.label,
                "rate": f"{prediction.bound.data_gbps:.0f} Gb/s",
                "flows": prediction.bound.flows,
            }
            for prediction in predictions
        ],
    )


def _main_row(prediction: Prediction, row: Row) -> dict[str, Any]:
    return {
        "collective": prediction.collective,
        "routes": prediction.routes,
        "size_bytes": row.size_bytes,
        "count": row.count,
        "type": TYPE,
        "redop": prediction.redop,
        "root": prediction.root,
        "time_us": rounded(row.time_us),
        "algbw_gb_s": rounded(row.algbw_gb_s),
        "busbw_gb_s": rounded(row.busbw_gb_s),
        "latency_us": rounded(row.latency_us),
        "protocol": row.protocol,
        "bound": prediction.bound.label,
        "bound_flows": prediction.bound.flows,
    }


def _data(table: BenchTable) -> dict[str, Any]:
    return {
        "job": {
            "hosts": table.hosts,
            "n_hosts": table.n_hosts,
            "ranks_per_host": table.ranks_per_host,
            "n_ranks": table.n_ranks,
            "rails": list(table.rails),
        },
        "routes": list(table.routes),
        "assumptions": list(table.assumptions),
        "notes": list(table.notes),
        "predictions": [
            {
                "collective": prediction.collective,
                "algorithm": prediction.algorithm,
                "routes": prediction.routes,
                "type": TYPE,
                "redop": prediction.redop,
                "root": prediction.root,
                "mean_busbw_gb_s": rounded(prediction.mean_busbw_gb_s),
                "peak_busbw_gb_s": rounded(prediction.peak_busbw_gb_s),
                "host_busbw_gb_s": rounded(prediction.host_busbw_gb_s),
                "bound": _bound_data(prediction.bound),
                "rows": [
                    {
                        "size_bytes": row.size_bytes,
                        "count": row.count,
                        "time_us": rounded(row.time_us),
                        "latency_us": rounded(row.latency_us),
                        "algbw_gb_s": rounded(row.algbw_gb_s),
                        "busbw_gb_s": rounded(row.busbw_gb_s),
                        "protocol": row.protocol,
                    }
                    for row in prediction.rows
                ],
            }
            for prediction in table.predictions
        ],
    }


def _bound_data(bound: Bound) -> dict[str, Any]:
    return {
        "source": {"node": bound.source[0], "port": bound.source[1]},
        "target": {"node": bound.target[0], "port": bound.target[1]},
        "speed": bound.speed,
        "data_gbps": rounded(bound.data_gbps),
        "flows": bound.flows,
        "at_host": bound.at_host,
        "equals": bound.equals,
    }


def _bound(bound: Bound) -> str:
    flows = f"{bound.flows} flow{'s' if bound.flows != 1 else ''}"
    others = f"; {bound.equals} directed cables are as slow" if bound.equals > 1 else ""
    return f"{bound.label} ({bound.speed}, {bound.data_gbps:.0f} Gb/s, {flows}){others}"


def _share(prediction: Prediction) -> str:
    return f"{prediction.peak_busbw_gb_s / prediction.host_busbw_gb_s:.1%}"


def _time(time_us: float) -> str:
    """Return a time with nccl-tests' decimals: two below 100 us, one below 10 ms, none above."""
    return f"{time_us:.{0 if time_us >= 10000 else 1 if time_us >= 100 else 2}f}"


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
