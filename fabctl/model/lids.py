"""LIDs for ports that have none, so that a fabric can be routed before any subnet manager has seen it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fabctl.errors import InputError
from fabctl.model.fabric import MAX_UNICAST_LID, Fabric


def with_lids(fabric: Fabric) -> tuple[Fabric, int]:
    """Give each switch's port 0 and each connected CA port without a LID the lowest free one.

    Returns
    -------
    fabric : Fabric
        The same object if nothing was missing.
    given : int
        How many LIDs were given out.

    Raises
    ------
    InputError
        If the subnet has no LIDs left, or one is claimed by two ports.
    """
    refuse_duplicate_lids(fabric)
    addressable = np.where(fabric.port_node < fabric.n_switches, fabric.port_number == 0, fabric.port_peer >= 0)
    missing = np.flatnonzero(addressable & (fabric.port_lid == 0))
    if not len(missing):
        return fabric, 0
    taken = np.zeros(MAX_UNICAST_LID + 1, dtype=bool)
    taken[0] = True
    owned = np.flatnonzero(fabric.port_of_lid >= 0)
    taken[owned] = True
    free = np.flatnonzero(~taken)
    if len(free) < len(missing):
        raise InputError(f"{len(missing)} ports need a LID, the subnet has {len(free)} left")
    lids = fabric.port_lid.copy()
    lids[missing] = free[: len(missing)]
    lmc = fabric.port_lmc.copy()
    lmc[missing] = 0
    return replace(fabric, port_lid=lids, port_lmc=lmc), len(missing)


def refuse_duplicate_lids(fabric: Fabric) -> None:
    """Raise `InputError` naming two ports that claim one LID."""
    owners = np.flatnonzero(fabric.port_lid > 0)
    span = 1 << fabric.port_lmc[owners].astype(np.int64)
    order = np.argsort(fabric.port_lid[owners], kind="stable")
    owners, span = owners[order], span[order]
    lids = fabric.port_lid[owners]
    clash = np.flatnonzero(lids[:-1] + span[:-1] > lids[1:])
    if len(clash):
        first, second = int(owners[clash[0]]), int(owners[clash[0] + 1])
        raise InputError(
            f"LID {lids[clash[0] + 1]} is claimed by {fabric.port_label(first)} and {fabric.port_label(second)}"
            f" ({len(clash)} such LIDs): traffic for it cannot be routed",
            hint="two subnets in one file, or a merged dump? fabctl discover lists the duplicates",
        )
