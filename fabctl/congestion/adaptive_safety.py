"""Whether the groups of adaptive routing can close a circle of waiting channels: a credit loop.

Dally, Seitz, Deadlock-free message routing in multiprocessor interconnection networks, IEEE Trans. Computers 36(5), 1987. A
packet may wait for any port of its group, so each channel towards a cell depends on all ports of the cell's group. On one virtual
lane there is no escape to other channels, so a circle may stop traffic for good.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.adaptive import Ways, ways
from fabctl.congestion.adaptive_groups import Groups
from fabctl.model.tables import RoutingTables

Int64 = NDArray[np.int64]
BLOCK_EDGES = 1 << 18


def may_circle(tables: RoutingTables, groups: Groups) -> bool | None:
    """Return whether traffic between HCAs may close a circle of waiting channels; None for tables on several virtual lanes."""
    if tables.n_vls > 1:
        return None
    fabric = tables.fabric
    leaves = np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]])
    met = np.zeros(groups.rank.size, dtype=bool)
    met[groups.start[:, leaves[leaves < fabric.n_switches]]] = True
    return waits_in_a_circle(ways(groups, met))


def waits_in_a_circle(way: Ways) -> bool:
    """Return whether the channels of all traffic together can wait for each other in a circle, on one virtual lane.

    Complexity
    ----------
    O(sum over edges of the ports of the group behind each).
    """
    fabric = way.groups.fabric
    number = fabric.port_number[fabric.channel_port]
    depends = np.zeros((len(number), 256), dtype=bool)
    for towards, onward in _pairs(way):
        depends[towards, number[onward]] = True
    before, port = np.nonzero(depends)
    after: NDArray[np.integer] = fabric.channel_at[fabric.channel_dst[before], port]
    while len(before):
        led_to = np.zeros(len(number), dtype=bool)
        led_to[after] = True
        inner = led_to[before]
        if inner.all():
            return True
        before, after = before[inner], after[inner]
    return False


def _pairs(way: Ways) -> Iterator[tuple[Int64, Int64]]:
    """Yield a channel towards a cell and a port of its group, of all cells, in blocks."""
    width = np.append(np.diff(way.ptr), 0)
    begin = np.append(way.ptr[:-1], 0)
    for first in range(0, len(way.far), BLOCK_EDGES):
        part = slice(first, first + BLOCK_EDGES)
        count = width[way.far[part]]
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        after = np.repeat(begin[way.far[part]], count) + offset
        yield np.repeat(way.channel[part], count), way.channel[after]
