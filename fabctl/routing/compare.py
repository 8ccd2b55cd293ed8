"""Engines side by side: the library call behind ``fabctl route compare``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.bound import alltoall_bound
from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.comparison import Comparison, Contender
from fabctl.model.fabric import Fabric
from fabctl.model.flows import unit_flows
from fabctl.model.phases import JobTraffic, Phase
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import assess, compute_tables
from fabctl.routing.options import DEFAULTS, Options


@dataclass(frozen=True, eq=False)
class Routed:
    """Tables by one engine.

    Parameters
    ----------
    tables : RoutingTables
    routing_s : float, optional
        CPU seconds of routing alone; None for tables that were read.
    vls : int, optional
        Virtual lanes that the engine needs, where its tables do not say: their service levels are hidden.
    """

    tables: RoutingTables
    routing_s: float | None = None
    vls: int | None = None


def timed(fabric: Fabric, engine: str, options: Options, warm_up: Iterable[Fabric]) -> Routed:
    """Route a fabric by fabctl's engine and take the CPU time, with its kernels compiled and loaded before.

    Parameters
    ----------
    warm_up : iterable of Fabric
        Small fabrics, on which the engine runs first; it may refuse them.
    """
    for small in warm_up:
        asked = Options(max_vls=options.max_vls) if "vls" in options.given() else DEFAULTS
        try:
            compute_tables(small, engine, replace(asked, traffic=_some_traffic(small)) if options.traffic else asked)
        except RefusedError:
            continue
    start = time.process_time()
    tables = compute_tables(fabric, engine, options)
    return Routed(tables, time.process_time() - start)


def _some_traffic(fabric: Fabric) -> tuple[JobTraffic, ...]:
    """Return what a job could send: to the host half a fabric away."""
    ports = fabric.endpoints
    flows = unit_flows(ports, np.roll(ports, len(ports) // 2))
    ranks = np.arange(len(ports), dtype=np.int32)
    return (JobTraffic("warm-up", (), 1, (Phase("half", flows, ranks, ranks),)),)


def compare(
    fabric: Fabric,
    ports: NDArray[np.int32],
    engines: Sequence[str],
    route: Callable[[str], Routed],
    *,
    bisections: int,
    seed: int,
) -> Comparison:
    """Score engines one after the other for traffic between `ports`; one that cannot route is kept with its reason.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        HCA ports.
    route : callable
        Takes an engine's name, and returns its tables.
    bisections, seed : int
        As in `fabctl.routing.compute.assess`.

    Raises
    ------
    InputError
        If the fabric itself cannot be routed, or fewer than two ports are to be scored.
    """
    _settle(fabric)
    rows = [_contender(engine, ports, route, bisections, seed) for engine in engines]
    return Comparison(tuple(rows), alltoall_bound(fabric, ports), len(ports))


def _settle(fabric: Fabric) -> None:
    """Derive what all engines ask of a fabric, so that no engine pays for it: a subnet manager's sweep is not timed either."""
    _ = (fabric.compute_endpoints, fabric.tiers, fabric.labels, fabric.channel_at, fabric.channel_ptr, fabric.data_gbps)


def _contender(engine: str, ports: NDArray[np.int32], route: Callable[[str], Routed], bisections: int, seed: int) -> Contender:
    try:
        routed = route(engine)
    except (RefusedError, SourceError, UsageError) as error:
        return Contender(engine, None, None, None, refusal=error.message)
    assessment = assess(routed.tables, ports, bisections=bisections, seed=seed, top=0)
    hidden = routed.vls is not None and routed.vls > 1
    return Contender(engine, assessment, routed.routing_s, routed.vls or routed.tables.n_vls, lanes_hidden=hidden)
