"""HCAs grouped into machines, and machines' HCAs numbered into rails.

How a host was grouped is part of the answer (`Hosts.grouped_by`):

``name``          its HCAs carry one host name and different device names
``default-name``  the same, but the name is one that unconfigured machines share (``localhost``)
``system-image``  an HCA without a host name shares its system image GUID (one board) with a named one
``single``        one HCA whose description is the host's name
``ambiguous``     several HCAs claim one host and one device name: each is kept apart
``unnamed``       the HCA has a factory name: it belongs to some machine, fabctl does not guess which
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.naming import DEFAULT_HOST_NAMES, natural_key, split_host_device


@dataclass(frozen=True, eq=False)
class Hosts:
    """Machines of a fabric, in natural order of their names.

    Parameters
    ----------
    name, grouped_by : tuple of str of length n_hosts
    node_host : int32 array of shape (n_nodes,)
        Host of each HCA; -1 for everything else.
    node_device : tuple of str of length n_nodes
        Device part of each HCA's description (``mlx5_0``), empty where there is none.
    node_order : int32 array of shape (n_nodes,)
        Rank of each HCA by device within its host.
    node_rail : int32 array of shape (n_nodes,)
        Rail of each HCA; -1 where unknown.
    hca_count : int32 array of shape (n_hosts,)
    common_hca_count : int
        HCAs of the host that the typical HCA sits in; 0 without hosts.
    is_compute : bool array of shape (n_hosts,)
        Hosts with more than half of the common number of HCAs. An unnamed HCA counts as compute: it sits in a machine
        that cannot be told.
    """

    name: tuple[str, ...]
    grouped_by: tuple[str, ...]
    node_host: NDArray[np.int32]
    node_device: tuple[str, ...]
    node_order: NDArray[np.int32]
    node_rail: NDArray[np.int32]
    hca_count: NDArray[np.int32]
    common_hca_count: int
    is_compute: NDArray[np.bool_]


def group_hosts(fabric: Fabric) -> Hosts:
    """Group a fabric's HCAs into machines.

    Complexity
    ----------
    O(n log n) in the number of HCAs.
    """
    hcas = np.flatnonzero(fabric.is_hca).tolist()
    parsed = {node: split_host_device(fabric.node_name[node]) for node in hcas}
    groups = _by_name(hcas, parsed, fabric) + _unnamed([node for node in hcas if parsed[node] is None], parsed, fabric)
    merged: dict[str, tuple[str, list[int]]] = {}
    for name, how, nodes in groups:
        if name in merged:
            merged[name] = ("system-image", merged[name][1] + nodes)
        else:
            merged[name] = (how, nodes)
    names = sorted(merged, key=natural_key)

    devices = ["" for _ in range(fabric.n_nodes)]
    for node in hcas:
        found = parsed[node]
        devices[node] = found[1] if found else ""
    node_host = np.full(fabric.n_nodes, -1, dtype=np.int32)
    node_order = np.full(fabric.n_nodes, -1, dtype=np.int32)
    members: list[list[int]] = []
    for host, name in enumerate(names):
        nodes = sorted(merged[name][1], key=lambda node: (natural_key(devices[node]), int(fabric.node_guid[node])))
        node_host[nodes] = host
        node_order[nodes] = np.arange(len(nodes))
        members.append(nodes)
    hca_count = np.array([len(nodes) for nodes in members], dtype=np.int32)
    grouped_by = tuple(merged[name][0] for name in names)
    common = _common_count(hca_count)
    unnamed = np.array([how == "unnamed" for how in grouped_by], dtype=bool).reshape(hca_count.shape)
    return Hosts(
        name=tuple(names),
        grouped_by=grouped_by,
        node_host=node_host,
        node_device=tuple(devices),
        node_order=node_order,
        node_rail=_rails(fabric.n_nodes, members, devices, common),
        hca_count=hca_count,
        common_hca_count=common,
        is_compute=(2 * hca_count > common) | unnamed,
    )


_Group = tuple[str, str, list[int]]


def _by_name(hcas: list[int], parsed: dict[int, tuple[str, str] | None], fabric: Fabric) -> list[_Group]:
    by_name: defaultdict[str, list[int]] = defaultdict(list)
    for node in hcas:
        found = parsed[node]
        if found is not None:
            by_name[found[0]].append(node)
    groups: list[_Group] = []
    for name, nodes in by_name.items():
        devices = {found[1] for node in nodes if (found := parsed[node]) is not None}
        if len(devices) < len(nodes):
            groups += [(f"{name} ({fabric.guid_text(node)})", "ambiguous", [node]) for node in nodes]
        elif name.lower() in DEFAULT_HOST_NAMES:
            groups.append((name, "default-name", nodes))
        else:
            groups.append((name, "single" if devices == {""} else "name", nodes))
    return groups


def _unnamed(nodes: list[int], parsed: dict[int, tuple[str, str] | None], fabric: Fabric) -> list[_Group]:
    """HCAs with factory names: join the one named host on the same board, else stand alone."""
    board_names: defaultdict[int, set[str]] = defaultdict(set)
    for node, found in parsed.items():
        if found is not None and fabric.system_guid[node]:
            board_names[int(fabric.system_guid[node])].add(found[0])
    groups: list[_Group] = []
    for node in nodes:
        names = board_names.get(int(fabric.system_guid[node]), set())
        if len(names) == 1:
            groups.append((next(iter(names)), "system-image", [node]))
        else:
            groups.append((fabric.guid_text(node), "unnamed", [node]))
    return groups


def _common_count(hca_count: NDArray[np.int32]) -> int:
    if not len(hca_count):
        return 0
    return int(np.argmax(np.bincount(hca_count, weights=hca_count)))


def _rails(n_nodes: int, members: list[list[int]], devices: list[str], common: int) -> NDArray[np.int32]:
    """Return each HCA's rail: its device's rank in complete hosts; incomplete hosts follow their device names."""
    rail = np.full(n_nodes, -1, dtype=np.int32)
    votes: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for nodes in members:
        if len(nodes) == common:
            rail[nodes] = np.arange(common)
            for order, node in enumerate(nodes):
                votes[devices[node]][order] += 1
    for nodes in members:
        if len(nodes) != common:
            for node in nodes:
                if devices[node] in votes:
                    rail[node] = votes[devices[node]].most_common(1)[0][0]
    return rail
