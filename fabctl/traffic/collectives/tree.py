"""NCCL's double binary trees: two trees over the nodes on each channel, each of which carries half of the channel's data.

NCCL 2.30.7: ``ncclGetBtree`` and ``ncclGetDtree`` in ``src/graph/trees.cc`` give the parents, ``connectTrees`` in
``src/graph/connect.cc`` doubles the channels. Inside a node the members form a chain that ends at the one that talks to the tree.
The idea: Sanders, Speck, Träff, Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel Comput. 35, 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, Step, step
from fabctl.traffic.shape import Shape

Int = NDArray[np.int64]


def binary_tree(n: int) -> Int:
    """Return the parent of each of n nodes, shape (n,), -1 for the root, node 0.

    With the lowest set bit of `r` cleared and the next higher one set; with the bit just cleared where that is no node.
    """
    node = np.arange(n)
    bit = node & -node
    parent = (node ^ bit) | (bit << 1)
    parent = np.where(parent >= n, node ^ bit, parent)
    parent[0] = -1
    return parent


def double_binary_tree(n: int) -> Int:
    """Return the parents in both trees, shape (2, n): the second is the first mirrored for even n, shifted by one for odd n.

    Every node has no children in one of the two, but for node 0 where n is odd.
    """
    first = binary_tree(n)
    node = np.arange(n)
    image = node - 1 if n % 2 else n - 1 - node  # a node's place in the first tree; -1 stands for the last one
    parent = first[image]
    back = (parent + 1) % n if n % 2 else n - 1 - parent
    return np.stack([first, np.where(parent < 0, -1, back)])


def edges(n_nodes: int) -> tuple[Int, Int, Int]:
    """Return tree, child and parent of all edges of both trees, arrays of shape (2 (n_nodes - 1),)."""
    parents = double_binary_tree(n_nodes)
    tree, child = np.nonzero(parents >= 0)
    return tree, child, parents[tree, child]


def rounds(shape: Shape, _operation: str) -> list[Round]:
    """Return both directions of each edge of the trees, S / 2C each on C channels; reduction and broadcast overlap."""
    _, child, parent = edges(shape.n_nodes)
    rail = np.arange(shape.n_channels) % shape.n_rails
    lower, upper = shape.leader[child[:, None], rail], shape.leader[parent[:, None], rail]
    return [round_of(np.stack([lower, upper]), np.stack([upper, lower]), 0.5 / shape.n_channels)]


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the steps: along the chains to the heads, up the trees, and all the way back."""
    halves = 2 * shape.n_channels
    piece = np.arange(halves).reshape(2, -1)  # (tree, channel)
    heads = shape.leader[:, np.arange(shape.n_channels) % shape.n_rails]
    up = [*_along_chains(shape, heads), *up_trees(double_binary_tree(shape.n_nodes), heads, piece)]
    return Schedule(halves, (*up, *(_returned(one) for one in reversed(up))))


def up_trees(parents: Int, heads: Int, piece: Int) -> list[Step]:
    """Return the steps from the leaves of trees to the roots, the deepest nodes first.

    Parameters
    ----------
    parents : int64 array of shape (trees, nodes)
    heads : int64 array of shape (nodes, channels)
        Member that stands for a node on a channel.
    piece : int64 array of shape (trees, channels)
    """
    depth = np.zeros(parents.shape, dtype=np.int64)
    above = parents.copy()
    while np.any(above >= 0):
        depth += above >= 0
        above = np.where(above >= 0, np.take_along_axis(parents, np.maximum(above, 0), axis=1), -1)
    steps = []
    for level in range(int(depth.max()), 0, -1):
        tree, child = np.nonzero(depth == level)
        steps.append(step(heads[child], heads[parents[tree, child]], piece[tree], adds=True))
    return steps


def _along_chains(shape: Shape, heads: Int) -> list[Step]:
    """Return the steps inside the nodes: on each channel from the chain's last member to its head."""
    sent: dict[int, list[tuple[int, int, int]]] = {}
    for channel in range(shape.n_channels):
        for node in range(shape.n_nodes):
            chain = shape.chain(node, int(heads[node, channel])).tolist()
            for place in range(1, len(chain)):
                for piece in (channel, channel + shape.n_channels):
                    sent.setdefault(place, []).append((chain[place], chain[place - 1], piece))
    return [step(*np.array(sent[place]).T, adds=True) for place in sorted(sent, reverse=True)]


def _returned(one: Step) -> Step:
    """Return the step in which the result goes the way back."""
    return step(one.dst, one.src, one.first, one.count, out=one.enter, enter=one.out)


ALGORITHM = Algorithm("tree", ("all_reduce",), schedule, rounds)
