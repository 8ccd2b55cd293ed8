"""Where tables lead: how many hops each switch's traffic takes to each LID, and which of it does not arrive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import BLOCK_ENTRIES, MAX_HOPS
from fabctl.model.fabric import Fabric

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Lft = NDArray[np.uint8]


def attached_lids(fabric: Fabric) -> Int64:
    """Return the LIDs of switches, and of the ports of CAs and routers that hang from switches."""
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    return lids[homes(fabric, lids) >= 0]


def homes(fabric: Fabric, lids: Int64) -> Int32:
    """Return the switch that each LID hangs from, a switch's own included; -1 for one without a switch."""
    port = fabric.port_of_lid[lids]
    own = fabric.port_node[port]
    peer = fabric.port_peer[port]
    far = np.where(peer >= 0, fabric.port_node[peer], fabric.n_nodes)
    home = np.where(own < fabric.n_switches, own, far)
    return np.where(home < fabric.n_switches, home, -1).astype(np.int32)


def source_counts(fabric: Fabric) -> Int64:
    """Return the number of HCA ports at each switch, shape (n_switches,)."""
    at = fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]]
    return np.bincount(at, minlength=fabric.n_nodes)[: fabric.n_switches]


def hop_counts(fabric: Fabric, lft: Lft, lids: Int64) -> Int16:
    """Return the hops from each switch to each LID, shape (n_switches, n_lids); -1 where traffic is lost or loops.

    Complexity
    ----------
    O(switches x LIDs x hops) in blocks of bounded memory.
    """
    out = np.empty((fabric.n_switches, len(lids)), dtype=np.int16)
    for columns in blocks(fabric, len(lids)):
        out[:, columns] = _hops(fabric, lft[:, lids[columns]], lids[columns])
    return out


def blocks(fabric: Fabric, n_lids: int) -> Iterator[slice]:
    """Yield the columns of `n_lids` LIDs in blocks of bounded size."""
    width = max(1, BLOCK_ENTRIES // max(1, fabric.n_switches))
    for start in range(0, n_lids, width):
        yield slice(start, min(start + width, n_lids))


def _hops(fabric: Fabric, lft: Lft, lids: Int64) -> Int16:
    n, width = fabric.n_switches, len(lids)
    home, lost = n, n + 1
    port = fabric.port_of_lid[lids]
    channel = fabric.channel_at[np.arange(n)[:, None], lft]
    node = fabric.channel_dst[channel]
    reached = fabric.port_peer[fabric.channel_port[channel]] == port
    following = np.full((n + 2, width), lost, dtype=np.int32)
    following[:n] = np.where(channel < 0, lost, np.where(node < n, node, np.where(reached, home, lost)))
    own = np.flatnonzero(fabric.port_node[port] < n)
    at = fabric.port_node[port[own]]
    following[at, own] = np.where(lft[at, own] == 0, home, lost)
    following[home] = home
    hops = np.full((n, width), -1, dtype=np.int16)
    where = following[:n]
    columns = np.arange(width)
    for count in range(1, MAX_HOPS + 1):
        hops[(where == home) & (hops < 0)] = count
        if (where >= home).all():
            break
        where = following[where, columns]
    return hops


def carried(fabric: Fabric, lft: Lft, lids: Int64, hops: Int16) -> NDArray[np.float64]:
    """Return what each channel carries of one unit from every HCA to every LID that it reaches, shape (n_channels,)."""
    sources = source_counts(fabric).astype(np.float64)
    loads = np.zeros(len(fabric.channel_port))
    for columns in blocks(fabric, len(lids)):
        channel = fabric.channel_at[np.arange(fabric.n_switches)[:, None], lft[:, lids[columns]]].ravel()
        arrives = hops[:, columns].ravel() >= 0
        width = columns.stop - columns.start
        amount = np.repeat(sources, width) * arrives
        for _ in range(MAX_HOPS):
            cell = np.flatnonzero((amount > 0) & (channel >= 0))
            if not len(cell):
                break
            loads += np.bincount(channel[cell], weights=amount[cell], minlength=len(loads))
            node = fabric.channel_dst[channel[cell]]
            inside = node < fabric.n_switches
            target = node[inside].astype(np.int64) * width + cell[inside] % width
            amount = np.bincount(target, weights=amount[cell[inside]], minlength=len(channel)).astype(np.float64)
    return loads
