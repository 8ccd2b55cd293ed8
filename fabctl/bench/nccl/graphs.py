"""`Graph`: the channels that NCCL builds inside a node, and the bandwidths that it tries for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fabctl.bench.nccl.machine import Machine
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
    def gb_s(self) -> float:
        """Of all channels together, between GPUs."""
        return self.channels * self.intra_gb_s

    @property
    def label(self) -> str:
        """The way that NCCL logs it: ``8 channels x 24/24 GB/s, NVL/PIX``."""
        return f"{self.channels} channels x {self.intra_gb_s:g}/{self.inter_gb_s:g} GB/s, {self.intra.name}/{self.inter.name}"


def speeds_of(machine: Machine) -> tuple[float, ...]:
    """Return the bandwidths that NCCL tries on a machine, fastest first."""
    era = next(first for first in (100, 90, 0) if machine.capability >= first)
    return SPEEDS["inter" if machine.hcas else "intra", era]


def doubled(machine: Machine, graph: Graph, most: int) -> Graph:
    """Return a graph of fast channels as one of twice as many (``ncclTopoDupChannels``)."""
    slow = graph.intra_gb_s < (50.0 if machine.capability > 80 and graph.channels > 4 else DOUBLED_GB_S)
    channels = min(2 * graph.channels, most)
    if slow or channels == graph.channels:
        return graph
    ways = -(-channels // graph.channels)
    return replace(graph, channels=channels, intra_gb_s=graph.intra_gb_s / ways, inter_gb_s=graph.inter_gb_s / ways)
