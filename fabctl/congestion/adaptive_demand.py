"""What adaptive routing has to carry: traffic by the cell in which it begins, and what it cannot move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive_groups import Groups
from fabctl.congestion.load import alltoall_loads, channel_loads, destination_blocks
from fabctl.errors import InputError
from fabctl.model.flows import Flows
from fabctl.model.tables import RoutingTables

Bools = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demand:
    """Traffic for `Groups`.

    Parameters
    ----------
    inject : float64 array of shape (n_cells,)
        What begins in each cell and meets groups.
    base : float64 array of shape (n_channels,)
        What no choice can move: on the HCAs' own cables, and on service levels without adaptive routing.
    static : float64 array of shape (n_channels,)
        All of it on the tables' own routes.
    share : float
        Share of the traffic between switches that meets groups.
    cell : int64 array of shape (n_flows,)
        Where each flow begins; -1 for those that take the tables' routes. Empty for an all-to-all.
    """

    inject: Float64
    base: Float64
    static: Float64
    share: float
    cell: Int64

    @property
    def met(self) -> Bools:
        """Where traffic begins, that of flows of nothing included, shape (n_cells,)."""
        met = self.inject > 0
        met[self.cell[self.cell >= 0]] = True
        return met


def demand_of_flows(tables: RoutingTables, groups: Groups, flows: Flows, sls: frozenset[int] | None = None) -> Demand:
    """Return the demand of flows.

    Parameters
    ----------
    groups : Groups
        For the destinations of the flows.
    sls : frozenset of int, optional
        Service levels that are routed adaptively; None: all.

    Raises
    ------
    InputError
        If a flow has no route or loops, or its weight is infinite.
    """
    fabric = tables.fabric
    if not np.all(np.isfinite(flows.weight) & (flows.weight >= 0)):
        raise InputError("a flow without end, or of less than nothing, cannot be balanced", hint="give each flow its bytes")
    leaf = fabric.channel_dst[fabric.channel_of_port[flows.src]]
    moves = (flows.src != flows.dst) & (leaf < fabric.n_switches) & (groups.class_of_port[flows.dst] >= 0)
    between = moves & (leaf != fabric.channel_dst[fabric.channel_of_port[flows.dst]])
    if sls is not None:
        moves[moves] = _enabled(tables, sls, leaf[moves], fabric.port_lid[flows.dst[moves]])
    cell = np.full(len(flows), -1, dtype=np.int64)
    cell[moves] = groups.start[groups.class_of_port[flows.dst[moves]], leaf[moves]]
    rank = groups.rank.ravel()[cell]
    lost = np.flatnonzero(moves & (rank < 0))
    if len(lost):
        raise _no_route(tables, int(leaf[lost[0]]), int(flows.dst[lost[0]]))
    inject = np.bincount(cell[moves], weights=flows.weight[moves], minlength=groups.rank.size).astype(np.float64, copy=False)
    inject[groups.rank.ravel() <= 0] = 0
    stays = ~moves
    base = channel_loads(tables, Flows(flows.src[stays], flows.dst[stays], flows.weight[stays]))
    own = fabric.channel_of_port[flows.src[moves]], fabric.channel_reverse[fabric.channel_of_port[flows.dst[moves]]]
    for channel in own:
        base += np.bincount(channel, weights=flows.weight[moves], minlength=len(base))
    total = float(flows.weight[between].sum())
    return Demand(inject, base, channel_loads(tables, flows), float(inject.sum()) / total if total else 0.0, cell)


def demand_of_alltoall(tables: RoutingTables, groups: Groups, ports: Int32, sls: frozenset[int] | None = None) -> Demand:
    """Return the demand of one unit from every port to every other, without listing its pairs.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        Connected HCA ports, each at a switch.
    groups, sls
        As for `demand_of_flows`.

    Complexity
    ----------
    O(switches x destinations x hops).

    Raises
    ------
    InputError
        If a pair has no route or loops.
    """
    fabric, n = tables.fabric, tables.fabric.n_switches
    own = fabric.channel_of_port[ports]
    base = np.zeros(len(fabric.channel_port))
    base[own] = len(ports) - 1
    inject = np.zeros(groups.rank.size)
    for block in destination_blocks(tables, ports):
        switch = np.flatnonzero(block.sources)
        adaptive = np.ones((len(switch), len(block.ports)), dtype=bool)
        if sls is not None:
            adaptive = _enabled(tables, sls, switch[:, None], block.lids)
            for _, channel, units in block.hops(~adaptive):
                base += np.bincount(channel, weights=units, minlength=len(base))
        amount = block.sources[switch, None] * adaptive
        kind = groups.class_of_port[block.ports]
        home = fabric.channel_dst[fabric.channel_of_port[block.ports]]
        amount -= adaptive & (switch[:, None] == home) & block.sends
        base += np.bincount(
            fabric.channel_reverse[fabric.channel_of_port[block.ports]], weights=amount.sum(axis=0), minlength=len(base)
        )
        cell = groups.start[kind[None, :], switch[:, None]]
        rank = groups.rank.ravel()[cell]
        if (rank < 0).any():
            row, column = np.argwhere(rank < 0)[0]
            raise _no_route(tables, int(switch[row]), int(block.ports[column]))
        inject += np.bincount(cell.ravel(), weights=(amount * (rank > 0)).ravel(), minlength=len(inject))
    at = np.bincount(fabric.channel_dst[own], minlength=n).astype(np.float64)
    total = float(at.sum() ** 2 - (at**2).sum())
    static = alltoall_loads(tables, ports).astype(np.float64)
    return Demand(inject, base, static, float(inject.sum()) / total if total else 0.0, np.empty(0, dtype=np.int64))


def _enabled(tables: RoutingTables, sls: frozenset[int], switch: NDArray[np.integer], lid: NDArray[np.integer]) -> Bools:
    """Return whether traffic from the HCAs of a switch to a LID travels on one of the service levels."""
    if tables.service_level is None:
        return np.full(np.broadcast_shapes(switch.shape, lid.shape), 0 in sls)
    return np.isin(tables.service_level[switch, lid], sorted(sls))


def _no_route(tables: RoutingTables, switch: int, port: int) -> InputError:
    fabric = tables.fabric
    return InputError(
        f"{fabric.labels[switch]} has no route to LID {fabric.port_lid[port]} ({fabric.port_label(port)})",
        where=tables.origin,
        hint="fabctl route checks all pairs and names every lost one",
    )
