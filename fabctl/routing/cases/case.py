"""`Case`: fabric, routes and flows, for another program to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.phases import phase_channels
from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import payload_rates, refuse_unknown_rates
from fabctl.model.tables import RoutingTables
from fabctl.units import Speed


@dataclass(frozen=True, eq=False)
class Case:
    """What another program needs to run what fabctl predicts.

    Parameters
    ----------
    tables : RoutingTables
    jobs : tuple of JobTraffic
    rates : float64 array of shape (n_channels,)
        Payload rate of each channel in bytes per second, as fabctl's predictions use it; 0 where it is unknown.
    """

    tables: RoutingTables
    jobs: tuple[JobTraffic, ...]
    rates: NDArray[np.float64]

    @property
    def fabric(self) -> Fabric:
        """The fabric of the tables."""
        return self.tables.fabric

    def phases(self) -> Iterator[tuple[JobTraffic, Phase, Channels]]:
        """Yield every phase of every job with the channels of its flows.

        Raises
        ------
        InputError
            If a flow has no route or loops.
        """
        for job in self.jobs:
            for phase in job.phases:
                yield job, phase, phase_channels(self.tables, phase)


def make_case(tables: RoutingTables, jobs: Sequence[JobTraffic], assume: tuple[int, Speed] | None = None) -> Case:
    """Return the case of some jobs on tables.

    Parameters
    ----------
    assume : (int, Speed), optional
        Lanes and speed of the cables whose own are unknown.

    Raises
    ------
    InputError
        If no job sends anything over the fabric, or a flow has no route or loops.
    RefusedError
        If a channel in use has no known rate.
    """
    case = Case(tables, tuple(jobs), payload_rates(tables.fabric, assume))
    used = np.zeros(len(case.rates), dtype=bool)
    for _, _, channels in case.phases():
        used[channels.index] = True
    if not used.any():
        raise InputError("nothing crosses the fabric: a case needs flows", hint="fabctl help job shows what a job file says")
    refuse_unknown_rates(tables.fabric, used, case.rates)
    return case
