"""Rails: whether the first HCAs of all hosts share their leaves, the second HCAs theirs, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.cables import HOST, UNPLACED, Cables, Int64
from fabctl.model.fabric import Fabric

LEAF_SHARE = 0.75
"""A leaf belongs to a rail when at least this share of its HCAs does."""

FABRIC_SHARE = 0.9
"""A fabric is rail-optimised when at least this share of its leaves belongs to one rail each."""


@dataclass(frozen=True, eq=False)
class Rails:
    """How the HCAs of compute hosts are spread over switches.

    Parameters
    ----------
    cable : int64 array of shape (n,)
        Rows of the fabric's `Cables` that join a switch and an HCA of known rail in a compute host.
    counts : int64 array of shape (n_switches, rails)
        Such HCAs of each rail on each switch.
    owner : int64 array of shape (n_switches,)
        Rail that a switch belongs to (`LEAF_SHARE`); -1 for none.
    leaves, leaves_of_one_rail : int
        Switches with at least two such HCAs, and those of them that have an owner.
    """

    cable: Int64
    counts: Int64
    owner: Int64
    leaves: int
    leaves_of_one_rail: int

    @property
    def number(self) -> int:
        """How many rails there are: the HCAs of the typical host."""
        return self.counts.shape[1]

    @property
    def optimised(self) -> bool:
        """Whether each rail has leaves of its own (`FABRIC_SHARE`)."""
        return self.number > 1 and self.leaves > 0 and self.leaves_of_one_rail >= FABRIC_SHARE * self.leaves


def find_rails(fabric: Fabric, cables: Cables) -> Rails:
    """Return how a fabric's HCAs are spread over its leaves.

    Complexity
    ----------
    O(cables + switches x rails).
    """
    hosts = fabric.hosts
    on_switch = (cables.low_level == HOST) & (cables.high_level >= UNPLACED)
    compute = np.append(hosts.is_compute, np.False_)[hosts.node_host[cables.low]]
    cable = np.flatnonzero(on_switch & compute & (hosts.node_rail[cables.low] >= 0))
    counts = np.zeros((fabric.n_switches, hosts.common_hca_count), dtype=np.int64)
    np.add.at(counts, (cables.high[cable], hosts.node_rail[cables.low[cable]]), 1)
    total, most = counts.sum(axis=1), counts.max(axis=1, initial=0)
    owned: NDArray[np.bool_] = (total > 0) & (most >= LEAF_SHARE * total)
    owner = np.full(fabric.n_switches, -1, dtype=np.int64)
    if owned.any():
        owner[owned] = counts[owned].argmax(axis=1)
    several = total >= 2
    return Rails(cable, counts, owner, int(several.sum()), int((several & owned).sum()))
