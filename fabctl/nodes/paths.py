"""Paths between the devices of a host, with NCCL's types, and which HCA serves which GPU."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import IntEnum
from math import inf

from fabctl.errors import UsageError
from fabctl.model.node_graph import C2C, GPU, HCA, NVLINK, PCIE, PCIE_SWITCH, SMP, NodeGraph, NodeLink


class PathType(IntEnum):
    """NCCL's path types, nearest first (2.30.7, ``src/include/graph.h``)."""

    LOC = 0
    NVL = 1
    NVB = 2
    C2C = 3
    PIX = 4
    PXB = 5
    P2C = 6
    PXN = 7
    PHB = 8
    SYS = 9
    NET = 10
    DIS = 11


@dataclass(frozen=True)
class Path:
    """A way from one device to another.

    Parameters
    ----------
    type : PathType
    gb_s : float
        Of its slowest link, GB/s per direction; 0: unknown.
    latency_us : float
        Sum over its links.
    devices : tuple of str
        From the first to the last; of two devices that nothing joins the two alone.
    links : tuple of NodeLink
        One less than devices.
    """

    type: PathType
    gb_s: float
    latency_us: float
    devices: tuple[str, ...]
    links: tuple[NodeLink, ...]


def find_path(node: NodeGraph, a: str, b: str) -> Path:
    """Return the way that data takes between two devices: NVLink where it joins them, else PCIe and the sockets.

    The widest of those with the fewest links, as NCCL's breadth-first search finds it (2.30.7, ``src/graph/paths.cc``,
    ``ncclTopoSetPaths``). HCAs pass nothing on; a GPU does so over NVLink for two other GPUs (`PathType.NVB`), for nobody else.

    Raises
    ------
    UsageError
        For a device that the node does not have.

    Notes
    -----
    O(links). A link of unknown bandwidth counts as the widest, and makes the path's unknown.
    """
    return _search(node, a, b, without=())


def pcie_path(node: NodeGraph, a: str, b: str) -> Path:
    """Return the way between two devices without NVLink, as `find_path` does."""
    return _search(node, a, b, without=(NVLINK,))


def serving_hcas(node: NodeGraph) -> tuple[str, ...]:
    """Return the HCA that serves each GPU, in the order of the GPUs: the nearest, spread evenly where several are as near.

    Empty for a host without HCAs. GPUs with the same nearest HCAs take turns, as in NCCL (2.30.7, ``src/graph/topo.cc``,
    ``ncclTopoGetLocalNetType``): the first GPU of four takes the first HCA of four, the second the third.
    """
    turns: dict[tuple[str, ...], int] = defaultdict(int)
    chosen = []
    for gpu in node.gpus if node.hcas else ():
        nearest = nearest_hcas(node, gpu)
        chosen.append(nearest[_mirrored(turns[nearest] % len(nearest), len(nearest))])
        turns[nearest] += 1
    return tuple(chosen)


def nearest_hcas(node: NodeGraph, gpu: str) -> tuple[str, ...]:
    """Return all HCAs that are as near to a GPU as the nearest, in rail order: by path type, then by bandwidth."""
    distances = {hca: _distance(find_path(node, gpu, hca)) for hca in node.hcas}
    least = min(distances.values(), default=None)
    return tuple(hca for hca, distance in distances.items() if distance == least)


def pxn_relays(node: NodeGraph) -> dict[tuple[str, str], str]:
    """Return the GPU through which a GPU sends to an HCA, by GPU and HCA, for those pairs where NCCL's PXN applies.

    NCCL's conditions (2.30.7, ``src/graph/paths.cc``, ``ncclTopoComputePaths``): the HCA serves the other GPU and is no further
    from it than P2C, NVLink joins the two GPUs directly, and the other is faster to the HCA or spares the way through the CPU.
    GPUDirect RDMA has to be on.
    """
    served: dict[str, str] = {}
    for gpu, hca in zip(node.gpus, serving_hcas(node), strict=False):
        served.setdefault(hca, gpu)
    relays = {}
    for hca, relay in served.items():
        near = find_path(node, relay, hca)
        for gpu in node.gpus if near.type <= PathType.P2C else ():
            far = find_path(node, gpu, hca)
            gain = near.gb_s > far.gb_s or far.type > PathType.PXN
            if gpu != relay and gain and find_path(node, gpu, relay).type == PathType.NVL:
                relays[gpu, hca] = relay
    return relays


def _mirrored(turn: int, total: int) -> int:
    """Return a number below `total` with its bits in reverse, where `total` is a power of two; else the number itself."""
    width = total.bit_length() - 1
    return int(f"{turn:0{width}b}"[::-1], 2) if total == 1 << width and width else turn


def _distance(path: Path) -> tuple[PathType, float]:
    return path.type, -path.gb_s


def _search(node: NodeGraph, a: str, b: str, without: tuple[str, ...]) -> Path:
    kinds = node.kind_of
    for name in (a, b):
        if name not in kinds:
            raise UsageError(f"{node.title} has no device '{name}'", hint=f"it has {', '.join(kinds)}")
    if a == b:
        return Path(PathType.LOC, 0.0, 0.0, (a,), ())
    relay = kinds[a] == kinds[b] == GPU
    best: dict[str, tuple[float, tuple[NodeLink, ...]]] = {a: (inf, ())}
    level = [a]
    while level and b not in best:
        found: dict[str, tuple[float, tuple[NodeLink, ...]]] = {}
        for device in level:
            width, links = best[device]
            for peer, link in node.neighbours[device]:
                if peer in best or link.kind in without or not _passes(kinds[device], links, link, kinds[peer], relay=relay):
                    continue
                reached = min(width, link.gb_s or inf)
                if peer not in found or reached > found[peer][0]:
                    found[peer] = (reached, (*links, link))
        best |= found
        level = list(found)
    return _path(a, best[b][1], kinds) if b in best else Path(PathType.DIS, 0.0, 0.0, (a, b), ())


def _passes(kind: str, links: tuple[NodeLink, ...], link: NodeLink, peer_kind: str, *, relay: bool) -> bool:
    """Return whether a device that was reached over `links` passes data on over `link`."""
    if not links or kind not in (GPU, HCA):
        return True
    direct = len(links) == 1 and links[0].kind == link.kind == NVLINK
    return relay and kind == peer_kind == GPU and direct


def _path(start: str, links: tuple[NodeLink, ...], kinds: dict[str, str]) -> Path:
    devices = [start]
    for link in links:
        devices.append(link.b if link.a == devices[-1] else link.a)
    width = min(link.gb_s for link in links)
    return Path(_type(devices, links, kinds), width, sum(link.latency_us for link in links), tuple(devices), links)


def _type(devices: list[str], links: tuple[NodeLink, ...], kinds: dict[str, str]) -> PathType:
    used = {link.kind for link in links}
    if SMP in used:
        return PathType.SYS
    if C2C in used:
        return PathType.P2C if PCIE in used else PathType.C2C
    if PCIE not in used:
        return PathType.NVB if GPU in (kinds[device] for device in devices[1:-1]) else PathType.NVL
    switches = [kinds[device] for device in devices].count(PCIE_SWITCH)
    if switches < len(devices) - 2 or not switches:
        return PathType.PHB
    return PathType.PXB if switches > 1 else PathType.PIX
