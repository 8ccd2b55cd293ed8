"""``nue``: shortest paths as far as the dependency graph stays acyclic, on any fabric, with any number of virtual lanes.

Domke, Hoefler, Matsuoka: Routing on the Dependency Graph: A New Approach to Deadlock-Free High-Performance Routing, HPDC 2016,
section 4. Destinations are divided among the lanes. A lane starts from its escape paths, in a tree around the switch that is the
most central among its destinations; then each destination gets a tree of its own, grown over dependencies that close no cycle, by
hops and then by accumulated weight. Where growth comes to an impasse, a switch on the way leaves on another hop if that opens
one, else the switches out of reach go along the escape paths: here these alone, in the paper the whole destination.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.jit import announce_compiling
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.nue_lanes import hops_and_switches, most_central, partition, start_lane
from fabctl.routing.options import Options
from fabctl.routing.order import counted_ports, tree_order
from fabctl.routing.paths import Int16, shortest_paths

Int32 = NDArray[np.int32]


def nue(fabric: Fabric, options: Options) -> RoutingTables:
    """Route any fabric in one part.

    Destinations that carry a job's traffic are routed first, for its sources; then other CAs, for all sources; then switches.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or a given root is in a part without HCAs.

    Complexity
    ----------
    O(LIDs x hops) to grow trees; per lane, O(dependencies against its order x hops) at worst for the search of cycles.
    """
    from fabctl.routing.nue_kernel import route_lane

    announce_compiling(route_lane)
    n = fabric.n_switches
    distance = shortest_paths(fabric).label
    counted, every = (_at_switches(fabric, ports) for ports in (counted_ports(fabric, options), fabric.endpoints))
    sources = np.stack([counted, every, np.zeros_like(every)])
    refuse_parts(fabric, distance, every > 0, options)
    lids, homes, home_port, kinds = _destinations(fabric, options)
    lft = np.full((n, len(fabric.port_of_lid)), NO_ROUTE, dtype=np.uint8)
    lft[homes, lids] = home_port
    if not len(lids):
        return RoutingTables(fabric, lft, "nue")
    anchor = options.roots[0] if options.roots else int(np.argmax(every))
    targets = np.unique(homes[distance[anchor, homes] >= 0])
    parts = partition(distance, targets, np.bincount(homes[kinds == 0], minlength=n), options.max_vls)
    hops, switches = hops_and_switches(fabric)
    lane_of = np.zeros(n, dtype=np.uint8)
    for vl, members in enumerate(parts):
        lane_of[members] = vl
        root = options.roots[vl % len(options.roots)] if options.roots else most_central(distance, members)
        state = start_lane(hops, switches, root, np.isin(np.arange(n), members), every)
        mine = np.isin(homes, members)
        route_lane(lft, lids[mine], homes[mine], kinds[mine], hops, switches, state, sources)
    service_level = np.zeros(lft.shape, dtype=np.uint8)
    service_level[:, lids] = lane_of[homes]
    return RoutingTables(fabric, lft, "nue", service_level if len(parts) > 1 else None)


def refuse_parts(fabric: Fabric, distance: Int16, has_hosts: NDArray[np.bool_], options: Options) -> None:
    """Raise `RefusedError` naming two switches with HCAs that no path joins, or a root that none joins to them."""
    homes = np.flatnonzero(has_hosts)
    for root in options.roots:
        if len(homes) and distance[root, homes[0]] < 0:
            raise RefusedError(
                f"root {fabric.labels[root]} cannot reach {fabric.labels[homes[0]]}: the fabric is in parts",
                hint="give a root in the part that has hosts",
            )
    lost = np.argwhere(distance[np.ix_(homes, homes)] < 0)
    if len(lost):
        names = " and ".join(fabric.labels[homes[end]] for end in lost[0])
        raise RefusedError(f"no path joins {names}: the fabric is in parts", hint="fabctl discover names the parts")


def _at_switches(fabric: Fabric, ports: Int32) -> Int32:
    """Return how many of the ports hang from each switch."""
    leaf = fabric.channel_dst[fabric.channel_of_port[ports]]
    return np.bincount(leaf, minlength=fabric.n_nodes)[: fabric.n_switches].astype(np.int32)


def _destinations(fabric: Fabric, options: Options) -> tuple[Int32, Int32, Int32, NDArray[np.int8]]:
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
    kinds = np.where(is_switch, 2, np.where(np.isin(ports, counted_ports(fabric, options)), 0, 1))
    order = np.lexsort((lids, home_port, tree_order(fabric)[homes], kinds))
    return lids[order].astype(np.int32), homes[order], home_port[order].astype(np.int32), kinds[order].astype(np.int8)
