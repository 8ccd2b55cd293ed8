"""Datelines: service levels that cut every ring of a torus open.

Dally and Seitz, Deadlock-free message routing in multiprocessor interconnection networks, IEEE Trans. Computers C-36(5), 1987,
on k-ary n-cubes: a ring has no circle of dependencies if what crosses one link of it, the dateline, has a lane of its own. Those
paths, shortest ones, do not go so far round that they could close a circle among themselves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.grid import Grid
from fabctl.routing.paths import switch_channels

UInt8 = NDArray[np.uint8]


def with_datelines(tables: RoutingTables, grid: Grid) -> RoutingTables:
    """Return tables whose service levels tell the sets of rings apart whose datelines a path crosses.

    Bit `i` stands for the `i`-th dimension that is a ring, as long as all levels are in use; else they are counted. A path keeps
    its lane from end to end.

    Complexity
    ----------
    O(n_switches x n_lids x log(path length)).
    """
    fabric = tables.fabric
    crosses = _crosses(fabric, grid)
    channel = tables.next_channel
    after = fabric.channel_dst[channel]
    after = np.where((channel < 0) | (after >= fabric.n_switches), fabric.n_switches, after)
    bits = np.where(channel < 0, np.uint8(0), crosses[channel])
    home = np.full((1, bits.shape[1]), fabric.n_switches, dtype=after.dtype)
    after, bits = np.concatenate([after, home]), np.concatenate([bits, np.zeros_like(home, dtype=np.uint8)])
    while (after < fabric.n_switches).any():
        bits |= np.take_along_axis(bits, after, axis=0)
        after = np.take_along_axis(after, after, axis=0)
    sources = np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]])
    sources = sources[sources < fabric.n_switches]
    used, level = np.unique(bits[sources], return_inverse=True)
    if len(used) < 2:
        return tables
    service_level = np.zeros(tables.lft.shape, dtype=np.uint8)
    service_level[sources] = level.reshape(len(sources), -1)
    return replace(tables, service_level=service_level)


def _crosses(fabric: Fabric, grid: Grid) -> UInt8:
    """Return the rings whose dateline each channel crosses, one bit per ring dimension; broken rings have none."""
    crosses = np.zeros(len(fabric.channel_port), dtype=np.uint8)
    channels = switch_channels(fabric)
    rings = [axis for axis, kind in enumerate(grid.kinds) if kind == "ring"]
    for bit, axis in enumerate(rings):
        own = channels[grid.channel_dimension[channels] == axis]
        src, dst = fabric.channel_src[own], fabric.channel_dst[own]
        others = np.delete(np.arange(len(grid.sizes)), axis)
        sizes = tuple(grid.sizes[other] for other in others)
        line = np.ravel_multi_index(tuple(grid.place[src][:, others].T), sizes) if sizes else np.zeros(len(src), dtype=np.int64)
        here, there = grid.place[src, axis], grid.place[dst, axis]
        steps = np.unique(line * grid.sizes[axis] ** 2 + here * grid.sizes[axis] + there) // grid.sizes[axis] ** 2
        whole = np.bincount(steps, minlength=int(line.max()) + 1) == 2 * grid.sizes[axis]
        crosses[own[(np.abs(here - there) > 1) & whole[line]]] |= np.uint8(1 << bit)
    return crosses
