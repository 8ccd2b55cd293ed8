"""Faults on purpose: cables, switches and hosts taken out of a fabric, by name or at random.

What stays keeps its GUIDs, LIDs and port numbers, so tables of the whole fabric and of the faulty one can be compared. As in
a dump, an HCA or aggregation node without its cable is not seen at all, and a switch's port without its cable is not listed.

The keys of ``remove``:

``names``     switches (``spine-2``), hosts (``node-0001``), ports (``leaf-1/P20``: the cable on it) and pairs
              (``leaf-1 - spine-2``: all cables that join the two)
``switches``  how many more switches, at random: a number, or a fraction of those that are left
``cables``    the same for cables between switches
``seed``      0 by default; with the same seed, a larger number takes out all that a smaller one does
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric, Int32
from fabctl.model.naming import natural_key
from fabctl.yamlspec import Node, suggestion

KEYS = ("seed", "cables", "switches", "names")

Mask = NDArray[np.bool_]

_PORT = re.compile(r"(?P<node>.+)/P(?P<number>\d{1,3})")
_PAIR = re.compile(r"\s+->?\s+")


def remove(fabric: Fabric, spec: Node) -> Fabric:
    """Return a fabric without what a spec's ``remove`` takes out.

    Raises
    ------
    InputError
        If a name is unknown, a number larger than what there is, or no host is left; with ``file:line:column``.
    """
    values = spec.mapping(KEYS)
    seed = values["seed"].integer(low=0) if "seed" in values else 0
    nodes, channels = _by_name(fabric, values)
    switch = np.arange(fabric.n_nodes) < fabric.n_switches
    if "switches" in values:
        nodes[_drawn(values["switches"], switch & ~nodes, (seed, 0))] = True
    src, dst = fabric.channel_src, fabric.channel_dst
    channels |= nodes[src] | nodes[dst]
    if "cables" in values:
        once = switch[src] & switch[dst] & (fabric.channel_reverse > np.arange(len(src)))
        channels[_drawn(values["cables"], once & ~channels, (seed, 1))] = True
    channels |= channels[fabric.channel_reverse]
    nodes[src[channels & ~switch[src]]] = True
    if not np.any(fabric.is_hca & ~nodes):
        raise spec.error("this takes every host out")
    return _without(fabric, nodes, channels)


def _drawn(place: Node, candidates: Mask, seed: tuple[int, int]) -> Int32:
    """Return as many of the candidates as a spec says, chosen by numbers that each keeps whatever the others are."""
    number = np.random.PCG64(list(seed)).random_raw(len(candidates))
    left = np.flatnonzero(candidates)
    place.number(low=0)
    fraction = "." in place.text()
    count = round(place.number(high=1) * len(left)) if fraction else place.integer(high=len(left))
    return left[np.argsort(number[left], kind="stable")][:count].astype(np.int32)


def _by_name(fabric: Fabric, values: Mapping[str, Node]) -> tuple[Mask, Mask]:
    """Return masks of the nodes and of the channels that are named."""
    nodes = np.zeros(fabric.n_nodes, dtype=bool)
    channels = np.zeros(len(fabric.channel_port), dtype=bool)
    if "names" in values:
        known = _nodes_by_name(fabric)
        for place in values["names"].items():
            ends = _PAIR.split(place.text().strip())
            if len(ends) == 1 and not _PORT.fullmatch(ends[0]):
                nodes[_named(ends[0], known, place)] = True
            else:
                channels[_cables(fabric, ends, known, place)] = True
    return nodes, channels


def _nodes_by_name(fabric: Fabric) -> dict[str, list[int]]:
    """Return the nodes that each name stands for: one for a label, all HCAs for a host."""
    known: dict[str, list[int]] = {}
    for node in np.flatnonzero(fabric.is_hca).tolist():
        known.setdefault(fabric.hosts.name[fabric.hosts.node_host[node]], []).append(node)
    return known | {label: [node] for node, label in enumerate(fabric.labels)}


def _named(name: str, known: Mapping[str, list[int]], place: Node) -> list[int]:
    if name not in known:
        raise place.error(f"there is no '{name}' in this fabric", hint=suggestion(name, known))
    return known[name]


def _cables(fabric: Fabric, ends: list[str], known: Mapping[str, list[int]], place: Node) -> Int32:
    """Return the channels that leave the first end, for the second if there are two."""
    if len(ends) > 2:
        raise place.error(f"'{place.text()}' has more than two ends", hint="write leaf-1/P20, or leaf-1 - spine-2")
    here, *there = (_ports(fabric, end, known, place) for end in ends)
    leaving = here[fabric.channel_port]
    found = leaving & there[0][fabric.port_peer[fabric.channel_port]] if there else leaving
    if not found.any():
        _refuse_cable(fabric, ends, known, place)
    return np.flatnonzero(found).astype(np.int32)


def _ports(fabric: Fabric, end: str, known: Mapping[str, list[int]], place: Node) -> Mask:
    """Return a mask of the ports that ``leaf-1`` or ``leaf-1/P20`` stands for."""
    port = _PORT.fullmatch(end)
    mask = np.isin(fabric.port_node, _named(port["node"] if port else end, known, place))
    return mask & (fabric.port_number == int(port["number"])) if port else mask


def _refuse_cable(fabric: Fabric, ends: list[str], known: Mapping[str, list[int]], place: Node) -> None:
    port = _PORT.fullmatch(ends[0])
    node = port["node"] if port else ends[0]
    leaving = np.isin(fabric.channel_src, known[node])
    if len(ends) == 1:
        numbers = fabric.port_number[fabric.channel_port[leaving]]
        raise place.error(f"no cable is on {ends[0]}", hint=f"'{node}' has cables on ports {numbers.min()} to {numbers.max()}")
    neighbours = sorted({fabric.labels[peer] for peer in fabric.channel_dst[leaving].tolist()}, key=natural_key)
    raise place.error(f"no cable joins {ends[0]} and {ends[1]}", hint=suggestion(ends[1], neighbours))


def _without(fabric: Fabric, nodes: Mask, channels: Mask) -> Fabric:
    """Return a fabric without some nodes and both channels of some cables, all that goes with them marked already."""
    cut = np.zeros(len(fabric.port_node), dtype=bool)
    cut[fabric.channel_port[channels]] = True
    keep_port, keep = ~cut & ~nodes[fabric.port_node], ~nodes
    new_node, new_port = np.cumsum(keep) - 1, np.cumsum(keep_port) - 1
    peer = fabric.port_peer[keep_port]
    return replace(
        fabric,
        node_kind=fabric.node_kind[keep],
        node_guid=fabric.node_guid[keep],
        system_guid=fabric.system_guid[keep],
        vendor_id=fabric.vendor_id[keep],
        device_id=fabric.device_id[keep],
        node_port_count=fabric.node_port_count[keep],
        node_name=tuple(fabric.node_name[node] for node in np.flatnonzero(keep).tolist()),
        port_node=new_node[fabric.port_node[keep_port]].astype(np.int32),
        port_number=fabric.port_number[keep_port],
        port_guid=fabric.port_guid[keep_port],
        port_lid=fabric.port_lid[keep_port],
        port_lmc=fabric.port_lmc[keep_port],
        port_lanes=fabric.port_lanes[keep_port],
        port_speed=fabric.port_speed[keep_port],
        port_peer=np.where(peer >= 0, new_port[peer], -1).astype(np.int32),
    )
