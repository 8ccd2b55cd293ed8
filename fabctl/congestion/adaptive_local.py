"""Adaptive routing of whole flows, in turn: on local knowledge, or by probing the whole way.

Locally each flow goes at every switch to the port that drains first there: what switches do that see their own queues and
nothing else. A flow that has found its way up may meet others on its way down, of which the switch below knew nothing. A sender
that probes (Geoffray, Hoefler, Adaptive Routing Strategies for Modern High Performance Networks, HotI 2008) knows the most
loaded channel of each way. On a Dragonfly+ a detour is taken where it drains earlier by as much as it is longer (UGAL: Kim,
Dally, Scott, Abts, Technology-Driven, Highly-Scalable Dragonfly Topology, ISCA 2008). All this stays behind the fluid balance of
`fabctl.congestion.adaptive`, since flows are not split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive import Ways, ways
from fabctl.congestion.adaptive_demand import demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.load import MAX_HOPS, channel_loads, flow_channels
from fabctl.jit import announce_compiling
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]

TURNS = 4
"""How often each flow chooses: once when it comes, and again when all have."""


def local_channels(
    tables: RoutingTables,
    flows: Flows,
    mode: str,
    *,
    seed: int,
    turns: int = TURNS,
    probing: bool = False,
    rates: Float64 | None = None,
    sls: frozenset[int] | None = None,
    groups: Groups | None = None,
    way: Ways | None = None,
) -> Channels:
    """Return the channels of flows that choose in turn, in random order, the port that drains first at each switch of their way.

    Parameters
    ----------
    mode, sls, groups
        As for `fabctl.congestion.adaptive.adaptive_channels`.
    seed : int
        Of the order, and of the choice between equal ports.
    turns : int
        How often each flow chooses.
    probing : bool
        Flows know the most loaded channel of each whole way, not only the ports of the switch that they have reached.
    rates : float64 array of shape (n_channels,), optional
        Relative rates, above 0; all equal by default.
    way : Ways, optional
        All cells of `groups`, gathered before: for many small sets of flows.

    Complexity
    ----------
    O(turns x flows x hops x ports of a group).

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError, UsageError
        As `adaptive_groups`.
    """
    from fabctl.congestion.adaptive_kernel import least_loaded

    announce_compiling(least_loaded)
    known = groups or adaptive_groups(tables, flows.dst, mode)
    demand = demand_of_flows(tables, known, flows, sls)
    way = way or ways(known, demand.met)
    moved, stays = np.flatnonzero(demand.cell >= 0), np.flatnonzero(demand.cell < 0)
    moved = np.random.default_rng(seed).permutation(moved)
    rest = Flows(flows.src[stays], flows.dst[stays], flows.weight[stays])
    fabric = tables.fabric
    slowness = np.ones(len(fabric.channel_port)) if rates is None else 1.0 / rates
    starts = way.place(demand.cell[moved])
    bits = np.uint64((2 * seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    last = way.class_end(starts) if probing else starts
    path = least_loaded(
        starts,
        last,
        flows.weight[moved],
        channel_loads(tables, rest),
        slowness,
        turns,
        way.ptr,
        way.channel,
        way.far,
        way.stretch,
        bits,
        MAX_HOPS,
    )
    ptr, index = flow_channels(tables, rest)
    hops = (path >= 0).sum(axis=1)
    length = np.zeros(len(flows), dtype=np.int64)
    length[moved], length[stays] = hops + 2, np.diff(ptr)
    begin = np.concatenate([[0], np.cumsum(length)])
    out = np.empty(begin[-1], dtype=np.int32)
    out[begin[moved]] = fabric.channel_of_port[flows.src[moved]]
    out[begin[moved + 1] - 1] = fabric.channel_reverse[fabric.channel_of_port[flows.dst[moved]]]
    row, hop = np.nonzero(path >= 0)
    out[begin[moved[row]] + 1 + hop] = path[row, hop]
    out[np.repeat(begin[stays] - ptr[:-1], np.diff(ptr)) + np.arange(ptr[-1])] = index
    return Channels(begin, out)
