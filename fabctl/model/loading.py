"""What a source is: how it recognises its format and what it makes of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fabctl.model.fabric import Fabric
from fabctl.model.results import ParseReport


@dataclass(frozen=True)
class Source:
    """A text format that holds a fabric.

    Parameters
    ----------
    recognises : callable
        Takes the first 64 KiB of a text; tells whether it is in this format.
    parse : callable
        Takes the text and the name to use in messages; returns the fabric and what was not understood. Raises
        `InputError` with ``file:line`` for redacted, truncated or contradictory input.
    """

    recognises: Callable[[str], bool]
    parse: Callable[[str, str], tuple[Fabric, ParseReport]]


@dataclass(frozen=True)
class RawTables:
    """Forwarding tables as a dump holds them, before they are bound to a fabric.

    Parameters
    ----------
    entries : dict
        Switch GUID to {LID: output port}.
    names : dict
        Switch GUID to the description in the dump.
    owners : dict
        LID to the port GUID that the dump names for it, where it names one.
    unknown : int
        Number of lines not understood.
    """

    entries: dict[int, dict[int, int]]
    names: dict[int, str]
    owners: dict[int, int]
    unknown: int = 0


@dataclass(frozen=True)
class TableSource:
    """A text format that holds forwarding tables; the functions are those of `Source`."""

    recognises: Callable[[str], bool]
    parse: Callable[[str, str], RawTables]
