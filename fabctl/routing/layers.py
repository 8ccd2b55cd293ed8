"""Virtual lanes that make any routes free of credit loops: each lane takes paths while its channel dependencies have no cycle.

Skeie, Lysne, Theiss: Layered shortest path (LASH) routing in irregular system area networks, IPDPS workshops 2002: paths are
taken in turn, and each goes into the first layer where it closes no cycle. Domke, Hoefler, Nagel: Deadlock-free oblivious
routing for arbitrary topologies, IPDPS 2011, section 3: a path, from a sending switch to a destination LID, has one layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.jit import announce_compiling
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.order import destination_ranks
from fabctl.routing.paths import switch_channels

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Layers = NDArray[np.uint8]

MOST_VLS = 15
"""Data virtual lanes that the architecture has (InfiniBand Architecture Specification volume 1, section 7.6.3)."""
NO_LAYER = 255
COUNTED = 100_000
"""Paths that may be left when the lanes are full for those that they would need to be counted: that takes seconds."""
FEW = 0.1
"""Share of paths below which several orders are tried: they take little time then."""


def assign_layers(tables: RoutingTables, max_vls: int, *, keep_entries: bool = False) -> RoutingTables:
    """Return tables with service levels such that no virtual lane has a cycle of channel dependencies.

    Paths to HCAs are laid first. Those to switches and aggregation nodes (management) follow, in lanes that are left where they
    need more; `fabctl.routing.verify` warns of any that find no place.

    All LIDs of a port share a lane, because OpenSM's policy tells paths apart by ports. Entries for a switch that has HCAs become
    those of its first HCA, so that they ask for no lane of their own.

    Parameters
    ----------
    tables : RoutingTables
        Free of forwarding loops; their own service levels are not looked at.
    max_vls : int
        Lanes that may be used, 1 to 15.
    keep_entries : bool
        Whether entries for switches stay as they are.

    Raises
    ------
    RefusedError
        If the paths to HCAs need more; it says how many, or that many more.

    Complexity
    ----------
    O(leaves x destinations x hops) per lane, and for each distinct dependency one search of a part of the lane's graph.
    """
    fabric = tables.fabric
    tables = tables if keep_entries else _as_hosts(tables)
    ports, lids = _destinations(tables)
    first = np.flatnonzero(np.append(True, ports[1:] != ports[:-1]))
    n_data = int(np.count_nonzero(fabric.is_hca[fabric.port_node[ports[first]]]))
    home = _home(fabric, ports)
    leaves = np.unique(_home(fabric, fabric.endpoints))
    leaves = leaves[leaves < fabric.n_switches].astype(np.int32)
    layer = np.full((len(first), len(leaves)), NO_LAYER, dtype=np.uint8)
    layer[home[first, None] == leaves] = 0
    first = np.append(first, len(lids))
    fill = _filler(tables, lids, home, first, leaves)
    used, left = 0, np.array([1, 1])
    while (used < max_vls and left.any()) or (used < MOST_VLS and 0 < left[0] <= COUNTED):
        layer, left = fill(layer, used, n_data)
        used += 1
    if left[0] or used > max_vls:
        needed = f"more than {used}" if left[0] else str(used)
        raise RefusedError(
            f"the paths of {tables.origin} need {needed} virtual lanes to be free of credit loops; {max_vls} may be used",
            hint="--engine nue routes any fabric with any number of lanes, --engine updn with one",
        )
    if used == 1:
        return replace(tables, service_level=None)
    level = np.zeros(tables.lft.shape, dtype=np.uint8)
    level[np.ix_(leaves, lids)] = np.repeat(np.where(layer == NO_LAYER, 0, layer), np.diff(first), axis=0).T
    return replace(tables, service_level=level)


def _filler(
    tables: RoutingTables, lids: Int64, home: Int32, first: Int64, leaves: Int32
) -> Callable[[Layers, int, int], tuple[Layers, Int64]]:
    """Return what fills a lane: from layers, the lane's number and the number of HCA ports to layers and what is left.

    Ports with the most paths left come first. Where few are left, other orders are tried as well, since one of them may
    leave none.
    """
    from fabctl.routing.layers_kernel import fill_layer

    announce_compiling(fill_layer)
    hops = _Hops(tables.fabric)
    next_hop = hops.place[np.ascontiguousarray(tables.next_channel[:, lids].T)]

    def fill(layer: Layers, number: int, n_data: int) -> tuple[Layers, Int64]:
        waiting = np.count_nonzero(layer == NO_LAYER, axis=1)
        most = np.argsort(-waiting, kind="stable")
        few = waiting.sum() < FEW * layer.size
        best, fewest = layer, np.array([layer.size, layer.size])
        for turn in (most, most[::-1], np.arange(len(most))) if few else (most,):
            tried, lane = layer.copy(), hops.empty_lane()
            kinds = (turn[turn < n_data], turn[turn >= n_data])
            left = np.array([fill_layer(next_hop, home, first, kind, leaves, tried, number, *lane) for kind in kinds])
            if tuple(left) < tuple(fewest):
                best, fewest = tried, left
        return best, fewest

    return fill


def _as_hosts(tables: RoutingTables) -> RoutingTables:
    """Return tables that send what is for a switch itself on the paths to the first HCA that hangs from it, where one does."""
    fabric = tables.fabric
    home = _home(fabric, fabric.endpoints)
    switches, first = np.unique(home[home < fabric.n_switches], return_index=True)
    own = np.flatnonzero((fabric.port_number == 0) & (fabric.port_lid > 0) & np.isin(fabric.port_node, switches))
    followed = fabric.endpoints[home < fabric.n_switches][first][np.searchsorted(switches, fabric.port_node[own])]
    lft = tables.lft.copy()
    lft[:, fabric.port_lid[own]] = lft[:, fabric.port_lid[followed]]
    lft[fabric.port_node[own], fabric.port_lid[own]] = 0
    return replace(tables, lft=lft)


class _Hops:
    """Channels between switches, numbered on their own as a CSR by sending switch.

    Attributes
    ----------
    place : int32 array of shape (n_channels + 1,)
        Number of a fabric's channel; -1 for others, and for channel -1.
    """

    def __init__(self, fabric: Fabric) -> None:
        channels = switch_channels(fabric)
        src = fabric.channel_src[channels]
        self.place = np.full(len(fabric.channel_port) + 1, -1, dtype=np.int32)
        self.place[channels] = np.arange(len(channels))
        self._ptr = np.searchsorted(src, np.arange(fabric.n_switches + 1)).astype(np.int32)
        self._dst = fabric.channel_dst[channels]
        self._reverse = self.place[fabric.channel_reverse[channels]]
        self._slot = np.arange(len(channels), dtype=np.int32) - self._ptr[src]

    def empty_lane(self) -> tuple[NDArray[np.uint8], Int32, Int32, Int32, Int32, Int32]:
        """Return the last six arguments of the kernel for a lane that carries nothing."""
        n = len(self._dst)
        state = np.zeros((n, int(self._slot.max(initial=0)) + 1), dtype=np.uint8)
        return state, np.arange(n, dtype=np.int32), self._ptr, self._dst, self._reverse, self._slot


def _home(fabric: Fabric, ports: Int32) -> Int32:
    """Return the switch that each port hangs from; a switch's own port hangs from itself."""
    own = fabric.port_node[ports] < fabric.n_switches
    return np.where(own, fabric.port_node[ports], fabric.port_node[fabric.port_peer[ports]]).astype(np.int32)


def _destinations(tables: RoutingTables) -> tuple[Int32, Int64]:
    """Return the port of every LID at a switch, and the LID: HCAs along the tree, then all others."""
    fabric = tables.fabric
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    lids = lids[lids < tables.lft.shape[1]]
    ports = fabric.port_of_lid[lids]
    attached = (fabric.port_node[ports] < fabric.n_switches) | (fabric.port_peer[ports] >= 0)
    lids, ports = lids[attached], ports[attached]
    at_switch = _home(fabric, ports) < fabric.n_switches
    lids, ports = lids[at_switch], ports[at_switch]
    is_hca = fabric.is_hca[fabric.port_node[ports]]
    rank = np.arange(len(lids))
    rank[is_hca] = destination_ranks(fabric, ports[is_hca])
    order = np.lexsort((rank, ~is_hca))
    return ports[order].astype(np.int32), lids[order]
