"""Slow and obvious versions for adaptive routing: groups switch by switch, the least hottest channel by a linear program."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from fabctl.congestion.adaptive import ways
from fabctl.congestion.adaptive_demand import Demand
from fabctl.congestion.adaptive_groups import Groups
from fabctl.model.tables import RoutingTables


def walked_hops(tables: RoutingTables, switch: int, port: int) -> int | None:
    """Return how many switches the tables lead through from a switch to a port's own, None if nowhere."""
    fabric = tables.fabric
    home = int(fabric.port_node[fabric.port_peer[port]])
    hops = 0
    while switch != home:
        channel = int(fabric.channel_at[switch, tables.lft[switch, fabric.port_lid[port]]])
        if channel < 0 or hops > fabric.n_switches:
            return None
        switch = int(fabric.channel_dst[channel])
        hops += 1
        if switch >= fabric.n_switches:
            return None
    return hops


def group_of(groups: Groups, switch: int, port: int) -> set[int]:
    """Return the channels on which traffic that begins at a switch may leave it towards a port."""
    cell = int(groups.start[groups.class_of_port[port], switch])
    return set(groups.channel[groups.ptr[cell] : groups.ptr[cell + 1]].tolist())


def coolest(groups: Groups, demand: Demand, rates: np.ndarray) -> float:
    """Return the least load over rate of the hottest channel over all splits within the groups, by HiGHS."""
    way = ways(groups, demand.inject > 0)
    n_cells, n_edges, n_channels = len(way.cells), len(way.channel), len(rates)
    if not n_cells:
        return float((demand.base / rates).max(initial=0.0))
    edges = np.arange(n_edges)
    owner = np.repeat(np.arange(n_cells), np.diff(way.ptr))
    onward = np.flatnonzero(way.far < n_cells)
    keeps = coo_matrix(
        (
            np.concatenate([np.ones(n_edges), -np.ones(len(onward))]),
            (np.concatenate([owner, way.far[onward]]), np.concatenate([edges, onward])),
        ),
        shape=(n_cells, n_edges + 1),
    )
    holds = coo_matrix(
        (
            np.concatenate([np.ones(n_edges), -rates]),
            (np.concatenate([way.channel, np.arange(n_channels)]), np.concatenate([edges, np.full(n_channels, n_edges)])),
        ),
        shape=(n_channels, n_edges + 1),
    )
    cost = np.zeros(n_edges + 1)
    cost[-1] = 1
    found = linprog(cost, A_ub=holds, b_ub=-demand.base, A_eq=keeps, b_eq=demand.inject[way.cells], method="highs")
    assert found.status == 0
    return float(found.fun)
