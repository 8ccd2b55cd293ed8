"""The channels that NCCL would build inside a node, and how fast: its graph search, simplified.

NCCL tries bandwidths from a list, fastest first, and for each builds channel after channel along ways that still have so
much left, going back where it is stuck, for as long as a timeout allows (2.30.7, ``src/graph/search.cc``). The same is done here
with two differences. A bandwidth at which not even all ports together could beat what is found is passed over. And the steps
of one attempt are fewer, because channels beyond what ports and NVLinks carry are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fabctl.bench.nccl.constants import MAX_CHANNELS, MAX_DIRECT_ARITY, MAX_NVLS_ARITY
from fabctl.bench.nccl.machine import Hop, Machine, Way
from fabctl.nodes.paths import PathType

SPEEDS = {
    ("intra", 0): (40.0, 30.0, 20.0, 18.0, 15.0, 12.0, 10.0, 9.0, 7.0, 6.0, 5.0, 4.0, 3.0),
    ("intra", 90): (60.0, 50.0, 40.0, 30.0, 24.0, 20.0, 15.0, 12.0, 11.0, 6.0, 3.0),
    ("intra", 100): (90.0, 80.0, 70.0, 60.0, 50.0, 45.0, 40.0, 30.0, 24.0, 20.0, 19.0, 18.0),
    ("inter", 0): (48.0, 30.0, 28.0, 24.0, 20.0, 18.0, 15.0, 12.0, 10.0, 9.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.4, 1.2, 0.24, 0.12),
    ("inter", 90): (48.0, 45.0, 42.0, 40.0, 30.0, 24.0, 22.0, 20.0, 17.5, 15.0, 12.0, 6.0, 3.0, 2.4, 1.2, 0.24, 0.12),
    ("inter", 100): (
        *(96.0, 90.2, 86.0, 80.0, 48.0, 45.1, 42.0, 40.0, 30.0, 24.0, 22.0),
        *(20.0, 17.5, 15.0, 12.0, 6.0, 3.0, 2.4, 1.2, 0.24, 0.12),
    ),
}
"""Bandwidths of a channel that NCCL tries, GB/s (``speedArrayIntra`` and the like), by compute capability."""
SLOWER = 0.49
"""Bandwidths below this share of the one found are not tried."""
DOUBLED_GB_S = 25.0
"""Channels at least as fast are split into two (``ncclTopoDupChannels``)."""
STEPS, FEW_STEPS = 5000, 300
"""GPUs visited in one attempt before it is given up; few are enough where all GPUs are alike (NVSwitch), and to better a find."""

RING, BALANCED_TREE, TREE = "ring", "balanced-tree", "tree"
"""A ring goes back to the network from its last GPU, a balanced tree half from its first and half from its second, a tree from
its first."""


@dataclass(frozen=True)
class Graph:
    """Equal channels through a node.

    Parameters
    ----------
    pattern : str
        `RING`, `BALANCED_TREE`, `TREE`, ``nvls`` or ``collnet-direct``.
    channels : int
        0: there is none.
    intra_gb_s, inter_gb_s : float
        Of one channel, between GPUs and to the network.
    intra, inter : PathType
        The farthest between GPUs, and between GPU and HCA.
    cross_nic : bool
        Whether a channel leaves by another HCA than it came.
    same : bool
        Whether all channels visit the GPUs in one order.
    """

    pattern: str
    channels: int
    intra_gb_s: float
    inter_gb_s: float
    intra: PathType = PathType.LOC
    inter: PathType = PathType.LOC
    cross_nic: bool = False
    same: bool = True

    @property
    def label(self) -> str:
        """The way that NCCL logs it: ``8 channels x 24/24 GB/s, NVL/PIX``."""
        return f"{self.channels} channels x {self.intra_gb_s:g}/{self.inter_gb_s:g} GB/s, {self.intra.name}/{self.inter.name}"


def search_channels(machine: Machine, pattern: str, min_channels: int = 1, max_channels: int = MAX_CHANNELS // 2) -> Graph:
    """Return the channels of a ring or a tree (``ncclTopoCompute``); the fall-back of 0.1 GB/s if there is no way.

    Complexity
    ----------
    At most `STEPS` GPUs for each attempt; a few dozen attempts.
    """
    if len(machine.gpus) == 1 and pattern == BALANCED_TREE:
        pattern = TREE
    speeds = _speeds(machine)
    most = machine.channel_gb_s
    total = machine.total_gb_s * (len(machine.gpus) / (len(machine.gpus) - 1) if pattern != RING and len(machine.gpus) > 1 else 1)
    start = next((i for i, s in enumerate(speeds) if s <= most and s * min_channels <= total), len(speeds) - 1)
    found = Graph(pattern, 0, 0.0, 0.0)
    for speed in speeds[start:]:
        if found.channels and (speed / found.intra_gb_s <= SLOWER or found.channels * found.intra_gb_s >= machine.total_gb_s):
            break
        found = _at_speed(machine, found, speed, min_channels, max_channels)
    if not found.channels:
        return Graph(pattern, 1, 0.1, 0.1 if machine.hcas else 0.0, PathType.SYS, PathType.SYS)
    return _faster(machine, _doubled(machine, found, max_channels), speeds, max_channels)


def _speeds(machine: Machine) -> tuple[float, ...]:
    era = next(first for first in (100, 90, 0) if machine.capability >= first)
    return SPEEDS["inter" if machine.hcas else "intra", era]


def _at_speed(machine: Machine, found: Graph, speed: float, fewest: int, most: int) -> Graph:
    """Return the better of `found` and what there is at a speed, over near ways before far ones."""
    limit = min(most, _most_channels(machine, found.pattern, speed))
    for tried in _variants(machine, found, speed):
        if limit < fewest or limit * speed <= found.channels * found.intra_gb_s:
            break
        if found.channels and (tried.inter > max(found.inter, PathType.PXN) or tried.intra > found.intra):
            continue
        channels = _Attempt(machine, tried, limit, FEW_STEPS if machine.nvswitch or found.channels else STEPS).run()
        if channels >= fewest and channels * speed > found.channels * found.intra_gb_s:
            found = replace(tried, channels=channels)
    return found


def _variants(machine: Machine, found: Graph, speed: float) -> Iterator[Graph]:
    """Yield what NCCL tries at one speed, in its order."""
    shapes = (found.pattern, TREE) if found.pattern == BALANCED_TREE and machine.capability >= 90 else (found.pattern,)
    crossings = (False, True) if len(machine.hcas) > 1 and found.pattern != TREE else (False,)
    for cross_nic in crossings:
        for inter, intra in _types(machine):
            for shape in shapes:
                for same in (True, False):
                    yield Graph(shape, 0, speed, speed if machine.hcas else 0.0, intra, inter, cross_nic, same)


def _types(machine: Machine) -> Iterator[tuple[PathType, PathType]]:
    """Yield the farthest way to an HCA and between GPUs that is allowed, nearest first, of those that there are."""
    between = sorted({machine.ways[a, b].type for a in machine.gpus for b in machine.gpus if a != b}) or [PathType.LOC]
    if not machine.hcas:
        yield from ((PathType.LOC, intra) for intra in between)
        return
    for inter in sorted({machine.ways[gpu, hca].type for gpu in machine.gpus for hca in machine.hcas}):
        yield from ((inter, intra) for intra in between if intra == between[0] or intra <= inter)


def _most_channels(machine: Machine, pattern: str, speed: float) -> int:
    """Return how many channels of a speed the ports of the node, or the links of a GPU, carry at most."""
    if machine.hcas:
        return len(machine.hcas) * int(machine.port_gb_s // int(speed)) if speed >= 1 else len(machine.hcas)
    n = len(machine.gpus)
    return int(machine.total_gb_s * (1 if pattern == RING else n / (n - 1)) / speed + 1e-6)


def _doubled(machine: Machine, graph: Graph, most: int) -> Graph:
    """Return a graph of fast channels as one of twice as many (``ncclTopoDupChannels``)."""
    slow = graph.intra_gb_s < (50.0 if machine.capability > 80 and graph.channels > 4 else DOUBLED_GB_S)
    channels = min(2 * graph.channels, most)
    if slow or channels == graph.channels:
        return graph
    ways = -(-channels // graph.channels)
    return replace(graph, channels=channels, intra_gb_s=graph.intra_gb_s / ways, inter_gb_s=graph.inter_gb_s / ways)


def _faster(machine: Machine, graph: Graph, speeds: tuple[float, ...], most: int) -> Graph:
    """Return the graph with faster channels: of a ring all the way, of a tree between GPUs, up to twice its network."""
    ring = graph.pattern == RING
    for speed in reversed([s for s in speeds if s > (graph.inter_gb_s or graph.intra_gb_s)]):
        if not ring and machine.hcas and graph.intra_gb_s >= 2 * graph.inter_gb_s:
            break
        tried = replace(graph, intra_gb_s=speed, inter_gb_s=speed if ring and machine.hcas else graph.inter_gb_s)
        limit = most if ring else graph.channels
        channels = _Attempt(machine, tried, limit, FEW_STEPS if machine.nvswitch or ring else STEPS).run()
        if channels >= graph.channels and channels * speed > graph.channels * graph.intra_gb_s:
            graph = replace(tried, channels=channels)
        elif not ring:
            break
    return graph


class _Attempt:
    """One attempt to build as many channels of a graph's speed as there is room for."""

    def __init__(self, machine: Machine, graph: Graph, limit: int, steps: int) -> None:
        self.machine = machine
        self.graph = graph
        self.limit = limit
        self.left = dict(machine.capacity)
        self.ports = dict.fromkeys(machine.hcas, machine.port_gb_s)
        self.steps = steps
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
    def done(self) -> bool:
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
            if self.ports[hca] < int(self.graph.inter_gb_s) or (self._returns(built) and hca != self.exits[-1]):
                continue
            self.ports[hca] -= self.graph.inter_gb_s
            self.entries.append(hca)
            for first, forced in self._starts(hca):
                way = self.machine.ways[hca, first]
                if self._take(way, self.graph.inter, self.graph.inter_gb_s):
                    self._start(first, forced)
                    self._give(way, self.graph.inter_gb_s)
            self.entries.pop()
            self.ports[hca] += self.graph.inter_gb_s

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
        yield from ((gpu, []) for gpu in (self.machine.locals[hca] if hca else self.machine.gpus))

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
                self._give(way, self.graph.intra_gb_s)
        else:
            self._complete(order)

    def _move(self, way: Way, order: list[str], forced: list[str], to_net: int) -> None:
        if not self.done and self._take(way, self.graph.intra, self.graph.intra_gb_s):
            self._visit(order, forced, to_net)
            self._give(way, self.graph.intra_gb_s)

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
                self._give(way, gb_s)

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
                    self._give(way, self.graph.inter_gb_s)
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
                self._put_back(way.loads[: i + 1], gb_s)
                return False
        return True

    def _give(self, way: Way, gb_s: float) -> None:
        self._put_back(way.loads, gb_s)

    def _put_back(self, loads: tuple[tuple[Hop, float], ...], gb_s: float) -> None:
        for hop, share in loads:
            self.left[hop] += share * gb_s


