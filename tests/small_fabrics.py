"""Small fabrics and their obvious routes, built by hand: oracles that share no code with the generators and engines."""

from __future__ import annotations

import numpy as np

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.flows import Flows
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.units import Speed

LEAF, SPINE, HCA = 0x1000, 0x2000, 0x100000


def two_levels(
    hosts: int, hosts_per_leaf: int, spines: int, *, rails: int = 1, host_speed: int = Speed.NDR, up_speed: int = Speed.NDR
) -> Fabric:
    """Return leaves under spines, one cable from each leaf to each spine; rail `r` of all hosts has leaves of its own.

    Host `h` is ``nHHHH``, its HCAs ``mlx5_R``. LIDs count rail by rail, host by host, from 0x400 on.
    """
    builder = FabricBuilder()
    leaves = -(-hosts // hosts_per_leaf) * rails
    ports = hosts_per_leaf + spines
    for leaf in range(leaves):
        builder.node(NodeKind.SWITCH, LEAF + leaf, f"leaf-{leaf}", ports=ports)
        builder.port(LEAF + leaf, 0, lid=1 + leaf)
    for spine in range(spines):
        builder.node(NodeKind.SWITCH, SPINE + spine, f"spine-{spine}", ports=leaves)
        builder.port(SPINE + spine, 0, lid=1 + leaves + spine)
        for leaf in range(leaves):
            cable(builder, (LEAF + leaf, 1 + hosts_per_leaf + spine), (SPINE + spine, 1 + leaf), up_speed)
    for rail in range(rails):
        for host in range(hosts):
            guid = HCA + 256 * host + rail
            leaf = rail * (leaves // rails) + host // hosts_per_leaf
            builder.node(NodeKind.CA, guid, f"n{host:04} mlx5_{rail}", ports=1)
            builder.port(guid, 1, port_guid=guid, lid=0x400 + rail * hosts + host)
            cable(builder, (LEAF + leaf, 1 + host % hosts_per_leaf), (guid, 1), host_speed)
    return builder.build()


def cable(builder: FabricBuilder, here: tuple[int, int], there: tuple[int, int], speed: int) -> None:
    """Connect two ports, seen from both ends."""
    lanes = 4 if speed else 0
    builder.link(*here, *there, lanes=lanes, speed=speed)
    builder.link(*there, *here, lanes=lanes, speed=speed)


def dmodk(fabric: Fabric) -> RoutingTables:
    """Return D-mod-k routes of `two_levels`: down where the host is, else up to spine (LID - 0x400) mod k."""
    lft = np.full((fabric.n_switches, int(fabric.port_lid.max()) + 1), NO_ROUTE, dtype=np.uint8)
    neighbours: list[dict[int, int]] = [{} for _ in range(fabric.n_nodes)]
    for port in fabric.channel_port.tolist():
        peer = int(fabric.port_node[fabric.port_peer[port]])
        neighbours[fabric.port_node[port]][peer] = int(fabric.port_number[port])
    spines = [switch for switch in range(fabric.n_switches) if fabric.node_guid[switch] >= SPINE]
    for port in fabric.endpoints.tolist():
        node, lid = int(fabric.port_node[port]), int(fabric.port_lid[port])
        leaf = int(fabric.port_node[fabric.port_peer[port]])
        for switch in range(fabric.n_switches):
            if switch == leaf:
                lft[switch, lid] = neighbours[switch][node]
            elif switch in spines:
                lft[switch, lid] = neighbours[switch][leaf]
            else:
                lft[switch, lid] = neighbours[switch][spines[(lid - 0x400) % len(spines)]]
    return RoutingTables(fabric, lft, "d-mod-k")


def walked(tables: RoutingTables, flows: Flows) -> np.ndarray:
    """Return the weight on each channel by following every flow port by port, in plain Python."""
    fabric = tables.fabric
    loads = np.zeros(len(fabric.channel_port))
    for src, dst, weight in zip(flows.src.tolist(), flows.dst.tolist(), flows.weight.tolist(), strict=True):
        port = src
        while True:
            loads[fabric.channel_of_port[port]] += weight
            arrived = int(fabric.port_peer[port])
            if arrived == dst:
                break
            switch = int(fabric.port_node[arrived])
            out = int(tables.lft[switch, fabric.port_lid[dst]])
            port = int(np.flatnonzero((fabric.port_node == switch) & (fabric.port_number == out))[0])
    return loads
