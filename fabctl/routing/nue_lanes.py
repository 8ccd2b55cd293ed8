"""What ``nue`` lays out before it routes: hops, the division of destinations among lanes, each lane's escape tree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.routing.order import plane_order
from fabctl.routing.paths import Int16, switch_channels

Int64 = NDArray[np.int64]

SAMPLE = 64
"""Switches, and pairs of them, that are looked at to tell which cut is the best and which switch the most central."""


def hops_and_switches(fabric: Fabric) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the channels between switches, by switch, plane and port, and the switches, for `fabctl.routing.nue_kernel`."""
    from fabctl.routing.nue_kernel import HOP, SWITCH

    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    channels = channels[np.lexsort((channels, plane_order(fabric)[dst], src))]
    place = np.full(len(fabric.channel_port), -1, dtype=np.int32)
    place[channels] = np.arange(len(channels))
    hops = np.zeros(len(channels), dtype=HOP)
    hops["source"], hops["far"] = fabric.channel_src[channels], fabric.channel_dst[channels]
    hops["back"] = place[fabric.channel_reverse[channels]]
    hops["port"] = fabric.port_number[fabric.channel_port[channels]]
    rates = fabric.data_gbps[channels]
    hops["toll"] = np.median(rates) / rates if len(rates) and np.all(rates > 0) else 1
    switches = np.zeros(fabric.n_switches + 1, dtype=SWITCH)
    switches["first"] = np.searchsorted(hops["source"], np.arange(fabric.n_switches + 1))
    degree = np.diff(switches["first"])
    block = np.cumsum(degree**2) - degree**2
    behind = hops["far"]
    first = switches["first"][behind]
    hops["row"] = block[behind] + (hops["back"] - first) * degree[behind] - first
    return hops, switches


def partition(distance: Int16, switches: Int64, load: Int64, parts: int) -> list[Int64]:
    """Divide switches into parts that lie close together and carry about the same load.

    Each cut sorts switches by how much nearer one of a pair of them they are: neighbours, which cut grids across, or the two ends
    farthest apart. Of some pairs, the one is taken that leaves the halves closest together.

    Parameters
    ----------
    distance : int16 array of shape (n_switches, n_switches)
    switches : int array
        At least one, all in reach of each other.
    load : int array of shape (n_switches,)
        Destinations at each switch.
    parts : int

    Returns
    -------
    list of int arrays
        No more than `parts`, none empty.
    """
    if parts == 1 or len(switches) == 1:
        return [switches]
    inside = distance[np.ix_(switches, switches)].astype(np.int64)
    end = int(np.argmax(inside.sum(axis=1)))
    one, other = np.nonzero(np.triu(inside == 1))
    pairs = [(end, int(np.argmax(inside[end]))), *((int(one[i]), int(other[i])) for i in _spread(len(one)))]
    seen = _spread(len(switches))
    weight = load[switches] * len(switches) + 1
    best, least = np.zeros(0, dtype=bool), np.inf
    for here, there in pairs:
        order = np.lexsort((inside[here], inside[here] - inside[there]))
        total = np.cumsum(weight[order])
        cut = int(np.clip(np.searchsorted(total, total[-1] * (parts // 2) / parts) + 1, 1, len(switches) - 1))
        near = np.zeros(len(switches), dtype=bool)
        near[order[:cut]] = True
        within = float(inside[np.ix_(seen, seen)][near[seen][:, None] == near[seen]].sum())
        if within < least:
            best, least = near, within
    half, rest = switches[best], switches[~best]
    return [*partition(distance, half, load, parts // 2), *partition(distance, rest, load, parts - parts // 2)]


def _spread(n: int) -> Int64:
    """Return up to `SAMPLE` indices below `n`, by the golden ratio: spread evenly, and out of step with the rows of a grid."""
    if n <= SAMPLE:
        return np.arange(n)
    return np.unique((np.arange(SAMPLE) * (5**0.5 - 1) / 2 % 1 * n).astype(np.int64))


def most_central(distance: Int16, switches: Int64) -> int:
    """Return the switch that lies on shortest paths between the most pairs of the given ones, the nearest to them of several."""
    sample = switches[_spread(len(switches))]
    to_sample = distance[:, sample]
    between = distance[np.ix_(sample, sample)]
    pairs = np.array([np.count_nonzero(row[:, None] + row == between) if row[0] >= 0 else -1 for row in to_sample])
    return int(np.lexsort((to_sample.sum(axis=1), -pairs))[0])


def start_lane(
    hops: NDArray[np.void], switches: NDArray[np.void], root: int, targets: NDArray[np.bool_], sources: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Lay the escape tree around a root, put the hops in order, and return the states of the dependencies.

    Those of the paths from sources to targets are used. In the order, hops towards the root come first, the outermost before the
    inner, then those away from it. `hops` and `switches` take up order and tree.
    """
    from fabctl.routing.nue_kernel import USED

    n = len(switches) - 1
    first, far, back = switches["first"].tolist(), hops["far"].tolist(), hops["back"].tolist()
    up = [-2] * n
    up[root] = -1
    tree = [root]
    for switch in tree:
        for hop in range(first[switch], first[switch + 1]):
            if up[far[hop]] == -2:
                up[far[hop]] = back[hop]
                tree.append(far[hop])
    position = np.full(n, n)
    position[tree] = np.arange(len(tree))
    here, there = position[hops["source"]], position[hops["far"]]
    hops["at"] = np.argsort(np.where(there < here, -here, here), kind="stable")
    hops["place"][hops["at"]] = np.arange(len(hops))
    below = np.stack([sources, targets], axis=1).astype(np.int32)
    for switch in tree[:0:-1]:
        below[far[up[switch]]] += below[switch]
    switches["up"][:n], switches["below"][:n] = up, below[:, 0]
    state = np.zeros(int((np.diff(switches["first"]) ** 2).sum()), dtype=np.uint8)
    inward = switches["up"][hops["source"]] == np.arange(len(hops))
    outward = inward[hops["back"]]
    beyond = np.where(inward, hops["source"], hops["far"])
    within, around = below[beyond], below[root] - below[beyond]
    comes = (inward & (within[:, 0] > 0)) | (outward & (around[:, 0] > 0))
    goes = (inward & (around[:, 1] > 0)) | (outward & (within[:, 1] > 0))
    after = np.flatnonzero(goes)
    ptr = np.searchsorted(hops["source"][after], np.arange(n + 1))
    before = np.flatnonzero(comes)
    behind = hops["far"][before]
    count = ptr[behind + 1] - ptr[behind]
    before = np.repeat(before, count)
    after = after[np.arange(len(before)) - np.repeat(np.cumsum(count) - count - ptr[behind], count)]
    turn = after != hops["back"][before]
    state[hops["row"][before[turn]] + after[turn]] = USED
    return state
