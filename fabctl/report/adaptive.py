"""The section of ``fabctl route`` on adaptive routing: the groups, how the balance converged, and all ways side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fabctl.model.adaptive import AdaptiveQuality, Convergence, Spread
from fabctl.report.output import Column, Report, Table

_WHAT = {
    "static": "the tables' own",
    "fluid": "split, balanced over all switches",
    "local": "whole flows, each switch by its own load",
    "hash": "whole queue pairs, by hashes",
}
_ROUTES = (
    Column("routes", "ROUTES"),
    Column("hottest_load", "HOTTEST", right=True, digits=2),
    Column("alltoall_fraction", "ALL-TO-ALL", right=True, digits=3),
    Column("ebb_fraction", "EBB", right=True, digits=4),
    Column("ebb_ci99", "+-", right=True, digits=4),
    Column("ebb_bisections", "BISECTIONS", right=True),
    Column("what", "FLOWS ARE"),
)
_ROUNDS = (
    Column("round", "ROUND", right=True),
    Column("hottest_load", "HOTTEST", right=True, digits=3),
    Column("change", "CHANGE", right=True, digits=4),
    Column("bound_load", "NO SPLIT BELOW", right=True, digits=3),
)
SHOWN = 6


def add_adaptive(report: Report, found: AdaptiveQuality) -> Report:
    """Return a report of routes with the section on adaptive routing, and its key in the data."""
    rows = [_row(found, spread) for spread in found.spreads]
    columns = tuple(column for column in _ROUTES if column.key != "alltoall_fraction" or found.alltoall_ideal is not None)
    text: list[str | Table] = ["", _title(found), *_group_lines(found)]
    if found.convergence is not None:
        text.append(_convergence_line(found.convergence))
    text.append(Table(f"Routes side by side ({found.traffic})", columns, rows))
    if found.convergence is not None:
        text.append(Table("Rounds of balancing", _ROUNDS, _round_rows(found.convergence), wide=True))
    return replace(report, text=[*report.text, *text], data={**report.data, "adaptive": _data(found, rows)})


def _title(found: AdaptiveQuality) -> str:
    if not found.mode:
        return f"Flows spread over the LIDs of a port (LMC), {_hashed(found)}"
    levels = "all service levels" if found.sls is None else f"service levels {', '.join(map(str, found.sls))}"
    hashed = f"; {_hashed(found)}" if any(spread.name == "hash" for spread in found.spreads) else ""
    return f"Adaptive routing by {found.mode}, {levels}{hashed}"


def _hashed(found: AdaptiveQuality) -> str:
    return f"hashed with seed {found.seed}, {found.qps} queue pair{'' if found.qps == 1 else 's'} per flow"


def _group_lines(found: AdaptiveQuality) -> list[str]:
    if not found.mode:
        return []
    sets = f"{found.classes:,} set{'' if found.classes == 1 else 's'} of destinations"
    circle = {
        None: "not told where tables use several virtual lanes",
        False: "none: no channels of the groups can wait in a circle",
        True: "POSSIBLE on one virtual lane: channels of the groups can wait for each other in a circle",
    }
    return [
        f"  groups         {sets}, up to {found.widest} ports; for {found.share:.1%} of the traffic between switches",
        f"  credit loops   {circle[found.circle]}",
    ]


def _convergence_line(found: Convergence) -> str:
    first = " -> ".join(f"{entry.hottest:.6g}" for entry in found.rounds[:SHOWN])
    more = " ..." if len(found.rounds) > SHOWN else ""
    rounds = f"{len(found.rounds)} round{'' if len(found.rounds) == 1 else 's'}"
    kept = "the tables' own routes are best, they are kept" if found.kept_static else f"best {found.hottest:.6g}"
    return (
        f"  convergence    {rounds}: hottest {first}{more}; {kept}; no split gets below {found.bound:.6g} ({found.gap:.2%} away)"
    )


def _row(found: AdaptiveQuality, spread: Spread) -> dict[str, Any]:
    known = spread.hottest is not None and found.alltoall_ideal is not None
    return {
        "routes": spread.name,
        "hottest_load": spread.hottest,
        "alltoall_fraction": found.alltoall_ideal / spread.hottest if known and spread.hottest and found.alltoall_ideal else None,
        "ebb_fraction": spread.ebb.mean if spread.ebb else None,
        "ebb_ci99": spread.ebb.ci99 if spread.ebb else None,
        "ebb_bisections": spread.ebb.samples if spread.ebb else None,
        "what": _WHAT[spread.name],
    }


def _round_rows(found: Convergence) -> list[dict[str, Any]]:
    changes = (None, *found.changes)
    return [
        {"round": number, "hottest_load": entry.hottest, "change": change, "bound_load": entry.bound}
        for number, (entry, change) in enumerate(zip(found.rounds, changes, strict=True), 1)
    ]


def _data(found: AdaptiveQuality, rows: list[dict[str, Any]]) -> dict[str, Any]:
    converged = found.convergence
    return {
        "mode": found.mode or None,
        "service_levels": None if found.sls is None else list(found.sls),
        "traffic_share": found.share,
        "destination_sets": found.classes,
        "widest_group": found.widest,
        "credit_loop": found.circle,
        "hash_seed": found.seed if any(spread.name == "hash" for spread in found.spreads) else None,
        "qps": found.qps,
        "traffic": found.traffic,
        "routes": [{key: value for key, value in row.items() if key != "what"} for row in rows],
        "convergence": None
        if converged is None
        else {
            "static_load": converged.static,
            "hottest_load": converged.hottest,
            "bound_load": converged.bound,
            "gap": converged.gap,
            "kept_static": converged.kept_static,
            "rounds": _round_rows(converged),
        },
    }
