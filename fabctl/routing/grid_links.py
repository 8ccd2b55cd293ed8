"""Links: what joins two switches, whatever the number of its cables; and the labelling of connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.routing.paths import switch_channels

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Links:
    """Directed links between switches, ascending by source, then target.

    Parameters
    ----------
    src, dst, reverse : int64 arrays of shape (n_links,)
        Switches, and the link of the other direction.
    ptr : int64 array of shape (n_switches + 1,)
        Switch `s` has the links ``ptr[s]:ptr[s + 1]``.
    channel, of_channel : int64 arrays of shape (n_switch_channels,)
        Channels between switches, ascending, and the link of each.
    """

    src: Int64
    dst: Int64
    reverse: Int64
    ptr: Int64
    channel: Int64
    of_channel: Int64

    def find(self, src: Int64, dst: Int64) -> Int64:
        """Return the links between given switches; -1 where there is none."""
        n = len(self.ptr) - 1
        key, wanted = self.src * n + self.dst, src * n + dst
        at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        return np.where(key[at] == wanted, at, -1)

    def text(self, fabric: Fabric, link: int) -> str:
        """Return the name of a link's first cable."""
        return fabric.cable_label(int(self.channel[np.argmax(self.of_channel == link)]))


def switch_links(fabric: Fabric) -> Links:
    """Return the links of a fabric."""
    channels, n = switch_channels(fabric), fabric.n_switches
    key, of_channel = np.unique(
        fabric.channel_src[channels].astype(np.int64) * n + fabric.channel_dst[channels], return_inverse=True
    )
    src, dst = np.divmod(key, max(n, 1))
    return Links(src, dst, np.searchsorted(key, dst * n + src), np.searchsorted(src, np.arange(n + 1)), channels, of_channel)


def common_labels(n: int, one: Int64, other: Int64) -> Int64:
    """Return the lowest member of each one's connected component, shape (n,), where edges join `one` and `other`."""
    label = np.arange(n)
    while True:
        lower = label.copy()
        np.minimum.at(lower, one, label[other])
        np.minimum.at(lower, other, label[one])
        np.minimum.at(lower, label, lower.copy())
        lower = lower[lower]
        if np.array_equal(lower, label):
            return label
        label = lower