def nvls_channels(machine: Machine) -> Graph:
    """Return NVLS's channels: one for each GPU that reduces in the NVSwitch, at most one for each HCA.

    Notes
    -----
    The head of a channel sends and receives twice its bandwidth over NVLink, every other GPU once (``ncclTopoSearchTryNvls``);
    more heads are better, then faster ones.
    """
    if not machine.nvswitch or machine.capability < 90:
        return Graph("nvls", 0, 0.0, 0.0)
    most = min(MAX_NVLS_ARITY, len(machine.gpus))
    fewest = 1 if machine.hcas else most
    speeds = _speeds(machine)
    found = Graph("nvls", 0, 0.0, 0.0, PathType.NVL, min((t for t, _ in _types(machine)), default=PathType.LOC))
    for speed in speeds:
        if found.channels and (speed / found.inter_gb_s <= SLOWER or found.channels == most):
            break
        room = next((k for k in range(most, 0, -1) if (k + (k > 0)) * speed <= machine.nvlink_gb_s + 1e-3), 0)
        heads = min(room, _heads(machine, speed)) if machine.hcas else room
        if heads >= fewest and (heads > found.channels or heads * speed > found.channels * found.inter_gb_s):
            found = replace(found, channels=heads, intra_gb_s=speed, inter_gb_s=speed)
    for speed in reversed([s for s in speeds if s > found.inter_gb_s]):
        if found.inter_gb_s < 2 * found.intra_gb_s and (not machine.hcas or _heads(machine, speed) >= found.channels):
            found = replace(found, inter_gb_s=speed)
    return found


