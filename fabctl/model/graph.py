"""The fabric as a networkx MultiGraph, for users' scripts, exporters and tests."""

from __future__ import annotations

from typing import Any

import networkx as nx

from fabctl.model.fabric import Fabric, NodeKind, speed_name


def build_graph(fabric: Fabric) -> nx.MultiGraph[str]:
    """Return the graph that `Fabric.graph` documents."""
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    guids = [fabric.guid_text(node) for node in range(fabric.n_nodes)]
    lids = _node_lids(fabric)
    hosts = fabric.hosts
    for node, guid in enumerate(guids):
        attributes: dict[str, Any] = {
            "kind": NodeKind(fabric.node_kind[node]).name.lower(),
            "label": fabric.labels[node],
            "description": fabric.node_name[node],
            "lid": lids[node],
            "vendor_id": int(fabric.vendor_id[node]),
            "device_id": int(fabric.device_id[node]),
            "aggregation": bool(fabric.is_aggregation[node]),
        }
        if node < fabric.n_switches:
            attributes["tier"] = int(fabric.tiers[node])
        if hosts.node_host[node] >= 0:
            attributes["host"] = hosts.name[hosts.node_host[node]]
            attributes["rail"] = int(hosts.node_rail[node])
        graph.add_node(guid, **attributes)
    for channel, port in enumerate(fabric.channel_port.tolist()):
        peer = int(fabric.port_peer[port])
        if peer < port:
            continue
        here, there = int(fabric.port_node[port]), int(fabric.port_node[peer])
        numbers = int(fabric.port_number[port]), int(fabric.port_number[peer])
        known = bool(fabric.capacity_gbps[channel])
        graph.add_edge(
            guids[here],
            guids[there],
            key=f"{numbers[0]}-{numbers[1]}",
            ports={"self": list(numbers)} if here == there else {guids[here]: numbers[0], guids[there]: numbers[1]},
            lanes=int(fabric.channel_lanes[channel]) or None,
            speed=speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel])),
            capacity_gbps=float(fabric.capacity_gbps[channel]) if known else None,
            data_gbps=float(fabric.data_gbps[channel]) if known else None,
        )
    return graph


def _node_lids(fabric: Fabric) -> list[int]:
    lids = [0] * fabric.n_nodes
    for node, lid in zip(fabric.port_node.tolist(), fabric.port_lid.tolist(), strict=True):
        if lid and (not lids[node] or lid < lids[node]):
            lids[node] = lid
    return lids
