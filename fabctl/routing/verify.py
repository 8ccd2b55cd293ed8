"""Are tables safe? Every HCA reaches every LID, nothing loops, and no cycle of channels can hold each other's credits."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import DestinationBlock, destination_blocks
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Lost, Verification
from fabctl.model.tables import NO_ROUTE, RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

EXAMPLES = 10
CYCLE_STARTS = 256
"""Channels from which the shortest credit loop is sought; a loop is reported from any one."""


def verify(tables: RoutingTables) -> Verification:
    """Check tables for all traffic that HCAs send: to HCAs (data), and to switches and aggregation nodes (management).

    Credit loops are sought as cycles of the channel dependency graph of each virtual lane (Dally and Seitz, IEEE Trans.
    Computers C-36(5), 1987): a channel depends on the next one if some traffic of that lane takes both in turn.

    Complexity
    ----------
    O(switches x LIDs x log(path length)) in blocks of bounded memory, plus O(switches x LIDs) and the size of the dependency
    graph per virtual lane.
    """
    fabric = tables.fabric
    ports, lids, unlisted = _destinations(tables)
    sources = fabric.endpoints
    lanes = [Lane(fabric) for _ in range(tables.n_vls)]
    pairs, lost_hca, lost_other = 0, 0, 0
    examples: list[Lost] = []
    loop: tuple[int, ...] = ()
    for block in destination_blocks(tables, ports, sources, lids):
        fate = _fates(block, tables)
        rows = np.flatnonzero(block.sources)
        pairs += len(rows) * len(block.ports)
        bad = fate[rows] != _ARRIVES
        is_hca = fabric.is_hca[fabric.port_node[block.ports]]
        lost_hca += int(bad[:, is_hca].sum())
        lost_other += int(bad[:, ~is_hca].sum())
        for row, column in np.argwhere(bad)[: EXAMPLES - len(examples)]:
            verdict = fate[rows[row], column]
            examples.append(Lost(int(rows[row]), int(block.ports[column]), "loops" if verdict == _LOOPS else "has no route"))
        if not loop and (fate[rows] == _LOOPS).any():
            row, column = np.argwhere(fate[rows] == _LOOPS)[0]
            loop = _forwarding_loop(block, int(rows[row]), int(column))
        following = block.next_channel(np.arange(fabric.n_switches)).ravel()
        for vl, lane in enumerate(lanes):
            sent = (block.sources > 0)[:, None] & (fate == _ARRIVES) & _on_lane(tables, block.lids, vl)
            lane.add(block, sent & is_hca, following, lane.data)
            lane.add(block, sent & ~is_hca, following, lane.management)
    loops = [_credit_loop(fabric, lane.data) for lane in lanes]
    management_loops = [] if any(loops) else [_credit_loop(fabric, lane.data | lane.management) for lane in lanes]
    loop_vl = next((vl for vl, found in enumerate(management_loops or loops) if found), 0)
    return Verification(
        pairs,
        lost_hca,
        lost_other,
        tuple(examples),
        loop,
        sum(int(np.count_nonzero(lane.data)) for lane in lanes),
        loops[loop_vl],
        management_loops[loop_vl] if management_loops else (),
        tuple(unlisted.tolist()),
        tables.n_vls,
        loop_vl,
    )


def _on_lane(tables: RoutingTables, lids: Int32, vl: int) -> NDArray[np.bool_]:
    if tables.service_level is None:
        return np.ones((1, 1), dtype=bool)
    return tables.service_level[:, lids] == vl


_ARRIVES, _LOST, _LOOPS = 0, 1, 2


def _destinations(tables: RoutingTables) -> tuple[Int32, Int32, Int32]:
    """Return the LIDs that some table has an entry for, by port, and the ports that should have one and have none.

    Switches' port 0 and connected CA ports should have an entry for each of their LIDs, if they have any.

    Returns
    -------
    ports, lids : int32 arrays of shape (n,)
    unlisted : int32 array
    """
    fabric = tables.fabric
    attached = np.where(fabric.port_node < fabric.n_switches, fabric.port_number == 0, fabric.port_peer >= 0)
    ports = np.flatnonzero(attached & (fabric.port_lid > 0)).astype(np.int32)
    listed = (tables.lft != NO_ROUTE).any(axis=0)
    count = 1 << fabric.port_lmc[ports].astype(np.int64)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    ports = np.repeat(ports, count)
    lids = (fabric.port_lid[ports] + offset).astype(np.int32)
    known = lids < len(listed)
    known[known] = listed[lids[known]]
    return ports[known], lids[known], np.unique(ports[~known])


def _fates(block: DestinationBlock, tables: RoutingTables) -> NDArray[np.uint8]:
    """Return what becomes of each switch's traffic for each destination, uint8 array of shape (n_switches, n_destinations)."""
    fabric, width = block.fabric, len(block.ports)
    cells = fabric.n_switches * width
    arrives, lost = cells, cells + 1
    channel = block.next_channel(np.arange(fabric.n_switches))
    node = fabric.channel_dst[channel]
    inside = node < fabric.n_switches
    successor = np.where(inside, node.astype(np.int64) * width + np.arange(width), lost)
    hit = fabric.port_peer[fabric.channel_port[channel]] == block.ports
    successor[~inside & hit] = arrives
    successor[channel < 0] = lost
    home = fabric.port_node[block.ports]
    own = np.flatnonzero(home < fabric.n_switches)
    at_zero = own[tables.lft[home[own], block.lids[own]] == 0]
    successor[home[at_zero], at_zero] = arrives
    flat = np.append(successor.ravel(), [arrives, lost])
    rows = np.flatnonzero(block.sources)
    for _ in range(max(1, int(fabric.n_switches).bit_length())):
        if (flat[:cells].reshape(-1, width)[rows] >= cells).all():
            break
        flat = flat[flat]
    end = flat[:cells].reshape(-1, width)
    return np.where(end == arrives, _ARRIVES, np.where(end == lost, _LOST, _LOOPS)).astype(np.uint8)


