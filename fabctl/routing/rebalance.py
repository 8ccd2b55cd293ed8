"""Evening out what a regular assignment cannot: missing cables, odd switches, leaves with more hosts than up-links.

A local search over the allowed paths. The hottest channels of an all-to-all are taken in turn; the sources behind one are moved,
leaf by leaf and destination by destination, to the allowed path on which they hurt least, until the channel is no hotter than
an HCA's own. Every move lowers the sum over channels of the eighth power of their relative load, so the search ends.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import alltoall_loads
from fabctl.jit import announce_compiling
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.options import DEFAULTS, Options
from fabctl.routing.order import counted_ports, is_whole_tree
from fabctl.routing.paths import Paths, switch_channels

SLACK = 1.02
"""A channel this much hotter than it must be is left alone."""
ROUNDS = 6
EFFORT = 240
"""Hops that the search may look at, per entry of the tables: Selene takes 10. It is spent on the hottest channels first, and
keeps the time in proportion on fabrics whose shape, not whose damage, makes them uneven (tori, random graphs)."""


def rebalance(
    tables: RoutingTables, paths: Paths, options: Options = DEFAULTS, pinned: NDArray[np.bool_] | None = None
) -> RoutingTables:
    """Return tables whose hottest channel, for an all-to-all of the compute HCAs, is cooler, on the same allowed paths.

    Tables of whole trees come back as they are, unless entries are pinned, and so do tables that an all-to-all shows to be even,
    or whose hops an operator has weighted.

    Parameters
    ----------
    pinned : bool array of shape (n_switches, n_ports of the fabric), optional
        Entries, by destination port, that stay as they are.

    Complexity
    ----------
    O(n_switches x destinations): the search looks at `EFFORT` hops per table entry at most.
    """
    if paths.length is not None:
        return tables
    fabric = tables.fabric
    ports, loads, scale = _heat(tables, options, by_theory=pinned is None)
    if not (loads * scale > 1).any():
        return tables
    lids = fabric.port_lid[ports]
    next_channel = np.ascontiguousarray(tables.next_channel[:, lids].T)
    stays = np.zeros(next_channel.shape, dtype=bool) if pinned is None else np.ascontiguousarray(pinned[:, ports].T)
    _cool_down(fabric, paths, ports, next_channel, stays, loads, scale)
    lft = tables.lft.copy()
    port = fabric.port_number[fabric.channel_port].astype(np.uint8)
    lft[:, lids] = np.where(next_channel >= 0, port[next_channel], tables.lft[:, lids].T).T
    return replace(tables, lft=lft)


def is_even(tables: RoutingTables, options: Options = DEFAULTS) -> bool:
    """Return whether an all-to-all of the compute HCAs loads no channel more than one must be, on paths of this length."""
    _, loads, scale = _heat(tables, options)
    return not (loads * scale > 1).any()


def _heat(
    tables: RoutingTables, options: Options, *, by_theory: bool = True
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ports that count, the all-to-all loads, and the factors that make them 1 at the goal; 0 for HCAs' own channels.

    Whole trees are even by theory, if nobody has touched them: their loads are not looked at, and come out as 0.
    """
    fabric = tables.fabric
    ports = counted_ports(fabric, options)
    ports = ports[fabric.channel_dst[fabric.channel_of_port[ports]] < fabric.n_switches]
    scale = np.zeros(len(fabric.channel_port))
    if len(ports) < 2 or (by_theory and is_whole_tree(fabric, ports)):
        return ports, np.zeros_like(scale), scale
    loads = alltoall_loads(tables, ports).astype(np.float64)
    rates = fabric.data_gbps
    own = fabric.channel_of_port[ports]
    weight = np.median(rates[own]) / rates if np.all(rates > 0) else np.ones(len(rates))
    between = switch_channels(fabric)
    mean = loads[between].sum() / max((1 / weight[between]).sum(), 1)  # hops are as many on any allowed paths
    scale[between] = weight[between] / (
        SLACK * max(float((loads[own] * weight[own]).max()), _leaf_bound(fabric, ports, weight), mean)
    )
    return ports, loads, scale


def _cool_down(
    fabric: Fabric,
    paths: Paths,
    ports: NDArray[np.int32],
    next_channel: NDArray[np.int32],
    stays: NDArray[np.bool_],
    loads: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    """Take the hot channels in turn, hottest first, until none moves anything; changes `next_channel` and `loads` in place."""
    from fabctl.routing.rebalance_kernel import Work, cool_channel

    announce_compiling(cool_channel)
    n = fabric.n_switches
    home = fabric.channel_dst[fabric.channel_of_port[ports]]
    sources = np.bincount(home, minlength=n).astype(np.int32)
    members = np.argsort(home, kind="stable").astype(np.int32)
    first = np.concatenate([[0], np.cumsum(sources)]).astype(np.int32)
    leaves = np.flatnonzero(sources).astype(np.int32)
    label = np.ascontiguousarray(paths.label.T)
    goes_down, channel_down = np.zeros((0, 0), dtype=bool), np.zeros(0, dtype=bool)
    if paths.goes_down is not None and paths.channel_down is not None:
        goes_down, channel_down = np.ascontiguousarray(paths.goes_down.T), paths.channel_down
    dimension, channel_dimension = np.zeros((0, 0), dtype=np.int16), np.zeros(0, dtype=np.int16)
    if paths.dimension is not None and paths.channel_dimension is not None:
        dimension, channel_dimension = np.ascontiguousarray(paths.dimension.T), paths.channel_dimension
    work = Work(
        flow=np.zeros(n, dtype=np.int64),
        cost=np.zeros(n),
        via=np.full(n, -1, dtype=np.int32),
        queue=np.zeros(n, dtype=np.int32),
        shared=np.zeros(len(loads), dtype=np.int32),
        effort=np.array([0, EFFORT * next_channel.size]),
    )
    between = switch_channels(fabric)
    for _ in range(ROUNDS):
        heat = loads[between] * scale[between]
        hot = between[heat > 1][np.argsort(-heat[heat > 1], kind="stable")]
        moved = sum(
            cool_channel(
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
                fabric.channel_ptr,
                fabric.channel_src,
                fabric.channel_dst,
                work,
            )
            for channel in hot.tolist()
        )
        if not moved:
            return


def _leaf_bound(fabric: Fabric, ports: NDArray[np.int32], weight: NDArray[np.float64]) -> float:
    """Return the weighted load that the links of some leaf must reach, however evenly they share the leaf's traffic."""
    hosts = np.bincount(fabric.channel_dst[fabric.channel_of_port[ports]], minlength=fabric.n_switches)
    channels = switch_channels(fabric)
    room = np.bincount(fabric.channel_src[channels], weights=1 / weight[channels], minlength=fabric.n_switches)
    crossing = hosts * (len(ports) - hosts)
    return float(np.divide(crossing, room, out=np.zeros(len(room)), where=room > 0).max())
