"""Bytes on the links inside a host: moves between its devices, and sends and receives through its HCAs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from fabctl.bench.gpudirect import Gdr, gdr_of
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import CPU, GPU, HCA, NVLINK, NVSWITCH, NodeGraph, NodeLink
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import Path, PathType, find_path

Direction = tuple[NodeLink, str]
"""A link and the device that sends on it."""


@dataclass
class Host:
    """A host whose links count what crosses them, per byte of message.

    Parameters
    ----------
    node : NodeGraph
        With only the GPUs and HCAs that the job uses, see `used_part`.
    offloads : Offloads
    gdr_level : str
        ``NCCL_NET_GDR_LEVEL``.
    loads : dict of (NodeLink, str) to float
        By link and the device that sends on it.
    memory : dict of str to float
        What is read from and written to each socket's memory.
    """

    node: NodeGraph
    offloads: Offloads
    gdr_level: str = "P2C"
    loads: dict[Direction, float] = field(default_factory=lambda: defaultdict(float))
    memory: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._paths: dict[tuple[str, str], Path] = {}

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
        found = self._paths.get((a, b))
        if found is None:
            found = self._paths[a, b] = find_path(self.node, a, b)
        return found

    def move(self, a: str, b: str, volume: float) -> None:
        """Load the way from one device to another."""
        way = self.path(a, b)
        for link, sender in zip(way.links, way.devices, strict=False):
            self.loads[link, sender] += volume
        for end in {a, b} & set(self.sockets):
            self.memory[end] += volume

    def gdr(self, gpu: str, hca: str) -> Gdr:
        """Return which ways the HCA reaches the GPU's memory by itself."""
        return gdr_of(self.node, gpu, hca, self.offloads, self.gdr_level)

    def send(self, rank: str, hca: str, volume: float) -> None:
        """Load the way from a rank's memory to the wire."""
        if self._peers(rank, hca, "send"):
            self.move(rank, hca, volume)
        else:
            self.move(rank, self.memory_of(rank), volume)
            self.move(self.memory_of(rank), hca, volume)

    def receive(self, hca: str, rank: str, volume: float) -> None:
        """Load the way from the wire to a rank's memory."""
        if self._peers(rank, hca, "receive"):
            self.move(hca, rank, volume)
        else:
            self.move(hca, self.memory_of(rank), volume)
            self.move(self.memory_of(rank), rank, volume)

    def _peers(self, rank: str, hca: str, way: str) -> bool:
        return not self.node.gpus or getattr(self.gdr(rank, hca), way)

    def memory_of(self, device: str) -> str:
        """Return the socket whose memory is nearest to a device: NCCL's staging buffers are there."""
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


def used_part(node: NodeGraph, n_gpus: int, hcas: Sequence[str], *, alone: bool) -> NodeGraph:
    """Return a node with the GPUs and the HCAs that a job uses.

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
    gpus = list(node.gpus[:n_gpus])
    if hcas and not alone and n_gpus < len(node.gpus):
        gpus = []
        for rank in range(n_gpus):
            left = (gpu for gpu in node.gpus if gpu not in gpus)
            gpus.append(min(left, key=lambda gpu: distance(find_path(node, gpu, hcas[rank * len(hcas) // n_gpus]))))
    kept = {device.name: device for device in node.devices if device.kind not in (GPU, HCA)}
    named = {device.name: device for device in node.devices}
    kept |= {name: named[name] for name in (*sorted(gpus, key=node.gpus.index), *hcas)}
    links = tuple(link for link in node.links if link.a in kept and link.b in kept)
    return replace(node, devices=tuple(kept.values()), links=links)


def distance(path: Path) -> tuple[PathType, float]:
    """Return what NCCL compares: the type of a path, then its bandwidth."""
    return path.type, -path.gb_s
