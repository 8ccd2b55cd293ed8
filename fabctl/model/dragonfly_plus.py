"""Dragonfly+ by its cabling: groups of leaves under spines, and links between spines of different groups.

Shpiner, Haramaty, Eliad, Zdornov, Gafni, Zahavi: Dragonfly+: low cost topology for scaling datacenters, HiPINEB 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.components import components
from fabctl.model.fabric import Fabric

Int64 = NDArray[np.int64]

HINT = "--engine auto picks by structure; --engine updn routes any fabric without credit loops"


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of a Dragonfly+.

    Parameters
    ----------
    of_switch : int64 array of shape (n_switches,)
        Group of each switch, 0 to n - 1.
    joined : bool array of shape (n, n)
        Which groups have a link between them; all true on the diagonal.
    """

    of_switch: Int64
    joined: NDArray[np.bool_]

    def apart(self, fabric: Fabric) -> tuple[str, ...]:
        """Return the pairs of groups without a link, by the names of their first switches."""
        first = [fabric.labels[int(np.argmax(self.of_switch == group))] for group in range(len(self.joined))]
        return tuple(
            f"the groups of {first[one]} and {first[other]}" for one, other in np.argwhere(~self.joined).tolist() if one < other
        )


def find_groups(fabric: Fabric) -> Groups:
    """Return the groups of a Dragonfly+, with cables and switches missing at most here and there.

    Raises
    ------
    RefusedError
        If the fabric is none; with the switches or cables that do not fit.
    """
    tiers, n = fabric.tiers.astype(np.int64), fabric.n_switches
    channels = np.flatnonzero((fabric.channel_src < n) & (fabric.channel_dst < n) & (fabric.channel_src != fabric.channel_dst))
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    high = np.flatnonzero((tiers < 0) | (tiers > 1))
    if len(high):
        raise _other(f"{fabric.labels[high[0]]} is neither a leaf nor joined with one")
    level = tiers[src] == tiers[dst]
    between_leaves = channels[level & (tiers[src] == 0)]
    if len(between_leaves):
        raise _other(f"{len(between_leaves) // 2} cables join leaves: {fabric.cable_label(int(between_leaves[0]))}")
    root = components(n, src[~level], dst[~level])
    roots, of_switch = np.unique(root, return_inverse=True)
    inside = channels[level & (root[src] == root[dst])]
    if len(inside):
        raise _other(f"{len(inside) // 2} cables join spines of one group: {fabric.cable_label(int(inside[0]))}")
    if len(roots) < 2:
        raise _other("all leaves share their spines, it is one group")
    joined = np.eye(len(roots), dtype=bool)
    joined[of_switch[src[level]], of_switch[dst[level]]] = True
    groups = Groups(of_switch, joined)
    apart = groups.apart(fabric)
    if 4 * len(apart) >= len(roots) * (len(roots) - 1):
        raise _other(f"{len(apart)} pairs of {len(roots)} groups have no link: {apart[0]}")
    return groups


def _other(why: str) -> RefusedError:
    return RefusedError(f"this fabric is no Dragonfly+: {why}", hint=HINT)
