"""Cables seen by where they run: which level of the tree each end sits on, and what hangs from each switch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric, Float64, Int32, NodeKind

Int64 = NDArray[np.int64]

ROUTER, AGGREGATION, HOST, UNPLACED = -4, -3, -2, -1
"""Levels of what is no switch, and of a switch that no host can reach; a placed switch's level is its tier."""

_NAMES = {ROUTER: "router", AGGREGATION: "aggregation", HOST: "host", UNPLACED: "unplaced", 0: "leaf", 1: "spine", 2: "core"}


def level_name(level: int) -> str:
    """Return what operators call a level.

    Examples
    --------
    >>> level_name(HOST), level_name(0), level_name(2), level_name(3)
    ('host', 'leaf', 'core', 'tier 3')
    """
    return _NAMES.get(level, f"tier {level}")


def cable_kind(low_level: int, high_level: int) -> str:
    """Return the name of a kind of cable by the levels that it joins.

    Examples
    --------
    >>> cable_kind(HOST, 0), cable_kind(1, 2), cable_kind(AGGREGATION, 2)
    ('host-leaf', 'spine-core', 'aggregation')
    """
    if low_level in (AGGREGATION, ROUTER):
        return level_name(low_level)
    return f"{level_name(low_level)}-{level_name(high_level)}"


def node_levels(fabric: Fabric) -> NDArray[np.int8]:
    """Return the level of each node, shape (n_nodes,): tier of a switch, `HOST`, `AGGREGATION` or `ROUTER`."""
    level = np.full(fabric.n_nodes, HOST, dtype=np.int8)
    level[: fabric.n_switches] = fabric.tiers
    level[fabric.is_aggregation] = AGGREGATION
    level[fabric.node_kind == NodeKind.ROUTER] = ROUTER
    return level


@dataclass(frozen=True, eq=False)
class Cables:
    """One row per cable, from its lower end to its higher end.

    Parameters
    ----------
    channel : int32 array of shape (n_cables,)
        The channel that the lower end sends on.
    low, high : int32 array of shape (n_cables,)
        Node at each end. Between equals, the lower node index is `low`.
    low_level, high_level : int8 array of shape (n_cables,)
        See `node_levels`.
    """

    channel: Int32
    low: Int32
    high: Int32
    low_level: NDArray[np.int8]
    high_level: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.channel)

    def kind(self, cable: int) -> str:
        """Return the name of a cable's kind (``host-leaf``)."""
        return cable_kind(int(self.low_level[cable]), int(self.high_level[cable]))

    @property
    def kind_code(self) -> Int64:
        """One integer per cable, shape (n_cables,): equal for cables whose `kind` is equal."""
        high = np.where(self.low_level <= AGGREGATION, 0, self.high_level).astype(np.int64)
        return self.low_level.astype(np.int64) * 256 + high

    @property
    def between_switches(self) -> NDArray[np.bool_]:
        """Mask of shape (n_cables,) of cables between two different switches."""
        return (self.low_level >= UNPLACED) & (self.low != self.high)


def list_cables(fabric: Fabric) -> Cables:
    """Return a fabric's cables, sorted by their lower end's node and port.

    Complexity
    ----------
    O(cables), in numpy.
    """
    level = node_levels(fabric)
    src, dst = fabric.channel_src, fabric.channel_dst
    first = fabric.channel_port < fabric.port_peer[fabric.channel_port]
    upwards = (level[src] < level[dst]) | ((level[src] == level[dst]) & first)
    channel = np.flatnonzero(upwards).astype(np.int32)
    low, high = src[channel], dst[channel]
    return Cables(channel, low, high, level[low], level[high])


@dataclass(frozen=True, eq=False)
class SwitchLinks:
    """What is cabled to each switch; all arrays have shape (n_switches,).

    Parameters
    ----------
    hcas : int64 array
        Cables to HCAs.
    down, up : int64 array
        Cables to switches of lower and of higher tiers.
    down_gbps, up_gbps : float64 array
        Data rate of `hcas` and `down` together, and of `up`, in Gb/s; NaN where the rate of one of the cables is unknown.
    """

    hcas: Int64
    down: Int64
    up: Int64
    down_gbps: Float64
    up_gbps: Float64


def switch_links(fabric: Fabric, cables: Cables) -> SwitchLinks:
    """Count what is cabled to each switch, aggregation nodes, routers and cables within a tier left out."""
    n = fabric.n_switches
    rate = np.where(fabric.data_gbps > 0, fabric.data_gbps, np.nan)[cables.channel]
    host = (cables.low_level == HOST) & (cables.high_level >= UNPLACED)
    climb = (cables.low_level >= 0) & (cables.low_level < cables.high_level)

    def count(ends: Int32, mask: NDArray[np.bool_]) -> Int64:
        return np.bincount(ends[mask], minlength=n)

    def total(ends: Int32, mask: NDArray[np.bool_]) -> Float64:
        return np.bincount(ends[mask], weights=rate[mask], minlength=n).astype(np.float64)

    return SwitchLinks(
        hcas=count(cables.high, host),
        down=count(cables.high, climb),
        up=count(cables.low, climb),
        down_gbps=total(cables.high, host | climb),
        up_gbps=total(cables.low, climb),
    )


def connected(n_nodes: int, first: Int32, second: Int32) -> Int32:
    """Return for each node the lowest node that edges ``first[i] - second[i]`` join it to, shape (n_nodes,).

    Notes
    -----
    Labels spread along edges and are short-cut by pointer jumping, so the number of vector passes grows with the logarithm
    of the diameter (Shiloach and Vishkin, J. Algorithms 3, 1982).
    """
    label = np.arange(n_nodes, dtype=np.int32)
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, label[first], label[second])
        np.minimum.at(lowest, label[second], label[first])
        while not np.array_equal(jumped := lowest[lowest], lowest):
            lowest = jumped
        if np.array_equal(lowest, label):
            return label
        label = lowest
