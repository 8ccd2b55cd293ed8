"""The channels that NCCL would build inside a node, and how fast: its graph search, simplified.

NCCL tries bandwidths from a list, fastest first, and for each builds channel after channel along ways that still have so
much left, going back where it is stuck, for as long as a timeout allows (2.30.7, ``src/graph/search.cc``). The same is done here
with two differences. A bandwidth at which not even all ports together could beat what is found is passed over. And the steps
of one attempt are fewer, because channels beyond what ports and NVLinks carry are not looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fabctl.bench.nccl.attempt import FEW_STEPS, STEPS, Attempt
from fabctl.bench.nccl.constants import MAX_CHANNELS
from fabctl.bench.nccl.graphs import BALANCED_TREE, RING, SLOWER, TREE, Graph, doubled, speeds_of
from fabctl.bench.nccl.machine import Machine
from fabctl.nodes.paths import PathType


def search_channels(machine: Machine, pattern: str, min_channels: int = 1, max_channels: int = MAX_CHANNELS // 2) -> Graph:
    """Return the channels of a ring or a tree (``ncclTopoCompute``); the fall-back of 0.1 GB/s if there is no way.

    Complexity
    ----------
    At most `STEPS` GPUs for each attempt; a few dozen attempts.
    """
    if len(machine.gpus) == 1 and pattern == BALANCED_TREE:
        pattern = TREE
    speeds = speeds_of(machine)
    most = machine.channel_gb_s
    total = machine.total_gb_s * (len(machine.gpus) / (len(machine.gpus) - 1) if pattern != RING and len(machine.gpus) > 1 else 1)
    start = next((i for i, s in enumerate(speeds) if s <= most and s * min_channels <= total), len(speeds) - 1)
    found = Graph(pattern, 0, 0.0, 0.0)
    for speed in speeds[start:]:
        if found.channels and (speed / found.intra_gb_s <= SLOWER or found.channels * found.intra_gb_s >= machine.total_gb_s):
            break
        found = _at_speed(machine, found, speed, min_channels, max_channels)
    if not found.channels:
        return Graph(pattern, 1, 0.1, 0.1, PathType.SYS, PathType.SYS)
    return _faster(machine, doubled(machine, found, max_channels), speeds, max_channels)


def _at_speed(machine: Machine, found: Graph, speed: float, fewest: int, most: int) -> Graph:
    """Return the better of `found` and what there is at a speed, over near ways before far ones."""
    limit = min(most, _most_channels(machine, found.pattern, speed))
    for tried in _variants(machine, found, speed):
        if limit < fewest or limit * speed <= found.channels * found.intra_gb_s:
            break
        if found.channels and (tried.inter > max(found.inter, PathType.PXN) or tried.intra > found.intra):
            continue
        channels = Attempt(machine, tried, limit, FEW_STEPS if machine.nvswitch or found.channels else STEPS).run()
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
                    yield Graph(shape, 0, speed, speed, intra, inter, cross_nic, same)


def _types(machine: Machine) -> Iterator[tuple[PathType, PathType]]:
    """Yield the farthest way to an HCA and between GPUs that is allowed, nearest first, of those that there are."""
    between = sorted({machine.ways[a, b].type for a in machine.gpus for b in machine.gpus if a != b}) or [PathType.LOC]
    if not machine.hcas:
        yield from ((PathType.PIX, intra) for intra in between)
        return
    for inter in sorted({machine.ways[gpu, hca].type for gpu in machine.gpus for hca in machine.hcas}):
        yield from ((inter, intra) for intra in between if intra == between[0] or intra <= inter)


def _most_channels(machine: Machine, pattern: str, speed: float) -> int:
    """Return how many channels of a speed the ports of the node, or the links of a GPU, carry at most."""
    if machine.hcas:
        return len(machine.hcas) * int(machine.port_gb_s / speed + 1e-6)
    n = len(machine.gpus)
    return int(machine.total_gb_s * (1 if pattern == RING else n / (n - 1)) / speed + 1e-6)


def _faster(machine: Machine, graph: Graph, speeds: tuple[float, ...], most: int) -> Graph:
    """Return the graph with faster channels: of a ring all the way, of a tree between GPUs, up to twice its network."""
    ring = graph.pattern == RING
    for speed in reversed([s for s in speeds if s > graph.inter_gb_s]):
        if not ring and graph.intra_gb_s >= 2 * graph.inter_gb_s:
            break
        tried = replace(graph, intra_gb_s=speed, inter_gb_s=speed if ring else graph.inter_gb_s)
        limit = most if ring else graph.channels
        channels = Attempt(machine, tried, limit, FEW_STEPS if machine.nvswitch or ring else STEPS).run()
        if channels >= graph.channels and channels * speed > graph.channels * graph.intra_gb_s:
            graph = replace(tried, channels=channels)
        elif not ring:
            break
    return graph
