"""Why a pair of hosts is as fast as it is: its routes, what else is on them, and the first change that would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.around import AllToAllAround, Around, Ends, Figures, JobsAround, all_to_all_around, alone, jobs_around
from fabctl.congestion.carried import Carried, carried_by
from fabctl.congestion.explain import pairs_through
from fabctl.congestion.meeting import meet
from fabctl.congestion.peers import Peers, find_peers
from fabctl.congestion.remedies import Case, other_entry, other_rail, slow_cables
from fabctl.congestion.rows import flows_on
from fabctl.congestion.swaps import other_host
from fabctl.congestion.trace import Trace, trace
from fabctl.errors import InputError
from fabctl.model.ends import RailPair
from fabctl.model.named import JobShare, RankPair, named_cable
from fabctl.model.pairs import Hop, Leg, PairExplanation, Trial
from fabctl.model.phases import JobTraffic
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.results import Finding
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]

ALL_TO_ALL = "all-to-all"
"""Name of the job that stands in where there is none."""


@dataclass(frozen=True)
class Question:
    """What is asked.

    Parameters
    ----------
    pairs : tuple of RailPair
    jobs : tuple of JobTraffic
        Empty: an all-to-all of all compute hosts.
    safe : callable
        Whether tables lose nothing and are free of loops and credit loops.
    command : str
        The next thing to type where no change here helps.
    top : int
        Competing flows to name.
    """

    pairs: tuple[RailPair, ...]
    jobs: tuple[JobTraffic, ...]
    safe: Callable[[RoutingTables], bool]
    command: str = ""
    top: int = 8


def explain_pair(tables: RoutingTables, rates: Float64, question: Question) -> PairExplanation:
    """Return all that is to be said about a pair.

    The pair's own flows are one endless flow on each leg, all legs at once. Of each job the phase counts that takes longest to
    drain from a cable on the pair's routes; the flows of those phases, without any between the pair's own ports, are what the
    pair meets.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Bytes per second (`fabctl.model.rates.payload_rates`).

    Raises
    ------
    InputError
        If a flow of a job has no route or loops; a route of the pair that does is a finding.
    RefusedError
        If a channel in use has no known rate.

    Complexity
    ----------
    A walk of all flows of the jobs, and some tens of max-min solutions of the phases that count.
    """
    fabric = tables.fabric
    ends = tuple(end for pair in question.pairs for end in (pair.ports, pair.ports[::-1]))
    rails = tuple(pair.rail for pair in question.pairs for _ in range(2))
    traces = tuple(trace(tables, *end) for end in ends)
    first, second = (fabric.hosts.name[fabric.hosts.node_host[fabric.port_node[port]]] for port in ends[0])
    names = (first, second, tables.origin, tuple(job.name for job in question.jobs))
    peers = find_peers(fabric)
    broken = [row for row, found in enumerate(traces) if found.problem]
    if broken:
        view = _View(tables, rates, peers)
        legs = tuple(view.leg(*entry) for entry in zip(rails, ends, traces, strict=True))
        findings = tuple(_finding(legs[row], traces[row]) for row in broken)
        return PairExplanation(*names, (), 0, legs, broken[0], (), (), (), findings, ())
    way = np.zeros(len(rates), dtype=bool)
    way[[channel for found in traces for channel in found.channels]] = True
    refuse_unknown_rates(fabric, way, rates)
    carried: Carried | None = None
    notes: tuple[str, ...] = ()
    around: Around
    if question.jobs:
        carried = carried_by(tables, question.jobs, rates)
        around = jobs_around(tables, rates, meet(tables, carried.met_on(way, rates), rates), ends)
    else:
        around, notes = _all_to_all(tables, rates, ends)
    view = _View(tables, rates, peers, carried, around if isinstance(around, AllToAllAround) else None)
    quiet, now = alone(tables, rates, ends), around.figures(ends)
    worst = _worst(around, ends, now)
    case = Case(around, ends, rails, worst, traces[worst].channels, now, peers, question.safe)
    competing, competitors = _competitors(case, question.top)
    return PairExplanation(
        *names,
        phases=tuple((job.name, phase.name) for job, phase in around.met.running) if isinstance(around, JobsAround) else (),
        all_to_all_ports=len(around.ports) if isinstance(around, AllToAllAround) else 0,
        legs=tuple(view.leg(rails[row], ends[row], traces[row], row, quiet, now) for row in range(len(ends))),
        worst=worst,
        competing=competing,
        competitors=competitors,
        trials=tuple(_trials(case, question.command, competes=bool(competing))),
        findings=(),
        notes=notes,
    )


def _worst(around: Around, ends: Ends, now: Figures) -> int:
    """Return the slowest leg, of those that the jobs use where they use any."""
    used = around.uses(ends) if isinstance(around, JobsAround) else np.zeros(len(ends), dtype=bool)
    return int(np.argmin(np.where(used | ~used.any(), np.round(now.rate, 3), np.inf)))


def _all_to_all(tables: RoutingTables, rates: Float64, ends: Ends) -> tuple[Around, tuple[str, ...]]:
    """Return an all-to-all of all compute hosts; where a route of it is lost, nothing, and a note that says so."""
    fabric = tables.fabric
    every = np.union1d(fabric.compute_endpoints, np.array(ends, dtype=np.int32).ravel()).astype(np.int32)
    ports = every[fabric.channel_dst[fabric.channel_of_port[every]] < fabric.n_switches]
    try:
        around = all_to_all_around(tables, rates, ports)
    except InputError as error:
        return jobs_around(tables, rates, meet(tables, (), rates), ends), (f"loads are not known: {error.message}",)
    refuse_unknown_rates(fabric, around.units > 0, rates)
    return around, ()


@dataclass(frozen=True, eq=False)
class _View:
    """What is needed to name the hops of a leg; without traffic where nothing is known of it."""

    tables: RoutingTables
    rates: Float64
    peers: Peers
    carried: Carried | None = None
    everybody: AllToAllAround | None = None

    def leg(
        self,
        rail: int,
        end: tuple[int, int],
        found: Trace,
        row: int = 0,
        quiet: Figures | None = None,
        now: Figures | None = None,
    ) -> Leg:
        """Return a leg by its names."""
        fabric = self.tables.fabric
        own_bytes = self.carried.own_bytes(*end) if self.carried else 0.0
        return Leg(
            rail=rail,
            source=fabric.port_label(end[0]),
            target=fabric.port_label(end[1]),
            target_lid=int(fabric.port_lid[end[1]]),
            hops=tuple(self._hop(channel, own_bytes) for channel in found.channels),
            problem=found.problem,
            host_gb_s=float(self.rates[[found.channels[0], found.channels[-1]]].min()) / 1e9,
            alone_gb_s=float(quiet.rate[row]) / 1e9 if quiet else 0.0,
            now_gb_s=float(now.rate[row]) / 1e9 if now else 0.0,
            now_binds=found.channels.index(int(now.binds[row])) if now else -1,
        )

    def _hop(self, channel: int, own_bytes: float) -> Hop:
        return Hop(
            cable=named_cable(self.tables.fabric, channel, self.rates),
            shares=self.carried.shares(channel) if self.carried else (),
            step_bytes=self.carried.step_bytes(channel) if self.carried else 0.0,
            own_bytes=own_bytes,
            sources=int(self.everybody.units[channel]) if self.everybody else 0,
            slower_than=self.peers.slower_than(channel),
        )


def _competitors(case: Case, top: int) -> tuple[tuple[JobShare, ...], tuple[RankPair, ...]]:
    """Return the flows of others on the cable that binds: per phase, and the largest."""
    around, channel = case.around, int(case.before.binds[case.leg])
    if isinstance(around, JobsAround):
        on_it = flows_on(around.met.channels, channel)
        others = on_it[~around.own[on_it]]
        rate = around.rates_among(case.ends)
        named = around.met.largest(others, top).tolist()
        return around.met.shares(others), tuple(around.met.rank_pair(flow, float(rate[flow])) for flow in named)
    if around.units[channel] < 2:
        return (), ()
    pairs = [pair for pair in pairs_through(around.tables, around.ports, channel, top + 1) if pair not in case.ends]
    share = JobShare(ALL_TO_ALL, "", int(around.units[channel]) - 1, 0.0)
    return (share,), tuple(_anonymous(around.tables, pair) for pair in pairs[:top])


def _anonymous(tables: RoutingTables, pair: tuple[int, int]) -> RankPair:
    """Return a flow of the all-to-all, which has no ranks, by its HCAs."""
    fabric = tables.fabric
    names = [fabric.labels[fabric.port_node[port]] for port in pair]
    ports = [fabric.port_label(port) for port in pair]
    return RankPair(ALL_TO_ALL, "", names[0], names[1], ports[0], ports[1], size_bytes=0.0, gb_s=0.0)


def _trials(case: Case, command: str, *, competes: bool) -> Iterator[Trial]:
    """Yield what was tried: a slow cable first, as it is what operators need, then what can be typed, then what moves jobs."""
    fabric = case.around.tables.fabric
    slow = list(slow_cables(case))
    yield from slow
    binds = int(case.before.binds[case.leg])
    at_host = max(fabric.channel_src[binds], fabric.channel_dst[binds]) >= fabric.n_switches
    if at_host and (not competes or isinstance(case.around, AllToAllAround)):
        yield Trial("none", f"the host's own cable binds, {fabric.cable_label(binds)}: no route and no place makes it faster")
        return
    yield other_entry(case)
    yield other_rail(case)
    if isinstance(case.around, JobsAround):
        yield other_host(case, case.around)
    if command:
        yield Trial("engine", "other tables for all of this traffic", command=command)
    if at_host:
        yield Trial("none", f"the host's own cable binds, {fabric.cable_label(binds)}: all that is on it is that host's traffic")


def _finding(leg: Leg, found: Trace) -> Finding:
    code = "RTE202" if found.loops else "RTE201"
    return Finding(code, "error", f"{leg.source} > {leg.target}", f"the route from {leg.source} stops: {found.problem}")
