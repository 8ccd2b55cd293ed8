"""Paths of least accumulated weight, one destination after the other: what ``sssp`` and ``dfsssp`` share.

Hoefler, Schneider, Lumsdaine: Optimized Routing for Large-Scale InfiniBand Networks, HotI 2009, section 3: each destination gets
a tree of shortest paths of least weight, and its traffic then adds to the weights of the channels that it takes. The weights
never outgrow a hop there, so paths stay minimal; here they choose among the allowed paths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.jit import announce_compiling
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.options import Options
from fabctl.routing.order import counted_ports, destination_ranks, is_whole_tree, plane_order
from fabctl.routing.paths import Paths, switch_channels

SLACK = 0.5
"""An entry stays unless another path is lighter by more than this share of all sources' traffic for one destination. Without it
neighbouring destinations share channels that the tables had kept apart: worse shifts and bisections, and no better all-to-all."""

Int32 = NDArray[np.int32]


def weigh(tables: RoutingTables, paths: Paths, options: Options) -> RoutingTables:
    """Return tables whose HCA destinations take the allowed paths of least accumulated weight.

    Destinations that carry a job's traffic are routed first, for its sources; other HCAs follow, for all sources; entries for
    switches stay as they are. Where no path is lighter by much, an entry stays as it is. So tables of whole trees, where every
    destination finds its D-mod-k path among the lightest, come back as they are, and at once.

    Parameters
    ----------
    tables : RoutingTables
        Complete tables on allowed paths.
    paths : Paths
        Without directions.

    Complexity
    ----------
    O(destinations x allowed hops).
    """
    fabric = tables.fabric
    ports = counted_ports(fabric, options)
    if paths.length is None and is_whole_tree(fabric, ports):
        return tables
    from fabctl.routing.weighted_kernel import route_in_turn

    announce_compiling(route_in_turn)
    hops = _hops(fabric)
    far = fabric.channel_dst[hops]
    number = fabric.port_number[fabric.channel_port[hops]]
    place = np.full((fabric.n_switches, 256), -1, dtype=np.int32)
    place[fabric.channel_src[hops], number] = np.arange(len(hops))
    length = np.ones(len(hops), dtype=np.int16) if paths.length is None else paths.length[hops]
    rates = fabric.data_gbps[hops]
    toll = np.median(rates) / rates if len(rates) and np.all(rates > 0) else np.ones(len(hops))
    weight = np.zeros(len(hops))
    lft = tables.lft.copy()
    others = fabric.endpoints[~np.isin(fabric.endpoints, ports)]
    for destinations, sources in ((ports, ports), (others, fabric.endpoints)):
        lids, homes = _in_turn(fabric, destinations)
        route_in_turn(
            lft,
            lids,
            homes,
            np.ascontiguousarray(paths.label.T),
            np.searchsorted(fabric.channel_src[hops], np.arange(fabric.n_switches + 1)).astype(np.int32),
            far,
            length,
            number.astype(np.uint8),
            place,
            toll,
            np.bincount(_leaf(fabric, sources), minlength=fabric.n_nodes)[: fabric.n_switches].astype(np.int32),
            weight,
            SLACK * len(sources),
        )
    return replace(tables, lft=lft)


def _hops(fabric: Fabric) -> Int32:
    """Return the channels between switches by switch, then plane, then port."""
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    return channels[np.lexsort((channels, plane_order(fabric)[dst], src))].astype(np.int32)


def _leaf(fabric: Fabric, ports: Int32) -> Int32:
    return fabric.channel_dst[fabric.channel_of_port[ports]]


def _in_turn(fabric: Fabric, ports: Int32) -> tuple[Int32, Int32]:
    """Return all LIDs of ports at switches, along the tree, with their switches."""
    ports = ports[_leaf(fabric, ports) < fabric.n_switches]
    ports = ports[np.argsort(destination_ranks(fabric, ports))] if len(ports) else ports
    count = 1 << fabric.port_lmc[ports].astype(np.int64)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    lids = np.repeat(fabric.port_lid[ports], count) + offset
    return lids.astype(np.int32), np.repeat(_leaf(fabric, ports), count)
