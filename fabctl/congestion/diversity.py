"""Path diversity without splitting packets: flows hashed onto the ports of groups (HBF), or spread over a port's LIDs (LMC).

NVIDIA's InfiniBand Cluster Bring-up Procedure (HBF): a switch takes the output port by a hash of the packet's parameters, like
ECMP, instead of the table's entry. Here each queue pair of a flow is hashed anew at every switch, so that no two switches
choose alike. With an LMC a port has 2^lmc LIDs with routes of their own (InfiniBand Architecture Specification volume 1,
section 3.5.10), and each queue pair is addressed to one of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive import ways
from fabctl.congestion.adaptive_demand import demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.load import flow_channels
from fabctl.errors import InputError
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


def hashed_channels(
    tables: RoutingTables,
    flows: Flows,
    mode: str,
    *,
    seed: int,
    qps: int = 1,
    sls: frozenset[int] | None = None,
    groups: Groups | None = None,
) -> tuple[Channels, Float64]:
    """Return the channels of flows whose queue pairs are hashed onto the ports of the groups, with their shares.

    Detours of a Dragonfly+ are left out.

    Parameters
    ----------
    mode, sls, groups
        As for `fabctl.congestion.adaptive.adaptive_channels`.
    seed : int
        Of the hash.
    qps : int
        Queue pairs per flow (``NCCL_IB_QPS_PER_CONNECTION``), each with the same part of it.

    Returns
    -------
    channels : Channels
    share : float64 array parallel to ``channels.index``
        Part of the flow's queue pairs that take the channel.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError, UsageError
        As `adaptive_groups`.
    """
    known = groups or adaptive_groups(tables, flows.dst, mode)
    demand = demand_of_flows(tables, known, flows, sls)
    moved, stays = np.flatnonzero(demand.cell >= 0), np.flatnonzero(demand.cell < 0)
    way = ways(known, demand.met)
    fabric = tables.fabric
    owner = np.repeat(moved, qps)
    key = _pair_keys(tables, flows, seed)[owner] + np.tile(np.arange(qps, dtype=np.uint64), len(moved))
    cell = np.repeat(way.place(demand.cell[moved]), qps)
    owners, channels = [owner, owner], [fabric.channel_of_port[flows.src[owner]], _last(tables, flows.dst[owner])]
    shortest = np.flatnonzero(way.stretch == 1)
    short = np.searchsorted(shortest, way.ptr)
    while True:
        under_way = cell < len(way.cells)
        owner, key, cell = owner[under_way], key[under_way], cell[under_way]
        if not len(cell):
            break
        width = short[cell + 1] - short[cell]
        switch = known.switch(way.cells[cell])
        chosen = _mix(_mix(key) ^ fabric.node_guid[switch]) % width.astype(np.uint64)
        edge = shortest[short[cell] + chosen.astype(np.int64)]
        owners.append(owner)
        channels.append(way.channel[edge])
        cell = way.far[edge].astype(np.int64)
    rest = flow_channels(tables, Flows(flows.src[stays], flows.dst[stays], flows.weight[stays]))
    owners.append(np.repeat(np.repeat(stays, np.diff(rest[0])), qps))
    channels.append(np.repeat(rest[1], qps))
    return _merged(len(flows), len(fabric.channel_port), np.concatenate(owners), np.concatenate(channels), qps)


def lid_channels(tables: RoutingTables, flows: Flows, *, seed: int | None = None, qps: int = 1) -> tuple[Channels, Float64]:
    """Return the channels of flows whose queue pairs are spread over the LIDs of their destination ports, with their shares.

    Parameters
    ----------
    seed : int, optional
        Of a hash that chooses the LID of each queue pair; without one the queue pairs of all flows between two ports take turns.
    qps : int
        As for `hashed_channels`.

    Returns
    -------
    channels : Channels
    share : float64 array parallel to ``channels.index``

    Raises
    ------
    InputError
        If a flow has no route to a LID that it takes, or loops.
    """
    fabric = tables.fabric
    owner = np.repeat(np.arange(len(flows)), qps)
    number = np.tile(np.arange(qps, dtype=np.uint64), len(flows))
    if seed is None:
        turn = (np.repeat(_turns(flows), qps) * qps).astype(np.uint64) + number
    else:
        turn = _mix(_pair_keys(tables, flows, seed)[owner] + number)
    offset = turn % (np.uint64(1) << fabric.port_lmc[flows.dst[owner]].astype(np.uint64))
    lids = (fabric.port_lid[flows.dst[owner]] + offset.astype(np.int64)).astype(np.int32)
    if len(lids) and int(lids.max()) >= tables.lft.shape[1]:
        port = int(flows.dst[owner[np.argmax(lids)]])
        raise InputError(f"no table has an entry for LID {int(lids.max())} of {fabric.port_label(port)}", where=tables.origin)
    ptr, index = flow_channels(tables, Flows(flows.src[owner], flows.dst[owner], flows.weight[owner]), lids)
    return _merged(len(flows), len(fabric.channel_port), np.repeat(owner, np.diff(ptr)), index, qps)


def _turns(flows: Flows) -> Int64:
    """Return how many flows between the same ports come before each flow."""
    order = np.lexsort((flows.dst, flows.src))
    src, dst = flows.src[order], flows.dst[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (src[1:] != src[:-1]) | (dst[1:] != dst[:-1])
    turns = np.empty(len(order), dtype=np.int64)
    place = np.arange(len(order))
    turns[order] = place - np.maximum.accumulate(np.where(fresh, place, 0))
    return turns


def _pair_keys(tables: RoutingTables, flows: Flows, seed: int) -> UInt64:
    """Return a key of each flow by its ports' LIDs, its turn between them, and the seed."""
    lid = tables.fabric.port_lid
    ports = lid[flows.src].astype(np.uint64) << np.uint64(32) | lid[flows.dst].astype(np.uint64) << np.uint64(16)
    turn = _mix(_turns(flows).astype(np.uint64) ^ np.uint64(seed & 0xFFFFFFFFFFFFFFFF) << np.uint64(1))
    return _mix(ports ^ turn) << np.uint64(12)


def _mix(key: UInt64) -> UInt64:
    """Return keys with their bits well mixed: the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def _last(tables: RoutingTables, ports: Int32) -> Int32:
    fabric = tables.fabric
    return fabric.channel_reverse[fabric.channel_of_port[ports]]


def _merged(n_flows: int, n_channels: int, owner: Int64, channel: Int32, qps: int) -> tuple[Channels, Float64]:
    """Return the channels of each flow once, with the share of its queue pairs on each."""
    pair, count = np.unique(owner.astype(np.int64) * n_channels + channel, return_counts=True)
    flow, index = np.divmod(pair, n_channels)
    ptr = np.searchsorted(flow, np.arange(n_flows + 1))
    return Channels(ptr, index.astype(np.int32)), count / qps
