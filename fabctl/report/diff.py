"""`diff`: what changed between two fabrics, one row per change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fabctl.model.diff import Change, FabricDiff
from fabctl.report.output import Column, Report, Table

_COLUMNS = (
    Column("subject", "SUBJECT"),
    Column("kind", "KIND"),
    Column("change", "CHANGE"),
    Column("before", "BEFORE"),
    Column("after", "AFTER"),
    Column("guid", "GUID", wide=True),
    Column("port", "PORT", right=True, wide=True),
)
_PLURALS = {"node": "nodes", "cable": "cables", "move": "cables", "rate": "rates", "lid": "LIDs", "name": "names"}
_SINGULARS = {**{kind: kind for kind in _PLURALS}, "move": "cable", "lid": "LID"}


def diff_report(diff: FabricDiff, inputs: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Return the report of ``diff``: `FabricDiff` as data, one row per change."""
    changes = diff.changes
    table = Table("", _COLUMNS, [asdict(change) for change in changes])
    data = {"equal": not changes, "changes": table.rows}
    text: list[str | Table] = [_headline(changes), table] if changes else [_headline(changes)]
    return Report("FabricDiff", data, text, table, inputs, warnings=diff.notes)


def _headline(changes: Sequence[Change]) -> str:
    if not changes:
        return "no differences"
    counts = Counter((change.kind, change.change) for change in changes)
    parts = [f"{number:,} {(_SINGULARS if number == 1 else _PLURALS)[kind]} {what}" for (kind, what), number in counts.items()]
    return f"{len(changes):,} difference{'s' if len(changes) > 1 else ''}: {', '.join(parts)}"
