"""Logs of nccl-tests: tables of ``all_reduce_perf`` and its like, as released since 2018 and as they are pasted.

Columns came and went: ``redop`` and ``root`` may be missing, ``#wrong`` was ``error`` once, the in-place half may be absent.
GB is 1e9 bytes, sizes are those of the whole message (nccl-tests, doc/PERFORMANCE.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fabctl.bench.logs.nccl_info import read_facts
from fabctl.bench.logs.reading import LogReader, bare
from fabctl.errors import InputError
from fabctl.model.validation import Run, Sample

OPERATIONS = {
    "all_reduce": "all_reduce",
    "reduce_scatter": "reduce_scatter",
    "all_gather": "all_gather",
    "alltoall": "alltoall",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "sendrecv": "sendrecv",
    "gather": "gather",
    "scatter": "scatter",
    "hypercube": "hypercube",
}
"""nccl-tests' programs, without ``_perf``."""
HALF_A_DIGIT = 0.005
"""How far a printed bandwidth may be from the real one."""
TYPES = "int8 uint8 int32 uint32 int64 uint64 half float double bfloat16 fp8_e4m3 fp8_e5m2 f8e4m3 f8e5m2"

_TABLE = re.compile(r"^#?\s*nThread\s+\d+\s+nGpus\s+\d+\s+minBytes\s+(\d+)\s+maxBytes\s+(\d+)\s+step:\s*(\d+)\((\w+)\)")
_COLUMNS = re.compile(r"^#?\s*size\s+count\s+type\b")
_PROGRAM = re.compile(rf"\b({'|'.join(OPERATIONS)})_perf(?:_mpi)?\b")
_STARTING = re.compile(r"Collective test starting: (\w+?)_perf")
_RANK = re.compile(r"^#?\s*Rank\s+(\d+)\s+(?:Group\s+\d+\s+)?Pid\s+(\d+)\s+on\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s+(.+)$")
_ROW = re.compile(rf"^(-?\d+)\s+(-?\d+)\s+({'|'.join(TYPES.split())})\s+(.*)$")
_CUT = re.compile(r"^\d+\s+\d+$")
_TAG = re.compile(r"\[\d+\]")
_WRONG = re.compile(r"^#?\s*Out of bounds values\s*:\s*(\d+)")
_AVERAGE = re.compile(r"^#?\s*Avg bus bandwidth\s*:")


def recognises(text: str) -> bool:
    """Tell whether a text holds a table of nccl-tests, or its heading."""
    return any(_TABLE.match(line) or _COLUMNS.match(line) or _ROW.match(line) for line in map(bare, text.splitlines()))


@dataclass
class _Draft:
    """A run while it is read."""

    line: int
    program: str = ""
    first: int = 0
    last: int = 0
    factor: int = 0
    headings: int = 0
    ranks: dict[int, tuple[str, str]] = field(default_factory=dict)
    repeated: bool = False
    samples: list[Sample] = field(default_factory=list)
    factors: list[tuple[float, float]] = field(default_factory=list)  # algbw and busbw as printed
    redop: str = ""
    root: int | None = None
    wrong: int = 0
    ended: bool = False
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse(text: str, path: str) -> list[Run]:
    """Return the runs of a text; a new one begins at a heading after the rows of another.

    Raises
    ------
    InputError
        For a negative size or time, a run without any result, or one that does not say what it measured.
    """
    drafts = [_Draft(1)]
    for number, raw in enumerate(text.splitlines(), 1):
        line, draft = bare(raw), drafts[-1]
        if " NCCL INFO " in line:
            draft.lines.append(line)
            continue
        begins = _TABLE.match(line) or _STARTING.search(line)
        if draft.samples and (begins or _PROGRAM.search(line)) and not _ROW.match(line) and "concluded" not in line:
            draft = _Draft(number)
            drafts.append(draft)
        draft.lines.append(line)
        _read(draft, line, f"{path}:{number}", number)
    drafts = [draft for draft in drafts if draft.samples or draft.headings]
    return [_run(draft, path) for draft in drafts]


def _read(draft: _Draft, line: str, where: str, number: int) -> None:
    if match := _STARTING.search(line) or _PROGRAM.search(line):
        draft.program = match[1]
    if match := _TABLE.match(line):
        draft.headings += 1
        draft.line = number if draft.headings == 1 else draft.line
        draft.first, draft.last = int(match[1]), int(match[2])
        draft.factor = int(match[3]) if match[4] == "factor" else 0
    elif _COLUMNS.match(line):
        draft.headings = max(draft.headings, 1)
    elif match := _RANK.match(line):
        draft.repeated |= int(match[1]) in draft.ranks
        draft.ranks[int(match[1])] = match[3], match[4].strip()
    elif match := _ROW.match(_TAG.sub(" ", line)):
        _row(draft, match, where, number)
    elif draft.samples and _CUT.match(line):
        draft.notes.append(f"line {number} is cut and left out")
    elif match := _WRONG.match(line):
        draft.wrong = max(draft.wrong, int(match[1]))
    elif _AVERAGE.match(line):
        draft.ended = True


