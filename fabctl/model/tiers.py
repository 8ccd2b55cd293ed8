"""Tiers found by structure, never by name: leaves carry the hosts, a switch's tier is its distance to the leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric

Int8 = NDArray[np.int8]
GROWTH = 1.05
"""A switch above others must join at least this many times the leaves that its best child joins alone."""


def switch_tiers(fabric: Fabric) -> Int8:
    """Return the tier of each switch: 0 for leaves, 1 for their spines, ... and -1 where no leaf can be reached.

    A switch with HCAs is a leaf, unless it has few (less than a quarter of what the typical HCA's switch has) and most
    of its neighbours are leaves: then it is a spine that also serves a manager or a storage gateway. A cable that skips a
    tier does not move the switch above it. A switch that hangs from the tree without joining anything (a leaf whose hosts
    are all down) is put one tier below what it hangs from.

    Returns
    -------
    int8 array of shape (n_switches,)
    """
    n = fabric.n_switches
    src, dst = fabric.channel_src, fabric.channel_dst
    between = (src < n) & (dst < n) & (src != dst)
    hcas = np.bincount(src[(src < n) & fabric.is_hca[dst]], minlength=n)[:n]
    src, dst = src[between], dst[between]
    leaf = _leaves(hcas, src, dst)
    return _lower_hanging(_lift_pulled_down(_distance_to(leaf, src, dst), src, dst), leaf, src, dst)


def _leaves(hcas: NDArray[np.int64], src: NDArray[np.int32], dst: NDArray[np.int32]) -> NDArray[np.bool_]:
    n = len(hcas)
    typical = int(np.argmax(np.bincount(hcas, weights=hcas))) if hcas.any() else 0
    leaf = (hcas > 0) & (4 * hcas >= typical)
    leaf_links = np.bincount(src[leaf[dst]], minlength=n)
    links = np.bincount(src, minlength=n)
    return leaf | ((hcas > 0) & (2 * leaf_links <= links))


def _distance_to(leaf: NDArray[np.bool_], src: NDArray[np.int32], dst: NDArray[np.int32]) -> Int8:
    tier = np.where(leaf, 0, -1).astype(np.int8)
    for level in range(1, 127):
        reached = np.zeros(len(leaf), dtype=bool)
        reached[dst[tier[src] == level - 1]] = True
        reached &= tier < 0
        if not reached.any():
            break
        tier[reached] = level
    return tier


def _lift_pulled_down(tier: Int8, src: NDArray[np.int32], dst: NDArray[np.int32]) -> Int8:
    """Put a switch that a stray cable to a leaf has pulled down beside its children back above them.

    At least three quarters of its cables go to switches of its tier, and at most a quarter of theirs do.
    """
    beside = tier[src] == tier[dst]
    cables = np.bincount(src, minlength=len(tier))
    level = np.bincount(src[beside], minlength=len(tier))
    strangers = np.bincount(src[beside & (4 * level > cables)[dst]], minlength=len(tier))
    return tier + ((tier > 0) & (4 * level >= 3 * cables) & (strangers == 0)).astype(np.int8)


def _lower_hanging(tier: Int8, leaf: NDArray[np.bool_], src: NDArray[np.int32], dst: NDArray[np.int32]) -> Int8:
    n, top = len(tier), int(tier.max(initial=0))
    joins = np.zeros((n, int(leaf.sum())), dtype=bool)
    joins[np.flatnonzero(leaf), np.arange(joins.shape[1])] = True
    best_child = np.zeros(n, dtype=np.int64)
    for level in range(1, top + 1):
        down = (tier[src] == level) & (tier[dst] == level - 1)
        parents, first = np.unique(src[down], return_index=True)
        if len(parents):
            joins[parents] = np.logical_or.reduceat(joins[dst[down]], first, axis=0)
            best_child[parents] = np.maximum.reduceat(joins.sum(axis=1)[dst[down]], first)
    grows = joins.sum(axis=1) > GROWTH * best_child
    hanging = np.zeros(n, dtype=bool)
    for level in range(top, 0, -1):
        has_above = np.zeros(n, dtype=bool)
        has_above[src[(tier[dst] > level) & ~hanging[dst]]] = True
        hanging |= (tier == level) & ~grows & ~has_above
    settled = np.where(hanging, np.int8(-1), tier)
    while hanging.any():
        edges = hanging[src] & (settled[dst] >= 0)
        if not edges.any():
            break
        for switch in np.unique(src[edges]).tolist():
            below = int(settled[dst[edges & (src == switch)]].min()) - 1
            settled[switch] = max(below, 0)
            hanging[switch] = False
    return settled
