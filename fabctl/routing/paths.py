"""Which next hops an engine allows: a label per (switch, destination switch) that falls by one along every allowed hop.

Label matrices are int16 of shape (n_switches, n_switches); -1 means that the destination cannot be reached. Both
constructions advance all destinations at once with one bit per destination, so a level costs one OR per channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric

Int16 = NDArray[np.int16]
Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Paths:
    """The allowed hops of an engine, for all destination switches.

    Parameters
    ----------
    label : int16 array of shape (n_switches, n_switches)
        ``label[s, t]``: hops from `s` to `t`; a channel from `s` to `v` is allowed towards `t` if ``label[v, t]`` is less by its
        length, which is one where `length` is None.
    goes_down : bool array of shape (n_switches, n_switches), optional
        Up*/down* engines: where true, `s` forwards towards `t` only on channels that go down, to switches that go down as well;
        else only on channels that go up. None: direction does not matter.
    channel_down : bool array of shape (n_channels,), optional
        Whether a channel goes down, by the engine's ranking.
    length : int16 array of shape (n_channels,), optional
        Hops that a channel counts for; None: all count for one.
    dimension : int16 array of shape (n_switches, n_switches), optional
        Dimension-order engines: the dimension of the channels on which `s` forwards towards `t`. None: all dimensions.
    channel_dimension : int16 array of shape (n_channels,), optional
        Dimension of each channel.
    """

    label: Int16
    goes_down: NDArray[np.bool_] | None = None
    channel_down: NDArray[np.bool_] | None = None
    length: Int16 | None = None
    dimension: Int16 | None = None
    channel_dimension: Int16 | None = None


def switch_channels(fabric: Fabric) -> NDArray[np.int64]:
    """Return the channels between two different switches, ascending."""
    src, dst = fabric.channel_src, fabric.channel_dst
    return np.flatnonzero((src < fabric.n_switches) & (dst < fabric.n_switches) & (src != dst))


def shortest_paths(fabric: Fabric, length: Int16 | None = None) -> Paths:
    """Return all shortest paths between switches.

    Parameters
    ----------
    length : int16 array of shape (n_channels,), optional
        Hops that each channel counts for, 1 or more; all count for one by default.

    Complexity
    ----------
    O(diameter x channels x n_switches / 8) byte operations.
    """
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    if length is None:
        return Paths(_levels(fabric.n_switches, src, dst))
    return Paths(_weighted_levels(fabric.n_switches, src, dst, length[channels]), length=length)


def up_down_paths(fabric: Fabric, channel_down: NDArray[np.bool_]) -> Paths:
    """Return the up*/down* paths: a switch goes down wherever a way down exists, else up on the shortest way to such a switch.

    A packet that has gone down never meets a switch that goes up for its destination, so the paths are free of credit loops
    whatever the fabric, and consistent as destination-based tables (Schroeder et al., Autonet, 1991).

    Parameters
    ----------
    channel_down : bool array of shape (n_channels,)
        Direction of each channel between switches; must be acyclic (see `directions`).

    Complexity
    ----------
    As `shortest_paths`.
    """
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    down = channel_down[channels]
    n = fabric.n_switches
    label = _levels(n, src[down], dst[down])
    goes_down = label >= 0
    level = 0
    while level <= label.max(initial=-1):
        rows, bits = _or_by_source(src[~down], np.packbits(label == level, axis=1)[dst[~down]])
        above = np.zeros((n, n), dtype=bool)
        above[rows] = np.unpackbits(bits, axis=1, count=n).view(bool)
        level += 1
        label[above & (label < 0)] = level
    return Paths(label, goes_down, channel_down)


def _levels(n: int, src: NDArray[np.int32], dst: NDArray[np.int32]) -> Int16:
    """Return the fewest hops between all pairs of `n` switches over given channels, `src` ascending; -1 where there is no way."""
    label = np.full((n, n), -1, dtype=np.int16)
    np.fill_diagonal(label, 0)
    frontier = reached = np.packbits(np.eye(n, dtype=bool), axis=1)
    level = 0
    while frontier.any():
        level += 1
        grown = np.zeros_like(reached)
        rows, bits = _or_by_source(src, frontier[dst])
        grown[rows] = bits
        frontier = grown & ~reached
        reached = reached | frontier
        label[np.unpackbits(frontier, axis=1, count=n).view(bool)] = level
    return label


def _weighted_levels(n: int, src: NDArray[np.int32], dst: NDArray[np.int32], length: Int16) -> Int16:
    """Return the least total length between all pairs of switches; as `_levels`, with the last few frontiers kept."""
    label = np.full((n, n), -1, dtype=np.int16)
    np.fill_diagonal(label, 0)
    reached = np.packbits(np.eye(n, dtype=bool), axis=1)
    frontiers = [reached]
    kinds = [(int(hops), src[length == hops], dst[length == hops]) for hops in np.unique(length)]
    longest = max((hops for hops, _, _ in kinds), default=1)
    level = 0
    while any(frontier.any() for frontier in frontiers):
        level += 1
        grown = np.zeros_like(reached)
        for hops, tails, heads in kinds:
            if hops <= len(frontiers):
                rows, bits = _or_by_source(tails, frontiers[-hops][heads])
                grown[rows] |= bits
        frontier = grown & ~reached
        reached = reached | frontier
        label[np.unpackbits(frontier, axis=1, count=n).view(bool)] = level
        frontiers = [*frontiers, frontier][-longest:]
    return label


def _or_by_source(src: NDArray[np.int32], bits: Bits) -> tuple[NDArray[np.int32], Bits]:
    """OR rows of `bits` that share a source; `src` is ascending."""
    rows, first = np.unique(src, return_index=True)
    if not len(rows):
        return rows, np.zeros((0, bits.shape[1]), dtype=np.uint8)
    return rows, np.bitwise_or.reduceat(bits, first, axis=0)


def directions(fabric: Fabric, height: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which channels go down: from the higher switch to the lower, between equals from the lower index to the higher.

    Parameters
    ----------
    height : int array of shape (n_switches,)

    Returns
    -------
    bool array of shape (n_channels,)
        False for channels of HCAs.
    """
    down = np.zeros(len(fabric.channel_port), dtype=bool)
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    down[channels] = (height[src] > height[dst]) | ((height[src] == height[dst]) & (src < dst))
    return down
