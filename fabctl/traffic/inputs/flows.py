"""A list of flows as CSV: ``src,dst,bytes`` and, at will, ``phase``.

The first line names the columns, in any order and among others; ``;`` and tabs separate as well. Lines that begin with ``#``
are comments. ``src`` and ``dst`` are hosts, ``host:mlx5_0``, or HCAs and ports as fabctl prints them; ``bytes`` is a number or a
size such as ``64K``. Flows of one phase run at once, phases one after the other in the order of their first lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from difflib import get_close_matches

from fabctl.errors import InputError, UsageError
from fabctl.traffic.explicit import Transfer
from fabctl.traffic.inputs.source import JobSource, checked_size, text_of
from fabctl.traffic.job import JobSpec, Placed
from fabctl.units import parse_size

COLUMNS = {
    "src": ("src", "source", "from", "sender", "src_host"),
    "dst": ("dst", "dest", "destination", "to", "receiver", "dst_host"),
    "bytes": ("bytes", "size", "size_bytes", "volume"),
    "phase": ("phase", "step", "stage"),
}
"""Names of the columns, and what else they may be called."""

_NO_HEADER = re.compile(r"[^,;\t{}\[\]\n]+[,;\t][^,;\t{}\[\]\n]+[,;\t]\s*-?\d+[^,;\t]*(?:[,;\t].*)?")
_HOST = re.compile(r"(?!0x)([^\s:/]+)")


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read a list of flows as one job.

    Raises
    ------
    InputError
        With ``file:line``: a column is missing, a line has too few or too many fields, a size is none or out of range, a
        flow ends where it begins.
    """
    rows = _rows(text_of(data, path), path)
    header_line, header = next(rows, (1, []))
    columns = _columns(header, f"{path}:{header_line}")
    transfers = []
    hosts: dict[str, str] = {}
    for line, row in rows:
        where = f"{path}:{line}"
        if len(row) != len(header):
            raise InputError(f"{len(row)} fields where the header has {len(header)}", where=where)
        src, dst = row[columns["src"]], row[columns["dst"]]
        if not src or not dst:
            raise InputError(f"'{'dst' if src else 'src'}' is empty", where=where)
        if src == dst:
            raise InputError(f"a flow from '{src}' to itself does not touch the fabric", where=where, hint="leave it out")
        phase = row[columns["phase"]] if "phase" in columns else ""
        if not phase.isprintable():
            raise InputError("a phase's name is one line of printable characters", where=where)
        transfers.append(Transfer(src, dst, _size(row[columns["bytes"]], where), where, phase))
        for end in (src, dst):
            match = _HOST.match(end)
            hosts.setdefault(match[1] if match else end, where)
    if not transfers:
        raise InputError("this list holds no flows", where=f"{path}:{header_line}")
    placed = tuple(Placed(name, where) for name, where in hosts.items())
    return (JobSpec(path=path, name=_name(path), hosts=placed, collectives=(), transfers=tuple(transfers)),)


def _rows(text: str, path: str) -> Iterator[tuple[int, list[str]]]:
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if _holds(line)), "")
    kept = [line if _holds(line) else "\n" for line in lines]
    reader = csv.reader(kept, delimiter=_delimiter(first), skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if any(row):
                yield reader.line_num, [field.strip() for field in row]
    except csv.Error as error:
        raise InputError(f"this is no CSV: {error}", where=f"{path}:{reader.line_num}") from error


def _holds(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _columns(header: list[str], where: str) -> dict[str, int]:
    names = [field.lower() for field in header]
    found: dict[str, int] = {}
    for column, aliases in COLUMNS.items():
        at = [index for index, name in enumerate(names) if name in aliases]
        if len(at) > 1:
            raise InputError(f"two columns are '{column}': {header[at[0]]}, {header[at[1]]}", where=where)
        if at:
            found[column] = at[0]
        elif column != "phase":
            near = get_close_matches(column, names, n=1)
            meant = f"is it '{near[0]}'? " if near else ""
            raise InputError(
                f"there is no column '{column}'", where=where, hint=f"{meant}the first line names the columns: src,dst,bytes"
            )
    return found


def _size(text: str, where: str) -> int:
    if text.startswith("-"):
        raise InputError(f"a flow cannot have a negative size: {text}", where=where)
    try:
        return checked_size(int(text) if text.isdecimal() and len(text) < 40 else parse_size(text), where)
    except (UsageError, OverflowError) as error:
        raise InputError(f"'{text[:40]}' is not a size", where=where, hint="write bytes, or a number with K, M, G") from error


def _name(path: str) -> str:
    return "flows" if path == "-" else re.sub(r"\.\w+$", "", path.rsplit("/", 1)[-1]) or "flows"


def _recognises(head: bytes, _: str) -> bool:
    if b"\x00" in head:
        return False
    lines = head.decode("utf-8-sig", "replace").splitlines()
    first = next((line.strip() for line in lines if _holds(line)), "")
    if first[:1] in ("{", "[", "-"):
        return False
    fields = {field.strip().strip('"').lower() for field in first.split(_delimiter(first))}
    known = sum(not fields.isdisjoint(COLUMNS[column]) for column in ("src", "dst", "bytes"))
    return known >= 2 or bool(_NO_HEADER.fullmatch(first))


SOURCE = JobSource(_recognises, parse)
