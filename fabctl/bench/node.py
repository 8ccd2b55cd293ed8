"""A node graph to a `NodeView`: how its devices are joined, which HCA serves which GPU, and what it allows a ring."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from fabctl.bench.gpudirect import gdr_of
from fabctl.bench.inside import inside_limits
from fabctl.errors import RefusedError
from fabctl.model.node_graph import CPU, NVLINK, PCIE, NodeGraph
from fabctl.model.node_view import GpuView, LinkGroup, NodeView
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit
from fabctl.nodes.matrix import LEGEND, matrix
from fabctl.nodes.paths import find_path, pxn_relays, serving_hcas

N_HOSTS = 2
"""Busbw of rings is the same for any number of hosts above one."""


def view_node(node: NodeGraph) -> NodeView:
    """Return what is inside a host, counting on NCCL's default offloads.

    Complexity
    ----------
    O(GPUs x (GPUs + HCAs) x links).
    """
    return NodeView(
        name=node.name,
        title=node.title,
        cpu_vendor=node.cpu_vendor,
        gpu_model=node.gpu_model,
        hca_model=node.hca_model,
        gpus=_gpus(node),
        n_hcas=len(node.hcas),
        n_sockets=len(node.of_kind(CPU)),
        matrix=matrix(node),
        legend=LEGEND,
        links=_links(node),
        direct=_ring_limits(node, Offloads()),
        staged=_ring_limits(node, Offloads(gdr=False)),
        notes=node.notes,
    )


def _gpus(node: NodeGraph) -> tuple[GpuView, ...]:
    relays = pxn_relays(node)
    serving = serving_hcas(node) or [""] * len(node.gpus)
    views = []
    for gpu, hca in zip(node.gpus, serving, strict=True):
        if not hca:
            views.append(GpuView(gpu, "", "", 0.0, send=False, receive=False, reason="no HCA", relays={}))
            continue
        path, gdr = find_path(node, gpu, hca), gdr_of(node, gpu, hca, Offloads())
        through = {other: relays[gpu, other] for other in node.hcas if (gpu, other) in relays}
        views.append(GpuView(gpu, hca, path.type.name, path.gb_s, gdr.send, gdr.receive, gdr.reason, through))
    return tuple(views)


def _links(node: NodeGraph) -> tuple[LinkGroup, ...]:
    groups: Counter[LinkGroup] = Counter()
    for link in node.links:
        groups[LinkGroup(link.kind, link.gb_s / link.count, link.latency_us, 0, link.source)] += link.count
    return tuple(replace(group, links=links) for group, links in groups.items())


def _ring_limits(node: NodeGraph, offloads: Offloads) -> tuple[Limit, ...]:
    unknown = any(not link.gb_s for link in node.links if link.kind in (NVLINK, PCIE))
    if unknown or not node.gpus:
        return ()
    n_ranks = N_HOSTS * len(node.gpus)
    try:
        limits = inside_limits(node, "all_reduce", "Ring", N_HOSTS, n_ranks, node.hcas, offloads)
    except RefusedError:
        return ()
    return tuple(replace(limit, algbw_gb_s=limit.algbw_gb_s * 2 * (n_ranks - 1) / n_ranks) for limit in limits)
