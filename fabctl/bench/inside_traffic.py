"""What each algorithm moves inside one host, in bytes per byte of message.

S is the message as nccl-tests counts it, n ranks on N hosts, p a host, k rails, C channels. NCCL 2.30.7: ``src/device/*.h`` (what
the kernels of an algorithm send) and ``src/graph/connect.cc`` (to whom).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from fabctl.bench.inside_chains import Chain, chains, rings
from fabctl.bench.inside_host import Host
from fabctl.bench.inside_loads import Loads
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import NVLINK
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

    def per_place(self, host: Host) -> float:
        """Ranks whose data is at one place: one at each GPU, several in the memory of a socket."""
        return self.per_node / len(host.ranks)


PHASES = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
"""A message is reduced, gathered, or both."""
BETWEEN_HOSTS = ("CollNetDirect", "CollNetChain", "NVLSTree", "PAT")
"""What NCCL has for several hosts only."""


def ring(loads: Loads, group: Group, operation: str) -> None:
    """Load rings: ``(n - 1) / n S`` over each edge and phase, S in a broadcast or a reduce, spread over the channels."""
    n = group.n_ranks
    volume = 1.0 if operation in ("broadcast", "reduce") else PHASES[operation] * (n - 1) / n
    ways = chains(loads.host) if group.n_nodes > 1 else rings(loads.host)
    share = volume / len(ways)
    for way in ways:
        first, last = way.ranks[0], way.ranks[-1]
        for a, b in pairwise(way.ranks):
            loads.hand(a, b, share)
        if group.n_nodes == 1:
            loads.hand(last, first, share)
        else:
            loads.receive(way.hca, first, share)
            _leave(loads, last, way.hca, share)


def tree(loads: Loads, group: Group, _operation: str) -> None:
    """Load chains with S / C up and down, and the heads with what the busiest host exchanges in both trees.

    NCCL's balanced trees: the first GPU of a chain talks to the parent and one child, a second one near the HCA to the other.
    """
    ways = chains(loads.host) if group.n_nodes > 1 else rings(loads.host)
    for way in ways:
        _up_and_down(loads, way, 1 / len(ways))
        if group.n_nodes > 1:
            near = loads.host.near(way.hca)
            heads = [rank for rank in way.ranks if rank in near][:2]
            for head in heads:
                loads.exchange(head, way.hca, _tree_volume(group.n_nodes) / len(ways) / len(heads))


def collnet_chain(loads: Loads, _group: Group, _operation: str) -> None:
    """Load chains with S / C up and down; the head sends S / C to the switches and receives as much."""
    ways = chains(loads.host)
    for way in ways:
        _up_and_down(loads, way, 1 / len(ways))
        loads.exchange(way.ranks[0], way.hca, 1 / len(ways))


def collnet_direct(loads: Loads, group: Group, operation: str) -> None:
    """Load NVSwitch with every GPU's share to every head and back, and the heads with S / k to and from the switches."""
    _needs_nvswitch(loads.host, "CollNetDirect", "CollNetChain")
    heads = _heads(loads.host)
    for head, hca in heads:
        for rank in loads.host.ranks:
            if rank != head and operation != "all_gather":
                loads.hand(rank, head, 1 / len(heads))
            if rank != head and operation != "reduce_scatter":
                loads.hand(head, rank, 1 / len(heads))
        _to_switches(loads, group, operation, head, hca, 1 / len(heads))


def nvls(loads: Loads, group: Group, operation: str) -> None:
    """Load NVSwitch, which reduces what it reads from all GPUs and copies what one writes.

    Each GPU sends S and receives S: the slices that others reduce, and those that others gather. A head reads its slice reduced
    and writes it: S / p on one host, S / k on several with k rails.
    """
    _needs_nvswitch(loads.host, "NVLS", "Ring")
    heads = _heads(loads.host) if group.n_nodes > 1 else [(rank, "") for rank in loads.host.ranks]
    reduces, gathers = operation != "all_gather", operation != "reduce_scatter"
    for rank in loads.host.ranks:
        loads.through_nvswitch(rank, sent=float(reduces), received=float(gathers))
    for head, hca in heads:
        loads.through_nvswitch(head, sent=gathers / len(heads), received=reduces / len(heads))
        if hca:
            _to_switches(loads, group, operation, head, hca, 1 / len(heads))


