"""Loads per directed channel: vectorised walks of the tables, and all-to-all by accumulating per destination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.routes import AllToAll
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

MAX_HOPS = 64
"""Longest walk; more switches than this on one path is a loop. InfiniBand's hop limit in directed routes is 63."""
BLOCK_ENTRIES = 1 << 19
"""Table entries that the per-destination passes hold at a time: a few arrays of this size stay in cache and memory small."""


def walk(tables: RoutingTables, flows: Flows, lids: Int32 | None = None) -> Iterator[tuple[Int64, Int32]]:
    """Walk all flows through the tables, one hop per step.

    Parameters
    ----------
    lids : int32 array of shape (n_flows,), optional
        The LID of its destination port that each flow takes; the base LID by default.

    Yields
    ------
    flow : int64 array of shape (n_active,)
        Flows that are still on their way, in order.
    channel : int32 array of shape (n_active,)
        The channel each takes in this step; the first step is the sending HCA's own channel.

    Raises
    ------
    InputError
        If a table has no entry for a flow, or a flow loops.
    """
    fabric = tables.fabric
    check_lids(tables, flows.dst)
    lid = fabric.port_lid[flows.dst] if lids is None else lids
    channel_at, channel_dst, n_switches = fabric.channel_at, fabric.channel_dst, fabric.n_switches
    flow = np.flatnonzero(flows.src != flows.dst)
    channel = fabric.channel_of_port[flows.src[flow]]
    for _ in range(MAX_HOPS):
        yield flow, channel
        node = channel_dst[channel]
        inside = node < n_switches
        _check_arrival(fabric, flows, flow[~inside], channel[~inside])
        flow, node = flow[inside], node[inside]
        if not len(flow):
            return
        channel = channel_at[node, tables.lft[node, lid[flow]]]
        if channel.min() < 0:
            lost = int(np.argmin(channel))
            target = f"LID {lid[flow[lost]]}, {fabric.port_label(int(flows.dst[flow[lost]]))}"
            raise InputError(
                f"{fabric.labels[node[lost]]} has no route to {target}",
                where=tables.origin,
                hint="fabctl route checks all pairs and names every lost one",
            )
    pair = fabric.port_label(int(flows.src[flow[0]])), fabric.port_label(int(flows.dst[flow[0]]))
    raise InputError(f"the route from {pair[0]} to {pair[1]} loops", where=tables.origin, hint="fabctl route names the loop")


def check_lids(tables: RoutingTables, ports: Int32) -> None:
    """Raise `InputError` naming a port without a LID, or one whose LID is beyond the tables."""
    fabric = tables.fabric
    lid = fabric.port_lid[ports]
    if len(ports) and not lid.all():
        port = int(ports[np.argmin(lid)])
        raise InputError(f"{fabric.port_label(port)} has no LID, so nothing can be routed to it", where=tables.origin)
    if len(ports) and int(lid.max()) >= tables.lft.shape[1]:
        port = int(ports[np.argmax(lid)])
        raise InputError(f"no table has an entry for LID {int(lid.max())} of {fabric.port_label(port)}", where=tables.origin)


def _check_arrival(fabric: Fabric, flows: Flows, flow: Int64, channel: Int32) -> None:
    arrived = fabric.port_peer[fabric.channel_port[channel]]
    wrong = np.flatnonzero(arrived != flows.dst[flow])
    if len(wrong):
        there = fabric.port_label(int(arrived[wrong[0]]))
        raise InputError(f"traffic for {fabric.port_label(int(flows.dst[flow[wrong[0]]]))} ends at {there}")


def channel_loads(tables: RoutingTables, flows: Flows) -> NDArray[np.float64]:
    """Return the sum of the flows' weights on each channel, float64 array of shape (n_channels,).

    The HCAs' own channels count as well. A flow from a port to itself loads nothing.

    Complexity
    ----------
    O(flows x hops), vectorised.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    """
    loads = np.zeros(len(tables.fabric.channel_port))
    for flow, channel in walk(tables, flows):
        loads += np.bincount(channel, weights=flows.weight[flow], minlength=len(loads))
    return loads


def flow_channels(tables: RoutingTables, flows: Flows, lids: Int32 | None = None) -> tuple[Int64, Int32]:
    """Return the channels of each flow in path order, as a CSR.

    Parameters
    ----------
    lids : int32 array of shape (n_flows,), optional
        As for `walk`.

    Returns
    -------
    ptr : int64 array of shape (n_flows + 1,)
    channels : int32 array of shape (ptr[-1],)
        Flow `f` takes ``channels[ptr[f]:ptr[f + 1]]``.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    """
    steps = list(walk(tables, flows, lids))
    count = np.zeros(len(flows) + 1, dtype=np.int64)
    for flow, _ in steps:
        count[flow + 1] += 1
    ptr = np.cumsum(count)
    channels = np.empty(ptr[-1], dtype=np.int32)
    for hop, (flow, channel) in enumerate(steps):
        channels[ptr[flow] + hop] = channel
    return ptr, channels


def alltoall(tables: RoutingTables, ports: Int32) -> AllToAll:
    """Return all-to-all loads between `ports`, accumulated per destination.

    Traffic for one destination forms a tree towards it, so the load of a channel is the number of sources behind it:
    each switch's count moves one hop per pass until all has arrived.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        Connected HCA ports, each at a switch.

    Complexity
    ----------
    O(switches x destinations x hops) instead of O(n^2 x hops), in blocks of bounded memory.

    Raises
    ------
    InputError
        If a pair has no route or loops.
    """
    n_channels = len(tables.fabric.channel_port)
    destinations = np.zeros(n_channels, dtype=np.int64)
    for block in destination_blocks(tables, ports):
        used = np.zeros(block.lft.size, dtype=bool)
        for cell, channel, units in block.hops():
            fresh = (units > 0) & ~used[cell]
            used[cell[fresh]] = True
            destinations += np.bincount(channel[fresh], minlength=n_channels)
    destinations[tables.fabric.channel_of_port[ports]] += len(ports) - 1
    return AllToAll(alltoall_loads(tables, ports), destinations)


