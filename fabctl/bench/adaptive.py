"""Adaptive routing under a collective: its loads balanced over the ports that the switches may choose among."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fabctl.bench.cost import Cost, loads, slowest
from fabctl.congestion.adaptive import balance
from fabctl.congestion.adaptive_demand import Demand as Balanced
from fabctl.congestion.adaptive_demand import demand_of_alltoall, demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.errors import RefusedError
from fabctl.model import dragonfly_plus
from fabctl.model.catalog import hca, switch_asic
from fabctl.model.fabric import Fabric
from fabctl.model.flows import unit_flows
from fabctl.model.rates import Float64
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Demand, Exchange
from fabctl.traffic.patterns import alltoall
from fabctl.traffic.placement import Job


def groups_of(tables: RoutingTables, job: Job) -> Groups:
    """Return the ports among which switches choose on the ways to a job's HCAs."""
    return adaptive_groups(tables, job.ports.ravel(), _mode(tables.fabric))


def adaptive_cost(tables: RoutingTables, groups: Groups, demand: Demand, rates: Float64) -> Cost:
    """Return what a demand costs where switches balance it over groups (`fabctl.congestion.adaptive`).

    Raises
    ------
    RefusedError
        As `fabctl.bench.cost.cost`.
    """
    fabric = tables.fabric
    parts = [_exchange(tables, groups, exchange) for exchange in demand.exchanges]
    if len(demand.flows):
        parts.append(demand_of_flows(tables, groups, demand.flows))
    inject, base, static = (sum(getattr(part, name) for part in parts) for name in ("inject", "base", "static"))
    together = replace(parts[0], inject=inject, base=base, static=static)
    load = balance(groups, together, np.where(rates > 0, rates, rates.max(initial=1.0))).load
    _, flows = loads(tables, demand)
    return slowest(fabric, load, np.maximum(flows, 1), rates)


def _exchange(tables: RoutingTables, groups: Groups, exchange: Exchange) -> Balanced:
    """Return all pairs of an exchange but those inside the hosts."""
    every = demand_of_alltoall(tables, groups, exchange.ports.ravel())
    share = exchange.weight
    if exchange.ports.shape[1] == 1:
        return replace(every, inject=every.inject * share, base=every.base * share, static=every.static * share)
    inside = [alltoall(row) for row in exchange.ports]
    src, dst = (np.concatenate([getattr(flows, end) for flows in inside]) for end in ("src", "dst"))
    own = demand_of_flows(tables, groups, unit_flows(src, dst))
    return replace(
        every,
        inject=(every.inject - own.inject) * share,
        base=(every.base - own.base) * share,
        static=(every.static - own.static) * share,
    )


def _mode(fabric: Fabric) -> str:
    try:
        dragonfly_plus.find_groups(fabric)
    except RefusedError:
        return "tree"
    return "dragonfly+"


def adaptive_reasons(job: Job) -> tuple[str, ...]:
    """Return what is assumed of switches that must route adaptively, and of HCAs that must take packets in any order.

    Raises
    ------
    RefusedError
        If the catalogue says of one that it cannot.
    """
    fabric = job.fabric
    switches, hcas = fabric.device_id[: fabric.n_switches], fabric.device_id[fabric.port_node[job.ports.ravel()]]
    unknown = []
    for kind, ids, find, what in (
        ("switches", switches, switch_asic, "route adaptively"),
        ("HCAs", hcas, hca, "take packets in any order, as adaptive routing delivers them"),
    ):
        for device_id in np.unique(ids).tolist():
            model = find(device_id)
            if model is None:
                unknown.append(f"that {kind} of device id {device_id:#06x} {what} is assumed: they are unknown")
            elif not model.adaptive_routing:
                raise RefusedError(f"{model.name} {kind} do not {what}", hint="leave ar out")
    return tuple(unknown)