def direct_channels(machine: Machine) -> Graph:
    """Return CollNetDirect's channels: one for each GPU that talks to an HCA of its own."""
    most = min(MAX_DIRECT_ARITY + 1, len(machine.gpus))
    others = max(len(machine.gpus) - 1, 1)
    speeds = _speeds(machine)

    def room(heads: int, speed: float) -> bool:
        return speed * (1 + (heads - 1) / others) <= machine.nvlink_gb_s + 1e-3

    found = Graph("collnet-direct", 0, 0.0, 0.0, PathType.NVL, PathType.PIX)
    for speed in speeds:
        heads = min(most, _heads(machine, speed))
        if heads and room(heads, speed) and heads * speed > found.channels * found.intra_gb_s:
            found = replace(found, channels=heads, intra_gb_s=speed, inter_gb_s=speed)
    found = _doubled(machine, found, most) if found.channels else found
    for speed in reversed([s for s in speeds if s > found.inter_gb_s]):
        if found.channels and found.intra_gb_s < 2 * found.inter_gb_s and room(found.channels, speed):
            found = replace(found, intra_gb_s=speed)
    return found


def _heads(machine: Machine, speed: float) -> int:
    """Return how many GPUs have an HCA next to them that carries so much both ways, an HCA for each."""
    heads: set[str] = set()
    for hca in machine.hcas:
        head = next((gpu for gpu in machine.locals[hca] if gpu not in heads), "")
        if head and min(machine.ways[hca, head].gb_s, machine.ways[head, hca].gb_s) >= speed:
            heads.add(head)
    return len(heads)
