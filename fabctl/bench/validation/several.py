"""What several runs of one test tell together: the host, or the pair of hosts, that all slow ones have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from fabctl.model.validation import Cause, Run, Verdict
from fabctl.traffic.roster import listed


def slow_hosts(verdicts: Sequence[Verdict], threshold: float) -> tuple[Cause, ...]:
    """Return the hosts that explain most slow runs: none of them is in a run that is as fast as the best.

    Runs of one test on as many hosts are compared by the highest bandwidth that each reached. A slow run whose hosts are
    all in fast ones as well is a matter of the two hosts together: their routes.
    """
    runs = [verdict.run for verdict in verdicts if len(verdict.run.hosts) > 1 and verdict.run.copies == 1]
    causes: list[Cause] = []
    for _, group in groupby(sorted(runs, key=_kind), key=_kind):
        causes += _among(list(group), threshold)
    return tuple(causes)


def _kind(run: Run) -> tuple[str, int, int]:
    return run.test, len(run.hosts), run.n_ranks


def _among(runs: Sequence[Run], threshold: float) -> list[Cause]:
    best = max(_peak(run) for run in runs)
    slow = [run for run in runs if _peak(run) < (1 - threshold) * best]
    if not slow:
        return []
    sound = {host for run in runs if run not in slow for host in run.hosts}
    causes = []
    while slow:
        suspects = sorted({host for run in slow for host in run.hosts} - sound)
        if not suspects:
            break
        worst = max(suspects, key=lambda host: sum(host in run.hosts for run in slow))
        hit = [run for run in slow if worst in run.hosts]
        slow = [run for run in slow if worst not in run.hosts]
        also = [host for host in suspects if host != worst and all(host in run.hosts for run in hit)]
        causes.append(
            Cause(
                "VAL231",
                f"host {worst}{f' or {listed(also)}' if also else ''} is slow",
                "likely" if len(hit) > 1 and not also else "possible",
                (f"in {_times(hit)}, and in no run as fast as the best ({best:.1f} GB/s)",),
                f"fabctl discover on its links; nvidia-smi topo -m and ibstat on {worst}; a run with another partner tells",
            )
        )
    causes += [
        Cause(
            "VAL232",
            f"{' and '.join(run.hosts[:2])} are slow together, and fast with others",
            "likely",
            (f"{_peak(run):.1f} GB/s, the best run {best:.1f}",),
            f"fabctl explain {run.hosts[0]} {run.hosts[1]} --fabric SOURCE --tables FILE: which cable, and who else is on it",
        )
        for run in slow
    ]
    return causes


def _peak(run: Run) -> float:
    return max(sample.best_gb_s for sample in run.samples)


def _times(runs: Sequence[Run]) -> str:
    values = ", ".join(f"{_peak(run):.1f}" for run in runs)
    return f"{len(runs)} slow run{'s' if len(runs) > 1 else ''} ({values} GB/s)"
