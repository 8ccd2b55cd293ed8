"""A text to the runs that it holds, whichever tools wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fabctl.bench.logs import LOGS
from fabctl.errors import InputError
from fabctl.model.validation import Run


@dataclass(frozen=True)
class LogReader:
    """What finds the runs of one tool.

    Parameters
    ----------
    recognises : callable
        Tells whether a text holds a run, or the beginning of one.
    parse : callable
        Takes the text and the name to use in messages; returns at least one run. Raises `InputError` with ``file:line``.
    """

    recognises: Callable[[str], bool]
    parse: Callable[[str, str], list[Run]]


_PREFIX = re.compile(
    r"""^\s*(?:
      >\s?                                              # quoted in a mail or an issue
    | \[[^\]\s]*\d+(?:,\d+)*\](?:<std(?:out|err)>:?|\s)  # mpirun --tag-output, mpiexec -prepend-rank
    | \w{3}\ \w{3}\ +\d+\ [\d:]+\ \d{4}<std(?:out|err)>:  # mpirun --timestamp-output
    | \d{4}-\d\d-\d\dT[\d:.]+Z\s                        # kubectl logs --timestamps
    | \d+:\s                                            # srun --label
    )""",
    re.VERBOSE,
)


def bare(line: str) -> str:
    """Return a line without what launchers put before it.

    Examples
    --------
    >>> bare("[1,0]<stdout>:# nThread 1"), bare("0:    8   2  float"), bare("host:1:2 [0] NCCL INFO x")
    ('# nThread 1', '8   2  float', 'host:1:2 [0] NCCL INFO x')
    """
    while match := _PREFIX.match(line):
        line = line[match.end() :]
    return line.strip()


def read_log(text: str, path: str) -> list[Run]:
    """Return the runs of a log, in its order.

    Raises
    ------
    InputError
        If no tool that is known wrote it, or a run of one is damaged.
    """
    readers = [LOGS.load(name) for name in LOGS.names()]
    runs = [run for reader in readers if reader.recognises(text) for run in reader.parse(text, path)]
    if not runs:
        raise InputError(
            f"this is no log of a benchmark that is known: it begins with {text.strip()[:40]!r}",
            where=path,
            hint=f"known: {'; '.join(f'{name} ({entry.summary})' for name, entry in LOGS.entries.items())}",
        )
    return sorted(runs, key=lambda run: run.line)