def _row(draft: _Draft, match: re.Match[str], where: str, number: int) -> None:
    size = int(match[1])
    words = match[4].split()
    if words and words[0].isalpha() and words[0] != "N":
        draft.redop = words.pop(0)
    numbers = [_number(word) for word in words]
    if len(numbers) in (5, 9) and numbers[0] is not None:
        draft.root = int(numbers.pop(0) or 0)
    if len(numbers) not in (4, 8) or any(
        value is None for column in range(0, len(numbers), 4) for value in numbers[column : column + 3]
    ):
        draft.notes.append(f"line {number} is cut and left out")
        return
    values = [value or 0.0 for value in numbers]
    if size < 0 or int(match[2]) < 0 or min(values) < 0:
        raise InputError(f"a negative number in a result: {match[0].strip()[:60]!r}", where=where, hint="this log is damaged")
    if size == 0:
        return
    draft.samples.append(Sample(number, size, values[0], values[2], values[4] if len(values) == 8 else 0.0))
    draft.factors.append((values[1], values[2]))


def _number(word: str) -> float | None:
    if word == "N/A":
        return 0.0
    try:
        return float(word)
    except ValueError:
        return None


def _run(draft: _Draft, path: str) -> Run:
    where = f"{path}:{draft.line}"
    if not draft.samples:
        raise InputError(
            "this log of nccl-tests ends before its first result", where=where, hint="did the test fail? its last lines tell"
        )
    operation = OPERATIONS.get(draft.program) or _operation(draft, where)
    sizes = [sample.size_bytes for sample in draft.samples]
    copies = max(draft.headings, 2) if draft.repeated and len(set(sizes)) < len(sizes) else 1
    listed = len(draft.ranks)
    telling = [pair for pair in draft.factors if pair[0] >= 1]
    strange = [pair for pair in telling if copies == 1 and not _fits(operation, listed, pair)] if listed else []
    whole = listed > 0 and max(draft.ranks) + 1 == listed and 2 * len(strange) <= len(telling)
    n_ranks, rank_range = (listed, (0, 0)) if whole else _ranks(operation, draft.factors)
    hosts = tuple(dict.fromkeys(draft.ranks[rank][0] for rank in sorted(draft.ranks))) if whole else ()
    notes = list(draft.notes)
    if n_ranks and not whole:
        between = f"{rank_range[0]} to {rank_range[1]}" if rank_range[0] < rank_range[1] else str(n_ranks)
        notes.append(f"{between} ranks, by busbw over algbw: the log lists {listed or 'none'}")
    if whole and strange:
        algbw, busbw = strange[0]
        notes.append(f"of {listed} ranks, busbw {busbw:g} contradicts algbw {algbw:g} (rows like it: {len(strange)})")
    return Run(
        path=path,
        line=draft.line,
        tool="nccl-tests",
        test=f"{operation}_perf",
        operation=operation,
        samples=tuple(draft.samples),
        n_ranks=n_ranks,
        rank_range=rank_range,
        hosts=hosts,
        ranks_per_host=n_ranks // len(hosts) if hosts and n_ranks % len(hosts) == 0 else 0,
        gpu=next((gpu for _, gpu in draft.ranks.values()), ""),
        nccl=read_facts(draft.lines),
        buffers=("device", "device"),
        copies=copies,
        wrong=draft.wrong,
        notes=(*notes, *_missing(draft)),
    )


def _operation(draft: _Draft, where: str) -> str:
    """Return the operation that only the numbers tell: busbw over algbw, what reduces, and whether there is a root."""
    algbw, busbw = max(draft.factors)
    if draft.root is not None and draft.root >= 0:
        return "reduce" if draft.redop not in ("", "none") else "broadcast"
    if draft.redop not in ("", "none") and algbw:
        return "all_reduce" if busbw > 0.99 * algbw else "reduce_scatter"
    raise InputError(
        "this log does not say which collective it measured",
        where=where,
        hint="put the command line above it, or a line like: # Collective test starting: alltoall_perf",
    )


def _rounds(operation: str) -> int:
    """Return c of a bus factor c (n - 1) / n; 0 where it is another."""
    return {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1, "alltoall": 1}.get(operation, 0)


def _ranks(operation: str, factors: list[tuple[float, float]]) -> tuple[int, tuple[int, int]]:
    """Return the ranks that busbw over algbw tells, and the fewest and most that the printed decimals allow; 0: nothing."""
    rounds, (algbw, busbw) = _rounds(operation), max(factors)
    rest = rounds - busbw / algbw if algbw >= 1 else 0.0
    error = HALF_A_DIGIT * (1 + rounds) / algbw if algbw else 0.0
    if not rounds or rest <= 2 * error:
        return 0, (0, 0)
    low, high = (max(2, round(rounds / (rest + side * error))) for side in (1, -1))
    return round(rounds / rest), (low, high)


def _fits(operation: str, n_ranks: int, printed: tuple[float, float]) -> bool:
    """Tell whether two printed bandwidths can be those of so many ranks."""
    rounds, (algbw, busbw) = _rounds(operation), printed
    return not rounds or abs(busbw - algbw * rounds * (n_ranks - 1) / n_ranks) <= 1.1 * HALF_A_DIGIT * (1 + rounds)


def _missing(draft: _Draft) -> list[str]:
    if draft.ended or not draft.last or draft.samples[-1].size_bytes >= draft.last:
        return []
    return [f"the log is cut: its last size is {draft.samples[-1].size_bytes}, the test was to go on to {draft.last}"]


READER = LogReader(recognises, parse)
