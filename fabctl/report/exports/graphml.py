"""GraphML, through networkx."""

from __future__ import annotations

import re
from typing import Any

import networkx as nx

from fabctl.model.fabric import Fabric

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def graphml(fabric: Fabric) -> str:
    """Return the graph of `Fabric.graph` as GraphML.

    Nodes are GUIDs and edges are cables, with the attributes of `Fabric.graph`; what is unknown is left out. The ports of
    an edge are ``source_port`` and ``target_port``. Characters that XML cannot hold become ``?``.
    """
    plain: nx.MultiGraph[str] = nx.MultiGraph()
    graph = fabric.graph()
    for node, attributes in graph.nodes(data=True):
        plain.add_node(node, **_plain(attributes))
    for source, target, key, attributes in graph.edges(keys=True, data=True):
        ports = attributes.pop("ports")
        source_port, target_port = ports["self"] if source == target else (ports[source], ports[target])
        plain.add_edge(source, target, key, source_port=source_port, target_port=target_port, **_plain(attributes))
    return "\n".join(nx.generate_graphml(plain, named_key_ids=True)) + "\n"


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _NOT_XML.sub("?", value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }
