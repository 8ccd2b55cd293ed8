"""`BenchTable` to a report: nccl-tests' table per collective, or one column per set of routes side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from fabctl.model.predictions import BenchTable, Bound, Limit, Prediction, Row, Way
from fabctl.report.bench_words import KINDS, closing, counting_on, entry, job_words, limit_words, time_words, unknown_hosts
from fabctl.report.output import Column, Report, Table, rounded, short_names

TYPE = "float"
NEXT = 2
"""Limits to show beside the one that binds."""

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
    Column("algorithm", "algo"),
    Column("protocol", "proto"),
    Column("binds", "binds"),
    Column("binds_at", "at", wide=True),
    Column("bound", "slowest cable", wide=True),
    Column("bound_flows", "flows", right=True, wide=True),
)
BOUNDS = (
    Column("routes", "routes"),
    Column("mean", "avg busbw", right=True, digits=2),
    Column("peak", "peak busbw", right=True, digits=2),
    Column("share", "of hosts' cables", right=True),
    Column("binds", "bound by"),
    Column("bound", "slowest cable"),
    Column("rate", "rate", right=True),
    Column("flows", "flows", right=True),
)
WAYS = (
    Column("algorithm", "algo"),
    Column("protocol", "proto"),
    Column("peak", "busbw(GB/s)", right=True, digits=2),
    Column("binds", "bound by"),
    Column("next", "what would bind next"),
)


def bench_report(
    table: BenchTable,
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    warnings: Sequence[str] = (),
    fitting: Sequence[str] = (),
) -> Report:
    """Return predictions as a report.

    Parameters
    ----------
    inputs : sequence of dict
        ``path``, ``sha256`` and ``parser`` of each input.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    fitting : sequence of str
        Node types whose HCAs fit hosts that are unknown.
    """
    short = {"": "", **short_names(table.routes)}
    named = [replace(prediction, routes=short[prediction.routes]) for prediction in table.predictions]
    by_collective = [list(group) for _, group in groupby(named, key=lambda prediction: prediction.collective)]
    text: list[str | Table] = [*_head(table, remarks, fitting)]
    for predictions in by_collective:
        text += _single(predictions[0], table) if len(predictions) == 1 else _side_by_side(predictions)
        text += [f"Faster{_on(prediction)}: {line}" for prediction in predictions for line in prediction.advice]
    text += closing(table.assumptions, table.notes)
    return Report(
        kind="BenchTable",
        data=_data(table),
        text=text,
        main=Table("", MAIN, [_main_row(prediction, row) for prediction in table.predictions for row in prediction.rows]),
        inputs=inputs,
        warnings=warnings,
    )


def _head(table: BenchTable, remarks: Sequence[str], fitting: Sequence[str]) -> Iterator[str]:
    if table.n_hosts == 1:
        yield from entry("Job", f"{table.n_ranks} GPUs of one host")
    else:
        yield from entry("Job", job_words(table.hosts, table.n_hosts, table.ranks_per_host))
    if table.node:
        yield from entry("Hosts", f"{table.node}, {counting_on(table.offloads)}")
    else:
        yield from entry("Hosts", *unknown_hosts(fitting), *([counting_on(table.offloads)] if table.offloads else []))
    if table.routes:
        yield from entry("HCAs", f"{len(table.rails)} per host, rails {','.join(str(rail) for rail in table.rails)}")
        yield from entry("Routes", ", ".join(table.routes), *remarks)


def _single(prediction: Prediction, table: BenchTable) -> Iterator[str | Table]:
    columns = tuple(column for column in MAIN if column.key not in ("collective", "routes"))
    rows = [
        {**_main_row(prediction, row), "time_us": time_words(row.time_us), "binds": KINDS[row.binds]} for row in prediction.rows
    ]
    yield Table(_title(prediction), columns, rows)
    reach = f"Avg bus bandwidth {prediction.mean_busbw_gb_s:.2f} GB/s; large messages reach {prediction.peak_busbw_gb_s:.2f} GB/s"
    yield f"{reach}, {_share(prediction)} of what the hosts' own cables allow" if prediction.bound else reach
    if table.node:
        yield Table("", WAYS, [_way_row(way) for way in prediction.ways])
    if prediction.bound:
        yield f"{'Slowest cable' if table.node else 'Bounded by'} {_bound(prediction.bound)}"


def _title(prediction: Prediction) -> str:
    by = f" ({prediction.algorithm})" if len(prediction.ways) == 1 else ""
    return f"{prediction.collective}{by}{', ' if prediction.routes else ''}{prediction.routes}"


def _on(prediction: Prediction) -> str:
    return f" on {prediction.routes}" if prediction.routes else ""


def _way_row(way: Way) -> dict[str, Any]:
    """Return what bounds large messages with an algorithm, and the next limits as busbw."""
    first, factor = way.limits[0], way.peak_busbw_gb_s / way.limits[0].algbw_gb_s
    others = [f"{_limit(limit)} {limit.algbw_gb_s * factor:.2f}" for limit in way.limits[1 : NEXT + 1]]
    return {
        "algorithm": way.algorithm,
        "protocol": way.protocol,
        "peak": way.peak_busbw_gb_s,
        "binds": _limit(first),
        "next": "; ".join(others),
    }


def _limit(limit: Limit) -> str:
    return limit_words(limit.kind, limit.name)


def _side_by_side(predictions: Sequence[Prediction]) -> Iterator[str | Table]:
    first = predictions[0]
    columns = [Column("size_bytes", "size(B)", right=True), Column("count", "count", right=True), Column("algorithm", "algo")]
    for index, prediction in enumerate(predictions):
        columns.append(Column(f"time_{index}", f"{prediction.routes} time(us)", right=True))
        columns.append(Column(f"busbw_{index}", "busbw(GB/s)", right=True, digits=2))
    rows = []
    for lines in zip(*(prediction.rows for prediction in predictions), strict=True):
        cells: dict[str, Any] = {"size_bytes": lines[0].size_bytes, "count": lines[0].count, "algorithm": lines[0].algorithm}
        for index, line in enumerate(lines):
            cells |= {f"time_{index}": time_words(line.time_us), f"busbw_{index}": line.busbw_gb_s}
        rows.append(cells)
    algorithms = ", ".join(dict.fromkeys(prediction.algorithm for prediction in predictions))
    yield Table(f"{first.collective} ({algorithms}), {TYPE}, redop {first.redop}, root {first.root}", tuple(columns), rows)
    yield Table(
        f"{first.collective}: what bounds large messages (GB/s)",
        BOUNDS,
        [
            {
                "routes": prediction.routes,
                "mean": prediction.mean_busbw_gb_s,
                "peak": prediction.peak_busbw_gb_s,
                "share": _share(prediction),
                "binds": _binding(prediction),
                "bound": prediction.bound.label,
                "rate": f"{prediction.bound.data_gbps:.0f} Gb/s",
                "flows": prediction.bound.flows,
            }
            for prediction in predictions
            if prediction.bound
        ],
    )


def _binding(prediction: Prediction) -> str:
    """Return what bounds an endless message; the cable has its own column."""
    way = next(way for way in prediction.ways if way.peak_busbw_gb_s == prediction.peak_busbw_gb_s)
    return KINDS["cable"] if way.limits[0].kind == "cable" else _limit(way.limits[0])


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
        "algorithm": row.algorithm,
        "protocol": row.protocol,
        "binds": row.binds,
        "binds_at": row.binds_at,
        "bound": prediction.bound.label if prediction.bound else "",
        "bound_flows": prediction.bound.flows if prediction.bound else 0,
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
        "node": table.node,
        "offloads": list(table.offloads),
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
                "bound": _bound_data(prediction.bound) if prediction.bound else None,
                "ways": [_way_data(way) for way in prediction.ways],
                "advice": list(prediction.advice),
                "rows": [
                    {
                        "size_bytes": row.size_bytes,
                        "count": row.count,
                        "time_us": rounded(row.time_us),
                        "latency_us": rounded(row.latency_us),
                        "algbw_gb_s": rounded(row.algbw_gb_s),
                        "busbw_gb_s": rounded(row.busbw_gb_s),
                        "algorithm": row.algorithm,
                        "protocol": row.protocol,
                        "binds": row.binds,
                        "binds_at": row.binds_at,
                    }
                    for row in prediction.rows
                ],
            }
            for prediction in table.predictions
        ],
    }


def _way_data(way: Way) -> dict[str, Any]:
    return {
        "algorithm": way.algorithm,
        "protocol": way.protocol,
        "peak_busbw_gb_s": rounded(way.peak_busbw_gb_s),
        "limits": [{"kind": limit.kind, "name": limit.name, "algbw_gb_s": rounded(limit.algbw_gb_s)} for limit in way.limits],
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