def alltoall_loads(tables: RoutingTables, ports: Int32) -> Int64:
    """Return the loads of `alltoall` alone, int64 array of shape (n_channels,)."""
    loads = np.zeros(len(tables.fabric.channel_port))
    for block in destination_blocks(tables, ports):
        for _, channel, units in block.hops():
            loads += np.bincount(channel, weights=units, minlength=len(loads))
    loads[tables.fabric.channel_of_port[ports]] += len(ports) - 1
    return np.rint(loads).astype(np.int64)


@dataclass(frozen=True, eq=False)
class DestinationBlock:
    """The tables' columns of a few destinations, with how many sources sit at each switch.

    A cell is a (switch, destination) pair, numbered ``switch * n_destinations + destination``.

    Parameters
    ----------
    fabric : Fabric
    ports, lids : int32 arrays of shape (n_destinations,)
    lft : uint8 array of shape (n_switches, n_destinations)
    sources : int64 array of shape (n_switches,)
        Sources attached to each switch.
    sends : bool array of shape (n_destinations,)
        Destinations that are sources too; none sends to itself.
    """

    fabric: Fabric
    ports: Int32
    lids: Int32
    lft: NDArray[np.uint8]
    sources: Int64
    sends: NDArray[np.bool_]

    def next_channel(self, switch: NDArray[np.integer], destination: NDArray[np.integer] | slice = slice(None)) -> Int32:
        """Return the channels that switches forward to destinations on; -1 where there is none."""
        if isinstance(destination, slice):
            return self.fabric.channel_at[switch[:, None], self.lft[switch]]
        return self.fabric.channel_at[switch, self.lft[switch, destination]]

    def hops(self, which: NDArray[np.bool_] | None = None) -> Iterator[tuple[Int64, Int32, NDArray[np.float64]]]:
        """Move every source's unit to every destination of the block, one hop per step.

        Parameters
        ----------
        which : bool array of shape (n_switches with sources, n_destinations), optional
            Whose units to move; all by default.

        Yields
        ------
        cell : int64 array of shape (n_active,)
        channel : int32 array of shape (n_active,)
            Channel that the traffic in each cell takes.
        units : float64 array of shape (n_active,)
            How many sources' traffic that is; a destination's own is zero.

        Raises
        ------
        InputError
            If a source has no route or loops.
        """
        fabric, width = self.fabric, len(self.ports)
        n_switches = fabric.n_switches
        switch = np.flatnonzero(self.sources)
        units = np.repeat(self.sources[switch].astype(np.float64), width)
        home = fabric.channel_dst[fabric.channel_of_port[self.ports[self.sends]]]
        units[np.searchsorted(switch, home) * width + np.flatnonzero(self.sends)] -= 1
        if which is not None:
            units *= which.ravel()
        column = np.tile(np.arange(width), len(switch))
        channel = self.next_channel(switch).ravel()
        cell = (switch[:, None] * width + np.arange(width)).ravel()
        for _ in range(MAX_HOPS):
            if len(channel) and channel.min() < 0:
                self._no_route(int(cell[np.argmin(channel)]))
            yield cell, channel, units
            node = fabric.channel_dst[channel]
            target = node.astype(np.int64) * width + column
            if node.max(initial=0) >= n_switches:
                inside = node < n_switches
                target, units = target[inside], units[inside]
            moved = np.bincount(target, weights=units).astype(np.float64, copy=False)
            cell = np.flatnonzero(moved)
            if not len(cell):
                return
            units = moved[cell]
            switch, column = np.divmod(cell, width)
            channel = self.next_channel(switch, column)
        self._loop(int(cell[0]))

    def _no_route(self, cell: int) -> None:
        switch, column = divmod(cell, len(self.ports))
        port = int(self.ports[column])
        raise InputError(
            f"{self.fabric.labels[switch]} has no route to LID {self.lids[column]} ({self.fabric.port_label(port)})",
            hint="fabctl route checks all pairs and names every lost one",
        )

    def _loop(self, cell: int) -> None:
        switch, column = divmod(cell, len(self.ports))
        label = self.fabric.port_label(int(self.ports[column]))
        raise InputError(f"traffic for {label} loops at {self.fabric.labels[switch]}", hint="fabctl route names the loop")


def destination_blocks(
    tables: RoutingTables, ports: Int32, sources: Int32 | None = None, lids: Int32 | None = None
) -> Iterator[DestinationBlock]:
    """Yield the tables' columns of `ports` in blocks of bounded size.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        Destination ports.
    sources : int32 array, optional
        Source ports; `ports` by default.
    lids : int32 array of shape (n,), optional
        The LID of each destination port that is meant; its base LID by default.
    """
    fabric = tables.fabric
    senders = ports if sources is None else sources
    meant = fabric.port_lid[ports] if lids is None else lids
    count = np.bincount(fabric.channel_dst[fabric.channel_of_port[senders]], minlength=fabric.n_nodes)[: fabric.n_switches]
    sends = np.isin(ports, senders)
    width = max(1, BLOCK_ENTRIES // max(1, fabric.n_switches))
    for start in range(0, len(ports), width):
        part = slice(start, start + width)
        yield DestinationBlock(fabric, ports[part], meant[part], tables.lft[:, meant[part]], count, sends[part])
