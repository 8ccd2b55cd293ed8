"""The channels that NCCL would build inside a node, and how fast: its graph search, simplified.

NCCL tries bandwidths from a list, fastest first, and for each builds channel after channel along ways that still have so
much left, going back where it is stuck, for as long as a timeout allows (2.30.7, ``src/graph/search.cc``). The same is done
here, with three differences. A bandwidth at which not even all ports or NVLinks together would beat what is found is passed
over, and channels beyond what they carry are not looked for. The timeouts are shorter. And of two graphs as fast, the first is
taken, not that of fewer hops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fabctl.bench.nccl.attempt import FEW_STEPS, Attempt
from fabctl.bench.nccl.constants import MAX_CHANNELS
from fabctl.bench.nccl.graphs import BALANCED_TREE, RING, SLOWER, TREE, Graph, doubled, speeds_of
from fabctl.bench.nccl.machine import Machine
from fabctl.nodes.paths import PathType

ALL_STEPS = 20000
"""GPUs visited by one search before it is content with what it found, or hurries (NCCL's timeout is 26 times as long)."""


def search_channels(machine: Machine, pattern: str, min_channels: int = 1, max_channels: int = MAX_CHANNELS // 2) -> Graph:
    """Return the channels of a ring or a tree (``ncclTopoCompute``); the fall-back of 0.1 GB/s if there is no way.

    Complexity
    ----------
    `ALL_STEPS` visits of a GPU, a few microseconds each; only where they find nothing, `FEW_STEPS` more for each attempt.
    """
    n = len(machine.gpus)
    if n == 1 and pattern == BALANCED_TREE:
        pattern = TREE
    speeds = speeds_of(machine)
    total = machine.total_gb_s * (n / (n - 1) if pattern != RING and n > 1 else 1)
    starts = (i for i, s in enumerate(speeds) if s <= machine.channel_gb_s and s * min_channels <= total)
    found = Graph(pattern, 0, 0.0, 0.0)
    steps = ALL_STEPS
    for speed in speeds[next(starts, len(speeds) - 1) :]:
        if found.channels and (speed / found.intra_gb_s <= SLOWER or found.gb_s >= machine.total_gb_s):
            break
        limit = min(max_channels, _most_channels(machine, pattern, speed))
        for tried in _variants(machine, pattern, speed):
            if limit < min_channels or limit * speed <= found.gb_s or (found.channels and steps <= FEW_STEPS):
                break
            if found.channels and (tried.inter > max(found.inter, PathType.PXN) or tried.intra > found.intra):
                continue
            attempt = Attempt(machine, tried, limit, steps)
            channels = attempt.run()
            steps -= attempt.taken
            if channels >= min_channels and channels * speed > found.gb_s:
                found = replace(tried, channels=channels)
    if not found.channels:
        return Graph(pattern, 1, 0.1, 0.1, PathType.SYS, PathType.SYS)
    return _faster(machine, doubled(machine, found, max_channels), speeds, max_channels)


def _variants(machine: Machine, pattern: str, speed: float) -> Iterator[Graph]:
    """Yield what NCCL tries at one speed, in its order."""
    shapes = (pattern, TREE) if pattern == BALANCED_TREE and machine.capability >= 90 else (pattern,)
    crossings = (False, True) if len(machine.hcas) > 1 and pattern != TREE else (False,)
    for cross_nic in crossings:
        for inter, intra in _types(machine):
            for shape in shapes:
                yield Graph(shape, 0, speed, speed, intra, inter, cross_nic, same=True)
                if machine.cpu_vendor != "amd" or intra != PathType.SYS:
                    yield Graph(shape, 0, speed, speed, intra, inter, cross_nic, same=False)


def _types(machine: Machine) -> Iterator[tuple[PathType, PathType]]:
    """Yield the farthest way to an HCA and between GPUs that is allowed, nearest first, of those that there are."""
    between = sorted({machine.ways[a, b].type for a in machine.gpus for b in machine.gpus if a != b} - {PathType.DIS})
    outside = sorted({machine.ways[gpu, hca].type for gpu in machine.gpus for hca in machine.hcas} - {PathType.DIS})
    for inter in outside or [PathType.PIX]:
        nearest = between[:1] or [PathType.LOC]
        yield from ((inter, intra) for intra in nearest + [far for far in between[1:] if far <= inter or not machine.hcas])


def _most_channels(machine: Machine, pattern: str, speed: float) -> int:
    """Return how many channels of a speed the ports of the node, or the links of a GPU, carry at most."""
    if machine.hcas:
        return len(machine.hcas) * int(machine.port_gb_s / speed + 1e-6)
    n = len(machine.gpus)
    return int(machine.total_gb_s * (1 if pattern == RING else n / (n - 1)) / speed + 1e-6)


def _faster(machine: Machine, graph: Graph, speeds: tuple[float, ...], most: int) -> Graph:
    """Return the graph with faster channels: of a ring all the way, of a tree between GPUs, up to twice its network."""
    ring = graph.pattern == RING
    for speed in reversed([s for s in speeds if graph.inter_gb_s < s <= (machine.channel_gb_s if ring else machine.total_gb_s)]):
        if not ring and graph.intra_gb_s >= 2 * graph.inter_gb_s:
            break
        tried = replace(graph, intra_gb_s=speed, inter_gb_s=speed if ring else graph.inter_gb_s)
        limit = most if ring else graph.channels
        channels = Attempt(machine, tried, limit).run()
        if channels >= graph.channels and channels * speed > graph.gb_s:
            graph = replace(tried, channels=channels)
        elif not ring:
            break
    return graph
