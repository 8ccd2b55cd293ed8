"""Groups of adaptive routing: the ports among which each switch may choose, per destination, found from the tables.

NVIDIA's InfiniBand Cluster Bring-up Procedure (Adaptive Routing) defines them: LAG takes all ports to the same next switch, TREE
all ports with minimal hops to the destination, DF_PLUS the ways of a Dragonfly+. Here the hops are those that the tables route,
so groups never lead where the tables would not go, and fall by one in every hop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import MAX_HOPS, DestinationBlock, check_lids, destination_blocks
from fabctl.errors import RefusedError, UsageError
from fabctl.model import dragonfly_plus
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables

Bools = NDArray[np.bool_]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

MODES = ("lag", "tree", "dragonfly+")
NO_WAY = 255
"""Hops of a switch from which the tables do not reach a destination."""
BLOCK_ARCS = 1 << 24
"""Pairs of a class and an arc that are looked at at a time."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Where traffic may go next, as a graph without loops.

    A class is a set of destination ports at one switch with the same choices everywhere. A state is a switch; on a Dragonfly+
    also a switch with traffic that may still leave its group for any other. Cell ``c * n_states + s`` is class `c` in state `s`.

    Parameters
    ----------
    fabric : Fabric
    mode : str
        One of `MODES`.
    class_of_port : int32 array of shape (n_ports,)
        Class of each destination port; -1 for other ports.
    n_states : int
    rank : int16 array of shape (n_classes, n_states)
        Falls in every hop, to 0 where the destinations hang; -1 where there is no way.
    start : int64 array of shape (n_classes, n_switches)
        Cell in which traffic from a switch's HCAs begins.
    ptr : int64 array of shape (n_cells + 1,)
        The group of a cell is ``channel[ptr[cell]:ptr[cell + 1]]``.
    channel, far : int32 arrays of shape (n_edges,)
        Channels of the groups, and the cell behind each.
    """

    fabric: Fabric
    mode: str
    class_of_port: Int32
    n_states: int
    rank: Int16
    start: Int64
    ptr: Int64
    channel: Int32
    far: Int32

    @property
    def widest(self) -> int:
        """Ports of the largest group."""
        return int(np.diff(self.ptr).max(initial=0))

    def switch(self, cell: Int64) -> Int64:
        """Return the switch of each cell."""
        return cell % self.n_states % self.fabric.n_switches

    @cached_property
    def order(self) -> Int64:
        """Return the cells with a way, class by class, by falling rank: what sends before what receives."""
        inside = np.argsort(-self.rank, axis=1, kind="stable")
        cells = (inside + np.arange(len(self.rank))[:, None] * self.n_states).ravel()
        return cells[self.rank.ravel()[cells] > 0]


def adaptive_groups(tables: RoutingTables, ports: Int32, mode: str) -> Groups:
    """Return the groups towards destination ports.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        Connected HCA ports; those that are not at a switch are left out.
    mode : str
        ``lag``: parallel cables to the switch that the table's entry leads to. ``tree``: all ports to switches one hop nearer
        by the tables' hops; up only where the tables go up, and down only to where they go on down, as traffic that has gone
        down a tier must not go up again.
        ``dragonfly+``: as ``tree``, and in the source's group also up to any spine and over to any group that has links to
        the destination's.

    Complexity
    ----------
    O(switches x destinations x hops) for the tables, O(classes x channels) for the groups, in blocks of bounded memory.

    Raises
    ------
    InputError
        If a port has no LID in the tables.
    RefusedError
        If the fabric is no Dragonfly+ and `mode` says it is.
    UsageError
        If there is no such mode.
    """
    if mode not in MODES:
        raise UsageError(f"no adaptive routing '{mode}'", hint=f"choose {', '.join(MODES)}")
    fabric = tables.fabric
    ports = np.unique(ports)
    ports = ports[fabric.channel_dst[fabric.channel_of_port[ports]] < fabric.n_switches]
    check_lids(tables, ports)
    arcs = _Arcs.of(fabric, dragonfly_plus.find_groups(fabric) if mode == "dragonfly+" else None)
    class_of_port, hops = _classes(tables, ports, by_switch=mode == "lag")
    own = _own(tables, ports, class_of_port, arcs, len(hops))
    rank = arcs.ranks(hops)
    allowed = [arcs.allowed(mode, hops[part], own[part]) for part in _parts(len(hops), len(arcs.channel))]
    ptr, channel, far = arcs.edges(allowed)
    groups = Groups(fabric, mode, class_of_port, arcs.n_states, rank, arcs.start(ptr, len(hops)), ptr, channel, far)
    _check_falls(groups)
    return groups


def _parts(n_classes: int, n_arcs: int) -> Iterator[slice]:
    width = max(1, BLOCK_ARCS // max(1, n_arcs))
    return (slice(first, first + width) for first in range(0, n_classes, width))


def _classes(tables: RoutingTables, ports: Int32, *, by_switch: bool) -> tuple[Int32, Int16]:
    """Return the class of each port, and hops of shape (n_classes, n_switches) to each class.

    Ports are in one class if all switches are as many hops from both; with `by_switch`, if all switches send to the same next.
    """
    rows, hops = [], []
    for block in destination_blocks(tables, ports):
        far = _next_switch(block)
        hops.append(_hops(block, far).T)
        rows.append(far.T if by_switch else hops[-1])
    every = np.concatenate(rows)
    keys = np.ascontiguousarray(every).view(np.dtype((np.void, every.itemsize * every.shape[1]))).ravel()
    _, first, found = np.unique(keys, return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))
    class_of_port = np.full(len(tables.fabric.port_node), -1, dtype=np.int32)
    class_of_port[ports] = turn[found.ravel()]
    return class_of_port, np.concatenate(hops)[np.sort(first)].astype(np.int16)


def _next_switch(block: DestinationBlock) -> Int32:
    """Return the switch to which each switch forwards each destination, shape (n_switches, n_destinations).

    That is the switch itself where the destination hangs, and -1 where there is none.
    """
    fabric = block.fabric
    channel = block.next_channel(np.arange(fabric.n_switches))
    far = np.where(channel < 0, -1, fabric.channel_dst[channel])
    far[far >= fabric.n_switches] = -1
    home = fabric.channel_dst[fabric.channel_of_port[block.ports]]
    far[home, np.arange(len(home))] = home
    return far.astype(np.int32)


def _hops(block: DestinationBlock, far: Int32) -> NDArray[np.uint8]:
    """Return the hops between switches on the tables' routes, (n_switches, n_destinations); `NO_WAY` where there are none."""
    width = len(block.ports)
    hops = np.full(far.size, NO_WAY, dtype=np.uint8)
    home = block.fabric.channel_dst[block.fabric.channel_of_port[block.ports]].astype(np.int64)
    hops[home * width + np.arange(width)] = 0
    flat = far.ravel()
    cell = np.flatnonzero((flat >= 0) & (hops == NO_WAY))
    target = flat[cell].astype(np.int64) * width + cell % width
    for _ in range(MAX_HOPS):
        ready = hops[target] != NO_WAY
        if not ready.any():
            break
        hops[cell[ready]] = hops[target[ready]] + 1
        cell, target = cell[~ready], target[~ready]
    return hops.reshape(far.shape)


