"""What the forwarding-table dumps share: one block per switch, one line per LID in fixed columns.

Dumps reach hundreds of megabytes (205 MB for 3,456 hosts), so the lines that the tools write are read as columns of a byte
matrix; only lines of another shape (headers, hand-written entries, comments) meet a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import MAX_UNICAST_LID
from fabctl.model.loading import RawTables, TableSource
from fabctl.model.results import Remark
from fabctl.model.tables import NO_ROUTE

Int64 = NDArray[np.int64]

_NOT_A_DIGIT = 255
_HEX = np.full(256, _NOT_A_DIGIT, dtype=np.uint8)
for _digits, _first in ((b"0123456789", 0), (b"abcdef", 10), (b"ABCDEF", 10)):
    _HEX[np.frombuffer(_digits, dtype=np.uint8)] = _first + np.arange(len(_digits))
_DECIMAL = np.where(_HEX < 10, _HEX, np.uint8(_NOT_A_DIGIT))
_ENDS_PORT, _FOLLOWS_PORT = np.zeros((2, 256), dtype=bool)
_ENDS_PORT[np.frombuffer(b" \t\r\n", dtype=np.uint8)] = True
_FOLLOWS_PORT[np.frombuffer(b" \t\r\n:#(", dtype=np.uint8)] = True
_OWNER = re.compile(rb"portguid 0x([0-9a-fA-F]{1,16})")
_REFUSED = {
    re.compile(r"Multicast mlids\b"): ("multicast tables begin here", "dump unicast tables: without -M"),
    re.compile(r"SubnGet\(LFT\) failed\b"): (
        "the dump could not read a part of this switch's table and repeats another part in its place",
        "dump the tables again",
    ),
}


@dataclass(frozen=True)
class TableFormat:
    """One dialect of table dumps.

    Parameters
    ----------
    marker : str
        Text that begins a switch's block.
    header : pattern
        The marker's line, with group ``guid`` and, where there is such a thing, ``name`` and ``counted`` (set if the block
        ends with a count line).
    separator : bytes
        What the tools print between the four digits of a LID and the three of its port.
    no_route : bytes
        Three bytes that the tools print in place of the port where there is no route; empty if they print none.
    entry : pattern
        An entry in any spelling, with groups ``lid`` (hex) and ``port`` (decimal).
    count : pattern
        The line that ends a block, with group ``valid``: the number of the block's entries where the tool gives that. None
        if the tool writes no such line.
    other : pattern
        Lines that hold no entry and are no surprise.
    uniform : bool
        The tool lists the same LIDs for every switch.
    tool : str
        Command that writes this format, for hints.
    """

    marker: str
    header: re.Pattern[str]
    separator: bytes
    no_route: bytes
    entry: re.Pattern[str]
    count: re.Pattern[str] | None
    other: re.Pattern[str]
    uniform: bool
    tool: str


def read_tables(text: str, path: str, form: TableFormat) -> RawTables:
    """Read a dump.

    Raises
    ------
    InputError
        If the text ends inside a block, a switch has two blocks, an entry names an impossible LID or port or contradicts
        another, or the tool itself reports that it failed.

    Complexity
    ----------
    Linear: 350 MB/s for ``dump_fts``, 70 MB/s for ``dump_fts -n``, 5 MB/s for hand-written spellings.
    """
    return _Reader(path, form).run(text)


def table_source(form: TableFormat, begins: str) -> TableSource:
    """Return a format as a source.

    Parameters
    ----------
    begins : str
        Regular expression of a line by which the format is recognised.
    """
    pattern = re.compile(begins, re.MULTILINE)
    return TableSource(lambda head: bool(pattern.search(head)), lambda text, path: read_tables(text, path, form))


class _Block:
    """The lines of one switch's block, or of what comes before the first."""

    def __init__(self, text: str, first_line: int) -> None:
        self.data = text.encode("utf-8", "replace")
        self.first_line = first_line
        ends = np.flatnonzero(np.frombuffer(self.data, dtype=np.uint8) == ord("\n"))
        self.cut = not self.data.endswith(b"\n")
        self.ends = np.append(ends, len(self.data)) if self.cut else ends
        self.starts = np.concatenate(([0], self.ends[:-1] + 1))

    def line(self, index: int) -> bytes:
        return self.data[self.starts[index] : self.ends[index]]

    def columns(self, width: int) -> NDArray[np.uint8]:
        """Return the first bytes of each line, shape (n_lines, width); a short line runs on into its newline and further."""
        padded = np.frombuffer(self.data + b"\n" * width, dtype=np.uint8)
        return padded[self.starts[:, np.newaxis] + np.arange(width)]


