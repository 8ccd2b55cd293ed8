"""The sequential heart of `fabctl.routing.rebalance`, compiled by numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

POWER = 8.0
NEIGHBOUR_COST = 0.3
"""What it costs, in units of a channel at its goal, to share a leaf's up-link with another destination of the same leaf: such
destinations are neighbours in rank order, and shifts send to them at the same time."""
KERNEL: Any = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
HELPER: Any = {**KERNEL, "no_cpython_wrapper": True}
"""How functions that only kernels call are compiled: quickly."""


class Work(NamedTuple):
    """Scratch arrays of `cool_channel`: by switch, `shared` by channel; zero between calls, but `via` -1. `effort`: see there."""

    flow: NDArray[np.int64]
    cost: NDArray[np.float64]
    via: NDArray[np.int32]
    queue: NDArray[np.int32]
    shared: NDArray[np.int32]
    effort: NDArray[np.int64]


@njit(**KERNEL)
def cool_channel(  # type: ignore[no-untyped-def]
    channel,
    next_channel,
    stays,
    loads,
    scale,
    home,
    members,
    first,
    sources,
    leaves,
    label,
    goes_down,
    channel_down,
    dimension,
    channel_dimension,
    ptr,
    src,
    dst,
    work,
):
    """Move sources off one hot channel, in place, until it is at its goal or no move helps.

    Parameters
    ----------
    channel : int
        The hot channel, between two switches.
    next_channel : int32 array of shape (n_destinations, n_switches)
        Changed in place.
    stays : bool array of shape (n_destinations, n_switches)
        Entries that are not to be changed.
    loads, scale : float64 arrays of shape (n_channels,)
        All-to-all load, kept up to date, and the factor that makes it 1 at the goal.
    home : int32 array of shape (n_destinations,)
        Switch of each destination.
    members, first : int32 arrays of shapes (n_destinations,) and (n_switches + 1,)
        Destinations by switch: those of `t` are ``members[first[t]:first[t + 1]]``.
    sources, leaves : int32 arrays of shapes (n_switches,) and (n_leaves,)
        Sources at each switch, and the switches that have any.
    label, goes_down, channel_down, dimension, channel_dimension : arrays
        As in `fabctl.routing.paths.Paths`, but by target first; the others are empty where they do not matter.
    ptr, src, dst : int32 arrays
        The fabric's channels: CSR row pointer, sending and receiving node.
    work : Work
        Scratch arrays.

    Returns
    -------
    int
        Number of (leaf, destination) pairs moved.

    Notes
    -----
    ``work.effort[0]`` counts hops looked at; the search stops where it reaches ``work.effort[1]``.
    """
    switch = src[channel]
    moved = 0
    for destination in range(next_channel.shape[0]):
        if loads[channel] * scale[channel] <= 1.0 or work.effort[0] >= work.effort[1]:
            break
        if next_channel[destination, switch] != channel:
            continue
        target = home[destination]
        _flows_to(next_channel, destination, target, leaves, sources, dst, work.flow)
        work.effort[0] += 4 * len(leaves)
        for step in range(len(leaves)):
            leaf = leaves[(step + destination) % len(leaves)]
            if leaf == target or not _crosses(next_channel, destination, target, leaf, channel, dst):
                continue
            if loads[channel] * scale[channel] <= 1.0:
                break
            for position in range(first[target], first[target + 1]):
                work.shared[next_channel[members[position], leaf]] += 1
            work.shared[next_channel[destination, leaf]] -= 1
            if _move(
                next_channel,
                stays,
                loads,
                scale,
                destination,
                target,
                leaf,
                sources[leaf],
                label,
                goes_down,
                channel_down,
                dimension,
                channel_dimension,
                ptr,
                src,
                dst,
                work,
            ):
                moved += 1
            for hop in range(ptr[leaf], ptr[leaf + 1]):
                work.shared[hop] = 0
    return moved


@njit(**HELPER)
def _flows_to(next_channel, destination, target, leaves, sources, dst, flow):  # type: ignore[no-untyped-def]
    for switch in range(len(flow)):
        flow[switch] = 0
    for leaf in leaves:
        switch = leaf
        while switch != target:
            flow[switch] += sources[leaf]
            switch = dst[next_channel[destination, switch]]


@njit(**HELPER)
def _crosses(next_channel, destination, target, leaf, channel, dst):  # type: ignore[no-untyped-def]
    switch = leaf
    while switch != target:
        hop = next_channel[destination, switch]
        if hop == channel:
            return True
        switch = dst[hop]
    return False


@njit(**HELPER)
def _move(  # type: ignore[no-untyped-def]
    next_channel,
    stays,
    loads,
    scale,
    destination,
    target,
    leaf,
    units,
    label,
    goes_down,
    channel_down,
    dimension,
    channel_dimension,
    ptr,
    src,
    dst,
    work,
):
    """Take a leaf's units off their path to a destination and put them on the cheapest; return whether that changed it."""
    switch, old_cost = leaf, NEIGHBOUR_COST * work.shared[next_channel[destination, leaf]]
    while switch != target:
        hop = next_channel[destination, switch]
        old_cost += (loads[hop] * scale[hop]) ** POWER
        loads[hop] -= units
        work.flow[switch] -= units
        switch = dst[hop]
    filled = _search(
        next_channel,
        stays,
        loads,
        scale,
        destination,
        target,
        leaf,
        units,
        label,
        goes_down,
        channel_down,
        dimension,
        channel_dimension,
        ptr,
        dst,
        work,
    )
    better = work.via[target] >= 0 and work.cost[target] < old_cost * (1 - 1e-9)
    switch = target
    while better and switch != leaf:
        hop = work.via[switch]
        switch = src[hop]
        next_channel[destination, switch] = hop
    for position in range(filled):
        work.cost[work.queue[position]], work.via[work.queue[position]] = 0.0, -1
    switch = leaf
    while switch != target:
        hop = next_channel[destination, switch]
        loads[hop] += units
        work.flow[switch] += units
        switch = dst[hop]
    return better


