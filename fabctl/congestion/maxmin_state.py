"""What `fabctl.congestion.maxmin_kernel` works on: paths of flows, and the state of flows and channels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.maxmin_kernel import BLOCK, CAPACITY, ENDED, FINISH, LEFT


class Paths(NamedTuple):
    """Channels of each flow, as a CSR.

    Parameters
    ----------
    ptr, channel : int64 and int32 arrays
    share : float64 array of shape (len(channel),) or (0,)
        Bytes on each channel per byte of the flow; empty: 1.
    """

    ptr: NDArray[np.int64]
    channel: NDArray[np.int32]
    share: NDArray[np.float64]


class State(NamedTuple):
    """What changes while flows run.

    Parameters
    ----------
    flows, channels : float64 arrays of shape (n_flows, 5) and (n_channels, 6)
    first, end : int64 arrays of shape (n_channels + 1,) and (n_channels,)
        Channel `c` has the flows ``flow_at[first[c]:end[c]]``.
    flow_at, share_at : int32 and float64 arrays of the shapes of ``Paths.channel`` and ``Paths.share``
    flow_turn, channel_turn : int32 arrays
        Turn in which a flow or channel was last reached; 0 for flows that are fixed.
    touched, reached : int32 arrays
        Flows and channels of this turn, in the order in which they were reached.
    unfixed : int32 array of shape (n_channels,)
        Flows to be filled.
    limit, next_limit : int32 arrays of shape (n_flows,)
        Channel that fixes each flow now and after this filling.
    limits : int32 array of shape (n_channels,)
        Flows that each channel fixes.
    heap, heap_level : int32 and float64 arrays of shape (n_channels,)
    earliest, stale : float64 and bool arrays of shape (n_flows // BLOCK + 1,)
        When the next flow of a block ends, and whether that must be found again.
    """

    flows: NDArray[np.float64]
    channels: NDArray[np.float64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]
    flow_at: NDArray[np.int32]
    share_at: NDArray[np.float64]
    flow_turn: NDArray[np.int32]
    channel_turn: NDArray[np.int32]
    touched: NDArray[np.int32]
    reached: NDArray[np.int32]
    unfixed: NDArray[np.int32]
    limit: NDArray[np.int32]
    next_limit: NDArray[np.int32]
    limits: NDArray[np.int32]
    heap: NDArray[np.int32]
    heap_level: NDArray[np.float64]
    earliest: NDArray[np.float64]
    stale: NDArray[np.bool_]


def make_state(paths: Paths, size: NDArray[np.float64], capacity: NDArray[np.float64]) -> State:
    """Return the state before the start."""
    n, m = len(size), len(capacity)
    flows, channels = np.zeros((n, 5)), np.zeros((m, 6))
    flows[:, LEFT], flows[:, FINISH], channels[:, CAPACITY] = size, np.inf, capacity
    return State(
        flows=flows,
        channels=channels,
        first=np.zeros(m + 1, dtype=np.int64),
        end=np.empty(m, dtype=np.int64),
        flow_at=np.empty(len(paths.channel), dtype=np.int32),
        share_at=np.empty(len(paths.share)),
        flow_turn=np.where((size > 0) & (paths.ptr[1:] > paths.ptr[:-1]), 0, ENDED).astype(np.int32),
        channel_turn=np.zeros(m, dtype=np.int32),
        touched=np.empty(n, dtype=np.int32),
        reached=np.empty(m, dtype=np.int32),
        unfixed=np.zeros(m, dtype=np.int32),
        limit=np.full(n, -1, dtype=np.int32),
        next_limit=np.empty(n, dtype=np.int32),
        limits=np.zeros(m, dtype=np.int32),
        heap=np.empty(m, dtype=np.int32),
        heap_level=np.empty(m),
        earliest=np.empty(n // BLOCK + 1),
        stale=np.ones(n // BLOCK + 1, dtype=bool),
    )
