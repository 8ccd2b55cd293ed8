"""Jobs by hand, and max-min fairness in plain Python: oracles of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.lids import with_lids
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import DEFAULTS


def routed(fabric: Fabric, engine: str = "minhop") -> RoutingTables:
    """Return an engine's tables."""
    return compute_tables(with_lids(fabric)[0], engine, DEFAULTS)


def job_of(
    fabric: Fabric,
    hosts: Iterable[int] | None,
    pairs: Sequence[tuple[int, int]],
    size_bytes: float | Sequence[float] | np.ndarray,
    name: str = "job",
) -> JobTraffic:
    """Return a job of one phase ``p``: pairs of ranks, one rank per endpoint (all of them where `hosts` is None)."""
    index = np.arange(len(fabric.endpoints)) if hosts is None else np.fromiter(hosts, dtype=np.int64)
    ports = fabric.endpoints[index]
    src, dst = (np.array([pair[end] for pair in pairs], dtype=np.int32) for end in (0, 1))
    weight = np.broadcast_to(np.asarray(size_bytes, dtype=np.float64), (len(pairs),)).copy()
    names = [fabric.hosts.name[fabric.hosts.node_host[fabric.port_node[port]]] for port in ports.tolist()]
    if hosts is None and len(set(names)) < len(names):
        names = [f"{host}-{rank}" for rank, host in enumerate(names)]
    return JobTraffic(name, tuple(names), 1, (Phase("p", Flows(ports[src], ports[dst], weight), src, dst),))


def fair_rates_by_hand(channels: Channels, rates: np.ndarray) -> np.ndarray:
    """Return max-min fair rates by progressive filling: the fullest channel fixes its flows, again and again."""
    routes = [set(channels.index[channels.ptr[f] : channels.ptr[f + 1]].tolist()) for f in range(len(channels))]
    left = {channel: float(rates[channel]) for route in routes for channel in route}
    open_flows = {flow for flow, route in enumerate(routes) if route}
    out = np.full(len(routes), np.inf)
    while open_flows:
        users = {channel: [flow for flow in open_flows if channel in routes[flow]] for channel in left}
        share, full = min((left[channel] / len(flows), channel) for channel, flows in users.items() if flows)
        for flow in users[full]:
            out[flow] = share
            open_flows.remove(flow)
            for channel in routes[flow]:
                left[channel] -= share
    return out