def _forwarding_loop(block: DestinationBlock, switch: int, column: int) -> tuple[int, ...]:
    path: list[int] = []
    seen: dict[int, int] = {}
    while switch not in seen:
        seen[switch] = len(path)
        path.append(int(block.next_channel(np.array([switch]), np.array([column]))[0]))
        switch = int(block.fabric.channel_dst[path[-1]])
    return tuple(path[seen[switch] :])


class Lane:
    """The channel dependency graph of a virtual lane: ``[channel * 256 + output port]`` is true if traffic takes both in turn.

    Attributes
    ----------
    data, management : bool arrays of shape (n_channels * 256,)
        For traffic to HCAs; to switches and aggregation nodes.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.data = np.zeros(len(fabric.channel_port) * 256, dtype=bool)
        self.management = np.zeros_like(self.data)
        self.out_port = fabric.port_number[fabric.channel_port]

    def add(self, block: DestinationBlock, sent: NDArray[np.bool_], following: Int32, depends: NDArray[np.bool_]) -> None:
        """Add the traffic that leaves a switch's HCAs for a destination of the block where `sent` says so."""
        fabric, width = block.fabric, len(block.ports)
        used = np.zeros(len(following), dtype=bool)
        cell = np.flatnonzero(sent)
        while len(cell):
            cell = cell[~used[cell] & (following[cell] >= 0)]
            used[cell] = True
            channel = following[cell]
            node = fabric.channel_dst[channel]
            inside = node < fabric.n_switches
            target = node[inside].astype(np.int64) * width + cell[inside] % width
            after = following[target]
            onward = after >= 0
            depends[channel[inside][onward].astype(np.int64) * 256 + self.out_port[after[onward]]] = True
            cell = _distinct(target, len(following))


def _distinct(cells: Int64, size: int) -> Int64:
    mark = np.zeros(size, dtype=bool)
    mark[cells] = True
    return np.flatnonzero(mark)


def _credit_loop(fabric: Fabric, depends: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return a shortest cycle of a dependency graph, or nothing: peel what nothing leads to, or what leads to nothing."""
    edges = np.flatnonzero(depends)
    before = edges // 256
    after = fabric.channel_at[fabric.channel_dst[before], edges % 256]
    n_channels = len(fabric.channel_port)
    alive = np.ones(len(before), dtype=bool)
    while True:
        entered = np.zeros(n_channels, dtype=bool)
        left = np.zeros(n_channels, dtype=bool)
        entered[after[alive]] = True
        left[before[alive]] = True
        keep = alive & entered[before] & left[after]
        if keep.sum() == alive.sum():
            break
        alive = keep
    before, after = before[alive], after[alive]
    if not len(before):
        return ()
    follow: dict[int, list[int]] = {}
    for first, second in zip(before.tolist(), after.tolist(), strict=True):
        follow.setdefault(first, []).append(second)
    best: tuple[int, ...] = ()
    for start in list(follow)[:CYCLE_STARTS]:
        cycle = _shortest_cycle(follow, start)
        if cycle and (not best or len(cycle) < len(best)):
            best = cycle
    return best


def _shortest_cycle(follow: dict[int, list[int]], start: int) -> tuple[int, ...]:
    parent: dict[int, int] = {}
    queue = deque([start])
    while queue:
        channel = queue.popleft()
        for onward in follow.get(channel, ()):
            if onward == start:
                cycle = [channel]
                while cycle[-1] != start:
                    cycle.append(parent[cycle[-1]])
                return tuple(reversed(cycle))
            if onward not in parent:
                parent[onward] = channel
                queue.append(onward)
    return ()
