"""What each algorithm moves inside one host, in bytes per byte of message.

S is the message as nccl-tests counts it, n ranks on N hosts, p a host, k rails, C channels. NCCL 2.30.7: ``src/device/*.h`` (what
the kernels of an algorithm send) and ``src/graph/connect.cc`` (to whom).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fabctl.bench.inside_chains import Chain, chains, rings
from fabctl.bench.inside_host import Host, distance
from fabctl.errors import RefusedError, UsageError
from fabctl.traffic.collectives.tree import edges


@dataclass(frozen=True)
class Group:
    """The ranks of an operation.

    Parameters
    ----------
    n_nodes, n_ranks : int
    """

    n_nodes: int
    n_ranks: int

    @property
    def per_node(self) -> int:
        """Ranks per host."""
        return self.n_ranks // self.n_nodes


PHASES = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
"""A message is reduced, gathered, or both."""
BETWEEN_HOSTS = ("CollNetDirect", "CollNetChain", "NVLSTree", "PAT")
"""What NCCL has for several hosts only."""


def ring(host: Host, group: Group, operation: str) -> None:
    """Load rings: ``(n - 1) / n S`` over each edge and phase, S in a broadcast or a reduce, spread over the channels."""
    n = group.n_ranks
    volume = 1.0 if operation in ("broadcast", "reduce") else PHASES[operation] * (n - 1) / n
    ways = chains(host) if group.n_nodes > 1 else rings(host)
    for way in ways:
        share = volume / len(ways)
        for a, b in pairwise(way.ranks):
            host.move(a, b, share)
        if group.n_nodes == 1:
            host.move(way.ranks[-1], way.ranks[0], share)
        else:
            host.receive(way.hca, way.ranks[0], share)
            _leave(host, way.ranks[-1], way.hca, share)


def tree(host: Host, group: Group, _operation: str) -> None:
    """Load chains with S / C up and down, and the heads with what the busiest host exchanges in both trees.

    NCCL's balanced trees: the first GPU of a chain talks to the parent and one child, a second one near the HCA to the other.
    """
    ways = chains(host) if group.n_nodes > 1 else rings(host)
    share = 1.0 / len(ways)
    for way in ways:
        _up_and_down(host, way, share)
        if group.n_nodes > 1:
            near = host.near(way.hca)
            heads = [rank for rank in way.ranks if rank in near][:2]
            for head in heads:
                _exchange(host, head, way.hca, _tree_volume(group.n_nodes) * share / len(heads))


def collnet_chain(host: Host, _group: Group, _operation: str) -> None:
    """Load chains with S / C up and down; the head sends S / C to the switches and receives as much."""
    ways = chains(host)
    for way in ways:
        _up_and_down(host, way, 1.0 / len(ways))
        _exchange(host, way.ranks[0], way.hca, 1.0 / len(ways))


def collnet_direct(host: Host, group: Group, operation: str) -> None:
    """Load NVSwitch with every GPU's share to every head and back, and the heads with S / k to and from the switches."""
    _needs_nvswitch(host, "CollNetDirect", "CollNetChain")
    ways = chains(host)
    share = 1.0 / len(ways)
    for way in ways:
        head = way.ranks[0]
        for rank in host.ranks:
            if rank != head and operation != "all_gather":
                host.move(rank, head, share)
            if rank != head and operation != "reduce_scatter":
                host.move(head, rank, share)
        _in_network(host, group, operation, head, way.hca, share)


def nvls(host: Host, group: Group, operation: str) -> None:
    """Load NVSwitch, which reduces what it reads from all GPUs and copies what one writes.

    Each GPU sends S and receives S: the slices that others reduce, and those that others gather. A head reads its slice reduced
    and writes it, S / p each (S / k with k rails).
    """
    _needs_nvswitch(host, "NVLS", "Ring")
    heads = [(way.ranks[0], way.hca) for way in chains(host)] if group.n_nodes > 1 else [(rank, "") for rank in host.ranks]
    reduces, gathers = operation != "all_gather", operation != "reduce_scatter"
    for rank in host.ranks:
        _through_nvswitch(host, rank, sent=float(reduces), received=float(gathers))
    for head, hca in heads:
        share = 1.0 / len(heads)
        _through_nvswitch(host, head, sent=share * gathers, received=share * reduces)
        if hca:
            _in_network(host, group, operation, head, hca, share)


def nvls_tree(host: Host, group: Group, operation: str) -> None:
    """Load NVSwitch as `nvls` does on one host, and each rail's head with what trees exchange."""
    nvls(host, Group(1, group.per_node), operation)
    for way in chains(host):
        _exchange(host, way.ranks[0], way.hca, _tree_volume(group.n_nodes) / len(host.node.hcas))


def pat(host: Host, group: Group, _operation: str) -> None:
    """Load the HCAs with ``(n - 1) / n S`` each way; NCCL uses PAT with one rank per host."""
    for way in chains(host):
        _exchange(host, way.ranks[0], way.hca, (group.n_ranks - 1) / group.n_ranks / len(host.node.hcas))


def pairwise_exchange(host: Host, group: Group, _operation: str) -> None:
    """Load the paths of all pairs inside, and each rank's HCA with what it exchanges with other hosts."""
    _inside_pairs(host, group)
    outside = group.per_node * (group.n_nodes - 1) / group.n_ranks
    for rank, hca in _own_hcas(host).items() if group.n_nodes > 1 else ():
        _exchange(host, rank, hca, outside * _ranks_at(host, group))


