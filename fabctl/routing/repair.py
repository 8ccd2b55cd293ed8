"""One destination's routes mended after a fault: what arrives stays, the rest takes the least loaded way that is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.routing.paths import switch_channels

Int32 = NDArray[np.int32]
NOWHERE = -1


class Repair:
    """Mends destinations one after the other, each heeding what those before it have loaded.

    Parameters
    ----------
    fabric : Fabric
    sources : int array of shape (n_switches,)
        HCA ports at each switch.
    load : float64 array of shape (n_channels,)
        What the channels carry already; grows with each destination.
    """

    def __init__(self, fabric: Fabric, sources: NDArray[np.int64], load: NDArray[np.float64]) -> None:
        n = fabric.n_switches
        self._n = n
        self._sources: list[int] = sources.tolist()
        self._load: list[float] = load.tolist()
        self._far: list[int] = fabric.channel_dst.tolist()
        self._exits: list[list[int]] = [[] for _ in range(n)]
        for channel in switch_channels(fabric).tolist():
            self._exits[int(fabric.channel_src[channel])].append(channel)

    def mend(self, home: int, channel: list[int], hops: list[int], limit: list[int], order: list[int] | None) -> set[int]:
        """Find ways for the switches that do not arrive.

        Parameters
        ----------
        home : int
            Switch that the destination hangs from.
        channel, hops : list of int, of length n_switches
            Channel and hops of each switch, both changed in place; hops are -1 where traffic does not arrive, channels where
            there is none.
        limit : list of int
            Hops that each switch's path may take: as many as on the engine's own new routes, -1 where these do not arrive.
        order : list of int, of length n_channels, optional
            Level that must rise along the paths of HCAs' traffic (`fabctl.routing.channel_order`); None: any path will do.

        Returns
        -------
        set of int
            Switches that have found no way.
        """
        lost = [switch for switch in range(self._n) if hops[switch] < 0]
        depth, upstream, units = self._old_trees(lost, channel)
        column = _Column(home, channel, hops, limit, units, order)
        waiting = sorted(lost, key=lambda switch: (depth[switch], switch))
        for bounded in (True, False):
            while waiting:
                nearest: list[int] = []
                for switch in waiting:
                    if nearest and depth[switch] > depth[nearest[0]]:
                        break
                    if self._best(column, switch, bounded) != NOWHERE:
                        nearest.append(switch)
                if not nearest:
                    break
                for switch in nearest:
                    best = self._best(column, switch, bounded)
                    if hops[switch] < 0 and best != NOWHERE:
                        column.settle(switch, best, self._far[best])
                        self._carry(column, switch)
                        self._restore(column, switch, upstream, bounded)
                waiting = [switch for switch in waiting if hops[switch] < 0]
        return set(waiting)

    def _old_trees(self, lost: list[int], channel: list[int]) -> tuple[dict[int, int], dict[int, list[int]], dict[int, int]]:
        """Return how far each lost switch is from where its old path breaks, who forwards to it, and the sources behind it."""
        inside = set(lost)
        follows = {
            switch: self._far[channel[switch]]
            for switch in lost
            if channel[switch] != NOWHERE and self._far[channel[switch]] in inside
        }
        depth: dict[int, int] = {}
        for switch in lost:
            path = []
            at = switch
            while at not in depth and at not in path:
                path.append(at)
                if at not in follows:
                    break
                at = follows[at]
            below = depth.get(at, -1)
            for back in reversed(path):
                below += 1
                depth[back] = below
        upstream: dict[int, list[int]] = defaultdict(list)
        units = {switch: self._sources[switch] for switch in lost}
        for switch in sorted(lost, key=lambda switch: -depth[switch]):
            if switch in follows and depth[follows[switch]] < depth[switch]:
                upstream[follows[switch]].append(switch)
                units[follows[switch]] += units[switch]
        return depth, upstream, units

    def _best(self, column: _Column, switch: int, bounded: bool) -> int:
        """Return the least loaded of the shortest allowed channels from a switch; `NOWHERE` if there is none."""
        found = NOWHERE
        merit: tuple[int, float, float] = (0, 0.0, 0.0)
        for channel in self._exits[switch]:
            hops = column.hops[self._far[channel]]
            if hops < 0 or (found != NOWHERE and hops > merit[0]) or not self._allowed(column, switch, channel, bounded):
                continue
            here = (hops, max(self._load[onward] for onward in self._path(column, channel)), self._load[channel])
            if found == NOWHERE or here < merit:
                found, merit = channel, here
        return found

    def _allowed(self, column: _Column, switch: int, channel: int, bounded: bool) -> bool:
        if bounded and 0 <= column.limit[switch] <= column.hops[self._far[channel]]:
            return False
        if column.order is None or not column.units[switch]:
            return True
        levels = [column.order[onward] for onward in self._path(column, channel)]
        return all(below < above for below, above in pairwise(levels))

    def _path(self, column: _Column, channel: int) -> Iterable[int]:
        yield channel
        at = self._far[channel]
        while at != column.home:
            yield column.channel[at]
            at = self._far[column.channel[at]]

    def _carry(self, column: _Column, switch: int) -> None:
        for channel in self._path(column, column.channel[switch]):
            self._load[channel] += column.units[switch]

    def _restore(self, column: _Column, switch: int, upstream: dict[int, list[int]], bounded: bool) -> None:
        """Keep the old entries of those that forwarded to a mended switch, wherever they may be kept."""
        stack = [switch]
        while stack:
            at = stack.pop()
            for back in upstream.get(at, ()):
                if column.hops[back] < 0 and self._allowed(column, back, column.channel[back], bounded):
                    column.settle(back, column.channel[back], at)
                    stack.append(back)


@dataclass(frozen=True)
class _Column:
    """A destination on the mend: the arguments of `Repair.mend`, and the sources behind each switch that does not arrive."""

    home: int
    channel: list[int]
    hops: list[int]
    limit: list[int]
    units: dict[int, int]
    order: list[int] | None

    def settle(self, switch: int, channel: int, far: int) -> None:
        """Send a switch's traffic on a channel."""
        self.channel[switch] = channel
        self.hops[switch] = self.hops[far] + 1
