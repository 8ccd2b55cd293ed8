"""What a job's operations cost on its fabric, by algorithm and routes, each walked once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.bench.adaptive import adaptive_cost, groups_of
from fabctl.bench.cost import Cost, cost, one_after_the_other, slowest
from fabctl.congestion.adaptive_groups import Groups
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import loads
from fabctl.model.phases import Phase
from fabctl.model.tables import RoutingTables
from fabctl.traffic.algorithm import collective_phases
from fabctl.traffic.collective import Collective, Demand
from fabctl.traffic.collectives import pairwise, pxn
from fabctl.traffic.group import world
from fabctl.traffic.placement import Job

Float64 = NDArray[np.float64]

PAIRS = {"pairwise": pairwise.exchanges, "pxn": pxn.exchanges}
PATTERN = "pattern"


@dataclass(frozen=True)
class Traffic:
    """What is sent, as far as the fabric is concerned.

    Parameters
    ----------
    operation : str
    algorithm : str
        A name of `fabctl.traffic.collectives.ALGORITHMS`, or `PATTERN`.
    channels, cross_nic : int
        See `fabctl.traffic.shape.Shape`.
    adaptive : bool
        Routed adaptively, not by the tables alone.
    """

    operation: str
    algorithm: str
    channels: int = 0
    cross_nic: int = 0
    adaptive: bool = False


@dataclass(frozen=True, eq=False)
class Walked:
    """Costs of one job on one fabric; give the same one to all that predict for the job.

    Parameters
    ----------
    job : Job
    rates : float64 array of shape (n_channels,)
        Data rate of each channel in Gb/s.
    """

    job: Job
    rates: Float64
    _costs: dict[tuple[int, Traffic], tuple[RoutingTables, Cost]] = field(default_factory=dict)
    _groups: dict[int, tuple[RoutingTables, Groups]] = field(default_factory=dict)

    def cost(self, tables: RoutingTables, collective: Collective, traffic: Traffic) -> Cost:
        """Return what a byte of message costs.

        Raises
        ------
        InputError
            If a flow has no route or loops.
        RefusedError
            If a cable that carries traffic has no known rate, no cable carries any, or no tree of switches joins the hosts.
        """
        key = id(tables), traffic
        if key not in self._costs:
            self._costs[key] = tables, self._walk(tables, collective, traffic)
        return self._costs[key][1]

    def _walk(self, tables: RoutingTables, collective: Collective, traffic: Traffic) -> Cost:
        if traffic.algorithm in PAIRS:
            demand = Demand(exchanges=PAIRS[traffic.algorithm](self.job))
            return self._of_demand(tables, demand, adaptive=traffic.adaptive)
        if traffic.algorithm == PATTERN:
            return self._of_demand(tables, collective.demand(self.job), adaptive=traffic.adaptive)
        phases = collective_phases(
            traffic.operation,
            traffic.algorithm,
            [world(self.job)],
            1.0,
            fabric=self.job.fabric,
            channels=traffic.channels,
            cross_nic=traffic.cross_nic,
        )
        return one_after_the_other([self.phase_cost(tables, phase, adaptive=traffic.adaptive) for phase in phases])

    def phase_cost(self, tables: RoutingTables, phase: Phase, *, adaptive: bool) -> Cost:
        """Return what all runs of a phase cost, per byte of message if its flows are bytes per byte; raises as `cost` does."""
        if phase.fixed is None:
            found = self._of_demand(tables, Demand(phase.flows), adaptive=adaptive)
        else:
            channels, n = phase_channels(tables, phase), len(self.rates)
            flows = np.bincount(channels.index, minlength=n)
            found = slowest(tables.fabric, loads(channels, phase.flows.weight, n), flows, self.rates)
        return replace(found, us_per_byte=found.us_per_byte * phase.times, host_us_per_byte=found.host_us_per_byte * phase.times)

    def _of_demand(self, tables: RoutingTables, demand: Demand, *, adaptive: bool) -> Cost:
        if not adaptive:
            return cost(tables, demand, self.rates)
        if id(tables) not in self._groups:
            self._groups[id(tables)] = tables, groups_of(tables, self.job)
        return adaptive_cost(tables, self._groups[id(tables)][1], demand, self.rates)
