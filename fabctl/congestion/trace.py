"""One route, followed until it arrives or shows why it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import MAX_HOPS
from fabctl.model.tables import RoutingTables


@dataclass(frozen=True)
class Trace:
    """The channels from one port towards another.

    Parameters
    ----------
    channels : tuple of int
        In the order in which they are taken.
    problem : str
        Why the destination is not reached; empty if it is.
    loops : bool
        Whether the problem is a forwarding loop.
    """

    channels: tuple[int, ...]
    problem: str = ""
    loops: bool = False


def trace(tables: RoutingTables, source: int, target: int) -> Trace:
    """Follow the tables from an HCA port to another port's base LID."""
    fabric = tables.fabric
    lid = int(fabric.port_lid[target])
    label = fabric.port_label(target)
    channels = [int(fabric.channel_of_port[source])]
    seen: set[int] = set()
    if not 0 < lid < tables.lft.shape[1]:
        return Trace(tuple(channels), f"no table has an entry for LID {lid} of {label}" if lid else f"{label} has no LID")
    while True:
        node = int(fabric.channel_dst[channels[-1]])
        if node >= fabric.n_switches:
            arrived = int(fabric.port_peer[fabric.channel_port[channels[-1]]])
            return Trace(tuple(channels), "" if arrived == target else f"it ends at {fabric.port_label(arrived)}")
        if node in seen:
            return Trace(tuple(channels), f"it is at {fabric.labels[node]} again: LID {lid} loops", loops=True)
        seen.add(node)
        following = int(fabric.channel_at[node, tables.lft[node, lid]])
        if following < 0:
            return Trace(tuple(channels), f"{fabric.labels[node]} has no route to LID {lid} ({label})")
        channels.append(following)


def distances(tables: RoutingTables, target: int) -> NDArray[np.int32]:
    """Return how many channels the tables take from each switch to a port, shape (n_switches,); -1 where they lose it.

    Complexity
    ----------
    O(switches x hops).
    """
    fabric = tables.fabric
    column = tables.lft[:, fabric.port_lid[target]]
    following = fabric.channel_at[np.arange(fabric.n_switches), column]
    node = np.where(following >= 0, fabric.channel_dst[following], -1)
    arrives = (following >= 0) & (fabric.port_peer[fabric.channel_port[following]] == target)
    distance = np.where(arrives, 1, -1).astype(np.int32)
    for hops in range(2, MAX_HOPS):
        before = (distance < 0) & (node >= 0) & (node < fabric.n_switches)
        reached = before & (distance[np.clip(node, 0, fabric.n_switches - 1)] == hops - 1)
        if not reached.any():
            break
        distance[reached] = hops
    return distance


def with_entry(tables: RoutingTables, switch: int, lid: int, port_number: int) -> RoutingTables:
    """Return tables in which one switch forwards one LID to another port."""
    lft = tables.lft.copy()
    lft[switch, lid] = port_number
    return RoutingTables(tables.fabric, lft, tables.origin, tables.service_level, tables.notes)
