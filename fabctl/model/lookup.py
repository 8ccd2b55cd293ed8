"""Nodes and ports by what people call them: GUID, label, description, ``node/P7``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric

_GUID = re.compile(r"0x[0-9a-fA-F]{1,16}")
_PORT = re.compile(r"(?P<node>.+)/P(?P<number>\d+)")


def find_switch(fabric: Fabric, text: str, where: str = "") -> int:
    """Return the switch that has a GUID or a name.

    Raises
    ------
    InputError
        If no switch has it, or several have; the nearest names are offered.
    """
    return _only(fabric, _nodes(fabric, text), text, range(fabric.n_switches), "switch", where)


def find_hca_port(fabric: Fabric, text: str, where: str = "") -> int:
    """Return an HCA's connected port by its port GUID, as ``node/P1``, or by its node where that has one such port.

    The switch port at the other end of its cable stands for it as well.

    Raises
    ------
    InputError
        If there is no such port, or it is not connected to an HCA; the nearest names are offered.
    """
    match = _PORT.fullmatch(text)
    if _GUID.fullmatch(text):
        ports = np.flatnonzero((fabric.port_guid == int(text, 16)) & (fabric.port_number > 0))
        if not len(ports):
            ports = _connected(fabric, _nodes(fabric, text))
    elif match:
        node = _only(fabric, _nodes(fabric, match["node"]), match["node"], range(fabric.n_nodes), "node", where)
        ports = np.flatnonzero((fabric.port_node == node) & (fabric.port_number == int(match["number"])))
    else:
        node = _only(fabric, _nodes(fabric, text), text, range(fabric.n_nodes), "node", where)
        ports = _connected(fabric, [node])
    ends = {int(port) if fabric.is_hca[fabric.port_node[port]] else int(fabric.port_peer[port]) for port in ports}
    found = [port for port in ends if port >= 0 and fabric.is_hca[fabric.port_node[port]] and fabric.port_peer[port] >= 0]
    if len(found) != 1:
        some = fabric.port_label(int(fabric.endpoints[0])) if len(fabric.endpoints) else "node/P1"
        what = "is no connected port of an HCA" if not found else f"has {len(found)} connected ports"
        raise InputError(f"'{text}' {what}", where=where, hint=f"write it as fabctl does: {some}")
    return found[0]


def _nodes(fabric: Fabric, text: str) -> list[int]:
    if _GUID.fullmatch(text):
        return [int(node) for node in np.flatnonzero(fabric.node_guid == int(text, 16))]
    return [node for node, label in enumerate(fabric.labels) if text in (label, fabric.node_name[node])]


def _connected(fabric: Fabric, nodes: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.flatnonzero(np.isin(fabric.port_node, nodes) & (fabric.port_peer >= 0))


def _only(fabric: Fabric, found: list[int], text: str, among: Iterable[int], kind: str, where: str) -> int:
    nodes = [node for node in found if node in among]
    if len(nodes) == 1:
        return nodes[0]
    if nodes:
        guids = ", ".join(fabric.guid_text(node) for node in nodes[:3])
        raise InputError(f"{len(nodes)} nodes are called '{text}'", where=where, hint=f"give one's GUID: {guids}")
    if found:
        raise InputError(f"'{text}' is no {kind}", where=where)
    names = [fabric.guid_text(node) if _GUID.fullmatch(text) else fabric.labels[node] for node in among]
    near = get_close_matches(text, names, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names[:3])} ..."
    raise InputError(f"no {kind} '{text}' in this fabric", where=where, hint=hint if names else "")
