"""Adaptive routing as a fluid: traffic splits over the ports of each group until the load is balanced.

The split is a share per cell (switch and class of destinations) and port, found by iteration: the channels' loads give prices,
and at every cell weight moves from ports whose ways are dear to those whose ways are cheap, by multiplicative weights (Arora,
Hazan, Kale, The multiplicative weights update method, Theory of Computing 8, 2012). The same prices bound by linear-programming
duality what any split can reach, so each round states how far from the best it is. That is what switches with congestion
notifications come to at best; what they do on local knowledge alone is in `fabctl.congestion.adaptive_local`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive_demand import Demand, demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.load import flow_channels
from fabctl.jit import announce_compiling
from fabctl.model.adaptive import Convergence, Round
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

GAP = 0.01
"""Balancing stops this close to the bound, relative ..."""
ROUNDS = 300
"""... or after this many rounds; on the small fabrics of the tests all end within 2 % of the optimum of a linear program."""
OVERSHOT = 1.02
"""A round that is hotter than the best by more than this factor is taken back ..."""
FASTER, SLOWER = 1.1, 0.7
"""... and the next ones are less eager; after one that cools they are more so."""
STEEPNESS = 20.0
"""Least steepness of the price: a channel with half the load of the hottest costs exp(-STEEPNESS / 2) of it."""
SHARPEST = 2000.0
COLDEST = -200.0
"""Logarithm of the least price."""
DETOUR = 0.01
"""Weight of a detour to begin with, against 1 of a shortest way: it grows where the shortest ways are hot."""
TINY = 1e-6
"""Shares below this are dropped in the end."""
SAME = 1e-9
"""The tables' own routes are better where they are so by more than this, relative."""


