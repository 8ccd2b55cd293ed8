"""What each phase of each job puts on each channel, and which phases a pair meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.meeting import Run
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import loads
from fabctl.model.named import JobShare
from fabctl.model.phases import JobTraffic
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Carried:
    """One run of every phase of every job.

    Parameters
    ----------
    runs : tuple of Run
        Job by job, phase by phase.
    size_bytes : tuple of float64 arrays of shape (n_channels,)
        Bytes on each channel, per run.
    flows : tuple of int32 arrays of shape (n_channels,)
        Flows on each channel, per run.
    """

    runs: tuple[Run, ...]
    size_bytes: tuple[Float64, ...]
    flows: tuple[Int32, ...]

    def shares(self, channel: int) -> tuple[JobShare, ...]:
        """Return what each phase puts on a channel in one run."""
        return tuple(
            JobShare(job.name, phase.name, int(flows[channel]), float(size_bytes[channel]))
            for (job, phase), size_bytes, flows in zip(self.runs, self.size_bytes, self.flows, strict=True)
            if flows[channel]
        )

    def step_bytes(self, channel: int) -> float:
        """Return what all jobs put on a channel in a step."""
        return float(sum(phase.times * size[channel] for (_, phase), size in zip(self.runs, self.size_bytes, strict=True)))

    def own_bytes(self, source: int, target: int) -> float:
        """Return what all jobs send from one port to another in a step by the tables."""
        total = 0.0
        for _, phase in self.runs:
            if phase.fixed is None:
                own = (phase.flows.src == source) & (phase.flows.dst == target)
                total += phase.times * float(phase.flows.weight[own].sum())
        return total

    def met_on(self, way: NDArray[np.bool_], rates: Float64) -> tuple[Run, ...]:
        """Return per job the phase that takes longest to drain from a channel on the way, or at all where none is on it.

        Parameters
        ----------
        way : bool array of shape (n_channels,)
        rates : float64 array of shape (n_channels,)
            Bytes per second, known for every channel in use.
        """
        best: dict[int, tuple[tuple[bool, float], Run]] = {}
        for run, size_bytes in zip(self.runs, self.size_bytes, strict=True):
            used = size_bytes > 0
            here = used & way if np.any(used & way) else used
            score = bool(np.any(used & way)), float((size_bytes[here] / rates[here]).max(initial=0.0))
            key = id(run[0])
            if used.any() and (key not in best or score > best[key][0]):
                best[key] = score, run
        return tuple(run for _, run in best.values())


def carried_by(tables: RoutingTables, jobs: Sequence[JobTraffic], rates: Float64) -> Carried:
    """Return what jobs put on the channels.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a channel in use has no known rate.

    Complexity
    ----------
    O(flows x hops), and two numbers per phase and channel in memory.
    """
    runs = tuple((job, phase) for job in jobs for phase in job.phases)
    size_bytes, flows = [], []
    for _, phase in runs:
        channels = phase_channels(tables, phase)
        size_bytes.append(loads(channels, phase.flows.weight, len(rates)))
        flows.append(np.bincount(channels.index, minlength=len(rates)).astype(np.int32))
        refuse_unknown_rates(tables.fabric, flows[-1] > 0, rates)
    return Carried(runs, tuple(size_bytes), tuple(flows))
