"""Many runs at a glance: one line for each, the slowest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from fabctl.model.validation import Validation, Verdict
from fabctl.report.bench_words import cut
from fabctl.report.output import Column, Table
from fabctl.units import size_text

DETAILED = 3
"""Runs up to which each is shown in full."""
HOSTS_SHOWN = 40
COLUMNS = (
    Column("log", "log"),
    Column("test", "test"),
    Column("hosts", "hosts"),
    Column("size", "size", right=True),
    Column("measured", "measured(GB/s)", right=True, digits=2),
    Column("predicted", "predicted(GB/s)", right=True, digits=2),
    Column("ratio", "ratio", right=True, digits=2),
    Column("slow", "slow sizes", right=True),
    Column("cause", "first of its causes"),
)


def overview(validation: Validation) -> list[str | Table]:
    """Return what stands for the runs when they are many."""
    rows = [_row(verdict) for verdict in validation.verdicts]
    tests = {row["test"] for row in rows}
    rows.sort(key=lambda row: (row["ratio"] is None, row["ratio"] or 0.0, row["measured"] or 0.0))
    filled = [column for column in COLUMNS if any(row[column.key] not in (None, "") for row in rows)]
    shown = [column for column in filled if column.key != "test" or len(tests) > 1]
    title = "Runs by their largest size, the slowest first"
    return [
        Table(title, tuple(shown), rows),
        "All sizes of one run: fabctl bench validate with its log alone; of all: -o csv",
    ]


def heading(validation: Validation) -> str:
    """Return how many runs there are, and what ran."""
    tests = Counter(verdict.run.test for verdict in validation.verdicts)
    paths = {verdict.run.path for verdict in validation.verdicts}
    listed = ", ".join(f"{count} of {test}" for test, count in tests.items())
    return f"Logs    {len(validation.verdicts)} runs in {len(paths)} file{'s' if len(paths) > 1 else ''}: {listed}"


def together(lists: Sequence[Iterable[str]]) -> list[str]:
    """Return lines that several runs have, each once, and of how many runs it is where not of all.

    Examples
    --------
    >>> together([["a", "b"], ["a"]])
    ['a', 'b (1 run)']
    """
    counts = Counter(line for lines in lists for line in dict.fromkeys(lines))
    return [line if count == len(lists) else f"{line} ({count} run{'s' if count > 1 else ''})" for line, count in counts.items()]


def _row(verdict: Verdict) -> dict[str, Any]:
    run = verdict.run
    compared = [row for row in verdict.rows if row.ratio is not None and verdict.judged]
    last = max(compared or verdict.rows, key=lambda row: row.sample.size_bytes)
    slow = len(verdict.flagged("slow"))
    return {
        "log": f"{run.path}:{run.line}",
        "test": run.test,
        "hosts": cut(",".join(run.hosts), HOSTS_SHOWN),
        "size": size_text(last.sample.size_bytes),
        "measured": last.sample.best_gb_s or None,
        "predicted": last.predicted.gb_s or None if last.predicted and compared else None,
        "ratio": last.ratio if compared else None,
        "slow": f"{slow} of {len(compared)}" if compared else "",
        "cause": next((cause.title for cause in verdict.causes if slow or cause.certainty != "possible"), ""),
    }
