"""Phases of jobs that run at the same time: their flows, whose they are, and what they put on the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import join, loads
from fabctl.model.fabric import Fabric
from fabctl.model.named import TREE, JobShare, RankPair
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

Run = tuple[JobTraffic, Phase]
"""A job with the phase that it is in."""


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
            target=TREE if phase.fixed else job.rank_label(int(phase.dst_rank[own])),
            source_port=self.fabric.port_label(int(self.src[flow])),
            target_port=TREE if phase.fixed else self.fabric.port_label(int(self.dst[flow])),
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
    carried = loads(channels, size_bytes, len(rates))
    refuse_unknown_rates(tables.fabric, carried > 0, rates)
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
        loads=carried,
    )
