"""The most jobs that can stream at once, on the least deep trees: branch and bound over all trees of all jobs.

It is exact where the search ends, or where what was found meets a bound. On large fabrics its steps run out: then what it found
stands, and how many more there might be is for `bound` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from fabctl.offload.sharp.conflicts import most_apart
from fabctl.offload.sharp.demand import Demand, Rules
from fabctl.offload.sharp.pool import Grown, Pool
from fabctl.offload.sharp.ways import SpentError, Ways

GREEDY_STEPS = 5_000
"""For one job, beside those that have their trees."""
SEARCH_STEPS = 50_000
"""For all jobs together: a second or two."""


@dataclass(frozen=True)
class Packing:
    """Trees for some jobs.

    Parameters
    ----------
    trees : dict of int to tuple of Grown
        By the index of the job; jobs that are missing cannot stream beside these.
    exact : bool
        Whether there is no choice with more jobs, nor one with as many and a smaller sum of depths.
    """

    trees: dict[int, tuple[Grown, ...]]
    exact: bool

    @property
    def depth(self) -> int:
        """Sum of the depths of all trees."""
        return sum(map(_depth, self.trees.values()))


def pack(demands: Sequence[Demand], rules: Rules, ways: Ways, bound: int | None = None, *, steps: int = SEARCH_STEPS) -> Packing:
    """Return trees for as many jobs as possible.

    Parameters
    ----------
    bound : int, optional
        More jobs are known to be impossible.
    steps : int
        After so many the search ends.
    """
    search = _Search(demands, rules, ways, len(demands) if bound is None else bound)
    search.greedy()
    exact = search.is_best or search.run(steps)
    return Packing(dict(sorted(search.best.items())), exact)


class _Search:
    def __init__(self, demands: Sequence[Demand], rules: Rules, ways: Ways, bound: int) -> None:
        self.demands, self.rules, self.ways = demands, rules, ways
        self.most = min(bound, len(demands))
        self.low = low = [ways.least_depth(demand) for demand in demands]
        size = [sum(len(branch.hosts_at) for branch in demand.branches) for demand in demands]
        apart = most_apart(demands, rules).jobs
        self.order = sorted(range(len(demands)), key=lambda job: (job not in apart, size[job], low[job], job))
        rest = (sorted(low[job] for job in self.order[place:]) for place in range(len(demands) + 1))
        self.least = [[0, *accumulate(lows)] for lows in rest]
        self.best: dict[int, tuple[Grown, ...]] = {}
        self.depth = 0

    @property
    def is_best(self) -> bool:
        """Whether what was found meets both bounds."""
        return len(self.best) == self.most and self.depth <= self.least[0][self.most]

    def greedy(self) -> None:
        """Give each job in turn the first trees that are free, and leave out those that find none."""
        pool = self.ways.pool(self.rules)
        for job in self.order:
            trees = first_trees(self.demands[job], pool, self.ways)
            if trees:
                self.best[job] = trees
                for tree in trees:
                    pool.hold(tree, self.demands[job].name)
        self.depth = sum(map(_depth, self.best.values()))

    def run(self, steps: int) -> bool:
        """Search everything; return whether it came to an end."""
        self.ways.steps_left = steps
        try:
            self._search(0, {}, 0, self.ways.pool(self.rules))
        except SpentError:
            return False
        return True

    def _search(self, place: int, chosen: dict[int, tuple[Grown, ...]], depth: int, pool: Pool) -> None:
        self.ways.step()
        if (len(chosen), -depth) > (len(self.best), -self.depth):
            self.best, self.depth = dict(chosen), depth
        if self.is_best or not self._hopeful(place, len(chosen), depth):
            return
        job = self.order[place]
        for trees in self.ways.of_job(self.demands[job], pool):
            if not self._hopeful(place + 1, len(chosen) + 1, depth + self.low[job]):
                break
            self._search(place + 1, chosen | {job: trees}, depth + _depth(trees), pool)
        self._search(place + 1, chosen, depth, pool)

    def _hopeful(self, place: int, count: int, depth: int) -> bool:
        """Return whether the jobs that are left could make more of them stream, or as many on less deep trees."""
        possible = min(count + len(self.order) - place, self.most)
        if possible != len(self.best):
            return possible > len(self.best)
        return depth + self.least[place][possible - count] < self.depth


def first_trees(demand: Demand, pool: Pool, ways: Ways, steps: int = GREEDY_STEPS) -> tuple[Grown, ...]:
    """Return the first trees that a job finds beside what the pool holds; nothing if there are none within some steps."""
    ways.steps_left = steps
    try:
        return next(ways.of_job(demand, pool), ())
    except SpentError:
        return ()


def _depth(trees: tuple[Grown, ...]) -> int:
    return sum(tree.depth for tree in trees)
