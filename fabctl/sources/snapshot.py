"""fabctl's own JSON snapshot, as ``fabctl discover --save`` writes it."""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.model.snapshot import FORMAT, load_snapshot


def recognises(head: str) -> bool:
    """Return whether a text looks like a snapshot."""
    return head.lstrip().startswith("{") and f'"{FORMAT}"' in head


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read a snapshot.

    Raises
    ------
    InputError
        If it is damaged, edited, or of another version.
    """
    return load_snapshot(text, path), ParseReport(source="snapshot", path=path, lines=text.count("\n"))


SOURCE = Source(recognises, parse)
