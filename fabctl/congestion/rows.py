"""Rows of `Channels`: some of them, those of several one after the other, those on a channel, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabctl.model.phases import Channels


def entries(channels: Channels, flows: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where in ``index`` the rows of some flows are, in the order given."""
    length = np.diff(channels.ptr)[flows]
    start = np.cumsum(length) - length
    return np.repeat(channels.ptr[flows] - start, length) + np.arange(length.sum())


def select(channels: Channels, flows: NDArray[np.integer]) -> Channels:
    """Return the rows of some flows, in the order given."""
    ptr = np.concatenate(([0], np.cumsum(np.diff(channels.ptr)[flows])))
    return Channels(ptr, channels.index[entries(channels, flows)])


def join(parts: Sequence[Channels]) -> Channels:
    """Return the rows of several, one after the other."""
    length = np.concatenate([np.empty(0, dtype=np.int64), *(np.diff(part.ptr) for part in parts)])
    index = np.concatenate([np.empty(0, dtype=np.int32), *(part.index for part in parts)])
    return Channels(np.concatenate(([0], np.cumsum(length))), index)


def flows_on(channels: Channels, channel: int) -> NDArray[np.int64]:
    """Return the flows that take a channel, in order."""
    at = np.flatnonzero(channels.index == channel)
    return np.unique(np.searchsorted(channels.ptr, at, side="right") - 1)


def loads(channels: Channels, size_bytes: NDArray[np.float64], n_channels: int) -> NDArray[np.float64]:
    """Return the bytes on each channel, shape (n_channels,)."""
    weight = np.repeat(size_bytes, np.diff(channels.ptr))
    return np.bincount(channels.index, weights=weight, minlength=n_channels).astype(np.float64, copy=False)
