"""A sweep's points to a report and a chart: what large messages reach as the job grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fabctl.model.chart import Chart, Panel, Series
from fabctl.model.sweep import SweepPoint
from fabctl.report.bench_words import entry, limit_words, size_words, unknown_hosts
from fabctl.report.output import Column, Report, Table, counted, rounded, short_names

MAIN = (
    Column("routes", "ROUTES"),
    Column("offloads", "OFFLOADS"),
    Column("collective", "COLLECTIVE"),
    Column("n_hosts", "HOSTS", right=True),
    Column("n_ranks", "RANKS", right=True),
    Column("size_bytes", "SIZE(B)", right=True),
    Column("time_us", "TIME(us)", right=True, digits=1),
    Column("busbw_gb_s", "BUSBW(GB/s)", right=True, digits=2),
    Column("algorithm", "ALGO"),
    Column("binds", "BOUND BY"),
)
REFUSED = "-"
WIDTH = 9
"""Of the labels in the head."""


def sweep_report(
    points: Sequence[SweepPoint],
    results: str,
    computed: int,
    kept: int,
    *,
    node: str = "",
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    fitting: Sequence[str] = (),
) -> Report:
    """Return the largest message of each collective, scale, offload set and set of routes.

    Parameters
    ----------
    results : str
        File with all points.
    computed, kept : int
        Units that this run predicted, and those that were in the file already.
    node : str
        What the hosts are; empty: unknown.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    fitting : sequence of str
        Node types whose HCAs fit hosts that are unknown.
    """
    short = short_names(list(dict.fromkeys(point.routes for point in points)))
    rows = [_row(point, short) for point in largest(points)]
    refused = [point for point in points if point.refusal]
    done = (
        f"{counted(len(points) - len(refused), 'prediction')} in {results}",
        f"{counted(computed + kept, 'set')} of routes, hosts and offloads: {computed} predicted now, {kept} there before",
    )
    text: list[str | Table] = [
        *entry("Results", *done, width=WIDTH),
        *entry("Hosts", *([node] if node else unknown_hosts(fitting)), width=WIDTH),
        *entry("Routes", ", ".join(short.values()), *remarks, width=WIDTH),
        Table("The largest message of each", MAIN, rows),
    ]
    if refused:
        reasons = dict.fromkeys(f"{point.offloads}, {point.n_hosts} hosts: {point.refusal}" for point in refused)
        text += ["\nRefused", *(f"  {reason}" for reason in reasons)]
    text.append("\nWhat a prediction assumes, fabctl bench prints: with the same SOURCE, --job, --node and routes")
    return Report(
        kind="BenchSweep",
        data={"results": results, "computed": computed, "kept": kept, "largest": [_data(point) for point in largest(points)]},
        text=text,
        main=Table("", MAIN, rows),
        inputs=inputs,
    )


def sweep_chart(points: Sequence[SweepPoint]) -> Chart:
    """Return busbw of the largest message against hosts: a panel for each collective, a curve for each routes and offloads."""
    found = [point for point in largest(points) if not point.refusal]
    short = short_names(list(dict.fromkeys(point.routes for point in points)))
    panels = [
        Panel(f"{collective}, {size_words(size)}", _curves([one for one in found if one.collective == collective], short))
        for collective, size in {point.collective: point.size_bytes for point in found}.items()
    ]
    scales = sorted({point.n_hosts for point in found})
    ticks = tuple((float(scale), str(scale)) for scale in scales)
    return Chart("Predicted bus bandwidth of large messages", "hosts", "busbw (GB/s)", tuple(panels), ticks)


def largest(points: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Return the point with the largest message of each unit and collective, in the order of the sweep."""
    found: dict[tuple[object, str], SweepPoint] = {}
    for point in points:
        key = point.unit, point.collective
        if key not in found or point.size_bytes > found[key].size_bytes:
            found[key] = point
    return list(found.values())


def _curves(points: Sequence[SweepPoint], short: Mapping[str, str]) -> tuple[Series, ...]:
    by_name: dict[str, list[SweepPoint]] = {}
    for point in sorted(points, key=lambda point: point.n_hosts):
        by_name.setdefault(f"{short[point.routes]}, {point.offloads}", []).append(point)
    return tuple(
        Series(name, tuple(float(point.n_hosts) for point in curve), tuple(point.busbw_gb_s for point in curve))
        for name, curve in by_name.items()
    )


def _row(point: SweepPoint, short: Mapping[str, str]) -> dict[str, Any]:
    row = _data(point) | {"routes": short[point.routes], "binds": limit_words(point.binds, point.binds_at) if point.binds else ""}
    if point.refusal:
        row |= dict.fromkeys(("collective", "size_bytes", "time_us", "busbw_gb_s", "algorithm"), REFUSED) | {"binds": "refused"}
    return row


def _data(point: SweepPoint) -> dict[str, Any]:
    return {
        "routes": point.routes,
        "offloads": point.offloads,
        "collective": point.collective,
        "n_hosts": point.n_hosts,
        "n_ranks": point.n_ranks,
        "size_bytes": point.size_bytes,
        "time_us": rounded(point.time_us),
        "busbw_gb_s": rounded(point.busbw_gb_s),
        "algorithm": point.algorithm,
        "binds": point.binds,
        "binds_at": point.binds_at,
        "refusal": point.refusal,
    }
