"""What ``fabctl route compare`` prints: one row per engine, and the bound under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fabctl.model.comparison import Bound, Comparison, Contender
from fabctl.report.output import Column, Report, Table

_COLUMNS = (
    Column("engine", "ENGINE"),
    Column("routing_cpu_s", "CPU S", right=True),
    Column("vls", "VLS", right=True),
    Column("alltoall_fraction", "ALL-TO-ALL", right=True),
    Column("worst_shift_load", "WORST SHIFT", right=True),
    Column("mean_shift_load", "MEAN", right=True, digits=2, wide=True),
    Column("ebb_fraction", "EBB", right=True, digits=4),
    Column("ebb_ci99", "+-", right=True, digits=4),
    Column("verdict", "CREDIT LOOPS"),
)
ANY = "any routing"
"""Name of the bound's row."""


def compare_report(comparison: Comparison, *, inputs: Sequence[Mapping[str, Any]], times: bool) -> Report:
    """Return the report of a comparison.

    Parameters
    ----------
    times : bool
        Whether to show CPU times, which differ from run to run.
    """
    rows = [_row(contender, times) for contender in comparison.contenders]
    bound = {"engine": ANY, "alltoall_fraction": comparison.bound.fraction, "verdict": "at most, multipath included"}
    columns = tuple(column for column in _COLUMNS if times or column.key != "routing_cpu_s")
    table = Table(f"Traffic between {comparison.n_ports:,} HCA ports", columns, [*rows, bound])
    notes = {
        contender.engine: contender.assessment.notes
        for contender in comparison.contenders
        if contender.assessment is not None and contender.assessment.notes
    }
    text: list[str | Table] = [table, "", _bound_text(comparison.bound), _best_text(comparison)]
    if times:
        text.append("CPU s: routing alone, compiled before; of opensm:NAME, OpenSM's own routing on the twin")
    return Report(
        kind="RouteComparison",
        data={
            "hca_ports": comparison.n_ports,
            "engines": rows,
            "bound": {
                "alltoall_fraction": comparison.bound.fraction,
                "kind": comparison.bound.kind,
                "limit": comparison.bound.limit,
            },
            "best": None if comparison.best is None else comparison.best.engine,
        },
        text=text,
        main=table,
        inputs=inputs,
        warnings=[f"{engine}: {note}" for engine, lines in notes.items() for note in lines],
    )


def _row(contender: Contender, times: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"engine": contender.engine}
    if times:
        row["routing_cpu_s"] = contender.routing_s
    assessment = contender.assessment
    quality = None if assessment is None else assessment.quality
    return {
        **row,
        "vls": contender.vls,
        "alltoall_fraction": None if quality is None else quality.alltoall_fraction,
        "worst_shift_load": None if quality is None else quality.shifts.worst,
        "mean_shift_load": None if quality is None else quality.shifts.mean,
        "ebb_fraction": None if quality is None else quality.ebb.mean,
        "ebb_ci99": None if quality is None else quality.ebb.ci99,
        "deadlock": contender.deadlock,
        "refusal": contender.refusal or None,
        "verdict": _verdict(contender),
    }


def _verdict(contender: Contender) -> str:
    if contender.assessment is None:
        return f"refused: {contender.refusal}"
    found = contender.assessment.verification
    if contender.deadlock == "lost":
        return "LOSES TRAFFIC" if found.lost_hca else "LOOPS"
    if contender.deadlock == "hidden":
        return f"not known: OpenSM hides which of its {contender.vls} lanes a path takes"
    if contender.deadlock == "loop":
        return f"FOUND, over {len(found.credit_loop)} cables"
    return "none between HCAs" if found.management_loop else "none"


def _bound_text(bound: Bound) -> str:
    return f"No routing of this cabling passes {bound.fraction:.3f} for all-to-all: {bound.limit}"


def _best_text(comparison: Comparison) -> str:
    best = comparison.best
    if best is None or best.assessment is None or best.assessment.quality is None:
        return "No engine routes this fabric free of credit loops"
    reached = best.assessment.quality.alltoall_fraction
    return f"Best without credit loops: {best.engine}, {reached:.3f} ({reached / comparison.bound.fraction:.1%} of that)"
