"""A drawing by tier in Graphviz's language."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fabctl.model.cables import HOST, Cables, level_name, list_cables
from fabctl.model.fabric import Fabric, speed_name

HOSTS_DRAWN = 64
"""Up to this number each host is drawn; beyond it, the HCAs on a switch share one shape."""


def dot(fabric: Fabric) -> str:
    """Return the fabric as an undirected Graphviz graph, the highest tier on top.

    Parallel cables are one edge, labelled with their number; its tooltip is their rate. Aggregation nodes, routers and nodes
    without a cable are left out.
    """
    cables = list_cables(fabric)
    below: Counter[str] = Counter()
    edges: Counter[tuple[str, str, str]] = Counter()
    for cable in np.flatnonzero(cables.low_level >= HOST).tolist():
        channel = int(cables.channel[cable])
        rate = speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel]))
        high, low = _shape(fabric, cables, cable, int(cables.high[cable])), _shape(fabric, cables, cable, int(cables.low[cable]))
        edges[high, low, rate] += 1
        below[low] += 1
    lines = [*_switches(fabric), *_hosts(fabric, edges, below)]
    for (high, low, rate), count in edges.items():
        number = f'label="{count}", ' if count > 1 else ""
        lines.append(f'  "{high}" -- "{low}" [{number}tooltip="{rate}"];')
    head = ["graph fabric {", "  graph [rankdir=TB, ranksep=2];", '  node [fontname="sans-serif"];']
    return "\n".join([*head, *lines, "}"]) + "\n"


def _shape(fabric: Fabric, cables: Cables, cable: int, node: int) -> str:
    """Return the identifier of what stands for a node at one end of a cable."""
    if node < fabric.n_switches:
        return fabric.guid_text(node)
    if len(fabric.hosts.name) > HOSTS_DRAWN and cables.high[cable] < fabric.n_switches:
        return f"under {fabric.guid_text(int(cables.high[cable]))}"
    return f"host {fabric.hosts.node_host[node]}"


def _switches(fabric: Fabric) -> list[str]:
    lines = []
    for tier in np.unique(fabric.tiers)[::-1].tolist():
        lines.append(f"  subgraph {_quoted(level_name(tier))} {{ rank=same; node [shape=box];")
        lines += [
            f'    "{fabric.guid_text(switch)}" [label={_quoted(fabric.labels[switch])}];'
            for switch in np.flatnonzero(fabric.tiers == tier).tolist()
        ]
        lines.append("  }")
    return lines


def _hosts(fabric: Fabric, edges: Counter[tuple[str, str, str]], below: Counter[str]) -> list[str]:
    shapes = sorted({end for high, low, _ in edges for end in (high, low) if not end.startswith("0x")})
    labels = {
        shape: fabric.hosts.name[int(shape[5:])]
        if shape.startswith("host ")
        else f"{below[shape]} HCA" + "s" * (below[shape] > 1)
        for shape in shapes
    }
    return [f"  {_quoted(shape)} [label={_quoted(labels[shape])}, shape=ellipse];" for shape in shapes]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
