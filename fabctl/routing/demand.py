"""What jobs ask of a fabric: bytes by destination, sending switch and phase, in units that make phases and jobs comparable.

A phase of a job takes, at best, the time `t` of its own busiest HCA port. A channel's *load* by a phase is the time for which the
phase's bytes keep it busy, over `t`: 1 is as busy as the busiest host itself, 2 makes the phase last twice as long. Phases of a
job do not overlap each other; those of different jobs may. So two sums over the jobs tell what a channel has to carry. On the
*mean*, each phase counts by its share in its job's least time. In the *worst* moment each job's highest load by a single phase
counts: without a channel above 1 there, no job is kept longer than by its own hosts, whatever coincides. The *heat* of a channel
is its mean load or its highest load by one phase, whichever is more. How many bytes a job's step has does not matter: a job with
short steps makes more of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.phases import JobTraffic, Phase
from fabctl.model.rates import payload_rates
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

GOAL = 1 + 1e-6
"""Load up to which a channel is left alone: it keeps nobody longer than the busiest host keeps itself."""
MAX_CELLS = 1 << 25
"""Channels times phases that are kept apart; beyond, each job's phases are taken together."""


@dataclass(frozen=True, eq=False)
class Demand:
    """Traffic of jobs between switches, and what it loads whatever the tables.

    Attributes
    ----------
    fabric : Fabric
    ports, home : int32 arrays of shape (n_destinations,)
        HCA ports that other switches' hosts send to, ascending, and their switches.
    first : int64 array of shape (n_destinations + 1,)
        Destination `d` has the entries ``first[d]:first[d + 1]`` of the next three, by sending switch.
    leaf, phase : int32 arrays of shape (n_entries,)
    amount : float64 array of shape (n_entries,)
        Load on a channel of slowness 1.
    jobs : int64 array of shape (n_jobs + 1,)
        Job `j` has the phases ``jobs[j]:jobs[j + 1]``, at least one.
    share : float64 array of shape (n_phases,)
        Share of each phase in its job's least time.
    slowness : float64 array of shape (n_channels,)
        One over each channel's rate, the median of the rates being 1; all 1 where a rate is unknown.
    still : float64 array of shape (n_channels, n_phases)
        Loads that no table changes: on the HCAs' own channels, and of flows on fixed trees.
    least_s : float64 array of shape (n_phases,)
        Least time of each phase in a step, in seconds; 0 where rates are unknown.
    """

    fabric: Fabric
    ports: Int32
    home: Int32
    first: Int64
    leaf: Int32
    phase: Int32
    amount: Float64
    jobs: Int64
    share: Float64
    slowness: Float64
    still: Float64
    least_s: Float64


@dataclass(frozen=True, eq=False)
class Loads:
    """Loads of channels under some tables.

    Parameters
    ----------
    wanted : Demand
    part : float64 array of shape (n_channels, n_phases)
    """

    wanted: Demand
    part: Float64

    @property
    def mean(self) -> Float64:
        """Mean load of each channel, shape (n_channels,)."""
        return self.part @ self.wanted.share

    @property
    def heat(self) -> Float64:
        """Mean load, or highest load by one phase, of each channel, shape (n_channels,)."""
        return np.maximum(self.mean, self.part.max(axis=1, initial=0))

    @property
    def worst(self) -> Float64:
        """Load of each channel in its worst moment, shape (n_channels,)."""
        if not self.part.size:
            return np.zeros(len(self.part))
        return np.maximum.reduceat(self.part, self.wanted.jobs[:-1], axis=1).sum(axis=1)

    @property
    def hot(self) -> bool:
        """Whether some channel keeps a job longer than its own hosts do."""
        return bool(self.worst.max(initial=0) > GOAL)

    @property
    def busy_s(self) -> float:
        """Seconds that the bytes of one step of all jobs keep the busiest channel busy; 0 where rates are unknown."""
        return float((self.part @ self.wanted.least_s).max(initial=0))

    @property
    def rank(self) -> tuple[float, float, float]:
        """What tables are compared by, less is better: hottest channel, phases' own hottest, worst moments above 1."""
        slowest = self.part.max(axis=0, initial=0)
        return (
            round(float(self.heat.max(initial=0)), 9),
            round(float((self.wanted.share * slowest).sum()), 9),
            round(float((np.maximum(self.worst, 1) ** 2 - 1).sum()), 6),
        )


