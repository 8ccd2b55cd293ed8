"""Which node types a fabric's hosts could be: those with as many HCAs of the same model or speed."""

from __future__ import annotations

import numpy as np

from fabctl.model.catalog import Hca, hca, hcas
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names
from fabctl.units import Speed

Nodes = np.ndarray[tuple[int], np.dtype[np.intp]]


def fitting_nodes(fabric: Fabric) -> tuple[str, ...]:
    """Return the names of the shipped node types that have as many HCAs as the fabric's compute hosts, of the same model.

    Where the fabric does not tell its HCAs' model, those whose HCAs are as fast fit. It is a hint: hosts of different kinds
    inside look alike from outside.

    Complexity
    ----------
    O(nodes + ports), and the reading of all node types.
    """
    inside = _compute_hcas(fabric)
    if not inside.size:
        return ()
    model = common_hca(fabric)
    speed = Speed(_commonest(fabric.port_speed[np.isin(fabric.port_node, inside)]))
    return tuple(name for name in node_names() if _fits(load_node(name), fabric.hosts.common_hca_count, model, speed))


def common_hca(fabric: Fabric) -> Hca | None:
    """Return the commonest model of the compute hosts' HCAs; None if there are none, or it is unknown."""
    return hca(_commonest(fabric.device_id[_compute_hcas(fabric)]))


def _compute_hcas(fabric: Fabric) -> Nodes:
    hosts = fabric.hosts
    return np.flatnonzero(fabric.is_hca & np.append(hosts.is_compute, np.False_)[hosts.node_host])


def _fits(node: NodeGraph, n_hcas: int, model: Hca | None, speed: Speed) -> bool:
    if len(node.hcas) != n_hcas:
        return False
    if model is not None:
        return node.hca_model == model.name
    return any(known.name == node.hca_model and known.speed == speed.name for known in hcas())


def _commonest(values: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()]) if found.size else 0
