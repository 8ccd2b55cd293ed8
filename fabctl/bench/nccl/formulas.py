"""What NCCL's tuner says of an algorithm and a protocol: latency and bandwidth, from the channels that the search found.

Source: NVIDIA NCCL 2.30.7, ``src/graph/tuning.cc``, ``ncclTopoTuneModel`` and ``ncclTopoGetAlgoTime``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fabctl.bench.nccl import constants as c
from fabctl.bench.nccl.graphs import TREE, Graph
from fabctl.nodes.paths import PathType

PASSES = {"reduce_scatter": 1, "all_gather": 1, "all_reduce": 2}
"""Passes round a ring, of n - 1 steps each; the other operations go down a chain of n."""


@dataclass(frozen=True)
class Communicator:
    """What the formulas need to know besides the channels.

    Parameters
    ----------
    capability : int
        Compute capability of the GPUs: 80 for 8.0.
    cpu_vendor : str
    n_nodes, per_node : int
    """

    capability: int
    cpu_vendor: str
    n_nodes: int
    per_node: int

    @property
    def n_ranks(self) -> int:
        """GPUs altogether."""
        return self.n_nodes * self.per_node

    @property
    def generation(self) -> str:
        """Row of NCCL's tables."""
        return c.generation(self.capability)

    @property
    def scale(self) -> int:
        """Column of NCCL's tables: 1, 2 or more nodes."""
        return min(self.n_nodes, 3) - 1

    @property
    def doublings(self) -> int:
        """Levels of a binary tree over the nodes (``log2i``)."""
        return self.n_nodes.bit_length() - 1

    def one_way_gb_s(self, graph: Graph) -> float:
        """Return what NCCL counts of a channel: on up to two nodes its speed inside them, else that to the network."""
        return graph.intra_gb_s if self.n_nodes <= 2 else graph.inter_gb_s

    def net_us(self, algorithm: str, protocol: str = "Simple") -> float:
        """Return what a network hop takes; with one GPU per node nothing hides it, and it is that of a tree."""
        return c.NET_US["Tree" if self.per_node == 1 else algorithm][protocol]

    @property
    def ll_max_gb_s(self) -> float:
        """The most that LL reaches: by GPU inside a node, by CPU over the network."""
        row = self.generation if self.n_nodes == 1 else "ampere" if self.cpu_vendor == "amd" else "volta"
        return c.LL_MAX_GB_S[row][self.scale]


@dataclass(frozen=True)
class Price:
    """What an algorithm and protocol cost for an operation, before corrections by size.

    Parameters
    ----------
    algorithm, protocol : str
    latency_us : float
    gb_s : float
        Algorithm bandwidth.
    inter_steps : int
        Network hops that follow one another.
    """

    algorithm: str
    protocol: str
    latency_us: float
    gb_s: float
    inter_steps: int


def ring(comm: Communicator, graph: Graph, operation: str, protocol: str) -> Price:
    """Return the price of rings."""
    bus = comm.one_way_gb_s(graph) * graph.channels
    if protocol == "LL":
        bus = min(comm.ll_max_gb_s, 0.5 * bus)
    elif protocol == "LL128":
        bus = min(0.92 * bus, graph.channels * c.RING_LL128_GB_S[comm.generation][comm.scale])
    passes = PASSES.get(operation, 0)
    steps = passes * (comm.n_ranks - 1) if passes else comm.n_ranks
    inter_steps = (passes or 1) * (comm.n_nodes - 1)
    base = c.BASE_US["Ring"][protocol]
    if passes:
        post = 0.0
        if comm.n_nodes > 1:
            post = c.POST_US.get(comm.cpu_vendor, c.POST_DEFAULT_US) * (3 if protocol == "Simple" else 1)
        inside = max(_hop_us(graph, "Ring", protocol), post)
        latency = base + (steps - inter_steps) * inside + inter_steps * comm.net_us("Ring", protocol)
    else:
        hop = _hop_us(graph, "Ring" if graph.same or protocol != "Simple" else "Tree", protocol, comm.n_nodes)
        latency = base + hop * (1 if graph.same else steps)
    return Price("Ring", protocol, latency, bus * comm.n_ranks / steps, inter_steps)


def tree(comm: Communicator, graph: Graph, operation: str, protocol: str) -> Price | None:
    """Return the price of double binary trees over the nodes, chains inside."""
    if operation != "all_reduce":
        return None
    bus = graph.channels * min(0.92 * comm.one_way_gb_s(graph), c.TREE_GB_S[comm.generation][comm.scale])
    if protocol == "LL":
        bus = min(bus / 3.8, comm.ll_max_gb_s)
    elif protocol == "LL128":
        share = 7 / 9 if comm.n_nodes == 1 else 120 / 128
        bus = min(bus * share, graph.channels * c.TREE_LL128_GB_S[comm.generation][comm.scale])
    if graph.pattern == TREE:
        bus *= 0.85
    hops = (comm.per_node - 1) * _hop_us(graph, "Tree", protocol) + comm.doublings * comm.net_us("Tree", protocol)
    return Price("Tree", protocol, c.BASE_US["Tree"][protocol] + 2 * hops, bus / 2, 2 * comm.doublings)


