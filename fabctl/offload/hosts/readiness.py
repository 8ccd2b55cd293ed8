"""GPUDirect RDMA on a host: whether HCAs reach its GPUs' memory by themselves, and what keeps them from it.

Four things must hold: the kernel lets HCAs register GPU memory (NVIDIA's module has registered with the RDMA core, or DMA-BUF
does without it), no bridge between GPU and HCA redirects peer traffic (ACS), the IOMMU leaves addresses alone, and GPU and HCA
are near enough for NCCL. What nobody captured stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fabctl.bench.gpudirect import GDR_LEVEL, gdr_of
from fabctl.model.assessment import Status
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import PathType, find_path
from fabctl.offload.hosts import captures
from fabctl.offload.hosts.captures import COMMANDS
from fabctl.offload.hosts.facts import TRANSLATED, HostFacts, version
from fabctl.offload.hosts.lspci import Between, Function

NOT_LOADED, NOT_REGISTERED, ACS, IOMMU, FAR = "not-loaded", "not-registered", "acs", "iommu", "far"

DMA_BUF_KERNEL = (5, 12)
DMA_BUF_CAPABILITY = 75
"""DMA-BUF needs the open kernel modules, Linux 5.12 and a Turing or later GPU (NVIDIA GPU Operator, "GPUDirect RDMA")."""

PEER_SOURCE = "NCCL 2.30.7, src/transport/net_ib/gdr.cc"
DMA_BUF_SOURCE = "NVIDIA GPU Operator, GPUDirect RDMA: DMA-BUF"
ACS_SOURCE = "lspci -vvv; NCCL user guide, Troubleshooting: PCI Access Control Services"
IOMMU_SOURCE = "CUDA GPUDirect RDMA, Supported Systems: only pass-through translation"
FAR_SOURCE = "NCCL 2.30.7, ncclTopoCheckGdr"


@dataclass(frozen=True)
class Problem:
    """What keeps HCAs from GPU memory.

    Parameters
    ----------
    code : str
    fact : str
        The same words on all hosts that have it.
    source : str
    """

    code: str
    fact: str
    source: str


@dataclass(frozen=True)
class Unknown:
    """What is not known.

    Parameters
    ----------
    command : str
        What would tell.
    """

    command: str


@dataclass(frozen=True)
class Readiness:
    """What is known of GPUDirect RDMA on a host.

    Parameters
    ----------
    facts : HostFacts
    status : Status
    fact, source : str
        As `fabctl.model.assessment.Assessed` has them.
    problems : tuple of Problem
    bridges : tuple of Function
        Bridges between GPUs and their HCAs on which ACS redirects peer traffic.
    level : str
        What ``NCCL_NET_GDR_LEVEL`` would have to be for the farthest GPU; empty if NCCL's default suffices, or nothing is known.
    """

    facts: HostFacts
    status: Status
    fact: str
    source: str = ""
    problems: tuple[Problem, ...] = ()
    bridges: tuple[Function, ...] = ()
    level: str = ""

    def has(self, *codes: str) -> bool:
        """Return whether a problem is one of these."""
        return any(problem.code in codes for problem in self.problems)


def readiness(facts: HostFacts, devices: Sequence[str], node: NodeGraph | None) -> Readiness:
    """Return whether a host is ready.

    Parameters
    ----------
    devices : sequence of str
        RDMA devices through which it is on the fabric: ``mlx5_0``.
    node : NodeGraph, optional
        What it is, if its own ``nvidia-smi topo -m`` does not say.
    """
    if facts.n_gpus == 0:
        return Readiness(facts, Status.CANNOT, "it has no NVIDIA GPU", "lspci")
    found = [*_memory(facts), *_acs(facts, devices), *_iommu(facts), *_distance(facts, node, devices), *_links(facts)]
    problems = tuple(one for one in found if isinstance(one, Problem))
    asked = ", ".join(dict.fromkeys(one.command for one in found if isinstance(one, Unknown)))
    against = [problem.fact for problem in problems] + ([f"not known: {asked}"] if asked else [])
    if problems:
        source = "; ".join(dict.fromkeys(problem.source for problem in problems))
        bridges = tuple(bridge for bridge in bridges_between(facts, devices) if bridge.redirects)
        return Readiness(facts, Status.OFF, "; ".join(against), source, problems, bridges, _level(facts, node, devices))
    if asked:
        return Readiness(facts, Status.UNKNOWN, against[0])
    good = [one for one in found if isinstance(one, str)]
    registered = facts.registered
    return Readiness(
        facts, Status.ON if registered else Status.CAN, ", ".join(good), PEER_SOURCE if registered else DMA_BUF_SOURCE
    )


def dma_buf(facts: HostFacts) -> bool | None:
    """Return whether GPU memory can be registered through DMA-BUF; None: not known."""
    kernel, gpu = version(facts.kernel), facts.gpu
    if facts.open_driver is False or (kernel and kernel < DMA_BUF_KERNEL):
        return False
    if gpu is not None and gpu.compute_capability < DMA_BUF_CAPABILITY:
        return False
    return True if facts.open_driver and kernel else None


def bridges_between(facts: HostFacts, devices: Sequence[str]) -> tuple[Function, ...]:
    """Return the bridges between each GPU and the HCAs nearest to it, once each; through the root ACS redirects nothing."""
    near = (way for _, _, way in ways(facts, devices) if not way.root)
    found = {bridge.bdf: bridge for way in near for bridge in way.bridges}
    return tuple(bridge for _, bridge in sorted(found.items()))


def ways(facts: HostFacts, devices: Sequence[str]) -> Iterator[tuple[Function, Function, Between]]:
    """Yield GPU, HCA and the PCIe way between them: the nearest HCAs of those that are on the fabric, where that is known."""
    if facts.pci is None:
        return
    ours = {facts.hcas[device] for device in devices if device in facts.hcas}
    hcas = tuple(hca for hca in facts.pci.hcas if hca.bdf in ours) or facts.pci.hcas
    for gpu in facts.pci.gpus:
        for hca, way in facts.pci.nearest(gpu, hcas) if hcas else ():
            yield gpu, hca, way


_Found = Iterator[Problem | Unknown | str]
"""What is wrong, what is not known, and what is right."""


def _ask(key: str, remark: str = "") -> Unknown:
    return Unknown(COMMANDS[key] + remark)


def _memory(facts: HostFacts) -> _Found:
    """Yield how HCAs register GPU memory."""
    direct = dma_buf(facts)
    if facts.registered:
        yield "peer memory registered"
    elif direct:
        yield "DMA-BUF by open driver and kernel (NCCL_DEBUG=INFO tells if it is used)"
    elif facts.registered is None and facts.loaded is not False:
        yield _ask(captures.PEERS if facts.loaded else captures.MODULES)
        if facts.loaded is None:
            yield _ask(captures.PEERS)
    elif direct is None:
        yield _ask(captures.DRIVER if facts.open_driver is None else captures.KERNEL, " (for DMA-BUF)")
    elif facts.loaded:
        built = ": it was built for another RDMA core" if facts.complaint else ""
        yield Problem(NOT_REGISTERED, f"nvidia_peermem is loaded and has not registered{built}, no DMA-BUF", PEER_SOURCE)
    else:
        built = " (it was built for another RDMA core)" if facts.complaint else ""
        what = "nvidia_peermem is not loaded" if facts.loaded is False else "nobody has registered for peer memory"
        yield Problem(NOT_LOADED, f"{what}{built}, no DMA-BUF", PEER_SOURCE)


def _acs(facts: HostFacts, devices: Sequence[str]) -> _Found:
    """Yield whether ACS redirects peer traffic between GPUs and HCAs."""
    pci = facts.pci
    if facts.virtual:
        yield Unknown("ACS and ATS on the host of this virtual machine")
    elif pci is None or pci.drawn:
        yield _ask(captures.LSPCI, " as root")
    elif pci.denied:
        yield _ask(captures.LSPCI, " as root (this one was kept from ACS)")
    elif not any(function.buses for function in pci.functions):
        yield _ask(captures.LSPCI, " (this one shows no buses)")
    elif not pci.hcas:
        yield Unknown("an HCA in lspci")
    elif len(pci.gpus) < (facts.n_gpus or 0):
        yield _ask(captures.LSPCI, f" as root (this one shows {len(pci.gpus)} of {facts.n_gpus} GPUs: was it cut?)")
    elif not all(pci.chain(function) for function in (*pci.gpus, *pci.hcas)):
        yield _ask(captures.LSPCI, " as root (this one lacks the bridge above a GPU or an HCA)")
    else:
        near = [(gpu.bdf, way) for gpu, _, way in ways(facts, devices) if not way.root]
        hit = {gpu for gpu, way in near if any(bridge.redirects for bridge in way.bridges)}
        if hit:
            fact = f"ACS redirects peer traffic between {len(hit)} of {len(pci.gpus)} GPUs and their HCAs"
            yield Problem(ACS, fact, ACS_SOURCE)
        else:
            yield "no ACS redirect on the way"


def _iommu(facts: HostFacts) -> _Found:
    """Yield whether the IOMMU leaves addresses alone."""
    if not facts.iommu:
        yield _ask(captures.IOMMU)
    elif facts.iommu == TRANSLATED:
        yield Problem(IOMMU, "the IOMMU translates", IOMMU_SOURCE)
    else:
        yield f"IOMMU {facts.iommu}"


def _distance(facts: HostFacts, node: NodeGraph | None, devices: Sequence[str]) -> _Found:
    """Yield how far GPUs are from their HCAs, and whether that is too far for NCCL."""
    graph = facts.node or node
    if graph is not None and graph.gpus and graph.hcas:
        pairs = _pairs(graph, devices)
        worst = max(find_path(graph, gpu, hca).type for gpu, hca in pairs)
        far = [pair for pair in pairs if not gdr_of(graph, *pair, Offloads()).receive]
        yield from _far(len(far), len(pairs), worst.name)
        return
    found = list(ways(facts, devices))
    if not found:
        yield _ask(captures.TOPO, f" (captured: {'; '.join(facts.damage)})" if facts.damage else "")
        return
    gpus = {gpu.bdf for gpu, _, _ in found}
    far_gpus = {gpu.bdf for gpu, _, way in found if way.root}
    word = "beyond the root complex" if far_gpus else "PXB" if any(way.switches > 1 for _, _, way in found) else "PIX"
    yield from _far(len(far_gpus), len(gpus), word)


def _far(far: int, gpus: int, distance: str) -> _Found:
    """Yield how many GPUs are too far; NCCL makes do as long as some are near."""
    if not far:
        yield f"GPUs within {distance} of their HCA"
    elif far < gpus:
        yield f"{far} of {gpus} GPUs {distance} from their HCA: staged, or through a GPU that is near (PXN)"
    else:
        yield Problem(FAR, f"all {gpus} GPUs are {distance} from their HCA, farther than NCCL's {GDR_LEVEL}", FAR_SOURCE)


def _links(facts: HostFacts) -> _Found:
    """Yield how many PCIe links are narrower than they could be: that slows what works."""
    narrow = [function for function in (facts.pci.functions if facts.pci else ()) if function.narrow]
    if narrow:
        yield f"{len(narrow)} PCIe links narrower than they could be"


def _pairs(graph: NodeGraph, devices: Sequence[str]) -> list[tuple[str, str]]:
    """Return each GPU with the nearest HCA of those that are on the fabric, where that is known."""
    hcas = [hca for hca in graph.hcas if hca in devices] or list(graph.hcas)
    return [(gpu, min(hcas, key=lambda hca: find_path(graph, gpu, hca).type)) for gpu in graph.gpus]


def _level(facts: HostFacts, node: NodeGraph | None, devices: Sequence[str]) -> str:
    """Return how far NCCL would have to go for all GPUs."""
    graph = facts.node or node
    if graph is None or not graph.gpus or not graph.hcas:
        return ""
    worst = max(find_path(graph, gpu, hca).type for gpu, hca in _pairs(graph, devices))
    return worst.name if PathType[GDR_LEVEL] < worst <= PathType.SYS else ""
