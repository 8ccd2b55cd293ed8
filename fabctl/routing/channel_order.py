"""An order of the channels that routes never descend: where new paths ascend too, no credit loop can come with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import DestinationBlock
from fabctl.model.fabric import Fabric
from fabctl.routing.arrival import blocks, source_counts
from fabctl.routing.verify import Lane

Int32 = NDArray[np.int32]


def channel_order(
    fabric: Fabric, routes: Sequence[tuple[NDArray[np.uint8], NDArray[np.int16]]], lids: NDArray[np.int64]
) -> Int32 | None:
    """Return a level of each channel that rises along all paths that HCAs' traffic takes through any of several tables.

    Paths to switches are ordered with those to HCAs if they can be; traffic that a table loses is left out.

    Parameters
    ----------
    routes : sequence of (lft, hops)
        Forwarding tables, with the hops of `fabctl.routing.arrival.hop_counts` for `lids`.
    lids : int64 array of shape (n_lids,)

    Returns
    -------
    int32 array of shape (n_channels,), or None
        None where the paths to HCAs alone hold a cycle (Dally and Seitz, IEEE Trans. Computers C-36(5), 1987).
    """
    lane = Lane(fabric)
    sources = source_counts(fabric)
    for lft, hops in routes:
        for columns in blocks(fabric, len(lids)):
            part = lids[columns].astype(np.int32)
            ports = fabric.port_of_lid[part]
            block = DestinationBlock(fabric, ports, part, lft[:, part], sources, np.zeros(len(ports), dtype=bool))
            following = block.next_channel(np.arange(fabric.n_switches)).ravel()
            sent = (sources > 0)[:, None] & (hops[:, columns] >= 0)
            is_hca = fabric.is_hca[fabric.port_node[ports]]
            lane.add(block, sent & is_hca, following, lane.data)
            lane.add(block, sent & ~is_hca, following, lane.management)
    order = _levels(fabric, lane.data | lane.management)
    return _levels(fabric, lane.data) if order is None else order


def _levels(fabric: Fabric, depends: NDArray[np.bool_]) -> Int32 | None:
    """Return the length of the longest chain of dependencies that leads to each channel; None if there is a cycle."""
    edges = np.flatnonzero(depends)
    before = edges // 256
    after = fabric.channel_at[fabric.channel_dst[before], edges % 256]
    n = len(fabric.channel_port)
    level = np.zeros(n, dtype=np.int32)
    first = np.searchsorted(before, np.arange(n + 1))
    waiting = np.bincount(after, minlength=n)
    ready = np.flatnonzero(waiting == 0)
    done = 0
    while len(ready):
        done += len(ready)
        count = first[ready + 1] - first[ready]
        at = np.repeat(first[ready] - (np.cumsum(count) - count), count) + np.arange(count.sum())
        np.maximum.at(level, after[at], np.repeat(level[ready] + 1, count))
        waiting -= np.bincount(after[at], minlength=n)
        touched = np.unique(after[at])
        ready = touched[waiting[touched] == 0]
    return level if done == n else None
