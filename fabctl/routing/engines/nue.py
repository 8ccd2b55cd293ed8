"""``nue``: shortest paths as far as the dependency graph stays acyclic, on any fabric, with any number of virtual lanes.

Domke, Hoefler, Matsuoka: Routing on the Dependency Graph: A New Approach to Deadlock-Free High-Performance Routing, HPDC 2016,
section 4. Destinations are divided among the lanes. A lane starts from its escape paths, in a tree around the switch that is the
most central among its destinations; then each destination gets a tree of its own, grown over dependencies that close no cycle, by
hops and then by accumulated weight. Where growth comes to an impasse, a switch on the way leaves on another hop if that opens
one, else the switches out of reach go along the escape paths: here these alone, in the paper the whole destination.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.jit import announce_compiling
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.engines.updn import updn
from fabctl.routing.nue_lanes import hops_and_switches, most_central, partition, start_lane
from fabctl.routing.options import Options
from fabctl.routing.order import counted_ports, is_tree, is_whole_tree, tree_order
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import Int16, shortest_paths
from fabctl.routing.verify import verify

Int32 = NDArray[np.int32]

Int64 = NDArray[np.int64]
_Destinations = tuple[Int64, Int64, Int64, NDArray[np.int8]]

ROUNDS = 2
"""How often all trees are grown again, against the traffic of all others."""


def nue(fabric: Fabric, options: Options) -> RoutingTables:
    """Route any fabric in one part.

    Destinations that carry a job's traffic are routed first, for its sources; then other CAs, for all sources; then switches. The
    first of 1, 2, 4, ... lanes that leaves all paths between HCAs as short as can be is enough; if none does, all lanes are used.
    Whole trees get the paths of destination-modulo routing, which need one lane and no search. In other trees the dependencies of
    going up and then down are an acyclic graph that holds the shortest paths between leaves: without roots of their own, all
    destinations grow on it, which makes them those of `updn`, unless leaves that these do not join ask for more.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or a given root is in a part without HCAs.

    Complexity
    ----------
    O(LIDs x hops) to grow trees; per lane, O(dependencies against its order x hops) at worst for the search of cycles.
    """
    refuse_parts(fabric)
    paths = shortest_paths(fabric)
    _refuse_roots(fabric, paths.label, options)
    ports = counted_ports(fabric, options)
    if not options.roots and is_whole_tree(fabric, ports) and not fabric.tiers[_at_switches(fabric, fabric.endpoints) > 0].any():
        return assign(fabric, paths, "nue", options)
    if not options.roots and is_tree(fabric):
        tables = replace(updn(fabric, Options(ignored=options.ignored)), origin="nue")
        found = verify(tables)
        if not (found.management_loop or found.lost_other):
            return tables
    destinations = _destinations(fabric, ports)
    for vls in (*(2**power for power in range((options.max_vls - 1).bit_length())), options.max_vls):
        tables, longer = _route(fabric, options, paths.label, ports, destinations, vls)
        if not longer:
            break
    return tables


def _route(
    fabric: Fabric,
    options: Options,
    distance: Int16,
    ports: Int32,
    destinations: _Destinations,
    vls: int,
) -> tuple[RoutingTables, int]:
    """Route on so many lanes; return how many paths are longer than the shortest as well.

    If more lanes may be used, the first such path ends the attempt.
    """
    from fabctl.routing.nue_kernel import AGAIN, FIRST, STRICT, route_lane

    announce_compiling(route_lane)
    n = fabric.n_switches
    lids, homes, home_port, kinds = destinations
    lft = np.full((n, len(fabric.port_of_lid)), NO_ROUTE, dtype=np.uint8)
    lft[homes, lids] = home_port
    if not len(lids):
        return RoutingTables(fabric, lft, "nue"), 0
    counted, every = _at_switches(fabric, ports), _at_switches(fabric, fabric.endpoints)
    sources = np.stack([counted, every, np.zeros_like(every)]).astype(np.int64)
    anchor = options.roots[0] if options.roots else int(np.argmax(every))
    targets = np.unique(homes[distance[anchor, homes] >= 0])
    parts = partition(distance, targets, np.bincount(homes[kinds == 0], minlength=n), vls)
    hops, switches = hops_and_switches(fabric)
    hop_at = np.full((n, 256), -1, dtype=np.int64)
    hop_at[hops["source"], hops["port"]] = np.arange(len(hops))
    weight = np.zeros(len(hops))
    lanes = []
    longer = 0
    for vl, members in enumerate(parts):
        root = options.roots[vl % len(options.roots)] if options.roots else most_central(distance, members)
        state = start_lane(hops, switches, root, np.isin(np.arange(n), members), every)
        lane = (hops.copy(), switches.copy(), state, sources, distance, hop_at, weight)
        mine = np.isin(homes, members)
        longer += route_lane(lft, lids[mine], homes[mine], kinds[mine], *lane, STRICT if vls < options.max_vls else FIRST)
        if longer and vls < options.max_vls:
            return RoutingTables(fabric, lft, "nue"), longer
        lanes.append((mine & (kinds < 2), lane))
    for _ in range(ROUNDS if weight.max(initial=0) >= len(ports) else 0):
        longer = sum(route_lane(lft, lids[mine], homes[mine], kinds[mine], *lane, AGAIN) for mine, lane in lanes)
    notes = _notes(longer, int(np.count_nonzero(every)) * int(np.count_nonzero(kinds < 2)), len(parts))
    if len(parts) == 1:
        return RoutingTables(fabric, lft, "nue", notes=notes), longer
    service_level = np.zeros(lft.shape, dtype=np.uint8)
    for vl, members in enumerate(parts):
        service_level[:, lids[np.isin(homes, members)]] = vl
    return RoutingTables(fabric, lft, "nue", service_level, notes), longer


def _notes(longer: int, pairs: int, vls: int) -> tuple[str, ...]:
    if not longer:
        return ()
    return (f"{longer / pairs:.1%} of the paths are longer than the shortest: {vls} virtual lanes have no more room",)


def _refuse_roots(fabric: Fabric, distance: Int16, options: Options) -> None:
    """Raise `RefusedError` naming a root that no path joins to the HCAs."""
    homes = np.flatnonzero(_at_switches(fabric, fabric.endpoints))
    for root in options.roots:
        if len(homes) and distance[root, homes[0]] < 0:
            raise RefusedError(
                f"root {fabric.labels[root]} cannot reach {fabric.labels[homes[0]]}: the fabric is in parts",
                hint="give a root in the part that has hosts",
            )


def _at_switches(fabric: Fabric, ports: Int32) -> Int32:
    """Return how many of the ports hang from each switch."""
    leaf = fabric.channel_dst[fabric.channel_of_port[ports]]
    return np.bincount(leaf, minlength=fabric.n_nodes)[: fabric.n_switches].astype(np.int32)


def _destinations(fabric: Fabric, counted: Int32) -> _Destinations:
    """Return every LID at a switch, its switch, the port there, and its kind, in the order of routing.

    Kinds: 0 carries a job's traffic, 1 other CAs and routers, 2 switches. Within a kind, along the tree.
    """
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    ports = fabric.port_of_lid[lids]
    is_switch = fabric.port_node[ports] < fabric.n_switches
    far = np.where(is_switch, ports, fabric.port_peer[ports])
    attached = (far >= 0) & (fabric.port_node[far] < fabric.n_switches)
    lids, ports, is_switch, far = lids[attached], ports[attached], is_switch[attached], far[attached]
    homes = fabric.port_node[far]
    home_port = np.where(is_switch, 0, fabric.port_number[far])
    kinds = np.where(is_switch, 2, np.where(np.isin(ports, counted), 0, 1))
    order = np.lexsort((lids, home_port, tree_order(fabric)[homes], kinds))
    return lids[order], homes[order].astype(np.int64), home_port[order], kinds[order].astype(np.int8)
