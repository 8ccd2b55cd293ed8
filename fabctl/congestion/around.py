"""What a pair meets on the fabric: the flows of jobs, or an all-to-all of all compute hosts; and what these leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import alltoall_loads, destination_blocks, flow_channels
from fabctl.congestion.maxmin import complete, fair_rates
from fabctl.congestion.meeting import Meeting
from fabctl.congestion.rows import join, loads, select
from fabctl.model.flows import unit_flows
from fabctl.model.phases import Channels
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

TIE = 1e-9
"""Relative difference below which rates count as equal."""
Ends = tuple[tuple[int, int], ...]
"""Sending and receiving port of each of the pair's own flows."""


@dataclass(frozen=True, eq=False)
class Figures:
    """Rates of the pair's own flows.

    Parameters
    ----------
    rate : float64 array of shape (n,)
        Bytes per second.
    binds : int32 array of shape (n,)
        Channel that sets each.
    """

    rate: Float64
    binds: Int32


def alone(tables: RoutingTables, rates: Float64, ends: Ends) -> Figures:
    """Return the rates of the pair's own flows with nothing else on the fabric."""
    return _fair(own_channels(tables, ends), rates, len(ends))


def own_channels(tables: RoutingTables, ends: Ends) -> Channels:
    """Return the channels of the pair's own flows."""
    src, dst = (np.array([end[side] for end in ends], dtype=np.int32) for side in (0, 1))
    return Channels(*flow_channels(tables, unit_flows(src, dst)))


def _fair(channels: Channels, rates: Float64, count: int) -> Figures:
    """Return the rates of the first `count` flows; where several cables are full, a host's own sets the rate."""
    found = fair_rates(channels, rates)
    binds = found.bottleneck[:count].copy()
    for row in range(count):
        own_ends = channels.index[[channels.ptr[row + 1] - 1, channels.ptr[row]]]
        for channel in own_ends.tolist():
            if found.rate[row] >= rates[channel] * (1 - TIE):
                binds[row] = channel
    return Figures(found.rate[:count], binds)


@dataclass(frozen=True, eq=False)
class JobsAround:
    """The flows of phases that run at the same time, one of each job.

    Parameters
    ----------
    tables : RoutingTables
    rates : float64 array of shape (n_channels,)
    met : Meeting
        With the channels that `tables` give.
    own : bool array of shape (n_flows,)
        Flows that are the pair's own: `figures` puts the asked for in their place.
    """

    tables: RoutingTables
    rates: Float64
    met: Meeting
    own: NDArray[np.bool_]

    def figures(self, ends: Ends) -> Figures:
        """Return the max-min fair rates of the pair's own flows while all the others run."""
        others = select(self.met.channels, np.flatnonzero(~self.own))
        return _fair(join([own_channels(self.tables, ends), others]), self.rates, len(ends))

    def uses(self, ends: Ends) -> NDArray[np.bool_]:
        """Return which of the pair's legs the jobs send on, shape (n_legs,)."""
        keys = _keys(self.met.src[self.own], self.met.dst[self.own])
        return np.isin([source << 32 | target for source, target in ends], keys)

    def rates_among(self, ends: Ends) -> Float64:
        """Return the max-min fair rate of every other flow, shape (n_flows,); 0 for the pair's own."""
        others = np.flatnonzero(~self.own)
        found = fair_rates(join([own_channels(self.tables, ends), select(self.met.channels, others)]), self.rates)
        out = np.zeros(len(self.own))
        out[others] = found.rate[len(ends) :]
        return out

    def loads(self) -> Float64:
        """Return the bytes on each channel."""
        return self.met.loads

    @cached_property
    def _makespan_s(self) -> float:
        return complete(self.met.channels, self.met.size_bytes, self.rates).makespan

    def slowest_s(self) -> float:
        """Return when the last flow of all ends."""
        return self._makespan_s

    def by_tables(self, tables: RoutingTables, target: int) -> JobsAround:
        """Return the same traffic by tables that differ in entries for one port."""
        return replace(self, tables=tables, met=self._rerouted(tables, self.met.src, self.met.dst, self.met.dst == target))

    def with_ports(self, swapped: NDArray[np.int32], job: int) -> JobsAround:
        """Return the traffic with one job's ranks at other ports.

        Parameters
        ----------
        swapped : int32 array of shape (n_ports,)
            The port in place of each.
        job : int
            Row of the job in ``met.running``.
        """
        src, dst = self.met.src.copy(), self.met.dst.copy()
        part = slice(int(self.met.start[job]), int(self.met.start[job + 1]))
        src[part], dst[part] = swapped[src[part]], swapped[dst[part]]
        return replace(self, met=self._rerouted(self.tables, src, dst, (src != self.met.src) | (dst != self.met.dst)))

    def _rerouted(self, tables: RoutingTables, src: Int32, dst: Int32, moved: NDArray[np.bool_]) -> Meeting:
        """Return the flows at their ports, in their order, with the channels of those that `moved` by the tables."""
        met = self.met
        flows = np.flatnonzero(moved & ~met.fixed)
        kept = np.setdiff1d(np.arange(len(moved)), flows)
        parts = join([select(met.channels, kept), Channels(*flow_channels(tables, unit_flows(src[flows], dst[flows])))])
        channels = select(parts, np.argsort(np.concatenate((kept, flows)), kind="stable"))
        return replace(met, src=src, dst=dst, channels=channels, loads=loads(channels, met.size_bytes, len(met.loads)))


