"""A job's phases on routes: which channels each flow takes, and what each channel carries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import flow_channels
from fabctl.congestion.rows import loads
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.tables import RoutingTables


def phase_channels(tables: RoutingTables, phase: Phase) -> Channels:
    """Return the channels of a phase's flows: those that are fixed, else those of the tables.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    """
    return phase.fixed or Channels(*flow_channels(tables, phase.flows))


def phase_loads(tables: RoutingTables, phase: Phase) -> NDArray[np.float64]:
    """Return the bytes on each channel in one run of a phase, float64 array of shape (n_channels,)."""
    return loads(phase_channels(tables, phase), phase.flows.weight, len(tables.fabric.channel_port))


def step_loads(tables: RoutingTables, job: JobTraffic) -> NDArray[np.float64]:
    """Return the bytes on each channel in one step of a job, float64 array of shape (n_channels,)."""
    total = np.zeros(len(tables.fabric.channel_port))
    for phase in job.phases:
        total += phase.times * phase_loads(tables, phase)
    return total
