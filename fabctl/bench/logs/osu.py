"""Logs of the OSU micro-benchmarks, releases 3 to 7: MPI's and NCCL's, between two ends and collective.

MB is 1e6 bytes. The size of ``osu_allgather`` and ``osu_alltoall`` is that of one rank's piece; of the others it is that of the
whole buffer (osu-micro-benchmarks, ``c/mpi/collective``).
"""

from __future__ import annotations

import re

from fabctl.bench.logs.nccl_info import read_facts
from fabctl.bench.logs.reading import LogReader, bare
from fabctl.errors import InputError
from fabctl.model.validation import BANDWIDTH, BOTH_WAYS, LATENCY, PAIRS, Run, Sample

TESTS = {
    "Latency": ("osu_latency", LATENCY),
    "Bandwidth": ("osu_bw", BANDWIDTH),
    "Bi-Directional Bandwidth": ("osu_bibw", BOTH_WAYS),
    "Allreduce Latency": ("osu_allreduce", "all_reduce"),
    "Reduce_scatter Latency": ("osu_reduce_scatter", "reduce_scatter"),
    "Reduce Scatter Latency": ("osu_reduce_scatter", "reduce_scatter"),
    "Allgather Latency": ("osu_allgather", "all_gather"),
    "Broadcast Latency": ("osu_bcast", "broadcast"),
    "Bcast Latency": ("osu_bcast", "broadcast"),
    "All-to-All Personalized Exchange Latency": ("osu_alltoall", "alltoall"),
    "All-to-All Latency": ("osu_alltoall", "alltoall"),
    "Reduce Latency": ("osu_reduce", "reduce"),
}
"""Titles, and what they stand for."""

_TITLE = re.compile(r"^#\s*OSU (MPI|NCCL|OSHMEM|UPC\+*|RCCL|XCCL)(-\w+)?\s+(.+?) Test(?:\s+v?[\d.]+\w*)?\s*$")
_BUFFERS = re.compile(r"Send Buffer on (HOST|DEVICE|MANAGED)\b.*Receive Buffer on (HOST|DEVICE|MANAGED)\b", re.IGNORECASE)
_ROW = re.compile(r"^(-?\d+)((?:\s+-?[\d.]+)+)$")


def recognises(text: str) -> bool:
    """Tell whether a text holds a title of OSU's."""
    return any(_TITLE.match(line) for line in map(bare, text.splitlines()))


def parse(text: str, path: str) -> list[Run]:
    """Return the runs of a text, one for each title.

    Raises
    ------
    InputError
        For a negative number, a test that is not read, or one without any result.
    """
    lines = [bare(line) for line in text.splitlines()]
    titles = [number for number, line in enumerate(lines) if _TITLE.match(line)]
    facts = read_facts(lines)
    runs = []
    for first, after in zip(titles, [*titles[1:], len(lines)], strict=True):
        match = _TITLE.match(lines[first])
        assert match is not None  # noqa: S101
        where = f"{path}:{first + 1}"
        library, device, title = match[1], match[2], match[3].strip()
        if title not in TESTS:
            raise InputError(f"OSU's '{title} Test' is not read", where=where, hint=f"read are: {', '.join(TESTS)}")
        test, operation = TESTS[title]
        samples, buffers = _block(lines, first + 1, after, operation, path)
        if not samples:
            raise InputError("this test ends before its first result", where=where, hint="did it fail? the lines below it tell")
        runs.append(
            Run(
                path=path,
                line=first + 1,
                tool="osu",
                test=test,
                operation=operation,
                samples=tuple(samples),
                nccl=facts,
                mpi=library == "MPI",
                per_piece=operation in ("all_gather", "alltoall"),
                buffers=buffers or (("device", "device") if device and operation not in PAIRS else ("host", "host")),
            )
        )
    return runs


def _block(lines: list[str], first: int, after: int, operation: str, path: str) -> tuple[list[Sample], tuple[str, str] | None]:
    """Return the sizes below a title, and the memory of the buffers where it is said."""
    samples: list[Sample] = []
    buffers = None
    for number in range(first, after):
        line = lines[number]
        if match := _BUFFERS.search(line):
            sender, receiver = ("host" if side.lower() == "host" else "device" for side in match.groups())
            buffers = sender, receiver
        match = _ROW.match(line)
        if match is None:
            if samples and line and not line.startswith("#"):
                break
            continue
        size, value = int(match[1]), float(match[2].split()[0])
        if size < 0 or value < 0:
            raise InputError(f"a negative number in a result: '{line}'", where=f"{path}:{number + 1}", hint="this log is damaged")
        if not size or not value or (samples and size <= samples[-1].size_bytes):
            continue
        if operation in (BANDWIDTH, BOTH_WAYS):
            samples.append(Sample(number + 1, size, gb_s=value / 1e3))
        else:
            samples.append(Sample(number + 1, size, value))
    return samples, buffers


READER = LogReader(recognises, parse)
