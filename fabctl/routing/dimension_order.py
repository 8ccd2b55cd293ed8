"""Paths in dimension order: one dimension is done with before the next begins.

Dally and Seitz, Deadlock-free message routing in multiprocessor interconnection networks, IEEE Trans. Computers C-36(5), 1987,
on k-ary n-cubes: channels are taken in the order of their dimensions, so only circles inside a dimension can close a credit loop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.routing.grid import Grid, find_grid
from fabctl.routing.paths import Paths, switch_channels

Bits = NDArray[np.uint8]
Int64 = NDArray[np.int64]


def shortest_in_order(fabric: Fabric, channel_dimension: NDArray[np.int16]) -> Paths:
    """Return the shortest paths that take, at each switch, the first dimension that is on one.

    On a whole grid that is dimension order. Where cables or switches are missing paths stay shortest, in an order of their own.

    Parameters
    ----------
    channel_dimension : int16 array of shape (n_channels,)

    Complexity
    ----------
    O(diameter x channels x n_switches / 8) byte operations.
    """
    return _Search(fabric, channel_dimension).finish()


def ordered_on_grids(fabric: Fabric, paths: Paths) -> Paths:
    """Return the shortest paths in dimension order where the switches form a grid, else the paths given.

    They load a grid as evenly as any, make few turns, and so ask for few virtual lanes. Hops that an operator has weighted have
    no dimensions.
    """
    if paths.length is not None:
        return paths
    try:
        grid = find_grid(fabric)
    except RefusedError:
        return paths
    return shortest_in_order(fabric, grid.channel_dimension)


def strict_order(fabric: Fabric, grid: Grid) -> Paths:
    """Return paths that do the dimensions in turn wherever that is possible, each on the shortest way along its line.

    Where a line is broken, that is the other way round. Where it does not lead on either way, because a switch is missing at the
    corner, paths leave it as late as they can: in another dimension, towards a switch from which the rest is in order.

    Complexity
    ----------
    As `shortest_in_order`.
    """
    search = _Search(fabric, grid.channel_dimension)
    first = np.argmax(grid.place[:, None, :] != grid.place[None, :, :], axis=2).astype(np.int16)
    search.run_in_order(first)
    return search.finish()


class _Search:
    """Breadth-first searches towards all switches at once, one bit per target (see `fabctl.routing.paths`)."""

    def __init__(self, fabric: Fabric, channel_dimension: NDArray[np.int16]) -> None:
        n, channels = fabric.n_switches, switch_channels(fabric)
        src, dst, dimension = fabric.channel_src[channels], fabric.channel_dst[channels], channel_dimension[channels]
        self._n = n
        self._hops = [(src[dimension == axis], dst[dimension == axis]) for axis in range(int(dimension.max(initial=-1)) + 1)]
        self._channel_dimension = channel_dimension
        self._label = np.full((n, n), -1, dtype=np.int16)
        np.fill_diagonal(self._label, 0)
        self._dimension = np.zeros((n, n), dtype=np.int16)

    def run_in_order(self, first: NDArray[np.int16]) -> None:
        """Label what is reached if each switch takes the dimension of `first`, shape (n_switches, n_switches)."""
        masks = [np.packbits(first == axis, axis=1) for axis in range(len(self._hops))]
        frontier = np.packbits(self._label == 0, axis=1)
        level = 0
        while frontier.any():
            level += 1
            grown = np.zeros_like(frontier)
            for axis, mask in enumerate(masks):
                grown |= self._grow(axis, frontier) & mask
            frontier = np.packbits(self._settle(grown, level, first), axis=1)

    def finish(self) -> Paths:
        """Label the rest from what is labelled, the first dimension first among equals, and return the paths."""
        level = 0
        while level <= self._label.max():
            frontier = np.packbits(self._label == level, axis=1)
            level += 1
            grown = [self._grow(axis, frontier) for axis in range(len(self._hops))]
            for axis, bits in enumerate(grown):
                self._settle(bits, level, axis)
        return Paths(self._label, dimension=self._dimension, channel_dimension=self._channel_dimension)

    def _grow(self, axis: int, frontier: Bits) -> Bits:
        """Return the switches from which a hop in a dimension leads into the frontier."""
        src, dst = self._hops[axis]
        grown = np.zeros_like(frontier)
        rows, first = np.unique(src, return_index=True)
        if len(rows):
            grown[rows] = np.bitwise_or.reduceat(frontier[dst], first, axis=0)
        return grown

    def _settle(self, bits: Bits, level: int, dimension: NDArray[np.int16] | int) -> NDArray[np.bool_]:
        """Label what has no label yet, and return where that is."""
        new = np.unpackbits(bits, axis=1, count=self._n).view(bool) & (self._label < 0)
        self._label[new] = level
        self._dimension[new] = dimension if isinstance(dimension, int) else dimension[new]
        return new
