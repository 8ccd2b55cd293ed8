"""The order in which destinations and next hops are counted: what makes balance come out even.

Destination-modulo routing is as good as its numbering. Destinations are numbered along the tree (by pod, then leaf, then
port), and next hops along the planes (switches that share ancestors get the same place in every pod), so traffic for one
destination meets on one root and neighbouring destinations never share one (Zahavi, D-Mod-K routing providing non-blocking
traffic for shift permutations on real life fat trees, 2010; Zahavi, JPDC 72(11), 2012, section 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
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


def _components(fabric: Fabric, members: NDArray[np.bool_]) -> Int64:
    """Return the lowest switch index in each switch's component among `members`; non-members keep their own."""
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    inside = members[src] & members[dst]
    src, dst = src[inside], dst[inside]
    label = np.arange(fabric.n_switches)
    while True:
        lower = label.copy()
        np.minimum.at(lower, src, label[dst])
        lower = lower[lower]
        if np.array_equal(lower, label):
            return label
        label = lower


def _positions(keys: list[Int64]) -> Int64:
    position = np.empty(len(keys[0]), dtype=np.int64)
    position[np.lexsort(keys)] = np.arange(len(keys[0]))
    return position