def nvls_tree(loads: Loads, group: Group, operation: str) -> None:
    """Load NVSwitch as `nvls` does on one host, and each rail's head with what trees exchange."""
    nvls(loads, Group(1, group.per_node), operation)
    heads = _heads(loads.host)
    for head, hca in heads:
        loads.exchange(head, hca, _tree_volume(group.n_nodes) / len(heads))


def pat(loads: Loads, group: Group, _operation: str) -> None:
    """Load the HCAs with ``(n - 1) / n S`` each way."""
    if group.per_node > 1:
        raise UsageError("NCCL uses PAT with one rank per host", hint="Ring does it with any number")
    heads = _heads(loads.host)
    for head, hca in heads:
        loads.exchange(head, hca, (group.n_ranks - 1) / group.n_ranks / len(heads))


def pairwise_exchange(loads: Loads, group: Group, _operation: str) -> None:
    """Load the paths of all pairs inside, and each rank's HCA with what it exchanges with other hosts."""
    _inside_pairs(loads, group)
    if group.n_nodes > 1:
        block = group.per_place(loads.host) * group.per_node * (group.n_nodes - 1) / group.n_ranks
        for rank, hca in loads.host.own_hcas.items():
            loads.exchange(rank, hca, block)


def pxn(loads: Loads, group: Group, _operation: str) -> None:
    """Load as `pairwise_exchange` does, but a block changes over to the destination's rail before it leaves.

    NCCL does so over NVLink alone.
    """
    if len(loads.host.ranks) > 1 and not any(link.kind == NVLINK for link in loads.host.node.links):
        raise RefusedError(f"PXN goes over NVLink, which {loads.host.node.name} has not", hint="all-to-all without PXN works")
    _inside_pairs(loads, group)
    if group.n_nodes == 1:
        return
    own = loads.host.own_hcas
    block = (group.n_nodes - 1) / group.n_ranks
    for receiver, hca in own.items():
        loads.receive(hca, receiver, group.per_node * block)
        for sender in loads.host.ranks:
            leader = sender if own[sender] == hca else next(rank for rank, rail in own.items() if rail == hca)
            if leader != sender:
                loads.hand(sender, leader, block)
            loads.send(leader, hca, block)


TRAFFIC: dict[str, tuple[Callable[[Loads, Group, str], None], Sequence[str]]] = {
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


def load(loads: Loads, group: Group, operation: str, algorithm: str) -> None:
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
    if group.n_nodes > 1 and not loads.host.node.hcas:
        raise RefusedError(f"{loads.host.node.name} has no HCA, so nothing leaves it", hint="name a node with HCAs")
    traffic(loads, group, operation)


def _tree_volume(n_nodes: int) -> float:
    """Return what the busiest host sends, and receives, over both trees per byte of message: half of it along each edge."""
    _, child, parent = edges(n_nodes)
    return float(np.bincount(np.concatenate([child, parent])).max()) / 2


def _up_and_down(loads: Loads, way: Chain, volume: float) -> None:
    for a, b in pairwise(way.ranks):
        loads.hand(a, b, volume)
        loads.hand(b, a, volume)


def _heads(host: Host) -> list[tuple[str, str]]:
    """Return for each rail the rank that stands for the host, and the HCA."""
    return [(way.ranks[0], way.hca) for way in chains(host)]


def _to_switches(loads: Loads, group: Group, operation: str, head: str, hca: str, share: float) -> None:
    """Load the way of a head's share to the switches and back; of what is scattered or gathered a host has 1 / N."""
    own = share / group.n_nodes
    loads.send(head, hca, own if operation == "all_gather" else share)
    loads.receive(hca, head, own if operation == "reduce_scatter" else share)


def _leave(loads: Loads, last: str, hca: str, volume: float) -> None:
    """Send from the last GPU of a chain; where it is not near the HCA, over NVLink to one that is (PXN)."""
    host = loads.host
    near = host.near(hca)
    bridges = [rank for rank in near if last not in near and host.by_nvlink(last, rank) and host.gdr(rank, hca).send]
    if bridges:
        loads.hand(last, bridges[0], volume)
        last = bridges[0]
    loads.send(last, hca, volume)


def _needs_nvswitch(host: Host, algorithm: str, instead: str) -> None:
    if not all(host.nvswitch_links(rank) for rank in host.ranks):
        raise RefusedError(f"{algorithm} needs NVSwitches, which {host.node.name} has not", hint=f"{instead} works")


def _inside_pairs(loads: Loads, group: Group) -> None:
    for a, b in permutations(loads.host.ranks, 2):
        loads.hand(a, b, group.per_place(loads.host) ** 2 / group.n_ranks)
