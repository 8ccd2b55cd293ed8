"""Logs of perftest: ``ib_write_bw``, ``ib_read_lat`` and the others, one client's or server's output each.

Its ``MB/sec`` is 2**20 bytes a second (``MiB/sec`` in later releases), its ``Gb/sec`` 1e9 bits (perftest, ``format_factor``).
"""

from __future__ import annotations

import re

from fabctl.bench.logs.reading import LogReader, bare
from fabctl.errors import InputError
from fabctl.model.validation import BANDWIDTH, BOTH_WAYS, LATENCY, Run, Sample

VERBS = {
    "RDMA_Write": "write",
    "RDMA_Read": "read",
    "Send": "send",
    "Atomic FETCH_AND_ADD": "atomic",
    "Atomic CMP_AND_SWAP": "atomic",
}
UNITS = {"MB/sec": 2**20 / 1e9, "MiB/sec": 2**20 / 1e9, "Gb/sec": 1 / 8}
"""GB/s of one of each unit."""

_TITLE = re.compile(rf"^#?\s*({'|'.join(VERBS)})\s+(?:Post List\s+)?(Bidirectional )?(?:Post List\s+)?(BW|Latency) Test\s*$")
_COLUMNS = re.compile(r"^#?\s*#bytes\s+#iterations\s+(.*)$")
_ROW = re.compile(r"^#?\s*(-?\d+)\s+(\d+)((?:\s+-?[\d.]+)+)$")
_LID = re.compile(r"(local|remote) address:\s*LID\s+(0x[0-9a-fA-F]+|\d+)")
_MTU = re.compile(r"\bMtu\s*:\s*(\d+)\[B\]")
_LINK = re.compile(r"\bLink type\s*:\s*(\w+)")


def recognises(text: str) -> bool:
    """Tell whether a text holds a title of perftest's."""
    return any(_TITLE.match(line) for line in map(bare, text.splitlines()))


def parse(text: str, path: str) -> list[Run]:
    """Return the runs of a text, one for each title.

    Raises
    ------
    InputError
        For a negative number, unknown columns, or a run without any result.
    """
    lines = [bare(line) for line in text.splitlines()]
    titles = [number for number, line in enumerate(lines) if _TITLE.match(line)]
    return [_run(lines, first, after, path) for first, after in zip(titles, [*titles[1:], len(lines)], strict=True)]


def _run(lines: list[str], first: int, after: int, path: str) -> Run:
    title = _TITLE.match(lines[first])
    assert title is not None  # noqa: S101
    latency = title[3] == "Latency"
    lids: dict[str, int] = {}
    columns: list[str] = []
    samples: list[Sample] = []
    mtu, link = 0, "IB"
    for number in range(first + 1, after):
        line, where = lines[number], f"{path}:{number + 1}"
        lids |= {end: int(lid, 0) if lid.startswith("0x") else int(lid) for end, lid in _LID.findall(line) if end not in lids}
        if match := _MTU.search(line):
            mtu = int(match[1])
        if match := _LINK.search(line):
            link = match[1]
        if match := _COLUMNS.match(line):
            columns = re.sub(r"\s+percentile", "-percentile", re.sub(r"BW (\w)", r"BW-\1", match[1])).split()
        elif columns and (match := _ROW.match(line)):
            samples.append(_sample(match, columns, where, number + 1))
    if not samples:
        raise InputError(
            "this run of perftest ends before its first result",
            where=f"{path}:{first + 1}",
            hint="a server that still waits prints none: take the client's output",
        )
    operation = LATENCY if latency else BOTH_WAYS if title[2] else BANDWIDTH
    return Run(
        path=path,
        line=first + 1,
        tool="perftest",
        test=f"ib_{VERBS[title[1]]}_{'lat' if latency else 'bw'}",
        operation=operation,
        samples=tuple(samples),
        lids=(lids.get("local", 0), lids.get("remote", 0)),
        mtu_bytes=mtu,
        notes=() if link == "IB" else (f"this ran over {link} (RoCE), not over InfiniBand",),
    )


def _sample(match: re.Match[str], columns: list[str], where: str, number: int) -> Sample:
    size, values = int(match[1]), [float(word) for word in match[3].split()]
    if size < 0 or min(values) < 0:
        raise InputError(
            f"a negative number in a result: {match[0].strip()!r}",
            where=where,
            hint="perftest's counters overflow in long runs (perftest issue 82): run it for a shorter time",
        )
    named = dict(zip(columns, values, strict=False))
    for column in ("t_typical[usec]", "t_avg[usec]"):
        if column in named:
            return Sample(number, size, named[column])
    for column, value in named.items():
        unit = column.partition("[")[2].rstrip("]")
        if column.startswith("BW-average") and unit in UNITS:
            return Sample(number, size, gb_s=value * UNITS[unit])
    raise InputError(f"no bandwidth or time among the columns {', '.join(columns)}", where=where)


READER = LogReader(recognises, parse)