def pxn(host: Host, group: Group, _operation: str) -> None:
    """Load as `pairwise_exchange` does, but a block changes over to the destination's rail before it leaves."""
    _inside_pairs(host, group)
    if group.n_nodes == 1:
        return
    own = _own_hcas(host)
    block = _ranks_at(host, group) ** 2 * (group.n_nodes - 1) / group.n_ranks
    for receiver, hca in own.items():
        host.receive(hca, receiver, len(own) * block)
        for sender in host.ranks:
            leader = sender if own[sender] == hca else next(rank for rank, rail in own.items() if rail == hca)
            if leader != sender:
                host.move(sender, leader, block)
            host.send(leader, hca, block)


TRAFFIC: dict[str, tuple[Callable[[Host, Group, str], None], Sequence[str]]] = {
    "Ring": (ring, ("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce")),
    "Tree": (tree, ("all_reduce",)),
    "CollNetDirect": (collnet_direct, ("all_reduce", "reduce_scatter", "all_gather")),
    "CollNetChain": (collnet_chain, ("all_reduce",)),
    "NVLS": (nvls, ("all_reduce", "reduce_scatter", "all_gather")),
    "NVLSTree": (nvls_tree, ("all_reduce",)),
    "PAT": (pat, ("reduce_scatter", "all_gather")),
    "pairwise": (pairwise_exchange, ("alltoall",)),
    "pxn": (pxn, ("alltoall",)),
}
"""How each algorithm loads a host, and the operations that it does."""


def load(host: Host, group: Group, operation: str, algorithm: str) -> None:
    """Load a host with an algorithm.

    Raises
    ------
    UsageError
        If there is no such algorithm, or it does not do the operation.
    RefusedError
        If the host lacks what it needs.
    """
    if algorithm not in TRAFFIC:
        raise UsageError(f"unknown algorithm '{algorithm}'", hint=f"one of {', '.join(TRAFFIC)}")
    traffic, operations = TRAFFIC[algorithm]
    if operation not in operations:
        raise UsageError(f"{algorithm} does not do {operation}", hint=f"it does {', '.join(operations)}")
    if group.n_nodes == 1 and algorithm in BETWEEN_HOSTS:
        raise UsageError(f"{algorithm} joins several hosts, this is one", hint="Ring, Tree or NVLS")
    if group.n_nodes > 1 and not host.node.hcas:
        raise RefusedError(f"{host.node.name} has no HCA, so nothing leaves it", hint="name a node with HCAs")
    traffic(host, group, operation)


def _tree_volume(n_nodes: int) -> float:
    """Return what the busiest host sends, and receives, over both trees per byte of message: half of it along each edge."""
    _, child, parent = edges(n_nodes)
    return float(np.bincount(np.concatenate([child, parent])).max()) / 2


def _up_and_down(host: Host, way: Chain, volume: float) -> None:
    for a, b in pairwise(way.ranks):
        host.move(a, b, volume)
        host.move(b, a, volume)


def _in_network(host: Host, group: Group, operation: str, head: str, hca: str, share: float) -> None:
    own = share / group.n_nodes
    host.receive(hca, head, own if operation == "reduce_scatter" else share)
    host.send(head, hca, own if operation == "all_gather" else share)


def _exchange(host: Host, rank: str, hca: str, volume: float) -> None:
    host.receive(hca, rank, volume)
    host.send(rank, hca, volume)


def _leave(host: Host, last: str, hca: str, volume: float) -> None:
    """Send from the last GPU of a chain; over NVLink to one that is near the HCA where it is not (PXN)."""
    near = host.near(hca)
    bridges = [rank for rank in near if last not in near and host.by_nvlink(last, rank) and host.gdr(rank, hca).send]
    if bridges:
        host.move(last, bridges[0], volume)
    host.send(bridges[0] if bridges else last, hca, volume)


def _needs_nvswitch(host: Host, algorithm: str, instead: str) -> None:
    if not all(host.nvswitch_links(rank) for rank in host.ranks):
        raise RefusedError(f"{algorithm} needs NVSwitches, which {host.node.name} has not", hint=f"{instead} works")


def _through_nvswitch(host: Host, gpu: str, sent: float, received: float) -> None:
    links = host.nvswitch_links(gpu)
    total = sum(link.gb_s for link in links)
    for link in links:
        switch = link.b if link.a == gpu else link.a
        host.loads[link, gpu] += sent * link.gb_s / total
        host.loads[link, switch] += received * link.gb_s / total


def _inside_pairs(host: Host, group: Group) -> None:
    for a in host.ranks:
        for b in host.ranks:
            if a != b:
                host.move(a, b, _ranks_at(host, group) ** 2 / group.n_ranks)


def _ranks_at(host: Host, group: Group) -> float:
    """Return how many ranks have their data at one place: one at each GPU, several at the sockets of a host without."""
    return group.per_node / len(host.ranks)


def _own_hcas(host: Host) -> dict[str, str]:
    """Return the HCA of each rank: the nearest, spread evenly."""
    used = dict.fromkeys(host.node.hcas, 0)
    own = {}
    for rank in host.ranks:
        nearest = min(used, key=lambda hca: (distance(host.path(rank, hca)), used[hca]))
        own[rank] = nearest
        used[nearest] += 1
    return own
