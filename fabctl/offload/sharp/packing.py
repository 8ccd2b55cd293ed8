"""The most jobs that can stream at once, on the least deep trees: branch and bound over all trees of all jobs.

It is exact where the search ends, or where what was found meets a bound. On large fabrics its steps run out: then what it found
stands, and how many more there might be is for `bound` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    def score(self) -> tuple[int, int]:
        """More is better."""
        return _score(self.trees)


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
    exact = search.reached_the_bound or search.run(steps)
    return Packing(dict(sorted(search.best.items())), exact)


class _Search:
    def __init__(self, demands: Sequence[Demand], rules: Rules, ways: Ways, bound: int) -> None:
        self.demands, self.rules, self.ways = demands, rules, ways
        self.low = [ways.least_depth(demand) for demand in demands]
        size = [sum(len(branch.hosts_at) for branch in demand.branches) for demand in demands]
        self.order = sorted(range(len(demands)), key=lambda job: (size[job], self.low[job], job))
        self.low_of_rest = [sum(self.low[job] for job in self.order[place:]) for place in range(len(demands) + 1)]
        self.best: dict[int, tuple[Grown, ...]] = {}
        bound = min(bound, len(demands))
        self.best_possible = bound, -sum(sorted(self.low)[:bound])

    @property
    def reached_the_bound(self) -> bool:
        return _score(self.best) >= self.best_possible

    def greedy(self) -> None:
        """Give each job in turn the first trees that are free, and leave out those that find none."""
        pool = self.ways.pool(self.rules)
        for job in self.order:
            trees = first_trees(self.demands[job], pool, self.ways)
            if trees:
                self.best[job] = trees
                for tree in trees:
                    pool.hold(tree, self.demands[job].name)

    def run(self, steps: int) -> bool:
        """Search everything; return whether it came to an end."""
        self.ways.steps_left = steps
        try:
            self._search(0, {}, 0, self.ways.pool(self.rules))
        except SpentError:
            return False
        return True

    def _search(self, place: int, chosen: dict[int, tuple[Grown, ...]], depth: int, pool: Pool) -> None:
        if _score(chosen) > _score(self.best):
            self.best = dict(chosen)
        hope = len(chosen) + len(self.order) - place, -(depth + self.low_of_rest[place])
        if place == len(self.order) or hope <= _score(self.best) or self.reached_the_bound:
            return
        job = self.order[place]
        for trees in self.ways.of_job(self.demands[job], pool):
            self._search(place + 1, chosen | {job: trees}, depth + sum(tree.depth for tree in trees), pool)
            if self.reached_the_bound:
                return
        self._search(place + 1, chosen, depth, pool)


def first_trees(demand: Demand, pool: Pool, ways: Ways, steps: int = GREEDY_STEPS) -> tuple[Grown, ...]:
    """Return the first trees that a job finds beside what the pool holds; nothing if there are none within some steps."""
    ways.steps_left = steps
    try:
        return next(ways.of_job(demand, pool), ())
    except SpentError:
        return ()


def _score(trees: dict[int, tuple[Grown, ...]]) -> tuple[int, int]:
    return len(trees), -sum(tree.depth for grown in trees.values() for tree in grown)
