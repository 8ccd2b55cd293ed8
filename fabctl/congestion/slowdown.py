"""Several jobs at once: each job's slowdown against running alone, and who hurts whom.

Definitions. A phase takes as long as its last flow, all rates being max-min fair at every moment (`fabctl.congestion.maxmin`).
``T_alone(J)`` is the sum over the phases of job J of times x makespan. Beside others, each other job K sends its busiest phase
without end: the phase of K with the longest times x makespan alone, every flow of it infinite. ``T_with(J, others)`` is the same
sum under that background; the slowdown of J is ``T_with(J, all others) / T_alone(J)``, and entry (J, K) of the matrix
``T_with(J, {K}) / T_alone(J)``. So a slowdown is what a job meets when the others' busiest phases coincide with all of its own:
it is neither an average over time nor does it count that the others are slowed as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.maxmin import Completion, complete
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import entries, flows_on, join, select
from fabctl.model.fabric import Fabric
from fabctl.model.interference import Binding, Interference, JobSlowdown
from fabctl.model.named import TREE, named_cable
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ChannelsOf = Callable[[Phase], tuple[Channels, Float64 | None]]
"""A phase to the channels of its flows and, where these are split over adaptive routes, their shares (as for `complete`)."""

TIE = 1e-9
"""Relative difference below which two flows count as ending together."""
PAIRS = 3
"""Flows of each job that are named on a cable that binds."""


@dataclass(frozen=True, eq=False)
class Lanes:
    """Channels of flows, and the share of each flow on each of its channels; None: all of it."""

    channels: Channels
    share: Float64 | None = None

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def index(self) -> NDArray[np.int32]:
        """Channels of all flows, one after the other."""
        return self.channels.index

    @property
    def owner(self) -> Int64:
        """The flow of each entry of `index`."""
        return np.repeat(np.arange(len(self.channels)), np.diff(self.channels.ptr))

    def select(self, flows: Int64) -> Lanes:
        """Return some flows, in the order given."""
        at = entries(self.channels, flows)
        return Lanes(select(self.channels, flows), None if self.share is None else self.share[at])


def join_lanes(parts: Sequence[Lanes]) -> Lanes:
    """Return the flows of several, one after the other."""
    channels = join([part.channels for part in parts])
    if all(part.share is None for part in parts):
        return Lanes(channels)
    return Lanes(channels, np.concatenate([np.ones(len(part.index)) if part.share is None else part.share for part in parts]))


def touching(own: Lanes, others: Lanes, n_channels: int) -> Int64:
    """Return the flows of `others` that share a channel with `own`, directly or through other flows of `others`."""
    reached = np.zeros(n_channels, dtype=bool)
    reached[own.index] = True
    owner, index = others.owner, others.index
    taken = np.zeros(len(others), dtype=bool)
    while True:
        fresh = owner[reached[index]]
        if not len(fresh):
            return np.flatnonzero(taken)
        taken[fresh] = True
        inside = taken[owner]
        reached[index[inside]] = True
        owner, index = owner[~inside], index[~inside]


@dataclass(frozen=True, eq=False)
class Laid:
    """A job whose flows have their channels.

    Parameters
    ----------
    job : JobTraffic
    flows : tuple of int64 arrays
        Per phase, its flows; those that move nothing are left out.
    lanes : tuple of Lanes
        Per phase, where they go.
    size_bytes : tuple of float64 arrays
        Per phase, their bytes.
    alone : tuple of Completion
        One run of each phase alone.
    used : bool array of shape (n_channels,)
        Channels of any phase.
    """

    job: JobTraffic
    flows: tuple[Int64, ...]
    lanes: tuple[Lanes, ...]
    size_bytes: tuple[Float64, ...]
    alone: tuple[Completion, ...]
    used: NDArray[np.bool_]

    @property
    def step_s(self) -> float:
        """Communication time of a step alone."""
        return step_s(self.job, self.alone)

    @property
    def busiest(self) -> Lanes:
        """The phase whose runs take longest in all: what the job is to others."""
        return self.lanes[_slowest(self.job, self.alone)] if self.lanes else join_lanes(())

    def pairs_on(self, number: int, channel: int) -> tuple[tuple[str, str], ...]:
        """Return the largest flows of one phase on a channel, by their ranks; at most `PAIRS`."""
        lanes, phase = self.lanes[number], self.job.phases[number]
        on_it = flows_on(lanes.channels, channel)
        on_it = on_it[np.argsort(-self.size_bytes[number][on_it], kind="stable")][:PAIRS]
        flows, label = self.flows[number][on_it].tolist(), self.job.rank_label
        return tuple(
            (label(int(phase.src_rank[flow])), TREE if phase.fixed else label(int(phase.dst_rank[flow]))) for flow in flows
        )


def lay(tables: RoutingTables, job: JobTraffic, rates: Float64, channels_of: ChannelsOf | None = None) -> Laid:
    """Return a job with the channels of its flows and its times alone.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Bytes per second (`fabctl.model.rates.payload_rates`).
    channels_of : callable, optional
        See `ChannelsOf`; by default the tables decide.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a channel in use has no known rate.
    """
    flows, lanes, sizes = [], [], []
    used = np.zeros(len(rates), dtype=bool)
    for phase in job.phases:
        taken = Lanes(*channels_of(phase)) if channels_of else Lanes(phase_channels(tables, phase))
        moving = np.flatnonzero((np.diff(taken.channels.ptr) > 0) & (phase.flows.weight > 0))
        taken = taken if len(moving) == len(taken) else taken.select(moving)
        used[taken.index] = True
        flows.append(moving)
        lanes.append(taken)
        sizes.append(phase.flows.weight[moving])
    refuse_unknown_rates(tables.fabric, used, rates)
    alone = tuple(complete(taken.channels, size, rates, taken.share) for taken, size in zip(lanes, sizes, strict=True))
    return Laid(job, tuple(flows), tuple(lanes), tuple(sizes), alone, used)


def adaptively(tables: RoutingTables, jobs: Sequence[JobTraffic], mode: str) -> ChannelsOf:
    """Return where flows go under adaptive routing, each phase balanced by itself: switches do not see what other jobs send.

    Parameters
    ----------
    mode : str
        As for `fabctl.congestion.adaptive.adaptive_channels`; its errors are raised as well.
    """
    from fabctl.congestion.adaptive import adaptive_channels
    from fabctl.congestion.adaptive_groups import adaptive_groups

    targets = [phase.flows.dst for job in jobs for phase in job.phases if phase.fixed is None]
    groups = adaptive_groups(tables, np.concatenate([np.empty(0, dtype=np.int32), *targets]), mode)

    def channels_of(phase: Phase) -> tuple[Channels, Float64 | None]:
        if phase.fixed is not None:
            return phase.fixed, None
        return adaptive_channels(tables, phase.flows, mode, groups=groups)

    return channels_of


def step_s(job: JobTraffic, runs: Sequence[Completion]) -> float:
    """Return the communication time of a step, in seconds, from one run of each phase."""
    return float(sum(phase.times * run.makespan for phase, run in zip(job.phases, runs, strict=True)))


def beside(laid: Laid, others: Sequence[Lanes], rates: Float64) -> tuple[Completion, ...]:
    """Return one run of each phase under endless flows of others; that alone where they touch none of its flows.

    The first flows of each are the job's own.
    """
    rest = join_lanes(others)
    runs = []
    for lanes, size_bytes, alone in zip(laid.lanes, laid.size_bytes, laid.alone, strict=True):
        near = touching(lanes, rest, len(rates))
        if not len(near):
            runs.append(alone)
            continue
        both = join_lanes([lanes, rest.select(near)])
        endless = np.full(len(near), np.inf)
        runs.append(complete(both.channels, np.concatenate((size_bytes, endless)), rates, both.share))
    return tuple(runs)


def interference(
    tables: RoutingTables, jobs: Sequence[JobTraffic], rates: Float64, channels_of: ChannelsOf | None = None, name: str = ""
) -> Interference:
    """Return the slowdown of each of several jobs, and who hurts whom.

    Parameters
    ----------
    rates, channels_of
        As for `lay`.
    name : str
        What to call the routes; by default where the tables come from.

    Raises
    ------
    InputError, RefusedError
        As `lay` does.

    Complexity
    ----------
    One completion per phase alone and beside all others, and per phase and other job that it meets on a channel; pairs that share
    no channel are not solved.
    """
    laid = [lay(tables, job, rates, channels_of) for job in jobs]
    background = [one.busiest for one in laid]
    busy = np.zeros((len(jobs), len(rates)), dtype=bool)
    for row, taken in zip(busy, background, strict=True):
        row[taken.index] = True
    matrix = np.ones((len(jobs), len(jobs)))
    rows = []
    for number, one in enumerate(laid):
        meets = np.flatnonzero((busy & one.used).any(axis=1))
        for other in meets[meets != number].tolist() if one.step_s > 0 else ():
            matrix[number, other] = step_s(one.job, beside(one, [background[other]], rates)) / one.step_s
        others = [*laid[:number], *laid[number + 1 :]]
        runs = beside(one, [other.busiest for other in others], rates)
        host_s, fabric_bytes = _at_hosts(tables.fabric, one, rates)
        rows.append(
            JobSlowdown(
                name=one.job.name,
                n_hosts=len(one.job.hosts),
                ranks_per_host=one.job.ranks_per_host,
                fabric_bytes=fabric_bytes,
                host_s=host_s,
                alone_s=one.step_s,
                shared_s=step_s(one.job, runs),
                binding=_binding(tables.fabric, one, runs, others, rates) if one.step_s > 0 else None,
            )
        )
    return Interference(name or tables.origin, tuple(rows), matrix)


def _at_hosts(fabric: Fabric, laid: Laid, rates: Float64) -> tuple[float, float]:
    """Return a step's time if only the hosts' own cables bounded, and the bytes that hosts send."""
    sending = fabric.channel_src >= fabric.n_switches
    at_host = sending | (fabric.channel_dst >= fabric.n_switches)
    seconds = size = 0.0
    for phase, lanes, size_bytes in zip(laid.job.phases, laid.lanes, laid.size_bytes, strict=True):
        weight = size_bytes[lanes.owner] * (1.0 if lanes.share is None else lanes.share)
        loads = np.bincount(lanes.index, weights=weight, minlength=len(rates))
        used = at_host & (loads > 0)
        seconds += phase.times * float((loads[used] / rates[used]).max(initial=0.0))
        size += phase.times * float(loads[sending].sum())
    return seconds, size


def _slowest(job: JobTraffic, runs: Sequence[Completion]) -> int:
    return int(np.argmax([phase.times * run.makespan for phase, run in zip(job.phases, runs, strict=True)]))


def _binding(fabric: Fabric, laid: Laid, runs: Sequence[Completion], others: Sequence[Laid], rates: Float64) -> Binding:
    """Return the channel that bounds most of the last flows of the slowest phase, while all flows run."""
    slowest = _slowest(laid.job, runs)
    own, run = laid.lanes[slowest], runs[slowest]
    last = np.flatnonzero(run.seconds[: len(own)] >= run.makespan * (1 - TIE))
    channel = int(np.argmax(np.bincount(run.bottleneck[last])))
    flow = int(laid.flows[slowest][last[np.argmax(run.bottleneck[last] == channel)]])
    ranks = int(laid.job.phases[slowest].src_rank[flow]), int(laid.job.phases[slowest].dst_rank[flow])
    sender, receiver = (laid.job.hosts[rank // laid.job.ranks_per_host] for rank in ranks)
    on_it = [(other, int(np.count_nonzero(other.busiest.index == channel))) for other in others]
    met = [(laid, slowest), *((other, _slowest(other.job, other.alone)) for other, count in on_it if count)]
    return Binding(
        phase=laid.job.phases[slowest].name,
        cable=named_cable(fabric, channel, rates),
        hosts=(sender, receiver),
        flows=int(np.count_nonzero(own.index == channel)),
        others=tuple((other.job.name, count) for other, count in on_it if count),
        pairs=tuple((one.job.name, *pair) for one, number in met for pair in one.pairs_on(number, channel)),
    )
