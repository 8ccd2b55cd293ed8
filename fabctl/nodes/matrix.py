"""How ``nvidia-smi topo -m`` would print two devices of a host."""

from __future__ import annotations

from fabctl.model.node_graph import CPU, NVLINK, NVSWITCH, PCIE_SWITCH, ROOT, SMP, NodeGraph
from fabctl.nodes.paths import pcie_path

LEGEND = {
    "NV#": "NVLink, over # links",
    "PIX": "one PCIe switch",
    "PXB": "several PCIe switches",
    "PHB": "one PCIe host bridge",
    "NODE": "PCIe host bridges of one socket",
    "SYS": "from socket to socket",
}
"""What the words mean, nearest first."""


def relation(node: NodeGraph, a: str, b: str) -> str:
    """Return the word of the matrix: ``NV#`` where NVLink joins two devices directly or by NVSwitch, else how PCIe joins them.

    ``X`` for a device itself, ``-`` where nothing joins the two.
    """
    if a == b:
        return "X"
    nvlinks = _nvlinks(node, a, b)
    if nvlinks:
        return f"NV{nvlinks}"
    path = pcie_path(node, a, b)
    kinds = [node.kind_of[device] for device in path.devices]
    if not path.links:
        return "-"
    if any(link.kind == SMP for link in path.links):
        return "SYS"
    if CPU in kinds:
        return "NODE"
    if ROOT in kinds:
        return "PHB"
    return "PXB" if kinds.count(PCIE_SWITCH) > 1 else "PIX"


def matrix(node: NodeGraph) -> dict[str, dict[str, str]]:
    """Return the words of all GPUs and HCAs, by row and column."""
    names = node.gpus + node.hcas
    return {row: {column: relation(node, row, column) for column in names} for row in names}


def _nvlinks(node: NodeGraph, a: str, b: str) -> int:
    """Return how many NVLinks join two devices, directly or by an NVSwitch; 0: none."""
    own, other = _nvlink_counts(node, a), _nvlink_counts(node, b)
    direct = own.get(b, 0)
    return direct or sum(min(own[peer], other.get(peer, 0)) for peer in own if node.kind_of[peer] == NVSWITCH)


def _nvlink_counts(node: NodeGraph, device: str) -> dict[str, int]:
    return {peer: link.count for peer, link in node.neighbours[device] if link.kind == NVLINK}
