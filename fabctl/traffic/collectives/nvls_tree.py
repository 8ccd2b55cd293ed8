"""NCCL's NVLSTree: the NVLink switch reduces inside each node, double binary trees per rail join the nodes.

NCCL 2.30.7: ``connectNvls`` in ``src/graph/connect.cc``: one head per NIC of a node, each with both trees of ``ncclGetDtree``,
which its channels take in turn. Over the fabric it is what `fabctl.traffic.collectives.tree` sends with one channel per rail.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fabctl.traffic.algorithm import Algorithm, Round
from fabctl.traffic.collectives import tree
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Shape


def rounds(shape: Shape, operation: str) -> list[Round]:
    """Return both directions of each edge of the trees, S / 2k each on k rails."""
    return tree.rounds(replace(shape, channels=shape.n_rails), operation)


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the steps: to the switch (number n + node), to the heads, up the trees, and all the way back."""
    pieces, n = 2 * shape.n_rails, len(shape)
    piece = np.arange(pieces).reshape(2, -1)  # (tree, rail)
    member, switch = np.arange(n), n + shape.node
    heads = shape.leader
    at = n + np.arange(shape.n_nodes)[:, None, None]
    own = step(at, heads[:, None, :], piece)
    up = tree.up_trees(tree.double_binary_tree(shape.n_nodes), heads, piece)
    down = [step(one.dst, one.src, one.first) for one in reversed(up)]
    gather, spread = step(member, switch, 0, pieces, adds=True), step(switch, member, 0, pieces)
    return Schedule(pieces, (gather, own, *up, *down, step(own.dst, own.src, own.first), spread))


ALGORITHM = Algorithm("nvls-tree", ("all_reduce",), schedule, rounds)
