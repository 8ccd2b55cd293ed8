"""What the line-by-line sources share: lines with their numbers, and the keeping of what was not understood."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric
from fabctl.model.results import ParseReport, Remark
from fabctl.units import Speed

SPEEDS = {speed.name: speed for speed in Speed if speed} | {"???": Speed.UNKNOWN}
"""Speed names as the tools print them."""

GUID = r"([0-9a-fA-F]{1,16})"
"""Pattern of a GUID's digits, one group."""

LID = r"(\d{1,5})"
"""Pattern of a LID in decimal, one group."""

RATE_GBPS = r"(\d{1,4}(?:\.\d{1,6})?)"
"""Pattern of a lane rate, one group."""

PORT = r"(\d{1,2}|1\d\d|2[0-4]\d|25[0-4])"
"""Pattern of a port number: 0 to 254, as the InfiniBand Architecture Specification has it; one group."""

SPEED = "(" + "|".join(re.escape(name) for name in sorted(SPEEDS, reverse=True)) + ")"
"""Pattern of a speed name, one group."""

_TOOL_MESSAGE = re.compile(
    r"^[\w./-]*\.c:\d+|\bib(?:warn|panic|debug|error): |bad status \d+|^DR path slid|umad .*status|mad_rpc"
)
_REDACTED = re.compile(r"redact|<[^>]*>|\bX{4,}\b|\*{3,}", re.IGNORECASE)


def is_tool_message(line: str) -> bool:
    """Return whether a line is an error of libibnetdisc, libibmad or libibumad: something could not be read."""
    return bool(_TOOL_MESSAGE.search(line))


class Scan:
    """A text as numbered lines, with the remarks about those that hold no record.

    Parameters
    ----------
    source : str
        Registered name of the source.
    path : str
        File name, for messages.
    text : str
    record : pattern
        Matches the beginning of every line that holds data: where such a line is not understood, the text is redacted
        or cut, not just adorned.
    tool : str
        Command that writes this format, for hints.
    """

    def __init__(self, source: str, path: str, text: str, record: re.Pattern[str], tool: str) -> None:
        self.source = source
        self.path = path
        self.record = record
        self.tool = tool
        self.unknown: list[Remark] = []
        self.headings: list[Remark] = []
        self.tool_messages: list[Remark] = []
        self._lines = text.split("\n")
        self._cut_line = len(self._lines) if self._lines[-1].strip() else 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield line number (from 1) and line, without blanks at its ends, for every line that is not blank."""
        for number, line in enumerate(self._lines, 1):
            stripped = line.strip()
            if stripped:
                yield number, stripped

    def is_cut(self, number: int) -> bool:
        """Return whether a line is the last and has no end: its own end may be missing."""
        return number == self._cut_line

    def is_indented(self, number: int) -> bool:
        """Return whether a line begins with a blank."""
        return self._lines[number - 1][:1].isspace()

    def heading(self, number: int, line: str) -> None:
        """Keep a line that is understood and holds no record."""
        self.headings.append(Remark(number, line))

    def reject(self, number: int, line: str) -> None:
        """Keep a line that was not understood.

        Raises
        ------
        InputError
            If the line is a record with a redacted GUID, or a record that the end of the text has cut.
        """
        is_record = bool(self.record.match(line))
        if is_record and _REDACTED.search(line):
            raise InputError(
                f"a GUID is redacted: {line[:60]}",
                where=f"{self.path}:{number}",
                hint="fabctl needs real GUIDs to join the two ends of a cable; replace each by its own number",
            )
        if is_record and self.is_cut(number):
            raise self.truncated(number, "the text ends in the middle of this line")
        if not is_record and is_tool_message(line):
            self.tool_messages.append(Remark(number, line))
        else:
            self.unknown.append(Remark(number, line))

    def truncated(self, number: int, message: str) -> InputError:
        """Return the error for a text that lacks its end."""
        return InputError(message, where=f"{self.path}:{number}", hint=f"the text was cut short: run {self.tool} again")

    def finish(self, builder: FabricBuilder, notes: tuple[str, ...] = ()) -> tuple[Fabric, ParseReport]:
        """Build the fabric and return it with the report of this text."""
        fabric = builder.build()
        lone = np.setdiff1d(np.arange(fabric.n_nodes), fabric.channel_src)
        if len(lone):
            notes = (*notes, f"nodes without a cable: {len(lone)}; the first is '{fabric.labels[lone[0]]}'")
        return fabric, ParseReport(
            source=self.source,
            path=self.path,
            lines=len(self._lines) - (0 if self._cut_line else 1),
            unknown=tuple(self.unknown),
            headings=tuple(self.headings),
            tool_messages=tuple(self.tool_messages),
            one_sided=tuple(builder.one_sided),
            undeclared=tuple(builder.undeclared),
            disagreements=tuple(builder.disagreements),
            duplicates=tuple(builder.duplicates),
            notes=notes,
        )
