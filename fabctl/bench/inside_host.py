"""A host as a job uses it: some of its GPUs and HCAs, the paths between them, and who is near to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from fabctl.bench.gpudirect import Gdr, gdr_of
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import CPU, GPU, HCA, NVLINK, NVSWITCH, NodeGraph, NodeLink
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import Path, PathType, find_path, nearest_hcas, serving_hcas


@dataclass(frozen=True, eq=False)
class Host:
    """A host of a job; it remembers the paths that were asked for.

    Parameters
    ----------
    node : NodeGraph
        With only the GPUs and HCAs that the job uses.
    offloads : Offloads
    gdr_level : str
        ``NCCL_NET_GDR_LEVEL``.
    """

    node: NodeGraph
    offloads: Offloads
    gdr_level: str
    _paths: dict[tuple[str, str], Path] = field(default_factory=dict)
    _gdr: dict[tuple[str, str], Gdr] = field(default_factory=dict)

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """Where the ranks' data is: the GPUs, or the sockets of a host that has none."""
        return self.node.gpus or self.sockets

    @cached_property
    def sockets(self) -> tuple[str, ...]:
        """The sockets, each with its memory."""
        return self.node.of_kind(CPU)

    def path(self, a: str, b: str) -> Path:
        """Return the path between two devices."""
        if (a, b) not in self._paths:
            self._paths[a, b] = find_path(self.node, a, b)
        return self._paths[a, b]

    def gdr(self, gpu: str, hca: str) -> Gdr:
        """Return which ways an HCA reaches a GPU's memory by itself."""
        if (gpu, hca) not in self._gdr:
            self._gdr[gpu, hca] = gdr_of(self.node, gpu, hca, self.offloads, self.gdr_level)
        return self._gdr[gpu, hca]

    def memory_of(self, device: str) -> str:
        """Return the socket whose memory is nearest to a device: NCCL's staging buffers are there.

        Raises
        ------
        RefusedError
            If no CPU is known.
        """
        if not self.sockets:
            raise RefusedError(f"{self.node.name} has no CPU: data cannot be staged through host memory", hint="leave gdr on")
        return min(self.sockets, key=lambda socket: distance(self.path(device, socket)))

    def near(self, hca: str) -> tuple[str, ...]:
        """Return the ranks that are nearest to an HCA."""
        distances = {rank: distance(self.path(rank, hca)) for rank in self.ranks}
        nearest = min(distances.values())
        return tuple(rank for rank in self.ranks if distances[rank] == nearest)

    def by_nvlink(self, a: str, b: str) -> bool:
        """Tell whether NVLink joins two GPUs."""
        return a != b and self.path(a, b).type == PathType.NVL

    def peer_to_peer(self, a: str, b: str) -> bool:
        """Tell whether a GPU writes to the other's memory; else NCCL takes host memory (2.30.7, ``ncclTopoCheckP2p``)."""
        few = self.node.cpu_vendor == "amd" and len(self.node.gpus) <= 2
        return self.path(a, b).type <= (PathType.SYS if few else PathType.PXB)

    @cached_property
    def mesh(self) -> dict[frozenset[str], int]:
        """How many NVLinks join each pair of GPUs without a switch between them."""
        gpus = set(self.node.gpus)
        direct = (link for link in self.node.links if link.kind == NVLINK and {link.a, link.b} <= gpus)
        return {frozenset((link.a, link.b)): link.count for link in direct}

    def nvswitch_links(self, gpu: str) -> list[NodeLink]:
        """Return a GPU's links to NVSwitches."""
        switches = set(self.node.of_kind(NVSWITCH))
        return [link for link in self.node.links if gpu in (link.a, link.b) and {link.a, link.b} & switches]

    @cached_property
    def own_hcas(self) -> dict[str, str]:
        """The HCA of each rank: the nearest, spread evenly over those that are as near."""
        if self.node.gpus:
            return dict(zip(self.node.gpus, serving_hcas(self.node), strict=False))
        return {socket: nearest_hcas(self.node, socket)[0] for socket in self.sockets}


@lru_cache(maxsize=64)
def host_of(node: NodeGraph, n_gpus: int, hcas: tuple[str, ...], offloads: Offloads, gdr_level: str, *, alone: bool) -> Host:
    """Return a host with the GPUs and the HCAs that a job uses.

    Rank `r` of p uses HCA number ``r k // p`` of k, as `fabctl.traffic.placement.Job` has it, and a GPU as near to it as there
    is; on a host `alone` it is GPU number `r`.

    Raises
    ------
    RefusedError
        If it has fewer GPUs.
    UsageError
        If it has no such HCA.
    """
    if node.gpus and n_gpus > len(node.gpus):
        raise RefusedError(f"{n_gpus} ranks per host, but {node.name} has {len(node.gpus)} GPUs", hint="fewer ranks_per_host")
    for name in hcas:
        if name not in node.hcas:
            raise UsageError(f"{node.name} has no HCA '{name}'", hint=f"it has {', '.join(node.hcas) or 'none'}")
    gpus = node.gpus[:n_gpus]
    if hcas and not alone and n_gpus < len(node.gpus):
        gpus = _nearest_gpus(node, [hcas[rank * len(hcas) // n_gpus] for rank in range(n_gpus)])
    named = {device.name: device for device in node.devices}
    kept = {name: device for name, device in named.items() if device.kind not in (GPU, HCA)}
    kept |= {name: named[name] for name in (*gpus, *hcas)}
    links = tuple(link for link in node.links if link.a in kept and link.b in kept)
    return Host(replace(node, devices=tuple(kept.values()), links=links), offloads, gdr_level)


def _nearest_gpus(node: NodeGraph, hcas: Sequence[str]) -> tuple[str, ...]:
    """Return a GPU near each HCA, each GPU once, in the node's order."""
    chosen: set[str] = set()
    for hca in hcas:
        left = [gpu for gpu in node.gpus if gpu not in chosen]
        chosen.add(min(left, key=lambda gpu: distance(find_path(node, gpu, hca))))
    return tuple(gpu for gpu in node.gpus if gpu in chosen)


def distance(path: Path) -> tuple[PathType, float]:
    """Return what NCCL compares: the type of a path, then its bandwidth."""
    return path.type, -path.gb_s
