"""Cables that run slower than cables of their kind commonly do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.cables import list_cables
from fabctl.model.fabric import Fabric, speed_name

Float64 = NDArray[np.float64]

LEAST = 3
"""Cables of a kind that must be known before one of them can be odd."""


@dataclass(frozen=True, eq=False)
class Peers:
    """What cables of each channel's kind (host to leaf, leaf to spine ...) commonly run at.

    Parameters
    ----------
    channel : int32 array of shape (n_channels,)
        A channel that runs at what is common for the kind; -1 where nothing is.
    """

    fabric: Fabric
    channel: NDArray[np.int32]

    def slower_than(self, channel: int) -> str:
        """Return what is common for a channel's kind (``4xHDR``) where the channel is slower; else an empty text."""
        like = int(self.channel[channel])
        fabric = self.fabric
        if like < 0 or not 0 < fabric.data_gbps[channel] < fabric.data_gbps[like]:
            return ""
        return speed_name(int(fabric.channel_speed[like]), int(fabric.channel_lanes[like]))

    def mended(self, rates: Float64, channel: int) -> Float64:
        """Return rates with a channel, and its cable's other direction, at what is common for the kind."""
        out = rates.copy()
        out[[channel, self.fabric.channel_reverse[channel]]] = rates[self.channel[channel]]
        return out


def find_peers(fabric: Fabric) -> Peers:
    """Return what cables of each kind commonly run at: what more than half of those of known rate do.

    Complexity
    ----------
    O(cables log cables).
    """
    cables = list_cables(fabric)
    like = np.full(len(fabric.channel_port), -1, dtype=np.int32)
    rate = fabric.data_gbps[cables.channel]
    for code in np.unique(cables.kind_code).tolist():
        members = np.flatnonzero(cables.kind_code == code)
        known = members[rate[members] > 0]
        if len(known) < LEAST:
            continue
        _, first, count = np.unique(rate[known], return_index=True, return_counts=True)
        most = int(np.argmax(count))
        if 2 * count[most] > len(known):
            at = cables.channel[members]
            like[at] = like[fabric.channel_reverse[at]] = cables.channel[known[first[most]]]
    return Peers(fabric, like)