@dataclass(frozen=True, eq=False)
class Ways:
    """The cells that some traffic may meet, renumbered so that it only moves to higher numbers.

    Parameters
    ----------
    groups : Groups
    cells : int64 array of shape (n_cells,)
        Their numbers in `groups`.
    ptr : int64 array of shape (n_cells + 1,)
    channel, far : int32 arrays of shape (n_edges,)
        As in `Groups`; the number `n_cells` stands for all destinations.
    """

    groups: Groups
    cells: Int64
    ptr: Int64
    channel: Int32
    far: Int32

    @cached_property
    def owner(self) -> Int64:
        """Cell of each edge, shape (n_edges,)."""
        return np.repeat(np.arange(len(self.cells)), np.diff(self.ptr))

    @cached_property
    def stretch(self) -> Float64:
        """Length of the way over each port, over that of the cell's shortest, shape (n_edges,); 1 but for detours."""
        from fabctl.congestion.adaptive_kernel import hops_left

        left = hops_left(self.ptr, self.far)
        return (1.0 + left[self.far]) / left[self.owner]

    def equal(self) -> Float64:
        """Return equal shares for the ports of each group, shape (n_edges,), detours next to none."""
        return self.normal(np.where(self.stretch > 1, DETOUR, 1.0))

    def normal(self, weight: Float64) -> Float64:
        """Return weights as shares, each group's summing to one, without the tiny ones."""
        kept = np.where(weight < TINY, 0.0, weight)
        return kept / np.bincount(self.owner, weights=kept, minlength=len(self.cells))[self.owner]

    def amount(self, inject: Float64) -> Float64:
        """Return what begins in each cell, shape (n_cells + 1,), of traffic by the numbers in `groups`."""
        return np.append(inject[self.cells], 0.0)

    def loads(self, fraction: Float64, demand: Demand) -> Float64:
        """Return the load of each channel, float64 array of shape (n_channels,)."""
        from fabctl.congestion.adaptive_kernel import spread

        load = demand.base.copy()
        spread(self.ptr, self.channel, self.far, fraction, self.amount(demand.inject), load)
        return load

    def place(self, cell: Int64) -> Int64:
        """Return the numbers here of cells of `groups`; `n_cells` for those that are destinations or not met."""
        place = np.full(len(self.groups.ptr) - 1, len(self.cells), dtype=np.int64)
        place[self.cells] = np.arange(len(self.cells))
        return place[cell]

    def class_end(self, start: Int64) -> Int64:
        """Return the number behind the last cell of the class of each cell."""
        kind = np.append(self.cells // self.groups.n_states, len(self.groups.rank))
        return np.minimum(np.searchsorted(kind, kind[start], side="right"), len(self.cells))


def ways(groups: Groups, met: NDArray[np.bool_]) -> Ways:
    """Return the part of groups that traffic from the cells that are `met` may use; bool array of shape (n_cells,)."""
    from fabctl.congestion.adaptive_kernel import gather

    announce_compiling(gather)
    return Ways(groups, *gather(groups.order, groups.ptr, groups.channel, groups.far, met.copy()))


@dataclass(frozen=True, eq=False)
class Balanced:
    """Traffic on adaptive routes.

    Parameters
    ----------
    ways : Ways
    fraction : float64 array of shape (n_edges,), optional
        Share of each cell's traffic on each port of `ways`; None where no split beats the tables' own routes.
    load : float64 array of shape (n_channels,)
    convergence : Convergence
    """

    ways: Ways
    fraction: Float64 | None
    load: Float64
    convergence: Convergence


def balance(groups: Groups, demand: Demand, rates: Float64, *, gap: float = GAP, rounds: int = ROUNDS) -> Balanced:
    """Split traffic over the ports of its groups so that the hottest channel is as cool as can be.

    Begins with equal shares of the shortest ways, and keeps the best round, or the tables' own routes where they are better.

    Parameters
    ----------
    demand : Demand
    rates : float64 array of shape (n_channels,)
        Relative rate of each channel, above 0.

    Complexity
    ----------
    O(rounds x edges of the groups that the traffic may meet).
    """
    from fabctl.congestion.adaptive_kernel import spread, steer

    announce_compiling(steer)
    way = ways(groups, demand.met)
    begun = way.amount(demand.inject)
    fraction = way.equal()
    best, chosen, found = np.inf, fraction, []
    toll, least = np.zeros(len(begun)), np.zeros(len(begun))
    bound, eagerness, before, steepness = 0.0, 1.0, np.inf, STEEPNESS
    coolest = demand.base / rates
    for _ in range(max(1, rounds)):
        load = demand.base.copy()
        spread(way.ptr, way.channel, way.far, fraction, begun.copy(), load)
        use = load / rates
        hottest = float(use.max(initial=0.0))
        if not hottest:
            found.append(Round(0.0, 0.0))
            break
        back = hottest > best * OVERSHOT
        eagerness *= FASTER if hottest <= before else SLOWER**2 if back else SLOWER
        if hottest < best:
            best, chosen, coolest = hottest, fraction.copy(), use
        elif back:
            fraction, use = chosen.copy(), coolest
        before = float(use.max())
        price = np.exp(np.maximum(steepness * (use / before - 1), COLDEST)) / rates
        steer(way.ptr, way.channel, way.far, fraction, price, eagerness, toll, least)
        bound = max(bound, float(((begun * least).sum() + (price * demand.base).sum()) / (price * rates).sum()))
        found.append(Round(hottest, bound))
        if best <= bound * (1 + gap):
            break
        steepness = min(SHARPEST, max(STEEPNESS, 5 * bound / max(best - bound, TINY * best)))
    chosen = way.normal(chosen)
    load = way.loads(chosen, demand)
    static, split = float((demand.static / rates).max(initial=0.0)), float((load / rates).max(initial=0.0))
    if static < split * (1 - SAME):
        return Balanced(way, None, demand.static, Convergence(tuple(found), static, static, kept_static=True))
    return Balanced(way, chosen, load, Convergence(tuple(found), static, split, kept_static=False))


def relative_rates(groups: Groups, demand: Demand) -> Float64:
    """Return the rate of each channel over the median of those that HCAs send on; ones where a rate that matters is unknown."""
    fabric = groups.fabric
    rates = fabric.data_gbps
    own = rates[(fabric.channel_src >= fabric.n_switches) & (demand.base > 0)]
    used = np.zeros(len(rates), dtype=bool)
    used[groups.channel] = True
    if not len(own) or not np.all(rates[used | (demand.base > 0)] > 0):
        return np.ones(len(rates))
    return np.where(rates > 0, rates, np.median(own)) / np.median(own)


def adaptive_channels(
    tables: RoutingTables, flows: Flows, mode: str, *, sls: frozenset[int] | None = None, groups: Groups | None = None
) -> tuple[Channels, Float64]:
    """Return the channels of flows that are routed adaptively and balanced against each other, with their shares.

    Parameters
    ----------
    mode : str
        ``lag``, ``tree`` or ``dragonfly+`` (see `adaptive_groups`).
    sls : frozenset of int, optional
        Service levels that are routed adaptively; flows on others take the tables' routes. None: all.
    groups : Groups, optional
        Made before, by `adaptive_groups` of the same tables and mode, for these destinations and maybe more.

    Returns
    -------
    channels : Channels
        All channels that each flow uses.
    share : float64 array parallel to ``channels.index``
        Share of the flow on each: what `fabctl.congestion.maxmin.complete` takes.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError, UsageError
        As `adaptive_groups`.
    """
    known = groups or adaptive_groups(tables, flows.dst, mode)
    demand = demand_of_flows(tables, known, flows, sls)
    balanced = balance(known, demand, relative_rates(known, demand))
    return split_channels(tables, flows, demand, balanced)


def split_channels(tables: RoutingTables, flows: Flows, demand: Demand, balanced: Balanced) -> tuple[Channels, Float64]:
    """Return the channels of flows and their shares, for the flows that a demand was made of."""
    if balanced.fraction is None:
        channels = Channels(*flow_channels(tables, flows))
        return channels, np.ones(len(channels.index))
    moved = np.flatnonzero(demand.cell >= 0)
    stays = np.flatnonzero(demand.cell < 0)
    middle, part = _unit_channels(balanced.ways, balanced.fraction, demand.cell[moved])
    rest = Channels(*flow_channels(tables, Flows(flows.src[stays], flows.dst[stays], flows.weight[stays])))
    fabric = tables.fabric
    first = fabric.channel_of_port[flows.src[moved]]
    last = fabric.channel_reverse[fabric.channel_of_port[flows.dst[moved]]]
    length = np.zeros(len(flows), dtype=np.int64)
    length[moved], length[stays] = np.diff(middle.ptr) + 2, np.diff(rest.ptr)
    ptr = np.concatenate([[0], np.cumsum(length)])
    index, share = np.empty(ptr[-1], dtype=np.int32), np.ones(ptr[-1])
    index[ptr[moved]], index[ptr[moved + 1] - 1] = first, last
    at = _runs(ptr[moved] + 1, np.diff(middle.ptr))
    index[at], share[at] = middle.index, part
    index[_runs(ptr[stays], np.diff(rest.ptr))] = rest.index
    return Channels(ptr, index), share


def _unit_channels(way: Ways, fraction: Float64, cell: Int64) -> tuple[Channels, Float64]:
    """Return the channels between switches of one unit from each cell, and its shares."""
    from fabctl.congestion.adaptive_kernel import unit_shares

    announce_compiling(unit_shares)
    starts, which = np.unique(way.place(cell), return_inverse=True)
    n_channels = len(way.groups.fabric.channel_port)
    ptr, index, share = unit_shares(starts, way.class_end(starts), way.ptr, way.channel, way.far, fraction, n_channels)
    length = np.diff(ptr)[which]
    at = _runs(ptr[which], length)
    return Channels(np.concatenate([[0], np.cumsum(length)]), index[at]), share[at]


def _runs(first: Int64, length: Int64) -> Int64:
    """Return ``first[i], first[i] + 1, ...`` of each length, one run after the other."""
    begin = np.cumsum(length) - length
    return np.repeat(first - begin, length) + np.arange(length.sum())