def demand(fabric: Fabric, jobs: Sequence[JobTraffic]) -> Demand:
    """Return what jobs ask of a fabric.

    Complexity
    ----------
    O(flows log flows + channels x phases).
    """
    rates = payload_rates(fabric)
    known = bool(len(rates)) and bool(np.all(rates > 0))
    slowness = np.median(rates) / rates if known else np.ones(len(fabric.channel_port))
    unit_s = 1 / float(np.median(rates)) if known else 0.0
    rows, shares, first = [], [], [0]
    for job in jobs:
        phases = [(phase, least) for phase in _distinct(job) if (least := _least(fabric, phase, slowness)) > 0]
        rows += phases
        first += [len(rows)] if phases else []
        shares += [least / sum(least for _, least in phases) for _, least in phases]
    if len(rows) * len(fabric.channel_port) > MAX_CELLS and any(len(job.phases) > 1 + _fixed(job) for job in jobs):
        return demand(fabric, [_together(job) for job in jobs])
    still = np.zeros((len(fabric.channel_port), len(rows)))
    parts = [_entries(fabric, phase, least, number, slowness, still) for number, (phase, least) in enumerate(rows)]
    dst, leaf, index, amount = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _nothing()
    ports, row = np.unique(dst, return_inverse=True)
    return Demand(
        fabric,
        ports.astype(np.int32),
        _switch(fabric, ports),
        *_by_destination(row, leaf, index, amount, len(ports)),
        np.array(first, dtype=np.int64),
        np.array(shares),
        slowness,
        still,
        np.array([least * unit_s for _, least in rows]),
    )


def loads(tables: RoutingTables, wanted: Demand) -> Loads:
    """Return the loads of channels under tables, in O(entries x hops + channels x phases)."""
    fabric, n_phases = wanted.fabric, len(wanted.share)
    part = wanted.still.copy().ravel()
    row = np.repeat(np.arange(len(wanted.ports)), np.diff(wanted.first))
    lid, home = fabric.port_lid[wanted.ports][row], wanted.home[row]
    at, phase, amount = wanted.leaf, wanted.phase.astype(np.int64), wanted.amount
    while len(at):
        channel = fabric.channel_at[at, tables.lft[at, lid]]
        cell = channel.astype(np.int64) * n_phases + phase
        part += np.bincount(cell, weights=amount * wanted.slowness[channel], minlength=len(part))
        at = fabric.channel_dst[channel]
        on = at != home
        at, lid, home, phase, amount = at[on], lid[on], home[on], phase[on], amount[on]
    return Loads(wanted, part.reshape(wanted.still.shape))


def _distinct(job: JobTraffic) -> Iterator[Phase]:
    """Yield a job's phases, those with the same flows in the same proportions as one of their bytes together."""
    kinds: dict[tuple[bytes, ...], list[Phase]] = {}
    for number, phase in enumerate(job.phases):
        if not len(phase.flows):
            continue
        flows = phase.flows
        shape = np.round(flows.weight / max(float(flows.weight.max()), 1e-300), 9)
        key = (str(number).encode(),) if phase.fixed else (flows.src.tobytes(), flows.dst.tobytes(), shape.tobytes())
        kinds.setdefault(key, []).append(phase)
    for same in kinds.values():
        most = float(same[0].flows.weight.max())
        if most > 0:
            yield _scaled(same[0], sum(phase.times * float(phase.flows.weight.max()) for phase in same) / most)


def _scaled(phase: Phase, scale: float) -> Phase:
    return replace(phase, flows=replace(phase.flows, weight=phase.flows.weight * scale), times=1)


