"""The fat trees that htsim builds, recognised in a fabric: pods of leaves and aggregation switches, and cores above them.

The rules are those of FatTreeTopology (Broadcom/csg-htsim, sim/datacenter/fat_tree_topology.cpp): every leaf has as many hosts,
and a bundle of cables to every aggregation switch of its pod; the cores fall into as many groups as a pod has aggregation
switches, and each core has a bundle to one of them in every pod. Two tiers are one pod without cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.components import components
from fabctl.model.fabric import Fabric

Int = NDArray[np.int64]


@dataclass(frozen=True)
class FatTree:
    """A fat tree in htsim's numbers.

    Parameters
    ----------
    hosts : int
    tiers : int
        2 or 3.
    pod_hosts, leaf_hosts : int
    radix_up : tuple of int of length tiers - 1
        Cables upwards of a leaf, and of an aggregation switch.
    radix_down : tuple of int of length tiers
    bundle : tuple of int of length tiers
        Parallel cables between two switches, below each tier; 1 below the leaves.
    """

    hosts: int
    tiers: int
    pod_hosts: int
    leaf_hosts: int
    radix_up: tuple[int, ...]
    radix_down: tuple[int, ...]
    bundle: tuple[int, ...]


def host_order(fabric: Fabric) -> NDArray[np.int32]:
    """Return the connected HCA ports in the order in which htsim numbers hosts: pod by pod, leaf by leaf, port by port."""
    ports = fabric.endpoints
    peer = fabric.port_peer[ports]
    leaf = fabric.port_node[peer]
    pod = np.append(_pods(fabric), np.zeros(fabric.n_nodes - fabric.n_switches, dtype=np.int64))
    return ports[np.lexsort((fabric.port_number[peer], leaf, pod[leaf]))]


def find_fat_tree(fabric: Fabric) -> FatTree:
    """Return the fat tree that a fabric is.

    Raises
    ------
    RefusedError
        If it is none that htsim can build; the message says what stands in the way.
    """
    n, tiers = fabric.n_switches, fabric.tiers
    top = int(tiers.max(initial=-1))
    if top not in (1, 2) or tiers.min() < 0:
        raise _refusal(f"it has {top + 1} tiers of switches, htsim's have 2 or 3")
    hosts = np.bincount(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]], minlength=n)
    if hosts[:n][tiers > 0].any() or hosts[n:].any():
        raise _refusal("hosts hang from other switches than leaves")
    leaf_hosts = _only(hosts[:n][tiers == 0], "hosts under a leaf")
    links = _links(fabric)
    if np.any(tiers[links[:, 1]] - tiers[links[:, 0]] != 1):
        raise _refusal("cables join switches of one tier, or skip a tier")
    pods = _pods(fabric)
    lower = links[tiers[links[:, 0]] == 0]
    leaves = _only(np.unique(pods[tiers == 0], return_counts=True)[1], "leaves in a pod")
    spines = _only(np.unique(pods[tiers == 1], return_counts=True)[1], "aggregation switches in a pod")
    n_pods = len(np.unique(pods[tiers < max(top, 1)])) if top == 2 else 1
    if len(lower) != n_pods * leaves * spines:
        raise _refusal("a leaf is not joined to every aggregation switch of its pod")
    bundle = _only(lower[:, 2], "cables between a leaf and an aggregation switch")
    radix_up, radix_down, bundles = [spines * bundle], [leaf_hosts, leaves * bundle], [1, bundle]
    if top == 2:
        cores, core_bundle = _check_cores(links[tiers[links[:, 0]] == 1], pods, n_pods, spines)
        radix_up.append(cores * core_bundle)
        radix_down.append(n_pods * core_bundle)
        bundles.append(core_bundle)
    pod_hosts = leaves * leaf_hosts
    return FatTree(n_pods * pod_hosts, top + 1, pod_hosts, leaf_hosts, tuple(radix_up), tuple(radix_down), tuple(bundles))


def _check_cores(upper: Int, pods: Int, n_pods: int, spines: int) -> tuple[int, int]:
    """Return how many cores each aggregation switch joins, and by how many cables."""
    bundle = _only(upper[:, 2], "cables between an aggregation switch and a core")
    cores, position = np.unique(upper[:, 1], return_inverse=True)
    below: dict[tuple[int, ...], int] = {}
    for core in range(len(cores)):
        group = tuple(sorted(upper[position == core, 0].tolist()))
        if len(group) != n_pods or len({int(pods[switch]) for switch in group}) != n_pods:
            raise _refusal("a core is not joined to one aggregation switch of every pod")
        below[group] = below.get(group, 0) + 1
    if len(below) != spines:
        raise _refusal("cores do not fall into groups that join one aggregation switch of every pod")
    return _only(np.array(list(below.values())), "cores above an aggregation switch"), bundle


def _links(fabric: Fabric) -> Int:
    """Return lower switch, higher switch and number of cables of every pair of switches that are joined."""
    n, src, dst = fabric.n_switches, fabric.channel_src, fabric.channel_dst
    tier = np.append(fabric.tiers.astype(np.int64), np.full(fabric.n_nodes - n, 99))
    up = (src < n) & (dst < n) & ((tier[src] < tier[dst]) | ((tier[src] == tier[dst]) & (src <= dst)))
    pairs, count = np.unique(np.stack([src[up], dst[up]], axis=1), axis=0, return_counts=True)
    return np.column_stack([pairs, count]).astype(np.int64).reshape(-1, 3)


def _pods(fabric: Fabric) -> Int:
    """Return the pod of each switch: what hangs together below the highest of three or more tiers."""
    n, tiers = fabric.n_switches, fabric.tiers
    top = int(tiers.max(initial=0))
    if top < 2:
        return np.zeros(n, dtype=np.int64)
    src, dst = fabric.channel_src, fabric.channel_dst
    inside = (src < n) & (dst < n)
    inside[inside] = (tiers[src[inside]] < top) & (tiers[dst[inside]] < top)
    return components(n, src[inside], dst[inside])


def _only(values: NDArray[np.integer], what: str) -> int:
    found = np.unique(values)
    if len(found) != 1:
        raise _refusal(f"there are {found.min(initial=0)} to {found.max(initial=0)} {what}")
    return int(found[0])


def _refusal(reason: str) -> RefusedError:
    return RefusedError(f"this is no fat tree that htsim can build: {reason}", hint="-o htsim writes the flows alone")
