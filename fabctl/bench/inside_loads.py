"""Bytes on the links inside a host, per byte of message: moves between its devices, sends and receives through its HCAs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from fabctl.bench.gpudirect import STAGED_GB_S, peer_gb_s
from fabctl.bench.inside_host import Host
from fabctl.model.node_graph import HCA, ON_DIE, NodeLink
from fabctl.model.predictions import Limit
from fabctl.nodes.paths import PathType

MEMORY = "memory"
"""Kind of the limits of staging: a socket's memory (its on-die link, both ways together), and what an HCA was seen to reach."""


class Loads:
    """What crosses each link in each direction, and what else may bind.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.links: dict[tuple[NodeLink, str], float] = defaultdict(float)
        """By link and the device that sends on it."""
        self._memory: dict[str, float] = defaultdict(float)
        self._staged: dict[tuple[str, str], float] = defaultdict(float)
        self._peers: dict[tuple[str, str, bool], float] = defaultdict(float)

    def move(self, a: str, b: str, volume: float) -> None:
        """Load the way from one device to another."""
        way = self.host.path(a, b)
        for link, sender in zip(way.links, way.devices, strict=False):
            self.links[link, sender] += volume
        for end in {a, b} & set(self.host.sockets):
            self._memory[end] += volume

    def hand(self, a: str, b: str, volume: float) -> None:
        """Load the way from one rank to another of the same host: peer to peer, or through shared host memory."""
        if self.host.node.gpus and not self.host.peer_to_peer(a, b):
            self.move(a, self.host.memory_of(a), volume)
            self.move(self.host.memory_of(a), b, volume)
        else:
            self.move(a, b, volume)

    def send(self, rank: str, hca: str, volume: float) -> None:
        """Load the way from a rank's memory to the wire."""
        if not self.host.node.gpus or self.host.gdr(rank, hca).send:
            self.move(rank, hca, volume)
            self._through_root(rank, hca, volume, reads=True)
        else:
            self.move(rank, self.host.memory_of(rank), volume)
            self.move(self.host.memory_of(rank), hca, volume)
            self._staged[hca, "what it sends"] += volume

    def receive(self, hca: str, rank: str, volume: float) -> None:
        """Load the way from the wire to a rank's memory."""
        if not self.host.node.gpus or self.host.gdr(rank, hca).receive:
            self.move(hca, rank, volume)
            self._through_root(rank, hca, volume, reads=False)
        else:
            self.move(hca, self.host.memory_of(rank), volume)
            self.move(self.host.memory_of(rank), rank, volume)
            self._staged[hca, "what it receives"] += volume

    def exchange(self, rank: str, hca: str, volume: float) -> None:
        """Load the ways from a rank to the wire and back."""
        self.send(rank, hca, volume)
        self.receive(hca, rank, volume)

    def through_nvswitch(self, gpu: str, sent: float, received: float) -> None:
        """Load a GPU's links to the NVSwitches, which reduce or copy on the way."""
        links = self.host.nvswitch_links(gpu)
        total = sum(link.gb_s for link in links)
        for link in links:
            share = link.gb_s / total if total else 1 / len(links)
            self.links[link, gpu] += sent * share
            self.links[link, link.b if link.a == gpu else link.a] += received * share

    def add(self, other: Loads, share: float) -> None:
        """Add what another group loads in the same node, scaled."""
        for link, volume in other.links.items():
            self.links[link] += volume * share
        for socket, volume in other._memory.items():
            self._memory[socket] += volume * share
        for hca, volume in other._staged.items():
            self._staged[hca] += volume * share
        for peers, volume in other._peers.items():
            self._peers[peers] += volume * share

    def limits(self) -> Iterator[Limit]:
        """Yield what everything that is loaded allows; what has no known bandwidth does not bind."""
        hcas = set(self.host.node.hcas)
        for (link, sender), volume in self.links.items():
            if volume and link.gb_s and link.kind != ON_DIE:
                receiver = link.b if link.a == sender else link.a
                yield Limit(HCA if {sender, receiver} & hcas else link.kind, f"{sender} -> {receiver}", link.gb_s / volume)
        for socket, volume in self._memory.items():
            links = self.host.node.links
            gb_s = max((link.gb_s for link in links if link.kind == ON_DIE and socket in (link.a, link.b)), default=0.0)
            if volume and gb_s:
                yield Limit(MEMORY, f"memory of {socket}", gb_s / volume)
        for (hca, what), volume in self._staged.items():
            if volume:
                yield Limit(MEMORY, f"staging for {hca}: {what}", STAGED_GB_S / volume)
        for (gpu, hca, reads), volume in self._peers.items():
            gb_s = peer_gb_s(self.host.node, self.host.path(gpu, hca))[0 if reads else 1]
            if volume and gb_s:
                yield Limit("pcie", f"{hca} {'reads' if reads else 'writes'} {gpu} through a root", gb_s / volume)

    def _through_root(self, rank: str, hca: str, volume: float, *, reads: bool) -> None:
        if self.host.node.gpus and self.host.path(rank, hca).type >= PathType.PHB:
            self._peers[rank, hca, reads] += volume
