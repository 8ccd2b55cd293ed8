"""All trees of a rail over what is free: the lowest root first, then the fewest switches.

A tree goes up a tier with each cable where the switches stand in tiers, as up*/down* routes do (SHARP's trees follow the subnet
manager's); elsewhere (Dragonfly+, hypercubes) it goes nearer to its root with each cable, by the distances of the whole fabric.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.offload.sharp.demand import Branch, Demand, Rules
from fabctl.offload.sharp.pool import Grown, Pool
from fabctl.traffic.switch_trees import Hops, TreeMaker


class SpentError(Exception):
    """The steps that a search was given are used up."""


@dataclass
class _Growth:
    """A tree on its way to its root."""

    root: int
    depths: Hops
    pending: set[int]
    joined: set[int]
    children: Counter[int]
    up: dict[int, int] = field(default_factory=dict)


@dataclass
class _Choice:
    """Which of the switches above one it goes to."""

    child: int
    parents: Iterator[tuple[int, int]]
    taken: int | None = None
    is_new: bool = False

    def turn(self, growth: _Growth) -> bool:
        """Take the next one in place of the last; give the switch back if there is none."""
        child, last = self.child, self.taken
        if last is not None:
            growth.children[last] -= 1
            del growth.up[child]
            if self.is_new:
                growth.joined.remove(last)
                growth.pending.remove(last)
        found = next(self.parents, None)
        if found is None:
            growth.pending.add(child)
            return False
        self.taken, growth.up[child] = found
        growth.children[self.taken] += 1
        self.is_new = self.taken not in growth.joined
        if self.is_new:
            growth.joined.add(self.taken)
            growth.pending.add(self.taken)
        return True


class Ways:
    """The trees of a fabric.

    Parameters
    ----------
    fabric : Fabric
    usable : bool array of shape (n_switches,)
        Switches that may be on a tree.
    """

    def __init__(self, fabric: Fabric, usable: NDArray[np.bool_]) -> None:
        self.fabric = fabric
        self.usable = usable
        self.maker = TreeMaker(fabric, usable=usable, upwards=in_tiers(fabric, usable))
        self.steps_left = 0
        self.above: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for channel, src, dst in self.maker.edges():
            self.above[src][dst].append(channel)
        self._reverse: list[int] = fabric.channel_reverse.tolist()
        self._roots: dict[tuple[int, ...], list[tuple[int, int]]] = {}

    def pool(self, rules: Rules) -> Pool:
        """Return a pool in which all is free."""
        return Pool(rules, self._reverse)

    def roots(self, branch: Branch) -> list[tuple[int, int]]:
        """Return each possible root and the depth of the tree, lowest first."""
        key = tuple(branch.leaves)
        if key not in self._roots:
            roots, depths = self.maker.roots(np.array(key))
            self._roots[key] = list(zip(roots.tolist(), depths.tolist(), strict=True))
        return self._roots[key]

    def least_depth(self, demand: Demand) -> int:
        """Return a lower bound of the sum of the depths of a job's trees."""
        return sum(self.roots(branch)[0][1] for branch in demand.branches)

    def step(self) -> None:
        """Count a step of a search.

        Raises
        ------
        SpentError
            If none is left.
        """
        self.steps_left -= 1
        if self.steps_left < 0:
            raise SpentError

    def of_job(self, demand: Demand, pool: Pool) -> Iterator[tuple[Grown, ...]]:
        """Yield all choices of trees for a job; the pool holds each until the next is asked for.

        Raises
        ------
        SpentError
            After `steps_left` steps.
        """
        if self._has_leaves(demand, pool):
            yield from self._of_branches(demand, 0, pool)

    def _has_leaves(self, demand: Demand, pool: Pool) -> bool:
        """Return whether all leaves of a job are free, before any of its trees is made."""
        rules = pool.rules
        needed = Counter(leaf for branch in demand.branches for leaf in branch.hosts_at)
        return (not rules.trees or pool.trees + len(demand.branches) <= rules.trees) and all(
            pool.takes(leaf, demand.name) and (count == 1 or not rules.one_tree[leaf]) for leaf, count in needed.items()
        )

    def _of_branches(self, demand: Demand, first: int, pool: Pool) -> Iterator[tuple[Grown, ...]]:
        if first == len(demand.branches):
            yield ()
            return
        for tree in self.of_branch(demand.branches[first], demand.name, pool):
            pool.hold(tree, demand.name)
            try:
                for rest in self._of_branches(demand, first + 1, pool):
                    yield (tree, *rest)
            finally:
                pool.release(tree, demand.name)

    def of_branch(self, branch: Branch, job: str, pool: Pool) -> Iterator[Grown]:
        """Yield all trees of a rail over what is free, the lowest and least used roots first."""
        radix = pool.rules.radix
        if not all(pool.takes(leaf, job) and count <= (radix[leaf] or count) for leaf, count in branch.hosts_at.items()):
            return
        roots = self.roots(branch)
        order = sorted(range(len(roots)), key=lambda place: (roots[place][1], pool.trees_at[roots[place][0]], place))
        for place in order:
            root, depth = roots[place]
            if root not in branch.hosts_at and not pool.takes(root, job):
                continue
            pending = set(branch.hosts_at) - {root}
            growth = _Growth(root, self.maker.depths(root), pending, {root, *pending}, Counter(branch.hosts_at))
            yield from self._grow(growth, branch, depth, job, pool)

    def _grow(self, growth: _Growth, branch: Branch, depth: int, job: str, pool: Pool) -> Iterator[Grown]:
        """Join one switch after the other to the switches above it, each in all ways."""
        choices: list[_Choice] = []
        while True:
            self.step()
            if growth.pending:
                choices.append(self._choice(growth, job, pool))
            elif growth.root in branch.hosts_at or growth.children[growth.root] > 1:  # else its child is the better root
                yield _finished(growth, depth)
            while choices and not choices[-1].turn(growth):
                choices.pop()
            if not choices:
                return

    def _choice(self, growth: _Growth, job: str, pool: Pool) -> _Choice:
        """Take the farthest switch with the fewest ways up; first those where many meet that go up beside it."""
        farthest = max(int(growth.depths[switch]) for switch in growth.pending)
        options: dict[int, dict[int, int]] = {}
        for switch in sorted(growth.pending):
            if growth.depths[switch] == farthest:
                options[switch] = self._options(switch, growth, job, pool)
                if len(options[switch]) <= 1:
                    break
        child = min(options, key=lambda switch: len(options[switch]))
        meeting = Counter(parent for ways in options.values() for parent in ways)
        order = sorted(
            options[child],
            key=lambda parent: (parent not in growth.joined, -meeting[parent], pool.trees_at[parent], parent),
        )
        growth.pending.remove(child)
        return _Choice(child, iter([(parent, options[child][parent]) for parent in order]))

    def _options(self, switch: int, growth: _Growth, job: str, pool: Pool) -> dict[int, int]:
        """Return the switches to which one can go, with the channel to each."""
        found, nearer = {}, growth.depths[switch] - 1
        for parent, channels in self.above[switch].items():
            radix = pool.rules.radix[parent]
            if growth.depths[parent] != nearer or (radix and growth.children[parent] >= radix):
                continue
            channel = pool.free_cable(channels)
            if channel is not None and (parent in growth.joined or pool.takes(parent, job)):
                found[parent] = channel
        return found


def _finished(growth: _Growth, depth: int) -> Grown:
    upwards = sorted(growth.up, key=lambda switch: (-int(growth.depths[switch]), switch))
    return Grown(
        growth.root,
        depth,
        (growth.root, *upwards),
        tuple(growth.up[switch] for switch in upwards),
        max(growth.children.values()),
    )


TIERED = 0.9
"""A fabric stands in tiers when at least this share of the cables between its switches goes up or down one."""


def in_tiers(fabric: Fabric, usable: NDArray[np.bool_]) -> bool:
    """Return whether usable switches stand in tiers (`TIERED`): trees then go up only, and leave out what skips a tier."""
    n = fabric.n_switches
    src, dst = fabric.channel_src, fabric.channel_dst
    between = np.flatnonzero((src < n) & (dst < n) & (src != dst))
    between = between[usable[src[between]] & usable[dst[between]]]
    tiers = fabric.tiers.astype(np.int64)
    adjacent = np.abs(tiers[src[between]] - tiers[dst[between]]) == 1
    return bool(adjacent.sum() >= TIERED * len(between))
