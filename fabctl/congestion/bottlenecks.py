"""Which cables bind a phase: by the time that they take to drain, and by the flows whose max-min fair rate they set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.maxmin import Completion, complete
from fabctl.congestion.phases import phase_channels, phase_loads
from fabctl.congestion.rows import join
from fabctl.model.bottlenecks import Bottleneck, JobShare, PhaseBottlenecks, RankPair, named_cable
from fabctl.model.fabric import Fabric
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

Run = tuple[JobTraffic, Phase]
"""A job with the phase that it is in."""

TIE = 1e-9
"""Relative difference below which two cables count as equally slow."""
PAIRS = 8


def phase_bottlenecks(
    tables: RoutingTables, jobs: Sequence[JobTraffic], rates: Float64, *, top: int = 5, pairs: int = PAIRS
) -> tuple[PhaseBottlenecks, ...]:
    """Return what binds each phase of each job: alone for one job, else beside the busiest phase of every other job.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Bytes per second (`fabctl.model.rates.payload_rates`).
    top : int
        Cables to name per phase.
    pairs : int
        Rank pairs to name per cable.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a channel in use has no known rate.

    Complexity
    ----------
    One completion (`fabctl.congestion.maxmin`) per phase, of its flows and those that it meets.
    """
    busiest = [busiest_phase(tables, job, rates) for job in jobs] if len(jobs) > 1 else [None]
    found = []
    for number, job in enumerate(jobs):
        others = [(jobs[row], phase) for row, phase in enumerate(busiest) if row != number and phase is not None]
        found += [bottlenecks(tables, [(job, phase), *others], rates, top=top, pairs=pairs) for phase in job.phases]
    return tuple(found)


def busiest_phase(tables: RoutingTables, job: JobTraffic, rates: Float64) -> Phase | None:
    """Return the phase whose slowest cable takes longest to drain in all its runs; None for a job that sends nothing."""
    spent = [phase.times * _drain(tables, phase, rates) for phase in job.phases]
    return job.phases[int(np.argmax(spent))] if spent and max(spent) > 0 else None


def _drain(tables: RoutingTables, phase: Phase, rates: Float64) -> float:
    loads = phase_loads(tables, phase)
    used = loads > 0
    refuse_unknown_rates(tables.fabric, used, rates)
    return float((loads[used] / rates[used]).max(initial=0.0))


def bottlenecks(
    tables: RoutingTables, running: Sequence[Run], rates: Float64, *, top: int = 5, pairs: int = PAIRS
) -> PhaseBottlenecks:
    """Return what binds phases that start together, one of each job; see `phase_bottlenecks`."""
    met = meet(tables, running, rates)
    done = complete(met.channels, met.size_bytes, rates)
    drain = np.divide(met.loads, rates, out=np.zeros(len(rates)), where=met.loads > 0)
    seconds = done.seconds[: met.start[1]]
    return PhaseBottlenecks(
        phases=tuple((job.name, phase.name) for job, phase in running),
        seconds=float(seconds[np.isfinite(seconds)].max(initial=0.0)),
        together_s=done.makespan,
        cables=tuple(_bottleneck(met, rates, done, channel, pairs) for channel in _order(met, drain, done)[:top].tolist()),
        equals=int(np.count_nonzero((drain > 0) & (drain >= drain.max(initial=0.0) * (1 - TIE)))),
    )


@dataclass(frozen=True, eq=False)
class Meeting:
    """The flows of phases that run at the same time.

    Parameters
    ----------
    fabric : Fabric
    running : tuple of Run
    start : int64 array of shape (n_running + 1,)
        Flows ``start[r]:start[r + 1]`` are those of ``running[r]``.
    channels : Channels
    src, dst : int32 array of shape (n_flows,)
        HCA ports.
    size_bytes : float64 array of shape (n_flows,)
    fixed : bool array of shape (n_flows,)
        Flows that no table routes (`Phase.fixed`).
    loads : float64 array of shape (n_channels,)
        Bytes on each channel.
    """

    fabric: Fabric
    running: tuple[Run, ...]
    start: Int64
    channels: Channels
    src: Int32
    dst: Int32
    size_bytes: Float64
    fixed: NDArray[np.bool_]
    loads: Float64

    def flows_on(self, channel: int) -> Int64:
        """Return the flows that take a channel, in order."""
        at = np.flatnonzero(self.channels.index == channel)
        return np.unique(np.searchsorted(self.channels.ptr, at, side="right") - 1)

    def shares(self, flows: Int64) -> tuple[JobShare, ...]:
        """Return what some flows are per phase, most bytes first."""
        owner = np.searchsorted(self.start, flows, side="right") - 1
        found = []
        for row in np.unique(owner).tolist():
            job, phase = self.running[row]
            own = flows[owner == row]
            found.append(JobShare(job.name, phase.name, len(own), float(self.size_bytes[own].sum())))
        return tuple(sorted(found, key=lambda share: -share.size_bytes))

    def largest(self, flows: Int64, count: int) -> Int64:
        """Return the largest of some flows, most bytes first; equals in their order."""
        return flows[np.lexsort((flows, -self.size_bytes[flows]))][:count]

    def rank_pair(self, flow: int, rate: float) -> RankPair:
        """Return a flow by its names.

        Parameters
        ----------
        rate : float
            Bytes per second.
        """
        row = int(np.searchsorted(self.start, flow, side="right") - 1)
        job, phase = self.running[row]
        own = flow - int(self.start[row])
        return RankPair(
            job=job.name,
            phase=phase.name,
            source=job.rank_label(int(phase.src_rank[own])),
            target=job.rank_label(int(phase.dst_rank[own])),
            source_port=self.fabric.port_label(int(self.src[flow])),
            target_port=self.fabric.port_label(int(self.dst[flow])),
            size_bytes=float(self.size_bytes[flow]),
            gb_s=rate / 1e9,
        )


def meet(tables: RoutingTables, running: Sequence[Run], rates: Float64) -> Meeting:
    """Return the flows of phases that run at the same time.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a channel in use has no known rate.
    """
    phases = [phase for _, phase in running]
    channels = join([phase_channels(tables, phase) for phase in phases])
    size_bytes = np.concatenate([np.empty(0), *(phase.flows.weight for phase in phases)])
    weight = np.repeat(size_bytes, np.diff(channels.ptr))
    loads = np.bincount(channels.index, weights=weight, minlength=len(rates)).astype(np.float64, copy=False)
    refuse_unknown_rates(tables.fabric, loads > 0, rates)
    return Meeting(
        fabric=tables.fabric,
        running=tuple(running),
        start=np.cumsum([0, *(len(phase.flows) for phase in phases)]),
        channels=channels,
        src=np.concatenate([np.empty(0, dtype=np.int32), *(phase.flows.src for phase in phases)]),
        dst=np.concatenate([np.empty(0, dtype=np.int32), *(phase.flows.dst for phase in phases)]),
        size_bytes=size_bytes,
        fixed=np.concatenate(
            [np.empty(0, dtype=bool), *(np.full(len(phase.flows), phase.fixed is not None) for phase in phases)]
        ),
        loads=loads,
    )


def _order(met: Meeting, drain: Float64, done: Completion) -> Int64:
    """Return the channels in use: the longest to drain first, then the one with the later last flow, then between switches."""
    fabric = met.fabric
    last = np.zeros(len(drain))
    np.maximum.at(last, met.channels.index, np.repeat(done.seconds, np.diff(met.channels.ptr)))
    used = np.flatnonzero(drain > 0)
    at_host = np.maximum(fabric.channel_src[used], fabric.channel_dst[used]) >= fabric.n_switches
    return used[np.lexsort((used, at_host, -_in_steps(last[used]), -_in_steps(drain[used])))]


def _in_steps(seconds: Float64) -> Float64:
    """Return times in steps of `TIE` of the longest, so that rounding does not order equals."""
    longest = seconds.max(initial=0.0)
    return np.round(seconds / (longest * TIE)) if 0 < longest < np.inf else seconds


def _bottleneck(met: Meeting, rates: Float64, done: Completion, channel: int, pairs: int) -> Bottleneck:
    on_it = met.flows_on(channel)
    return Bottleneck(
        cable=named_cable(met.fabric, channel, rates),
        size_bytes=float(met.loads[channel]),
        drain_s=float(met.loads[channel] / rates[channel]),
        flows=len(on_it),
        binds=int(np.count_nonzero(done.bottleneck == channel)),
        last_s=float(done.seconds[on_it].max()),
        shares=met.shares(on_it),
        pairs=tuple(met.rank_pair(flow, float(done.first_rate[flow])) for flow in met.largest(on_it, pairs).tolist()),
    )