class _Reader:
    def __init__(self, path: str, form: TableFormat) -> None:
        self.path = path
        self.form = form
        self.unknown: list[Remark] = []
        self.line_of_switch: dict[int, int] = {}
        self.names: list[str] = []
        self.rows: list[NDArray[np.uint8]] = []
        self.owner = np.zeros(MAX_UNICAST_LID + 1, dtype=np.uint64)
        self.owner_sought = np.zeros(MAX_UNICAST_LID + 1, dtype=bool)

    def run(self, text: str) -> RawTables:
        line = 1
        for piece in _pieces(text, self.form.marker):
            block = _Block(piece, line)
            header = self._header(block)
            if header is None:
                self._others(block, np.arange(len(block.starts)), preamble=True)
            else:
                self._table(block, counted=bool(header.groupdict().get("counted")))
            line += len(block.starts)
        if not self.rows:
            raise InputError("no switch's table found", where=self.path, hint=f"did {self.form.tool} fail? look at its stderr")
        top = max(len(row) for row in self.rows)
        lft = np.full((len(self.rows), top), NO_ROUTE, dtype=np.uint8)
        for index, row in enumerate(self.rows):
            lft[index, : len(row)] = row
        guids = np.array(list(self.line_of_switch), dtype=np.uint64)
        return RawTables(guids, tuple(self.names), lft, self.owner[:top], tuple(self.unknown))

    def _header(self, block: _Block) -> re.Match[str] | None:
        line = block.line(0).decode("utf-8").strip()
        if self.form.marker not in line or line.startswith("#"):
            return None
        header = self.form.header.match(line)
        if header is None:
            raise self._cut(block, 0, "this header names no switch GUID")
        guid = int(header["guid"], 16)
        if guid in self.line_of_switch:
            raise InputError(
                f"a second table for switch 0x{guid:016x} begins here (the first began at line {self.line_of_switch[guid]})",
                where=f"{self.path}:{block.first_line}",
                hint="split the file: one dump per file",
            )
        self.line_of_switch[guid] = block.first_line
        name = header.groupdict().get("name") or ""
        self.names.append(name[1:-1] if len(name) > 1 and name[0] == name[-1] == "'" else name)
        return header

    def _table(self, block: _Block, *, counted: bool) -> None:
        fixed, fixed_lids, fixed_ports = self._fixed(block)
        rest = np.flatnonzero(~fixed)[1:]
        lines, lids, ports, count = self._others(block, rest)
        where = np.concatenate((np.flatnonzero(fixed), lines))
        lid, port = np.concatenate((fixed_lids, lids)), np.concatenate((fixed_ports, ports))
        self._check_values(block, where, lid, port)
        if counted and count is None:
            raise self._cut(block, len(block.starts) - 1, "this switch's table lacks its last line")
        if count is not None and count >= 0 and count != len(lid):
            raise self._cut(block, len(block.starts) - 1, f"this table says {count} LIDs and holds {len(lid)}")
        if block.cut and count is None:
            raise self._cut(block, len(block.starts) - 1, "the last line has no end")
        top = int(lid.max(initial=0)) + 1
        if self.form.uniform and self.rows and top != len(self.rows[0]):
            raise self._cut(
                block, len(block.starts) - 1, f"this table ends at LID {top - 1}, the first at LID {len(self.rows[0]) - 1}"
            )
        row = np.full(top, NO_ROUTE, dtype=np.uint8)
        row[lid] = port
        contradicts = row[lid] != port
        if contradicts.any():
            first = int(np.argmax(contradicts))
            raise InputError(
                f"LID {lid[first]} has two ports in this switch's table", where=self._place(block, int(where[first]))
            )
        self.rows.append(row)
        self._seek_owners(block, where, lid)

    def _fixed(self, block: _Block) -> tuple[NDArray[np.bool_], Int64, Int64]:
        """Read the lines in the tools' own spelling; return which they are, their LIDs and their ports."""
        at = len("0x0000") + len(self.form.separator)
        columns = block.columns(at + 5)
        digits, decimals, behind = _HEX[columns[:, 2:6]], _DECIMAL[columns[:, at : at + 3]], columns[:, at + 3]
        ended = _ENDS_PORT[behind] & ((behind == ord("\n")) | _FOLLOWS_PORT[columns[:, at + 4]])
        routed = (decimals != _NOT_A_DIGIT).all(axis=1) & ended
        dropped = np.zeros(len(columns), dtype=bool)
        if self.form.no_route:
            dropped = (columns[:, at : at + 3] == np.frombuffer(self.form.no_route, dtype=np.uint8)).all(axis=1)
        prefix = (columns[:, :2] == np.frombuffer(b"0x", dtype=np.uint8)).all(axis=1)
        separated = (columns[:, 6:at] == np.frombuffer(self.form.separator, dtype=np.uint8)).all(axis=1)
        fixed = prefix & (digits != _NOT_A_DIGIT).all(axis=1) & separated & (routed | dropped)
        lids = digits[fixed].astype(np.int64) @ np.array([4096, 256, 16, 1])
        ports = np.where(dropped[fixed], NO_ROUTE, decimals[fixed].astype(np.int64) @ np.array([100, 10, 1]))
        return fixed, lids, ports

    def _others(self, block: _Block, indices: Int64, *, preamble: bool = False) -> tuple[Int64, Int64, Int64, int | None]:
        """Read lines of other spellings; return lines, LIDs and ports of entries, and the count (-1 if it tells nothing)."""
        entries: list[tuple[int, int, int]] = []
        count: int | None = None
        for index in indices.tolist():
            line = block.line(index).decode("utf-8").strip()
            if not line or line.startswith("#") or self.form.other.match(line):
                continue
            entry, ending = self.form.entry.match(line), self.form.count and self.form.count.match(line)
            if entry is not None and not preamble:
                entries.append((index, int(entry["lid"], 16), int(entry["port"])))
            elif ending:
                count = int(ending["valid"] or -1)
            else:
                self._reject(block, index, line)
        lines, lids, ports = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        return lines, lids, ports, count

    def _reject(self, block: _Block, index: int, line: str) -> None:
        for pattern, (message, hint) in _REFUSED.items():
            if pattern.match(line):
                raise InputError(message, where=self._place(block, index), hint=hint)
        self.unknown.append(Remark(block.first_line + index, line))

    def _check_values(self, block: _Block, where: Int64, lid: Int64, port: Int64) -> None:
        for bad, message in (
            (lid > MAX_UNICAST_LID, "LID {lid} (0x{lid:04x}) is no unicast LID"),
            (port > NO_ROUTE, "port {port} is no port of any switch"),
        ):
            if bad.any():
                first = int(np.argmax(bad))
                raise InputError(message.format(lid=lid[first], port=port[first]), where=self._place(block, int(where[first])))

    def _seek_owners(self, block: _Block, where: Int64, lid: Int64) -> None:
        """Take down who owns the LIDs that no block before this one lists."""
        for index in np.flatnonzero(~self.owner_sought[lid]).tolist():
            owner = _OWNER.search(block.line(int(where[index])))
            if owner is not None:
                self.owner[lid[index]] = int(owner[1], 16)
        self.owner_sought[lid] = True

    def _place(self, block: _Block, index: int) -> str:
        return f"{self.path}:{block.first_line + index}"

    def _cut(self, block: _Block, index: int, message: str) -> InputError:
        return InputError(
            message, where=self._place(block, index), hint=f"was the dump cut or edited? run {self.form.tool} again"
        )


def _pieces(text: str, marker: str) -> Iterator[str]:
    """Yield the text in pieces that begin at the markers' lines; what comes before the first is a piece too."""
    begin, at = 0, text.find(marker)
    while at >= 0:
        start = text.rfind("\n", 0, at) + 1
        if start > begin and not text[start:at].lstrip().startswith("#"):
            yield text[begin:start]
            begin = start
        at = text.find(marker, at + len(marker))
    yield text[begin:]
