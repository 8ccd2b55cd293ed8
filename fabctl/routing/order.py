"""The order in which destinations and next hops are counted: what makes balance come out even.

Destination-modulo routing is as good as its numbering. Destinations are numbered along the tree (by pod, then leaf, then
port), and next hops along the planes (switches that share ancestors get the same place in every pod), so traffic for one
destination meets on one root and neighbouring destinations never share one (Zahavi, D-Mod-K routing providing non-blocking
traffic for shift permutations on real life fat trees, 2010; Zahavi, JPDC 72(11), 2012, section 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.components import components
from fabctl.model.fabric import Fabric
from fabctl.routing.options import Options
from fabctl.routing.paths import switch_channels

Int64 = NDArray[np.int64]


def tree_order(fabric: Fabric) -> Int64:
    """Return the position of each switch along the tree, shape (n_switches,): pods stay together at every level."""
    tiers = fabric.tiers
    pods = [_components(fabric, tiers < top) for top in range(1, int(tiers.max(initial=0)) + 1)]
    return _positions([np.arange(fabric.n_switches), *pods])


def plane_order(fabric: Fabric) -> Int64:
    """Return the position of each switch along the planes, shape (n_switches,): the same plane, the same place in each pod."""
    tiers = fabric.tiers
    plane = np.zeros(fabric.n_switches, dtype=np.int64)
    for tier in range(1, int(tiers.max(initial=0)) + 1):
        members = tiers == tier
        plane[members] = _components(fabric, tiers >= tier)[members]
    return _positions([np.arange(fabric.n_switches), plane])


def destination_ranks(fabric: Fabric, ports: NDArray[np.int32]) -> Int64:
    """Return the rank of each destination port along the tree, shape (n,): 0 .. n - 1 in order of leaf and port."""
    far = fabric.port_peer[ports]
    leaf = fabric.port_node[far]
    position = np.append(tree_order(fabric), np.zeros(fabric.n_nodes - fabric.n_switches, dtype=np.int64))
    rank = np.empty(len(ports), dtype=np.int64)
    rank[np.lexsort((fabric.port_number[far], position[leaf]))] = np.arange(len(ports))
    return rank


def counted_ports(fabric: Fabric, options: Options) -> NDArray[np.int32]:
    """Return the destinations that are balanced first: ports of compute hosts, without those that options ignore."""
    ports = fabric.compute_endpoints
    return ports[~np.isin(ports, options.ignored)] if options.ignored else ports


def is_tree(fabric: Fabric) -> bool:
    """Return whether links join switches of different tiers only."""
    channels = switch_channels(fabric)
    tiers = fabric.tiers
    return bool((tiers >= 0).all() and (tiers[fabric.channel_src[channels]] != tiers[fabric.channel_dst[channels]]).all())


def is_whole_tree(fabric: Fabric, ports: NDArray[np.int32]) -> bool:
    """Return whether the fabric is a whole PGFT that destination-modulo routing of `ports` loads evenly.

    That is: links join neighbouring tiers only; all switches of a tier have the same numbers of neighbours and cables below
    and above; each pod meets each plane in exactly one switch; all leaves have the same number of ports; and at each level the
    ports of a pod divide evenly among its up-links, or are no more than those (Zahavi, JPDC 72(11), 2012, section 2: the
    definition of PGFTs, and section 3).
    """
    tiers = fabric.tiers.astype(np.int64)
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    if not len(src) or (tiers < 0).any() or (np.abs(tiers[src] - tiers[dst]) != 1).any():
        return False
    hosts = np.bincount(fabric.channel_dst[fabric.channel_of_port[ports]], minlength=fabric.n_switches)
    if len(set(hosts[tiers == 0].tolist())) != 1 or hosts[tiers > 0].any():
        return False
    below, width = int(hosts[tiers == 0][0]), 1  # ports and switches of a pod
    for tier in range(int(tiers.max())):
        up = _fan(src, dst, tiers, tier, tier + 1)
        down = _fan(src, dst, tiers, tier + 1, tier)
        if up is None or down is None or up[1] != down[1] or not _crossed(fabric, tiers, tier + 1):
            return False
        links = width * up[0] * up[1]
        if below > links and below % links:
            return False
        below, width = below * down[0], width * up[0]
    return True


def _fan(src: NDArray[np.int32], dst: NDArray[np.int32], tiers: Int64, here: int, there: int) -> tuple[int, int] | None:
    """Return neighbours per switch and cables per neighbour from one tier to another; None if they differ."""
    between = (tiers[src] == here) & (tiers[dst] == there)
    pairs, cables = np.unique(src[between].astype(np.int64) * len(tiers) + dst[between], return_counts=True)
    neighbours = np.bincount(pairs // len(tiers), minlength=len(tiers))[tiers == here]
    if len(set(cables.tolist())) != 1 or len(set(neighbours.tolist())) != 1:
        return None
    return int(neighbours[0]), int(cables[0])


def _crossed(fabric: Fabric, tiers: Int64, tier: int) -> bool:
    """Return whether each pod meets each plane in exactly one switch of a tier."""
    members = tiers == tier
    pods = np.unique(_components(fabric, tiers <= tier)[members], return_inverse=True)[1]
    planes = np.unique(_components(fabric, tiers >= tier)[members], return_inverse=True)[1]
    cells = (int(pods.max()) + 1) * (int(planes.max()) + 1)
    return len(pods) == cells == len(np.unique(pods * (int(planes.max()) + 1) + planes))


def _components(fabric: Fabric, members: NDArray[np.bool_]) -> Int64:
    """Return the lowest switch index in each switch's component among `members`; non-members keep their own."""
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    inside = members[src] & members[dst]
    return components(fabric.n_switches, src[inside], dst[inside])


def _positions(keys: list[Int64]) -> Int64:
    position = np.empty(len(keys[0]), dtype=np.int64)
    position[np.lexsort(keys)] = np.arange(len(keys[0]))
    return position
