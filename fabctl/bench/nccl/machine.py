"""`Machine`: a node as NCCL's graph search sees it: capacities of directed links, and the ways between GPUs and HCAs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fabctl.bench.gpudirect import gdr_of
from fabctl.model.node_graph import CPU, GPU, NVLINK, NVSWITCH, ON_DIE, PCIE, SMP, NodeGraph, NodeLink
from fabctl.model.offloads import Offloads
from fabctl.nodes.figures import nvlink_gb_s, pcie_gb_s
from fabctl.nodes.paths import PathType, find_path, serving_hcas

Hop = tuple[str, str]
"""A directed link."""

INTEL_P2P = 1.2
"""Intel's CPUs cut what GPUs send to each other into 64-byte TLPs: PCIe carries so much more (``INTEL_P2P_OVERHEAD``)."""
REVERSE_SHARE = 1 / 8
"""What the writes of an HCA cost on the way back from a GPU before Ampere (``src/graph/search.cc``, ``followPath``)."""
LOCAL_GB_S = 5000.0
"""Inside a CPU (``LOC_BW``): never what binds."""
WIRE = "wire of "
"""Before the name of an HCA: what is at the other end of its cable."""


@dataclass(frozen=True)
class Way:
    """A way through the node.

    Parameters
    ----------
    type : PathType
    gb_s : float
        Of its slowest link.
    loads : tuple of ((str, str), float)
        Directed links, each with the share of the bandwidth of a channel that it takes.
    """

    type: PathType
    gb_s: float
    loads: tuple[tuple[Hop, float], ...]


@dataclass(frozen=True)
class Machine:
    """A node, the capacities of its links, and the ways that channels may take.

    Parameters
    ----------
    capability : int
        Compute capability of the GPUs: 80 for 8.0.
    gpus, hcas : tuple of str
        Without HCAs only what stays inside the node is searched.
    nvswitch : bool
    cpu_vendor : str
    capacity : dict of (str, str) to float
        Of each directed link, GB/s.
    ways : dict of (str, str) to Way
        From GPU to GPU, from HCA (its wire) to GPU, from GPU to HCA.
    near : dict of str to tuple of str
        GPUs that are nearest to an HCA, the one that it serves first.
    nvlink_gb_s, total_gb_s : float
        What a GPU sends over NVLink; and over NVLink or PCIe, whichever is more (``totalBw``).
    port_gb_s : float
        Of one HCA port.
    """

    capability: int
    gpus: tuple[str, ...]
    hcas: tuple[str, ...]
    nvswitch: bool
    cpu_vendor: str
    capacity: dict[Hop, float]
    ways: dict[Hop, Way]
    near: dict[str, tuple[str, ...]]
    nvlink_gb_s: float
    total_gb_s: float
    port_gb_s: float

    @property
    def channel_gb_s(self) -> float:
        """The fastest that one channel can be (``maxBw``)."""
        return max((self.ways[a, b].gb_s for a in self.gpus for b in self.hcas or self.gpus if a != b), default=0.0)


def machine(node: NodeGraph, capability: int, n_gpus: int, hcas: Sequence[str], port_gb_s: float, offloads: Offloads) -> Machine:
    """Return a node as NCCL sees it.

    Parameters
    ----------
    n_gpus : int
        The first so many of the node's GPUs.
    hcas : sequence of str
        Those that carry the job; empty for what stays inside the node.
    port_gb_s : float
        Rate of one HCA port.
    offloads : Offloads

    Notes
    -----
    2.30.7, ``src/graph/paths.cc`` (``ncclTopoComputePaths``). PXN: where a GPU that is next to the HCA and on the same NVLinks
    has more bandwidth to it, or spares the CPU. Through the memory of the CPU, where an HCA that PCIe switches join to a GPU may
    not reach it by itself; a way through a root counts as it is.
    """
    gpus = node.gpus[:n_gpus]
    capacity = {
        hop: _gb_s(link, capability, node.cpu_vendor) for link in node.links for hop in ((link.a, link.b), (link.b, link.a))
    }
    capacity |= {hop: port_gb_s for hca in hcas for hop in ((hca, WIRE + hca), (WIRE + hca, hca))}
    ways: dict[Hop, Way] = {}
    sent = {
        kind: max(sum(_gb_s(link, capability, "") for _, link in node.neighbours[gpu] if link.kind == kind) for gpu in gpus)
        for kind in (NVLINK, PCIE)
    }
    for a in gpus:
        for b in gpus:
            if a != b:
                ways[a, b] = _way(node, capacity, (a, b))
    for hca in hcas:
        for gpu in gpus:
            straight = find_path(node, gpu, hca).type >= PathType.PHB or gdr_of(node, gpu, hca, offloads).receive
            there, back = (_through(node, capacity, a, b, straight=straight) for a, b in ((hca, gpu), (gpu, hca)))
            ways[hca, gpu] = _received(there, hca, port_gb_s, capability)
            ways[gpu, hca] = _sent(back, hca, port_gb_s)
    near = {hca: _nearest(node, ways, hca, gpus) for hca in hcas}
    for hca in hcas:
        for gpu in gpus:
            ways[gpu, hca] = _over_nvlink(ways, gpu, near[hca][0], hca)
    return Machine(
        capability=capability,
        gpus=gpus,
        hcas=tuple(hcas),
        nvswitch=bool(node.of_kind(NVSWITCH)),
        cpu_vendor=node.cpu_vendor,
        capacity=capacity,
        ways=ways,
        near=near,
        nvlink_gb_s=sent[NVLINK],
        total_gb_s=max(sent.values()),
        port_gb_s=port_gb_s,
    )


