"""What ``fabctl route --previous`` adds to the report: what is rewritten, against all routes anew, and which LIDs move."""

from __future__ import annotations

from typing import Any

from fabctl.model.changes import BLOCK_LIDS, Change, MovedLid, Rewrite
from fabctl.model.tables import NO_ROUTE
from fabctl.report.output import Column, Table

_COLUMNS = (
    Column("lid", "LID", right=True),
    Column("port", "OF"),
    Column("switches", "SWITCHES", right=True),
    Column("example", "FOR EXAMPLE"),
)


def change_lines(change: Change, top: int) -> list[str | Table]:
    """Return the change in words, and its first moved LIDs."""
    name = change.tables.origin.partition(",")[0]
    text: list[str | Table] = [
        "",
        f"Changed from {change.previous}",
        f"  rewritten      {_rewrite(change.rewritten)}",
    ]
    if change.whole is not None:
        text.append(f"  {name + ' anew':<15}{_rewrite(change.whole)}")
    if change.fallback:
        text.append(f"  ALL routes are {name}'s own new ones: {change.fallback}")
    if change.engine_lids:
        text.append(f"  {len(change.engine_lids)} LIDs take {name}'s own new routes: no smaller change of theirs is safe")
    if change.gone:
        text.append(f"  {change.gone} LIDs that no port has any more keep their entries")
    if change.moved and top:
        first = "" if len(change.moved) <= top else f", the first {top} of {len(change.moved):,}"
        text += [Table(f"Moved LIDs{first}", _COLUMNS, moved_rows(change)[:top])]
    return text


def moved_table(change: Change) -> Table:
    """Return all moved LIDs."""
    return Table("Moved LIDs", _COLUMNS, moved_rows(change))


def moved_rows(change: Change) -> list[dict[str, Any]]:
    """Return one row for each moved LID, with one of its switches as an example."""
    fabric = change.tables.fabric
    return [
        {
            "lid": moved.lid,
            "port": fabric.port_label(moved.port),
            "switches": len(moved.switches),
            "example": f"{fabric.labels[moved.switches[0]]} {_exit(moved, 0)}",
        }
        for moved in change.moved
    ]


def change_data(change: Change) -> dict[str, Any]:
    """Return the change for JSON, every moved entry named."""
    fabric = change.tables.fabric
    return {
        "previous": change.previous,
        "block_lids": BLOCK_LIDS,
        "rewritten": _counts(change.rewritten),
        "engine_anew": None if change.whole is None else _counts(change.whole),
        "fallback": change.fallback or None,
        "lids_on_engine_routes": list(change.engine_lids),
        "lids_gone": change.gone,
        "moved": [
            {
                "lid": moved.lid,
                "port": fabric.port_label(moved.port),
                "entries": [
                    {"switch": fabric.labels[switch], "before": before, "after": after}
                    for switch, before, after in zip(moved.switches, moved.before, moved.after, strict=True)
                ],
            }
            for moved in change.moved
        ],
    }


def _exit(moved: MovedLid, at: int) -> str:
    before, after = ("nowhere" if port == NO_ROUTE else f"P{port}" for port in (moved.before[at], moved.after[at]))
    return f"{before} -> {after}"


def _rewrite(rewrite: Rewrite) -> str:
    return (
        f"{rewrite.blocks:,} blocks of {BLOCK_LIDS} entries on {rewrite.switches:,} switches; {rewrite.entries:,} entries differ"
    )


def _counts(rewrite: Rewrite) -> dict[str, int]:
    return {"switches": rewrite.switches, "entries": rewrite.entries, "blocks": rewrite.blocks}
