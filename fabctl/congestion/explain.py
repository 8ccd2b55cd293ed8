"""Which cables are hottest, and whose flows are on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import destination_blocks, flow_channels
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.routes import HotCable
from fabctl.model.tables import RoutingTables

EXAMPLES = 8


def hottest_cables(tables: RoutingTables, flows: Flows, *, top: int = 5, examples: int = EXAMPLES) -> list[HotCable]:
    """Return the `top` channels with the longest time to drain, hottest first; between equals, channels between switches first.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    """
    ptr, channels = flow_channels(tables, flows)
    owner = np.repeat(np.arange(len(flows)), np.diff(ptr))
    loads = np.bincount(channels, weights=flows.weight[owner], minlength=len(tables.fabric.channel_port))
    found = []
    for channel in hottest_channels(tables, loads)[:top].tolist():
        on_it = owner[channels == channel]
        pairs = [(int(flows.src[flow]), int(flows.dst[flow])) for flow in on_it[:examples]]
        found.append(HotCable(channel, float(loads[channel]), len(on_it), tuple(pairs)))
    return found


def hottest_of_alltoall(
    tables: RoutingTables, ports: NDArray[np.int32], loads: NDArray[np.int64], *, top: int = 5, examples: int = EXAMPLES
) -> list[HotCable]:
    """Return the `top` hottest channels of an all-to-all with given loads, without listing its pairs.

    Parameters
    ----------
    ports : int32 array of shape (n,)
    loads : int64 array of shape (n_channels,)
        As `fabctl.congestion.load.alltoall_loads` returns them.
    """
    found = []
    for channel in hottest_channels(tables, loads)[:top].tolist():
        pairs: list[tuple[int, int]] = []
        for target in _targets_through(tables, ports, channel):
            pairs += [
                (source, int(target)) for source in _sources_through(tables, ports, channel, int(target), examples - len(pairs))
            ]
            if len(pairs) >= examples:
                break
        load = int(loads[channel])
        found.append(HotCable(channel, float(load), load, tuple(pairs)))
    return found


def pairs_through(tables: RoutingTables, ports: NDArray[np.int32], channel: int, count: int) -> tuple[tuple[int, int], ...]:
    """Return pairs of an all-to-all whose route takes a channel, to targets spread evenly over all that have any.

    Returns
    -------
    tuple of (int, int)
        Sending and receiving port; at most `count`, one for each target.
    """
    targets = _reached_through(tables, ports, channel)
    chosen = targets[np.unique(np.linspace(0, len(targets) - 1, min(count, len(targets))).round().astype(np.int64))]
    pairs = []
    for number, target in enumerate(chosen.tolist()):
        sources = _sources_through(tables, ports, channel, target, len(ports))
        pairs.append((sources[number * len(sources) // len(chosen)], target))
    return tuple(pairs)


def _reached_through(tables: RoutingTables, ports: NDArray[np.int32], channel: int) -> NDArray[np.int32]:
    """Return the ports to which some other port's route takes a channel."""
    targets = _targets_through(tables, ports, channel)
    if tables.fabric.channel_src[channel] >= tables.fabric.n_switches:
        return targets[targets != tables.fabric.channel_port[channel]]
    found = []
    for block in destination_blocks(tables, targets, ports):
        for cell, taken, units in block.hops():
            found.append(block.ports[cell[(taken == channel) & (units > 0)] % len(block.ports)])
    return np.unique(np.concatenate([targets[:0], *found]))


def _sources_through(tables: RoutingTables, ports: NDArray[np.int32], channel: int, target: int, most: int) -> list[int]:
    """Return the first ports whose route to a target takes a channel."""
    sources = ports[ports != target]
    ptr, channels = flow_channels(tables, unit_flows(sources, np.full(len(sources), target)))
    owner = np.repeat(np.arange(len(sources)), np.diff(ptr))
    return sources[owner[channels == channel][:most]].tolist()


def hottest_channels(tables: RoutingTables, loads: NDArray[np.floating | np.integer]) -> NDArray[np.int64]:
    """Return the loaded channels by falling time to drain (load over rate; load where a rate is unknown)."""
    fabric = tables.fabric
    used = np.flatnonzero(loads > 0)
    rates = fabric.data_gbps[used]
    time = loads[used] / rates if np.all(rates > 0) else loads[used]
    host_link = (fabric.channel_src[used] >= fabric.n_switches) | (fabric.channel_dst[used] >= fabric.n_switches)
    return used[np.lexsort((used, host_link, -time))]


def _targets_through(tables: RoutingTables, ports: NDArray[np.int32], channel: int) -> NDArray[np.int32]:
    fabric = tables.fabric
    switch = int(fabric.channel_src[channel])
    if switch >= fabric.n_switches:
        return ports
    number = fabric.port_number[fabric.channel_port[channel]]
    return ports[tables.lft[switch, fabric.port_lid[ports]] == number]
