"""Max-min fair rates, and the completion of every flow.

Rates are max-min fair if no flow can have more without taking from one that has no more: every flow crosses a channel that is
full, and on which no other flow is faster (Bertsekas, Gallager: Data Networks, 2nd edition, section 6.5.2). Progressive filling
finds them: all rates grow together until a channel is full, which fixes its flows. When a flow ends, rates below its own stay:
filling had fixed them before the ended flow had any effect. So only the flows above are filled again, and of these only those to
which full channels lead from the ended flow's; a channel that becomes full by that is filled with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.jit import announce_compiling
from fabctl.model.phases import Channels

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

_PLAIN: tuple[Literal["C"], Literal["W"]] = ("C", "W")
"""Arrays as the kernel is compiled for; for read-only ones it would be compiled again."""


@dataclass(frozen=True, eq=False)
class Completion:
    """When flows that start together end.

    Parameters
    ----------
    seconds : float64 array of shape (n_flows,)
        Completion time of each flow; infinite for endless ones.
    first_rate : float64 array of shape (n_flows,)
        Max-min fair rate while all run, bytes per second; infinite for a flow without channels or bytes.
    bottleneck : int32 array of shape (n_flows,)
        Channel that bounds each flow while all run; -1 for a flow without channels or bytes.
    solves : int
        Rate computations.
    """

    seconds: Float64
    first_rate: Float64
    bottleneck: Int32
    solves: int

    @property
    def makespan(self) -> float:
        """Time at which the last finite flow ends; 0 without any."""
        finite = self.seconds[np.isfinite(self.seconds)]
        return float(finite.max(initial=0.0))


@dataclass(frozen=True, eq=False)
class FairRates:
    """Max-min fair rates of flows that all run.

    Parameters
    ----------
    rate : float64 array of shape (n_flows,)
        Bytes per second; infinite for a flow without channels.
    bottleneck : int32 array of shape (n_flows,)
        Channel that bounds each flow; -1 for a flow without channels.
    """

    rate: Float64
    bottleneck: Int32


def complete(channels: Channels, size_bytes: Float64, rates: Float64, share: Float64 | None = None) -> Completion:
    """Return when flows that start together end, sharing the channels max-min fairly at every moment.

    Parameters
    ----------
    channels : Channels
        Of each flow; flows without channels end at once.
    size_bytes : float64 array of shape (n_flows,)
        Infinite for traffic that never ends.
    rates : float64 array of shape (n_channels,)
        Bytes per second of each channel.
    share : float64 array of shape (len(channels.index),), optional
        Bytes on each channel per byte of the flow, parallel to ``channels.index``: fractions for a flow that is split over
        several paths. 1 by default.

    Raises
    ------
    InputError
        If a channel in use has no rate (`fabctl.model.rates.refuse_unknown_rates` names the cable), or a size is negative or
        no number.

    Complexity
    ----------
    O(entries of the CSR x log channels) for the first rates; for each moment at which flows end, the same over the flows
    that it can affect.
    """
    sizes = np.asarray(size_bytes, dtype=np.float64)
    bad = np.flatnonzero(~(sizes >= 0))
    if len(bad):
        raise InputError(f"flow {bad[0]} has a size of {sizes[bad[0]]:g} bytes", hint="sizes are zero or more")
    return _run(channels, sizes, rates, share, to_the_end=True)


def fair_rates(channels: Channels, rates: Float64, share: Float64 | None = None) -> FairRates:
    """Return the max-min fair rates of flows that all run; parameters, errors and complexity are those of `complete`."""
    found = _run(channels, np.full(len(channels), np.inf), rates, share, to_the_end=False)
    return FairRates(found.first_rate, found.bottleneck)


def _run(channels: Channels, sizes: Float64, rates: Float64, share: Float64 | None, *, to_the_end: bool) -> Completion:
    from fabctl.congestion.maxmin_kernel import SOLVES, run_flows
    from fabctl.congestion.maxmin_state import Paths, make_state

    part = np.empty(0) if share is None else np.asarray(share, dtype=np.float64)
    if share is not None and not np.all((part > 0) & np.isfinite(part)):
        raise InputError("a share of a flow is not above zero")
    capacity = np.asarray(rates, dtype=np.float64)
    used = np.zeros(len(capacity), dtype=bool)
    used[channels.index] = True
    bad = np.flatnonzero(used & ~((capacity > 0) & np.isfinite(capacity)))
    if len(bad):
        raise InputError(f"{len(bad)} directed channels that carry flows have no known rate, the first: channel {bad[0]}")
    ptr = np.require(channels.ptr, np.int64, _PLAIN)
    paths = Paths(ptr, np.require(channels.index, np.int32, _PLAIN), np.require(part, np.float64, _PLAIN))
    seconds = np.where(np.isinf(sizes) | ((sizes > 0) & (ptr[1:] > ptr[:-1])), np.inf, 0.0)
    first_rate, bottleneck = np.full(len(sizes), np.inf), np.full(len(sizes), -1, dtype=np.int32)
    announce_compiling(run_flows)
    state, clock = make_state(paths, sizes, capacity), np.zeros(5)
    while not run_flows(paths, state, clock, seconds, first_rate, bottleneck, to_the_end):
        pass
    return Completion(seconds, first_rate, bottleneck, int(clock[SOLVES]))