@njit(**HELPER)
def _search(  # type: ignore[no-untyped-def]
    next_channel,
    stays,
    loads,
    scale,
    destination,
    target,
    leaf,
    units,
    label,
    goes_down,
    channel_down,
    dimension,
    channel_dimension,
    ptr,
    dst,
    work,
):
    """Find the cheapest path from a leaf to a destination: `work.cost` and `work.via` of the switches in `work.queue`.

    Every allowed hop lowers the label by one, so a breadth-first pass meets each switch after all that lead to it. Where
    others' traffic for the destination passes, or the entry is to stay, only the hop that it takes is allowed.
    """
    cost, via, queue = work.cost, work.via, work.queue
    queue[0], filled, position = leaf, 1, 0
    while position < filled:
        switch = queue[position]
        position += 1
        begin, end, free = ptr[switch], ptr[switch + 1], work.flow[switch] == 0 and not stays[destination, switch]
        if not free:
            begin = next_channel[destination, switch]
            end = begin + 1
        below = label[target, switch] - 1
        work.effort[0] += end - begin
        for hop in range(begin, end):
            far = dst[hop]
            if free and (far >= label.shape[0] or label[target, far] != below or switch == target):
                continue
            if free and len(channel_dimension) > 0 and channel_dimension[hop] != dimension[target, switch]:
                continue
            if free and len(channel_down) > 0:
                down = channel_down[hop]
                if down != goes_down[target, switch] or (down and not goes_down[target, far]):
                    continue
            through = cost[switch] + ((loads[hop] + units) * scale[hop]) ** POWER
            if switch == leaf:
                through += NEIGHBOUR_COST * work.shared[hop]
            if via[far] < 0:
                queue[filled] = far
                filled += 1
            elif through >= cost[far]:
                continue
            cost[far], via[far] = through, hop
    return filled
