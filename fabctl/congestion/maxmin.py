"""Max-min fair rates, and the completion of every flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.phases import Channels

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Completion:
    """When flows that start together end.

    Parameters
    ----------
    seconds : float64 array of shape (n_flows,)
        Completion time of each flow; infinite for endless ones.
    first_rate : float64 array of shape (n_flows,)
        Max-min fair rate while all run, bytes per second.
    bottleneck : int32 array of shape (n_flows,)
        Channel that bounds each flow while all run; -1 for a flow without channels.
    solves : int
        Rate computations.
    """

    seconds: Float64
    first_rate: Float64
    bottleneck: NDArray[np.int32]
    solves: int

    @property
    def makespan(self) -> float:
        """Time at which the last finite flow ends; 0 without any."""
        finite = self.seconds[np.isfinite(self.seconds)]
        return float(finite.max(initial=0.0))


def complete(channels: Channels, size_bytes: Float64, rates: Float64) -> Completion:
    """Return when flows that start together end, sharing the channels max-min fairly at every moment.

    Parameters
    ----------
    channels : Channels
        Of each flow; flows without channels end at once.
    size_bytes : float64 array of shape (n_flows,)
        Infinite for traffic that never ends.
    rates : float64 array of shape (n_channels,)
        Bytes per second of each channel.
    """
    raise NotImplementedError
