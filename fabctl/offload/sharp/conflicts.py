"""Jobs that can never stream at once, because they share a leaf switch with one active streaming tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fabctl.offload.sharp.demand import Demand, Rules

STEPS = 20_000
"""After so many the search for the most jobs that are apart ends."""


@dataclass(frozen=True)
class Apart:
    """As many jobs as could be found of which no two share such a leaf.

    Parameters
    ----------
    jobs : frozenset of int
    exact : bool
        Whether there is no larger set.
    """

    jobs: frozenset[int]
    exact: bool


def jobs_on(demands: Sequence[Demand]) -> dict[int, list[int]]:
    """Return the jobs that have HCAs on each leaf."""
    jobs: defaultdict[int, list[int]] = defaultdict(list)
    for number, demand in enumerate(demands):
        for leaf in sorted({leaf for branch in demand.branches for leaf in branch.hosts_at}):
            jobs[leaf].append(number)
    return jobs


def most_apart(demands: Sequence[Demand], rules: Rules) -> Apart:
    """Return the largest set of jobs of which no two share a leaf with one tree: a largest independent set."""
    sharing = [0] * len(demands)
    for leaf, jobs in jobs_on(demands).items():
        if rules.one_tree[leaf]:
            together = sum(1 << job for job in jobs)
            for job in jobs:
                sharing[job] |= together & ~(1 << job)
    search = _Search(sharing)
    search.run((1 << len(demands)) - 1, 0)
    return Apart(frozenset(_members(search.best)), search.steps > 0)


class _Search:
    """Branch and bound on bit sets of jobs."""

    def __init__(self, sharing: list[int]) -> None:
        self.sharing = sharing
        self.best = 0
        self.steps = STEPS

    def run(self, left: int, chosen: int) -> None:
        self.steps -= 1
        if self.steps <= 0 or left.bit_count() + chosen.bit_count() <= self.best.bit_count():
            return
        by_conflicts = sorted(_members(left), key=lambda job: (self.sharing[job] & left).bit_count())
        if not left or not self.sharing[by_conflicts[-1]] & left:
            self.best = chosen | left
            return
        least, most = by_conflicts[0], by_conflicts[-1]
        if (self.sharing[least] & left).bit_count() <= 1:  # some largest set has it
            self.run(left & ~self.sharing[least] & ~(1 << least), chosen | 1 << least)
            return
        self.run(left & ~self.sharing[most] & ~(1 << most), chosen | 1 << most)
        self.run(left & ~(1 << most), chosen)


def _members(jobs: int) -> list[int]:
    return [job for job in range(jobs.bit_length()) if jobs >> job & 1]
