"""Multicast: switches copy, so that a message crosses each edge of a tree once, away from its sender.

InfiniBand Architecture Specification volume 1, chapter 10: the subnet manager spans one tree over a multicast group, and a switch
forwards by all ports of the group but the one by which a packet came. A broadcast is one message per rail; an all-gather is one
per HCA, all on the same trees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.phases import Channels
from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Batch, Shape
from fabctl.traffic.switch_trees import Tree, TreeMaker

Int = NDArray[np.int64]


def trees(fabric: Fabric, batch: Batch, operation: str) -> tuple[Round, Channels]:
    """Return one flow per group, rail and sender, on all edges of its rail's tree.

    A flow's destination is the HCA of the first other node: it has no other than all of them.
    """
    shape, maker = batch.shape, TreeMaker(fabric)
    share = _shares(shape, operation)
    senders, rails = np.nonzero(share)
    edges = []
    for ports in batch.port:
        made = [maker.tree(ports[shape.leader[:, rail]]) for rail in range(shape.n_rails)]
        above = [_edge_of(fabric, tree) for tree in made]
        edges += [_away_from(fabric, made[rail], above[rail], int(node)) for node, rail in zip(senders, rails, strict=True)]
    base = np.arange(len(batch.port))[:, None] * len(shape)
    first_other = np.where(senders == 0, 1, 0)
    one = round_of(base + shape.leader[senders, rails], base + shape.leader[first_other, rails], share[senders, rails])
    ptr = np.concatenate([[0], np.cumsum([len(way) for way in edges])])
    return one, Channels(ptr, np.concatenate(edges).astype(np.int32))


def schedule(shape: Shape, operation: str) -> Schedule:
    """Return the steps on a tree of one switch, number n: by NVLink to the sending HCA, to the switch, to all, by NVLink on."""
    n, k = len(shape), shape.n_rails
    if operation == "broadcast":
        pieces, home, rail = k, np.zeros(k, dtype=np.int64), np.arange(k)
    else:
        pieces, home, rail = n, np.arange(n), shape.rail % k
    head = shape.leader[shape.node[home], rail]
    piece = np.arange(pieces)
    inwards = step(home, head, piece)
    up = step(head, n, piece)
    node, other = np.nonzero(np.arange(shape.n_nodes)[:, None] != shape.node[home])
    down = step(n, shape.leader[node, rail[other]], other)
    member = np.arange(n)[:, None]
    spread = step(shape.leader[shape.node][:, rail], member, piece)
    return Schedule(pieces, (inwards, up, down, spread))


def rounds(_shape: Shape, _operation: str) -> list[Round]:
    """Return nothing: a message has many receivers (`trees`)."""
    return []


def _shares(shape: Shape, operation: str) -> NDArray[np.float64]:
    """Return what each node sends on each rail per byte of message, shape (n_nodes, n_rails)."""
    share = np.zeros((shape.n_nodes, shape.n_rails))
    if operation == "broadcast":
        share[0] = 1 / shape.n_rails
    else:
        np.add.at(share, (shape.node, shape.rail % shape.n_rails), 1 / len(shape))
    return share


def _edge_of(fabric: Fabric, tree: Tree) -> dict[int, int]:
    """Return the number of the edge by which each node goes towards the root."""
    return {int(node): edge for edge, node in enumerate(fabric.channel_src[tree.up])}


def _away_from(fabric: Fabric, tree: Tree, edge_of: dict[int, int], sender: int) -> Int:
    """Return the edges of a tree in the direction away from its `sender`-th HCA."""
    direction = fabric.channel_reverse[tree.up].astype(np.int64)
    edge: int | None = sender
    while edge is not None:
        direction[edge] = tree.up[edge]
        edge = edge_of.get(int(fabric.channel_dst[tree.up[edge]]))
    return direction


ALGORITHM = Algorithm("multicast", ("broadcast", "all_gather"), schedule, rounds, trees)
