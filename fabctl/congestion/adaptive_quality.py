"""Adaptive routing beside the static routes of the tables: hottest channel, all-to-all fraction, effective bisection bandwidth.

Bisections and shares are those of `fabctl.congestion.quality` (ORCS): a flow's share is one over the highest congestion on any
channel that it uses. Of a flow that is split, all parts move at one pace, so the most loaded channel with any part of it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive import Balanced, balance, relative_rates, split_channels, ways
from fabctl.congestion.adaptive_demand import demand_of_alltoall, demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.adaptive_local import local_channels
from fabctl.congestion.adaptive_safety import may_circle
from fabctl.congestion.diversity import hashed_channels, lid_channels
from fabctl.congestion.load import alltoall_loads, channel_loads
from fabctl.congestion.quality import bisections, estimate
from fabctl.errors import RefusedError
from fabctl.model.adaptive import AdaptiveQuality, Spread
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.phases import Channels
from fabctl.model.routes import Estimate
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

Lay = Callable[[Flows, int], tuple[Channels, Float64 | None]]
"""Flows and the number of their pattern to their channels and shares; None: each flow is whole."""

EBB_GAP = 0.02
EBB_ROUNDS = 50
"""A bisection is balanced this closely, in so many rounds at most."""
EBB_WORK = 1 << 29
"""Edges that balancing bisections may look at before their number is cut ..."""
FEWEST, MOST = 32, 250
"""... to this at least. So many bisections at most are laid, flow by flow."""


@dataclass(frozen=True)
class Ask:
    """What is asked of adaptive routing.

    Parameters
    ----------
    mode : str
        As for `adaptive_groups`; empty: only a port's LIDs are spread over.
    sls : frozenset of int, optional
        Service levels that are routed adaptively; None: all.
    hash_seed : int, optional
        Flows are hashed as well, with this seed.
    qps : int
        Queue pairs per flow, for the hashes.
    """

    mode: str = ""
    sls: frozenset[int] | None = None
    hash_seed: int | None = None
    qps: int = 1


def adaptive_quality(
    tables: RoutingTables,
    ports: Int32,
    flows: Flows | None,
    ask: Ask,
    *,
    traffic: str,
    static_ebb: Estimate,
    samples: int = 1000,
    seed: int = 1,
) -> AdaptiveQuality:
    """Score adaptive routing and hashing for traffic between ports.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        At least two HCA ports at switches.
    flows : Flows, optional
        Traffic whose hottest channel is wanted; an all-to-all of the ports by default.
    traffic : str
        What it is, for people.
    static_ebb : Estimate
        Of the tables' own routes.
    samples, seed : int
        Random bisections, and their seed: the same as for `static_ebb`, the first of them where they are many.

    Raises
    ------
    InputError
        If traffic has no route or loops.
    RefusedError
        If no group has more than one port, or no port has more than one LID.
    """
    fabric = tables.fabric
    groups = adaptive_groups(tables, _destinations(tables, ports, flows), ask.mode) if ask.mode else None
    _refuse_without_choice(tables, ports, groups)
    demand = None
    if groups is not None:
        demand = (
            demand_of_alltoall(tables, groups, ports, ask.sls)
            if flows is None
            else demand_of_flows(tables, groups, flows, ask.sls)
        )
    balanced = None
    rates = np.ones(len(fabric.channel_port))
    if groups is not None and demand is not None:
        rates = relative_rates(groups, demand)
        balanced = balance(groups, demand, rates)
    static = channel_loads(tables, flows) if flows is not None else alltoall_loads(tables, ports)
    spreads = [Spread("static", float((static / rates).max(initial=0.0)), static_ebb)]
    lays = _lays(tables, groups, ask, seed)
    for name, lay in lays.items():
        weighed = local_lay(tables, groups, seed, ask.sls, rates) if name == "local" and groups else lay
        hottest = balanced.convergence.hottest if name == "fluid" and balanced else _hottest(weighed, flows, rates)
        count = min(samples, MOST, _affordable(balanced) if name == "fluid" else MOST)
        spreads.append(Spread(name, hottest, bisection(ports, lay, samples=count, seed=seed)))
    return AdaptiveQuality(
        mode=ask.mode,
        sls=None if ask.sls is None else tuple(sorted(ask.sls)),
        share=demand.share if demand is not None else 0.0,
        classes=0 if groups is None else len(groups.rank),
        widest=1 if groups is None else groups.widest,
        circle=None if groups is None else may_circle(tables, groups),
        traffic=traffic,
        alltoall_ideal=len(ports) - 1 if flows is None else None,
        spreads=tuple(spreads),
        convergence=balanced.convergence if balanced else None,
        seed=ask.hash_seed if ask.hash_seed is not None else seed,
        qps=ask.qps,
    )


def bisection(ports: Int32, lay: Lay, *, samples: int, seed: int, exchange: bool = False, queued: bool = False) -> Estimate:
    """Estimate the effective bisection bandwidth of flows laid by a rule; patterns as in `quality.effective_bisection`.

    Parameters
    ----------
    exchange : bool
        Pairs send both ways at once, and the slower way counts for both: MPI_Sendrecv, ORCS's pattern ``bisect_fb_sym``.
    queued : bool
        As for `congestion`.
    """
    means: list[float] = []
    for senders, receivers in bisections(ports, samples, seed):
        for src, dst in zip(senders, receivers, strict=True):
            ways_of_pair = ((src, dst), (dst, src)) if exchange else ((src, dst),)
            flows = unit_flows(*(np.concatenate(ends) for ends in zip(*ways_of_pair, strict=True)))
            slowest = congestion(*lay(flows, len(means)), flows.weight, queued=queued).reshape(len(ways_of_pair), -1).max(axis=0)
            means.append(float((1.0 / slowest).mean()))
    return estimate(np.array(means))


def congestion(channels: Channels, share: Float64 | None, weight: Float64, *, queued: bool = False) -> Float64:
    """Return the highest load on any channel that each flow uses, float64 array of shape (n_flows,).

    Parameters
    ----------
    queued : bool
        Queues are first in, first out: a flow is no faster than the slowest that shares a channel with it (head-of-line blocking,
        to first order: those that the slowest one has slowed hold up no others).
    """
    length = np.diff(channels.ptr)
    carried = np.repeat(weight, length) * (1.0 if share is None else share)
    load = np.bincount(channels.index, weights=carried)
    found = np.maximum.reduceat(load[channels.index], channels.ptr[:-1])
    if queued:
        slowest = np.zeros(len(load))
        np.maximum.at(slowest, channels.index, np.repeat(found, length))
        found = np.maximum.reduceat(slowest[channels.index], channels.ptr[:-1])
    return found


def fluid_lay(tables: RoutingTables, groups: Groups, sls: frozenset[int] | None = None) -> Lay:
    """Return the rule that splits flows by the fluid balance; all links count as equal."""
    rates = np.ones(len(tables.fabric.channel_port))

    def lay(flows: Flows, _: int) -> tuple[Channels, Float64 | None]:
        demand = demand_of_flows(tables, groups, flows, sls)
        return split_channels(tables, flows, demand, balance(groups, demand, rates, gap=EBB_GAP, rounds=EBB_ROUNDS))

    return lay


def local_lay(
    tables: RoutingTables, groups: Groups, seed: int, sls: frozenset[int] | None = None, rates: Float64 | None = None
) -> Lay:
    """Return the rule by which each flow goes to the port that drains first, at every switch; without rates all are equal."""
    whole = ways(groups, np.ones(groups.rank.size, dtype=bool))

    def lay(flows: Flows, turn: int) -> tuple[Channels, None]:
        return local_channels(tables, flows, groups.mode, seed=seed + turn, rates=rates, sls=sls, groups=groups, way=whole), None

    return lay


def _lays(tables: RoutingTables, groups: Groups | None, ask: Ask, seed: int) -> dict[str, Lay]:
    lays: dict[str, Lay] = {}
    if groups is None:
        lays["hash"] = lambda flows, _: lid_channels(tables, flows, seed=ask.hash_seed, qps=ask.qps)
        return lays
    lays["fluid"] = fluid_lay(tables, groups, ask.sls)
    lays["local"] = local_lay(tables, groups, seed, ask.sls)
    if ask.hash_seed is not None:
        hash_seed = ask.hash_seed
        lays["hash"] = lambda flows, _: hashed_channels(
            tables, flows, groups.mode, seed=hash_seed, qps=ask.qps, sls=ask.sls, groups=groups
        )
    return lays


def _hottest(lay: Lay, flows: Flows | None, rates: Float64) -> float | None:
    """Return the load over rate of the hottest channel; None for an all-to-all, whose flows are not listed."""
    if flows is None:
        return None
    channels, share = lay(flows, 0)
    carried = np.repeat(flows.weight, np.diff(channels.ptr)) * (1.0 if share is None else share)
    return float((np.bincount(channels.index, weights=carried, minlength=len(rates)) / rates).max(initial=0.0))


def _affordable(balanced: Balanced | None) -> int:
    """Return how many bisections may be balanced."""
    edges = len(balanced.ways.channel) if balanced else 1
    return max(FEWEST, EBB_WORK // max(1, edges * EBB_ROUNDS))


def _destinations(tables: RoutingTables, ports: Int32, flows: Flows | None) -> Int32:
    """Return the ports that traffic goes to, and all other HCA ports that have a LID in the tables."""
    fabric = tables.fabric
    lids = fabric.port_lid[fabric.endpoints]
    known = fabric.endpoints[(lids > 0) & (lids < tables.lft.shape[1])]
    return np.unique(np.concatenate([ports, known] if flows is None else [ports, known, flows.dst]))


def _refuse_without_choice(tables: RoutingTables, ports: Int32, groups: Groups | None) -> None:
    if groups is None:
        if not tables.fabric.port_lmc[ports].any():
            raise RefusedError(
                "no HCA port has more than one LID (LMC 0): there is nothing to hash flows over",
                hint="--adaptive lag|tree|dragonfly+ hashes them over the ports of its groups",
            )
    elif groups.widest < 2:
        other = {"lag": "no two cables join the same switches; try --adaptive tree"}
        why = other.get(groups.mode, "these tables have one shortest way to each HCA")
        raise RefusedError(f"adaptive routing by {groups.mode} has nothing to choose: no group has more than one port", hint=why)
