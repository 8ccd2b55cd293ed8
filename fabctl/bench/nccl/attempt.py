"""One attempt of NCCL's graph search: as many channels of one bandwidth as a node has room for."""

from __future__ import annotations

from collections.abc import Iterator

from fabctl.bench.nccl.graphs import BALANCED_TREE, RING, TREE, Graph
from fabctl.bench.nccl.machine import Hop, Machine, Way
from fabctl.nodes.paths import PathType

STEPS, FEW_STEPS = 5000, 300
"""GPUs visited in one attempt before it is given up; few are enough where all GPUs are alike, on NVSwitches."""


class Attempt:
    """One attempt to build as many channels of a graph's speed as there is room for."""

    def __init__(self, machine: Machine, graph: Graph, limit: int, steps: int = STEPS) -> None:
        self.machine = machine
        self.graph = graph
        self.limit = limit
        self.left = dict(machine.capacity)
        self.steps = self.allowed = FEW_STEPS if machine.nvswitch else max(FEW_STEPS, min(STEPS, steps))
        self.best = 0
        self.orders: list[list[str]] = []
        self.entries: list[str] = []
        self.exits: list[str] = []
        self.out: frozenset[str] = frozenset()

    def run(self) -> int:
        """Return how many channels fit."""
        self._channel()
        return self.best

    @property
    def taken(self) -> int:
        """How many GPUs were visited."""
        return self.allowed - self.steps

    @property
    def done(self) -> bool:
        """Whether there is nothing more to gain, or no step left."""
        return self.best >= self.limit or self.steps <= 0

    def _channel(self) -> None:
        """Build the next channel in every way, and those after it."""
        if not self.machine.hcas:
            for first, forced in self._starts():
                self._start(first, forced)
            return
        built = len(self.orders)
        for i in range(len(self.machine.hcas)):
            hca = self.machine.hcas[(built + i) % len(self.machine.hcas)]
            if self._returns(built) and hca != self.exits[-1]:
                continue
            self.entries.append(hca)
            for first, forced in self._starts(hca):
                way = self.machine.ways[hca, first]
                if self._take(way, self.graph.inter, self.graph.inter_gb_s):
                    self._start(first, forced)
                    self._give(way.loads, self.graph.inter_gb_s)
            self.entries.pop()

    def _returns(self, built: int) -> bool:
        """Whether the next channel is the way back of the last, from HCA to HCA."""
        return self.graph.pattern == RING and self.graph.cross_nic and built % 2 == 1

    def _starts(self, hca: str = "") -> Iterator[tuple[str, list[str]]]:
        """Yield first GPUs, each with the order that is forced, empty if none is."""
        if self.orders and (self.graph.same or not hca):
            yield self.orders[-1][0], self.orders[-1]
        if self.orders and self.graph.same:
            return
        if not self.orders and not self.machine.nvswitch:
            yield self.machine.gpus[0], list(self.machine.gpus)
        yield from ((gpu, []) for gpu in (self.machine.near[hca] if hca else self.machine.gpus))

    def _start(self, first: str, forced: list[str]) -> None:
        """Begin a channel at a GPU; a ring only if it can also get back to the network."""
        self.steps -= 1
        ring, outer = self.graph.pattern == RING, self.out
        self.out = self._ways_out(first) if ring and self.machine.hcas else frozenset()
        if not self.done and (self.out or not ring or not self.machine.hcas):
            self._visit([first], forced, len(self.machine.gpus) - 1 if ring else 0)
        self.out = outer

    def _visit(self, order: list[str], forced: list[str], to_net: int) -> None:
        """Go on from the last GPU of an order: to the network where the pattern says so, to the next GPU, or to the end."""
        self.steps -= 1
        at = len(order) - 1
        if self.machine.hcas and at == to_net:
            self._to_net(order, forced)
        elif len(order) < len(self.machine.gpus):
            for gpu in forced[len(order) : len(order) + 1] or self._next(order):
                self._move(self.machine.ways[order[-1], gpu], [*order, gpu], forced, to_net)
        elif self.graph.pattern == RING and not self.machine.hcas and len(order) > 1:
            way = self.machine.ways[order[-1], order[0]]
            if self._take(way, self.graph.intra, self.graph.intra_gb_s):
                self._complete(order)
                self._give(way.loads, self.graph.intra_gb_s)
        else:
            self._complete(order)

    def _move(self, way: Way, order: list[str], forced: list[str], to_net: int) -> None:
        if not self.done and self._take(way, self.graph.intra, self.graph.intra_gb_s):
            self._visit(order, forced, to_net)
            self._give(way.loads, self.graph.intra_gb_s)

    def _to_net(self, order: list[str], forced: list[str]) -> None:
        balanced = self.graph.pattern == BALANCED_TREE
        gb_s = self.graph.inter_gb_s / 2 if balanced else self.graph.inter_gb_s
        second = balanced and len(order) == 2
        for hca in self.machine.hcas:
            if self.done or (hca != self.exits[-1] if second else not self._may_leave(hca)):
                continue
            way = self.machine.ways[order[-1], hca]
            if self._take(way, self.graph.inter, gb_s):
                self.exits.append(hca)
                self._visit(order, forced, 1 if balanced and not second else -1)
                self.exits.pop()
                self._give(way.loads, gb_s)

    def _may_leave(self, hca: str) -> bool:
        if not self.graph.cross_nic or self.graph.pattern == TREE:
            return hca == self.entries[-1]
        if self.graph.pattern == RING and len(self.orders) % 2 == 1:
            return hca == self.entries[-2]
        return True

    def _next(self, order: list[str]) -> list[str]:
        """Return the GPUs to try after an order: the neighbours on NVSwitches, else the nearest first."""
        gpus = self.machine.gpus
        at, n = gpus.index(order[-1]), len(gpus)
        if self.machine.nvswitch:
            turns = {RING: (-1, 1), BALANCED_TREE: (1, -1), TREE: (1,)}[self.graph.pattern]
            near = [gpus[(at + turn) % n] for turn in turns]
            return [gpu for i, gpu in enumerate(near) if gpu not in order and gpu not in near[:i]]
        free = [gpus[(at + i) % n] for i in range(1, n) if gpus[(at + i) % n] not in order]
        last = [gpu for gpu in free if gpu in self.out]
        if len(last) == 1 and len(free) > 1:
            free.remove(last[0])
        ways = {gpu: self.machine.ways[order[-1], gpu] for gpu in free}
        if self.graph.pattern == BALANCED_TREE and len(order) == 1 and self.exits:
            far = {gpu: self.machine.ways[gpu, self.exits[-1]].type for gpu in free}
            return sorted(free, key=lambda gpu: (far[gpu], -ways[gpu].gb_s, len(ways[gpu].loads)))
        return sorted(free, key=lambda gpu: (-ways[gpu].gb_s, len(ways[gpu].loads)))

    def _ways_out(self, first: str) -> frozenset[str]:
        """Return the GPUs from which a ring may go back to the network, by what is left after it came to the first."""
        out = set()
        for gpu in self.machine.gpus:
            if gpu == first and len(self.machine.gpus) > 1:
                continue
            for way in (self.machine.ways[gpu, hca] for hca in self.machine.hcas if self._may_leave(hca)):
                if gpu not in out and self._take(way, self.graph.inter, self.graph.inter_gb_s):
                    self._give(way.loads, self.graph.inter_gb_s)
                    out.add(gpu)
        return frozenset(out)

    def _complete(self, order: list[str]) -> None:
        self.orders.append(order)
        self.best = max(self.best, len(self.orders))
        if not self.done:
            self._channel()
        self.orders.pop()

    def _take(self, way: Way, farthest: PathType, gb_s: float) -> bool:
        """Take bandwidth along a way; leave all as it was if it is too far or has too little left."""
        if way.type > farthest:
            return False
        for i, (hop, share) in enumerate(way.loads):
            self.left[hop] -= share * gb_s
            if self.left[hop] < -1e-3:
                self._give(way.loads[: i + 1], gb_s)
                return False
        return True

    def _give(self, loads: tuple[tuple[Hop, float], ...], gb_s: float) -> None:
        for hop, share in loads:
            self.left[hop] += share * gb_s