def _own(tables: RoutingTables, ports: Int32, class_of_port: Int32, arcs: _Arcs, n_classes: int) -> Bools:
    """Return which channels between switches the tables themselves use for each class, shape (n_classes, n_switch_channels)."""
    place = np.full(len(tables.fabric.channel_port), -1, dtype=np.int64)
    place[arcs.between] = np.arange(len(arcs.between))
    own = np.zeros((n_classes, len(arcs.between)), dtype=bool)
    for block in destination_blocks(tables, ports):
        channel = block.next_channel(np.arange(tables.fabric.n_switches))
        at = np.where(channel < 0, -1, place[channel])
        switch, column = np.nonzero(at >= 0)
        own[class_of_port[block.ports[column]], at[switch, column]] = True
    return own


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Hops that groups may hold, by the state they leave; `free` ones, of a Dragonfly+, come first.

    Parameters
    ----------
    fabric : Fabric
    plus : dragonfly_plus.Groups, optional
    between : int64 array of shape (n_switch_channels,)
        Channels between two switches.
    channel, src, dst : int64 arrays of shape (n_arcs,)
        Channel of each arc, and the switches at its ends.
    far : int64 array of shape (n_arcs,)
        State behind each arc.
    """

    fabric: Fabric
    plus: dragonfly_plus.Groups | None
    between: Int64
    channel: Int64
    src: Int64
    dst: Int64
    far: Int64

    @classmethod
    def of(cls, fabric: Fabric, plus: dragonfly_plus.Groups | None) -> _Arcs:
        n, src, dst = fabric.n_switches, fabric.channel_src, fabric.channel_dst
        between = np.flatnonzero((src < n) & (dst < n) & (src != dst))
        free = np.empty(0, dtype=np.int64)
        if plus is not None:
            rises = fabric.tiers[dst[between]] > fabric.tiers[src[between]]
            leaves = plus.of_switch[src[between]] != plus.of_switch[dst[between]]
            free = between[rises | leaves]
        channel = np.concatenate([free, between])
        tail, head = src[channel].astype(np.int64), dst[channel].astype(np.int64)
        far = head.copy()
        if plus is not None:
            stays = plus.of_switch[tail] == plus.of_switch[head]
            stays[len(free) :] = False
            far[~stays] += n
        return cls(fabric, plus, between, channel, tail, head, far)

    @property
    def n_states(self) -> int:
        return self.fabric.n_switches * (1 if self.plus is None else 2)

    @property
    def n_free(self) -> int:
        return len(self.channel) - len(self.between)

    def ranks(self, hops: Int16) -> Int16:
        """Return the rank of each state for each class: free leaves above free spines, and these above all that are not free."""
        bound = np.where(hops == NO_WAY, -1, hops).astype(np.int16)
        if self.plus is None:
            return bound
        above = int(bound.max(initial=0)) + 1 + (self.fabric.tiers.max(initial=0) - self.fabric.tiers)
        return np.concatenate([np.broadcast_to(above.astype(np.int16), bound.shape), bound], axis=1)

    def allowed(self, mode: str, hops: Int16, own: Bools) -> Bools:
        """Return which arcs the groups of some classes hold, shape (n_classes, n_arcs)."""
        src, dst = self.src[self.n_free :], self.dst[self.n_free :]
        nearer = (hops[:, dst] + 1 == hops[:, src]) & (hops[:, src] != NO_WAY)
        if mode == "lag":
            bundles, bundle = np.unique(src * self.fabric.n_switches + dst, return_inverse=True)
            taken = np.zeros((len(hops), len(bundles)), dtype=bool)
            row, arc = np.nonzero(own & nearer)
            taken[row, bundle[arc]] = True
            return nearer & taken[:, bundle]
        tiers = self.fabric.tiers
        rises = np.zeros(hops.shape, dtype=bool)
        row, arc = np.nonzero(own & (tiers[dst] >= tiers[src]))
        rises[row, src[arc]] = True
        falls = tiers[dst] < tiers[src]
        nearer &= own | np.where(falls, ~rises[:, dst], rises[:, src])
        return nearer if self.plus is None else np.concatenate([self._free(hops), nearer], axis=1)

    def _free(self, hops: Int16) -> Bools:
        """Return which free arcs are taken: over to groups with links to the destination's, and up to spines that have such."""
        plus, n_free = self.plus, self.n_free
        if plus is None:
            return np.zeros((len(hops), 0), dtype=bool)
        src, dst = self.src[:n_free], self.dst[:n_free]
        target = plus.of_switch[np.argmin(np.where(hops < 0, NO_WAY, hops), axis=1)]
        over = plus.of_switch[src] != plus.of_switch[dst]
        away = plus.of_switch[src] != target[:, None]
        free = away & over & plus.joined[plus.of_switch[dst], target[:, None]] & (hops[:, dst] != NO_WAY)
        leaves = np.zeros(hops.shape, dtype=bool)
        row, arc = np.nonzero(free)
        leaves[row, src[arc]] = True
        return free | (away & ~over & leaves[:, dst])

    def edges(self, allowed: list[Bools]) -> tuple[Int64, Int32, Int32]:
        """Return the groups of all cells as a CSR: pointer, channels, and the cells behind."""
        state = self.src.copy()
        if self.plus is not None:
            state[self.n_free :] += self.fabric.n_switches
        cells, channels, fars, first = [], [], [], 0
        for block in allowed:
            row, arc = np.nonzero(block)
            offset = (first + row) * self.n_states
            cells.append(offset + state[arc])
            channels.append(self.channel[arc].astype(np.int32))
            fars.append((offset + self.far[arc]).astype(np.int32))
            first += len(block)
        count = np.bincount(np.concatenate(cells), minlength=first * self.n_states)
        return np.concatenate([[0], np.cumsum(count)]), np.concatenate(channels), np.concatenate(fars)

    def start(self, ptr: Int64, n_classes: int) -> Int64:
        """Return the cell in which traffic from each switch begins: free where it can be."""
        n = self.fabric.n_switches
        cell = np.arange(n_classes)[:, None] * self.n_states + np.arange(n)
        return cell if self.plus is None else np.where(ptr[cell + 1] > ptr[cell], cell, cell + n)


def _check_falls(groups: Groups) -> None:
    """Raise `RefusedError` if a hop does not lead to a lower rank: such groups could send traffic in a circle."""
    rank = groups.rank.ravel()
    here = np.repeat(rank, np.diff(groups.ptr))
    there = rank[groups.far]
    wrong = np.flatnonzero((there < 0) | (there >= here))
    if len(wrong):
        cable = groups.fabric.cable_label(int(groups.channel[wrong[0]]))
        raise RefusedError(f"adaptive routing by {groups.mode} could send traffic in a circle over {cable}")
