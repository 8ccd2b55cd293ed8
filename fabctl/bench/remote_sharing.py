"""Copies to remote GPUs beside the jobs that run: who gets what of the cables, and what the jobs keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.maxmin import fair_rates
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import join, loads
from fabctl.errors import InputError
from fabctl.model.phases import Channels, JobTraffic, Phase
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.remote_gpus import Burden
from fabctl.model.tables import RoutingTables

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Busiest:
    """The phase of a job that takes longest in a step, alone on the fabric.

    Parameters
    ----------
    job : str
    phase : Phase
    channels : Channels
    rate : float64 array of shape (n_flows,)
        Max-min fair, bytes per second.
    """

    job: str
    phase: Phase
    channels: Channels
    rate: Float64


def busiest_phase(tables: RoutingTables, job: JobTraffic, rates: Float64) -> Busiest:
    """Return the phase of a job with the longest times x (size / rate) of a flow.

    Raises
    ------
    InputError
        If the job sends nothing over the fabric.
    RefusedError
        If a cable in use has no known rate.
    """
    found, longest = None, -1.0
    for phase in job.phases:
        channels = phase_channels(tables, phase)
        refuse_unknown_rates(tables.fabric, np.bincount(channels.index, minlength=len(rates)) > 0, rates)
        rate = fair_rates(channels, rates).rate
        seconds = phase.times * float((phase.flows.weight / rate).max(initial=0.0))
        if seconds > longest:
            found, longest = Busiest(job.name, phase, channels, rate), seconds
    if found is None:
        raise InputError(f"job '{job.name}' sends nothing over the fabric", hint="leave it out")
    return found


class Offer:
    """What a further copy is sure of on each channel: what is left there, or its share among the flows, whichever is more.

    Max-min fairness gives a flow on a channel of rate r beside k others at least r / (k + 1).

    Parameters
    ----------
    busiest : sequence of Busiest
        Of the jobs that run.
    rates : float64 array of shape (n_channels,)
        Bytes per second.
    """

    def __init__(self, busiest: Sequence[Busiest], rates: Float64) -> None:
        self._rates, self._left, self._flows = rates, rates.copy(), np.zeros(len(rates))
        for one in busiest:
            self._left -= loads(one.channels, one.rate, len(rates))
            self._flows += np.bincount(one.channels.index, minlength=len(rates))

    def take(self, channels: NDArray[np.integer], bytes_per_s: float) -> None:
        """Count a copy on some channels."""
        self._left[channels] -= bytes_per_s
        self._flows[channels] += 1

    def per_channel(self) -> Float64:
        """Return the bytes per second that one copy more can have, shape (n_channels,)."""
        return np.maximum(self._left, self._rates / (self._flows + 1))


@dataclass(frozen=True, eq=False)
class Shared:
    """What copies and jobs get beside each other.

    Parameters
    ----------
    rate : float64 array of shape (n_copies, 2)
        Of each copy, there and back, bytes per second.
    bottleneck : int32 array of shape (n_copies, 2)
        Channel that bounds it; ``n_channels`` and above: nothing on the fabric does.
    burdens : tuple of Burden
        Of each job.
    """

    rate: Float64
    bottleneck: NDArray[np.int32]
    burdens: tuple[Burden, ...]


def share(busiest: Sequence[Busiest], ways: Sequence[Channels], most: Float64, rates: Float64) -> Shared:
    """Return what everybody gets while all copies and the busiest phases of all jobs run.

    Parameters
    ----------
    ways : sequence of Channels
        Of each copy, one row there and one back.
    most : float64 array of shape (n_copies,)
        What each copy can use in a direction, bytes per second.
    """
    running = [one.channels for one in busiest]
    limited = [_with(way, len(rates) + 2 * copy) for copy, way in enumerate(ways)]
    found = fair_rates(join([*running, *limited]), np.concatenate([rates, np.repeat(most, 2)]))
    first = sum(len(channels) for channels in running)
    alone = fair_rates(join(running), rates).rate
    kept = np.split(np.minimum(found.rate[:first] / alone, 1.0), np.cumsum([len(channels) for channels in running]))
    lost = [Burden(one.job, one.phase.name, float(part.min())) for one, part in zip(busiest, kept, strict=False)]
    return Shared(found.rate[first:].reshape(-1, 2), found.bottleneck[first:].reshape(-1, 2), tuple(lost))


def _with(ways: Channels, channel: int) -> Channels:
    """Return the two directions of a copy, each with a channel of its own besides: `channel` and the next."""
    there, back = np.split(ways.index, [ways.ptr[1]])
    index = np.concatenate([there, [channel], back, [channel + 1]]).astype(np.int32)
    return Channels(ways.ptr + np.arange(3), index)