def _gb_s(link: NodeLink, capability: int, cpu_vendor: str) -> float:
    """Return what NCCL counts of a link, GB/s; of one whose bandwidth is unknown, what it falls back to."""
    if link.kind == ON_DIE:
        return LOCAL_GB_S
    if link.gb_s:
        return link.gb_s
    fallback = {NVLINK: nvlink_gb_s(capability) * link.count, PCIE: pcie_gb_s(0.0), SMP: 16.0 if cpu_vendor == "amd" else 6.0}
    return fallback.get(link.kind, LOCAL_GB_S)


def _way(node: NodeGraph, capacity: dict[Hop, float], ends: Hop) -> Way:
    path = find_path(node, *ends)
    p2p = path.type == PathType.PHB and node.cpu_vendor == "intel" and node.kind_of[ends[0]] == GPU
    hops = list(pairwise(path.devices)) if path.links else []
    loads = tuple((hop, INTEL_P2P if p2p and link.kind == PCIE else 1.0) for hop, link in zip(hops, path.links, strict=True))
    return Way(path.type, min((capacity[hop] for hop in hops), default=0.0), loads)


def _through(node: NodeGraph, capacity: dict[Hop, float], a: str, b: str, *, straight: bool) -> Way:
    """Return the way between an HCA and a GPU: straight, or through the memory of the CPU next to the GPU."""
    if straight:
        return _way(node, capacity, (a, b))
    gpu = a if node.kind_of[a] == GPU else b
    paths = {cpu: find_path(node, gpu, cpu) for cpu in node.of_kind(CPU)}
    cpu = min(paths, key=lambda name: (paths[name].type, len(paths[name].links)))
    first, second = (_way(node, capacity, ends) for ends in ((a, cpu), (cpu, b)))
    return Way(max(first.type, second.type, PathType.PHB), min(first.gb_s, second.gb_s), first.loads + second.loads)


def _received(way: Way, hca: str, port_gb_s: float, capability: int) -> Way:
    loads: tuple[tuple[Hop, float], ...] = (((WIRE + hca, hca), 1.0), *way.loads)
    if capability < 80 and way.loads:
        (source, target), share = way.loads[-1]
        loads = (*loads, ((target, source), share * REVERSE_SHARE))
    return Way(way.type, min(way.gb_s, port_gb_s), loads)


def _sent(way: Way, hca: str, port_gb_s: float) -> Way:
    return Way(way.type, min(way.gb_s, port_gb_s), (*way.loads, ((hca, WIRE + hca), 1.0)))


def _nearest(node: NodeGraph, ways: dict[Hop, Way], hca: str, gpus: tuple[str, ...]) -> tuple[str, ...]:
    served = dict(zip(node.gpus, serving_hcas(node), strict=True))
    distance = {gpu: (ways[hca, gpu].type, -ways[hca, gpu].gb_s) for gpu in gpus}
    near = [gpu for gpu in gpus if distance[gpu] == min(distance.values())]
    return tuple(sorted(near, key=lambda gpu: served[gpu] != hca))


def _over_nvlink(ways: dict[Hop, Way], gpu: str, peer: str, hca: str) -> Way:
    """Return the way from a GPU to an HCA, over a GPU next to the HCA (PXN) where NCCL prefers that."""
    straight = ways[gpu, hca]
    if gpu == peer or ways[gpu, peer].type > PathType.NVL or ways[peer, hca].type > PathType.P2C:
        return straight
    if straight.type <= PathType.PXN and ways[peer, hca].gb_s <= straight.gb_s:
        return straight
    first, second = ways[gpu, peer], ways[peer, hca]
    return Way(PathType.PXN, min(first.gb_s, second.gb_s), first.loads + second.loads)