def collnet_direct(comm: Communicator, graph: Graph, operation: str) -> Price | None:
    """Return the price of CollNet with each GPU beside its own HCA."""
    if operation != "all_reduce" or not graph.channels:
        return None
    share = comm.per_node / graph.channels
    bus = graph.channels * graph.intra_gb_s / (share - (share - 1) / 2)
    if comm.capability >= 90:
        bus *= 0.85
    others = comm.per_node - 1
    inside = min(1, others) * _hop_us(graph, "CollNetDirect", "Simple") + others * c.ARITY_US
    return Price("CollNetDirect", "Simple", 2 * inside + comm.net_us("CollNetDirect"), bus / 2, 1)


def collnet_chain(comm: Communicator, graph: Graph, operation: str) -> Price | None:
    """Return the price of CollNet with chains of GPUs behind each HCA."""
    if operation != "all_reduce":
        return None
    inside = (comm.per_node - 1) * _hop_us(graph, "CollNetChain", "Simple")
    bus = graph.channels * graph.intra_gb_s
    return Price("CollNetChain", "Simple", 2 * inside + comm.net_us("CollNetChain"), bus / 2, 1)


def nvls(comm: Communicator, graph: Graph, operation: str) -> Price | None:
    """Return the price of reductions in the NVSwitches, over several nodes with those of the network's switches."""
    if operation not in PASSES or (comm.n_nodes > 1 and operation != "all_reduce"):
        return None
    inside = _nvls_inside_gb_s(comm, graph, operation)
    gb_s = graph.channels * min(inside, graph.inter_gb_s)
    if operation == "all_reduce":
        gb_s *= comm.n_ranks / (2 * (comm.n_ranks - 1))
    latency = c.NVLINK_US["NVLS"]["Simple"] + (comm.net_us("NVLS") if comm.n_nodes > 1 else 0.0)
    return Price("NVLS", "Simple", latency, gb_s, min(comm.n_nodes - 1, 1))


def nvls_tree(comm: Communicator, graph: Graph, operation: str) -> Price | None:
    """Return the price of reductions in the NVSwitches with trees over the nodes."""
    if operation != "all_reduce":
        return None
    outside = graph.inter_gb_s * (2 if comm.n_nodes <= 2 else 1)
    inside = _nvls_inside_gb_s(comm, graph, operation)
    gb_s = graph.channels * min(inside, outside, c.NVLS_TREE_GB_S[comm.generation][comm.scale])
    latency = c.NVLINK_US["NVLSTree"]["Simple"] + 2 * comm.doublings * comm.net_us("NVLSTree")
    return Price("NVLSTree", "Simple", latency, gb_s * comm.n_ranks / (2 * (comm.n_ranks - 1)), 2 * comm.doublings)


def pat(comm: Communicator, graph: Graph, operation: str) -> Price | None:
    """Return the price of parallel aggregated trees, which NCCL takes with one GPU per node."""
    if operation not in ("reduce_scatter", "all_gather"):
        return None
    latency = c.BASE_US["PAT"]["Simple"] + comm.doublings * comm.net_us("PAT") / 3.5 + 2.8 * comm.n_ranks
    return Price("PAT", "Simple", latency, 0.75 * comm.one_way_gb_s(graph) * graph.channels, comm.doublings)


def corrected(price: Price, comm: Communicator, operation: str, size_bytes: int, channels: int) -> Price:
    """Return a price for one message size.

    Trees reach part of their bandwidth at medium sizes, NVLSTree too on Blackwell with x86 CPUs; the latency of rings over
    several nodes has a plateau.
    """
    on_blackwell = comm.capability >= 100 and comm.cpu_vendor in ("intel", "amd")
    if price.algorithm == "Tree" or (price.algorithm == "NVLSTree" and on_blackwell):
        factors = c.TREE_CORRECTION[price.protocol][: 23 if price.algorithm == "Tree" else 24]
        step = (size_bytes // 64).bit_length() - 1
        return replace(price, gb_s=price.gb_s * factors[step]) if 0 <= step < len(factors) else price
    plateau = price.algorithm == "Ring" and price.protocol == "Simple" and operation == "all_reduce" and comm.n_nodes > 1
    if plateau and size_bytes // (channels * comm.n_ranks) >= c.PLATEAU_BYTES:
        return replace(price, latency_us=price.latency_us * (c.PLATEAU_OLD if comm.capability < 80 else c.PLATEAU))
    return price


def has_ll128(comm: Communicator, graph: Graph) -> bool:
    """Return whether NCCL trusts LL128 on these channels (``isLL128Enabled``)."""
    far = PathType.PXN if comm.capability >= 90 else PathType.PXB
    return comm.capability >= 70 and graph.inter <= far and graph.intra <= PathType.NVB


SINGLE_PROTOCOL: dict[str, Callable[[Communicator, Graph, str], Price | None]] = {
    "CollNetDirect": collnet_direct,
    "CollNetChain": collnet_chain,
    "NVLS": nvls,
    "NVLSTree": nvls_tree,
    "PAT": pat,
}
"""Algorithms that have Simple alone."""


def _hop_us(graph: Graph, algorithm: str, protocol: str, n_nodes: int = 1) -> float:
    if n_nodes > 1:
        return c.NET_US[algorithm][protocol]
    return (c.NVLINK_US if graph.intra == PathType.NVL else c.PCI_US)[algorithm][protocol]


def _nvls_inside_gb_s(comm: Communicator, graph: Graph, operation: str) -> float:
    inside = graph.intra_gb_s * c.NVLS_EFFICIENCY[comm.generation] * (graph.channels - 1) / graph.channels
    return 2 * inside if operation == "all_reduce" else inside * (comm.per_node - 1) / comm.per_node