def _fixed(job: JobTraffic) -> int:
    return sum(phase.fixed is not None for phase in job.phases)


def _together(job: JobTraffic) -> JobTraffic:
    """Return a job whose phases that tables route are one; those on fixed trees stay apart."""
    routed = [_scaled(phase, phase.times) for phase in job.phases if phase.fixed is None]
    if len(routed) < 2:
        return job
    src, dst, weight = (np.concatenate([getattr(phase.flows, name) for phase in routed]) for name in ("src", "dst", "weight"))
    ranks = (np.concatenate([phase.src_rank for phase in routed]), np.concatenate([phase.dst_rank for phase in routed]))
    one = Phase("all phases", Flows(src, dst, weight), *ranks)
    return replace(job, phases=(one, *(phase for phase in job.phases if phase.fixed is not None)))


def _least(fabric: Fabric, phase: Phase, slowness: Float64) -> float:
    """Return how long the phase's busiest HCA port sends or receives, in bytes at slowness 1."""
    return float((_own(fabric, phase) * slowness).max(initial=0))


def _own(fabric: Fabric, phase: Phase) -> Float64:
    """Return the bytes on the HCAs' own channels; on all channels, if the phase runs on fixed trees."""
    n = len(fabric.channel_port)
    flows = phase.flows
    if phase.fixed is not None:
        weight = np.repeat(flows.weight, np.diff(phase.fixed.ptr))
        return np.bincount(phase.fixed.index, weights=weight, minlength=n).astype(np.float64)
    sent = np.where(flows.src == flows.dst, 0.0, flows.weight)
    leaving = fabric.channel_of_port[flows.src]
    arriving = fabric.channel_reverse[fabric.channel_of_port[flows.dst]]
    both = np.bincount(leaving, weights=sent, minlength=n) + np.bincount(arriving, weights=sent, minlength=n)
    return both.astype(np.float64)


def _entries(
    fabric: Fabric, phase: Phase, least: float, number: int, slowness: Float64, still: Float64
) -> tuple[Int32, Int32, Int32, Float64]:
    """Return destination port, sending switch, phase and amount of the flows between switches; add the rest to `still`."""
    still[:, number] = _own(fabric, phase) * slowness / least
    if phase.fixed is not None:
        return _nothing()
    flows = phase.flows
    leaf, home = _switch(fabric, flows.src), _switch(fabric, flows.dst)
    apart = np.flatnonzero((leaf != home) & (leaf >= 0) & (home >= 0) & (flows.weight > 0))
    return (
        flows.dst[apart],
        leaf[apart],
        np.full(len(apart), number, dtype=np.int32),
        flows.weight[apart] / least,
    )


def _nothing() -> tuple[Int32, Int32, Int32, Float64]:
    empty = np.zeros(0, dtype=np.int32)
    return empty, empty, empty, np.zeros(0)


def _switch(fabric: Fabric, ports: NDArray[np.integer]) -> Int32:
    """Return the switch that each HCA port hangs from; -1 for none."""
    far = fabric.channel_dst[fabric.channel_of_port[ports]]
    return np.where(far < fabric.n_switches, far, -1).astype(np.int32)


def _by_destination(
    row: Int64, leaf: Int32, phase: Int32, amount: Float64, n_destinations: int
) -> tuple[Int64, Int32, Int32, Float64]:
    """Return entries by destination, sending switch and phase, equal ones added up, behind their CSR pointer."""
    order = np.lexsort((phase, leaf, row))
    row, leaf, phase, amount = row[order], leaf[order], phase[order], amount[order]
    new = np.append(True, (np.diff(row) != 0) | (np.diff(leaf) != 0) | (np.diff(phase) != 0)) if len(row) else np.zeros(0, bool)
    start = np.flatnonzero(new)
    first = np.searchsorted(row[start], np.arange(n_destinations + 1)).astype(np.int64)
    total = np.add.reduceat(amount, start) if len(start) else amount
    return first, leaf[start], phase[start], total
