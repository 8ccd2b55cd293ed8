"""Changes as people read them: alike ones together, files as unified diffs, long values cut."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from typing import Any

from fabctl.model.offload_plan import Change, Place
from fabctl.nodeset import folded
from fabctl.report.output import Column, Patch, Report, Table

ABSENT = "(absent)"
SHOWN_CHARS = 40
_INLINE_CHARS = 4096
_DIFFED_LINES = 20_000
"""Files with more lines are not compared line by line: their SHA-256 is shown."""

Labels = Mapping[Place, str]

_COLUMNS = (
    Column("label", "WHERE"),
    Column("key", "WHAT"),
    Column("old", "NOW"),
    Column("new", "PLANNED"),
)


def diff_report(
    request: str, changes: Sequence[Change], labels: Labels, stale: Sequence[str], inputs: Sequence[Mapping[str, Any]] = ()
) -> Report:
    """Return what a saved plan would change now.

    Parameters
    ----------
    changes : sequence of Change
        From what stands there now.
    stale : sequence of str
        What has changed since the plan was made, so that it would be refused.
    """
    rows = [change_row(change, labels) for change in changes]
    lines = [line for change, names in alike(changes, labels) for line in _lines(change, names)]
    head = f"{request}: {count_words(len(changes))} to change"
    return Report(
        kind="OffloadDiff",
        data={"request": request, "to_change": len(changes), "stale": list(stale), "changes": rows},
        text=[head, Patch(lines)],
        main=Table("Changes", _COLUMNS, rows),
        inputs=inputs,
        warnings=[f"stale, apply will refuse this plan: {reason}" for reason in stale],
    )


def count_words(places: int) -> str:
    """Return ``0``, ``1 place``, ``12 places``."""
    return f"{places:,} place{'s' if places != 1 else ''}" if places else "0"


def change_row(change: Change, labels: Labels) -> dict[str, Any]:
    """Return a change for JSON and CSV."""
    place = change.place
    return {
        "label": labels[place],
        "driver": place.driver,
        "target": place.target,
        "key": place.key,
        "old": value_text(change.old),
        "new": value_text(change.new),
        "risk": change.risk.name.lower(),
        "why": change.why,
    }


def value_text(value: str | None) -> str | None:
    """Return a value, or its SHA-256 and size where it is long."""
    if value is None or len(value) <= _INLINE_CHARS:
        return value
    return f"sha256:{hashlib.sha256(value.encode('latin-1', 'backslashreplace')).hexdigest()} ({len(value)} bytes)"


def alike(changes: Sequence[Change], labels: Labels) -> list[tuple[Change, tuple[str, ...]]]:
    """Return one change for all that differ in their target alone, with the labels of the targets."""
    groups: dict[tuple[Any, ...], list[Change]] = {}
    for change in changes:
        place = change.place
        groups.setdefault((place.driver, place.key, change.old, change.new, change.risk, change.why), []).append(change)
    return [(group[0], tuple(dict.fromkeys(labels[change.place] for change in group))) for group in groups.values()]


def is_text(change: Change) -> bool:
    """Return whether a change is of a file or a value of several lines, and so is shown as a diff."""
    return change.place.key.startswith("file:") or any("\n" in value for value in (change.old, change.new) if value)


def short(value: str | None, *, lines: bool = False) -> str:
    """Return a value in a few characters; of a text the number of lines."""
    if value is None:
        return ABSENT
    count = len(value.splitlines())
    if lines or count > 1:
        return f"{count:,} line{'s' if count != 1 else ''}"
    return value if len(value) <= SHOWN_CHARS else f"{value[: SHOWN_CHARS - 3]}..."


def _lines(change: Change, names: Sequence[str]) -> list[str]:
    """Return a change of a text as a unified diff, any other as the line that goes and the line that comes."""
    if is_text(change):
        return ["", *unified(change, names)]
    what = _what(change, names)
    return [f"{sign} {what} = {value}" for sign, value in (("-", change.old), ("+", change.new)) if value is not None]


def unified(change: Change, names: Sequence[str]) -> list[str]:
    """Return a change as a unified diff."""
    old, new = ([] if value is None else value.splitlines() for value in (change.old, change.new))
    what = _what(change, names)
    heads = [f"--- {what if change.old is not None else '/dev/null'}", f"+++ {what if change.new is not None else '/dev/null'}"]
    if old and new and len(old) + len(new) > _DIFFED_LINES:
        return [*heads, f"-{value_text(change.old)}", f"+{value_text(change.new)}"]
    body = list(unified_diff(old, new, lineterm=""))[2:]
    return [*heads, *(body or [" (only line ends differ)"])]


def _what(change: Change, names: Sequence[str]) -> str:
    return change.place.key.removeprefix("file:") if names == ("fabric",) else f"{folded(names)} {change.place.key}"
