"""Slurm's topology files: ``topology.conf`` for the tree plugin, ``topology.yaml`` (Slurm 25.05) for tree and block.

The grammar is that of the manual pages topology.conf(5) and topology.yaml(5).
"""

from __future__ import annotations

from typing import Any

from fabctl.model.fabric import Fabric
from fabctl.report.exports.slurm_tree import SlurmTree, fold_names, slurm_tree


def topology_conf(fabric: Fabric) -> str:
    """Return a ``topology.conf`` for ``TopologyPlugin=topology/tree``."""
    tree = slurm_tree(fabric)
    lines = [f"# {line}" for line in _comment(tree)]
    lines += [f"SwitchName={branch.name} Switches={fold_names(branch.children)}" for branch in tree.branches]
    lines += [f"SwitchName={unit.name} Nodes={fold_names(unit.hosts)}" for unit in tree.units]
    return "\n".join(lines) + "\n"


def topology_yaml(fabric: Fabric) -> str:
    """Return a ``topology.yaml`` with two topologies: ``tree``, the default, and ``block``.

    A block is the compute hosts of one unit. The base block size is the size of the smallest block, as Slurm demands that no
    block be smaller; hosts that are not compute hosts are in the tree alone.
    """
    import yaml

    tree = slurm_tree(fabric)
    switches: list[dict[str, Any]] = [
        {"switch": branch.name, "children": fold_names(branch.children)} for branch in tree.branches
    ]
    switches += [{"switch": unit.name, "nodes": fold_names(unit.hosts)} for unit in tree.units]
    topologies: list[dict[str, Any]] = [{"topology": "tree", "cluster_default": True, "tree": {"switches": switches}}]
    filled = [unit for unit in tree.units if unit.compute]
    comment = _comment(tree)
    if filled:
        smallest = min(filled, key=lambda unit: len(unit.compute))
        comment.append(f"The smallest block, {smallest.name}, sets the base block size: {len(smallest.compute)}.")
        blocks = [{"block": unit.name, "nodes": fold_names(unit.compute)} for unit in filled]
        block = {"block_sizes": [len(smallest.compute)], "blocks": blocks}
        topologies.append({"topology": "block", "cluster_default": False, "block": block})
    head = "".join(f"# {line}\n" for line in comment)
    return head + str(yaml.safe_dump(topologies, sort_keys=False, width=1_000_000))


def _comment(tree: SlurmTree) -> list[str]:
    lines = [f"Written by fabctl. Hosts: {sum(len(unit.hosts) for unit in tree.units)}. Leaf switches: {len(tree.units)}."]
    merged = [unit for unit in tree.units if len(unit.leaves) > 1]
    if merged:
        lines.append("Leaves that serve the same hosts count as one switch, so that each host appears once:")
        lines += [f"  {unit.name}: {', '.join(unit.leaves)}" for unit in merged]
    return lines + [f"Left out: {reason}" for reason in tree.left_out]