@dataclass(frozen=True, eq=False)
class AllToAllAround:
    """An all-to-all of some ports; what a port would reach if all its flows were like the one that is looked at.

    Every flow on its bottleneck is at most as fast as itself (`fabctl.congestion.maxmin`), so no flow gets less than the least of
    rate over flows on its way. That, times the flows that a port sends, is the figure: a lower bound.

    Parameters
    ----------
    tables : RoutingTables
    rates : float64 array of shape (n_channels,)
    ports : int32 array of shape (n,)
    units : int64 array of shape (n_channels,)
        Flows on each channel.
    """

    tables: RoutingTables
    rates: Float64
    ports: Int32
    units: Int64

    def figures(self, ends: Ends) -> Figures:
        """Return each flow's share of the fullest cable on its way, times the flows of a port."""
        channels = own_channels(self.tables, ends)
        share = self.rates[channels.index] * max(1, len(self.ports) - 1) / np.maximum(1, self.units[channels.index])
        at = [int(channels.ptr[row] + np.argmin(share[channels.ptr[row] : channels.ptr[row + 1]])) for row in range(len(ends))]
        return Figures(share[at], channels.index[at])

    def loads(self) -> Float64:
        """Return the flows on each channel."""
        return self.units.astype(np.float64)

    def slowest_s(self) -> float:
        """Return the time of the slowest cable for one byte from each port to each other."""
        used = self.units > 0
        return float((self.units[used] / self.rates[used]).max(initial=0.0))

    def by_tables(self, tables: RoutingTables, target: int) -> AllToAllAround:
        """Return the same traffic by tables that differ in entries for one port."""
        units = self.units - _towards(self.tables, self.ports, target) + _towards(tables, self.ports, target)
        return replace(self, tables=tables, units=units)


Around = JobsAround | AllToAllAround
"""Traffic that a pair meets, on some tables and at some rates of the cables."""


def all_to_all_around(tables: RoutingTables, rates: Float64, ports: Int32) -> AllToAllAround:
    """Return the all-to-all of some ports."""
    return AllToAllAround(tables, rates, ports, alltoall_loads(tables, ports))


def _towards(tables: RoutingTables, ports: Int32, target: int) -> Int64:
    """Return the flows of an all-to-all to one port on each channel between switches and to it, (n_channels,)."""
    units = np.zeros(len(tables.fabric.channel_port))
    for block in destination_blocks(tables, np.array([target], dtype=np.int32), ports):
        for _, channel, moved in block.hops():
            units += np.bincount(channel, weights=moved, minlength=len(units))
    return np.rint(units).astype(np.int64)


def jobs_around(tables: RoutingTables, rates: Float64, met: Meeting, ends: Sequence[tuple[int, int]]) -> JobsAround:
    """Return the flows of jobs, those between the pair's own ports known as such."""
    own = np.isin(_keys(met.src, met.dst), [source << 32 | target for source, target in ends])
    return JobsAround(tables, rates, met, own)


def _keys(src: Int32, dst: Int32) -> Int64:
    return src.astype(np.int64) << 32 | dst
