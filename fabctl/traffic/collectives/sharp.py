"""SHARP: switches reduce on the way up a tree and copy on the way down; each edge carries the data once in either direction.

Graham et al., Scalable Hierarchical Aggregation Protocol (SHArP), COMHPC 2016, and SHARP Streaming Aggregation, ISC 2020. NCCL's
CollNet (2.30.7, ``connectCollNet`` in ``src/graph/connect.cc``) has one head per NIC of a node, each with a share of the data:
one tree per rail. Each HCA sends S / k and receives S / k on k rails, whatever the number of hosts.
"""

from __future__ import annotations

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.model.phases import Channels
from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Batch, Shape
from fabctl.traffic.switch_trees import TreeMaker


def trees(fabric: Fabric, batch: Batch, _operation: str) -> tuple[Round, Channels]:
    """Return one flow per group and rail, on all edges of its tree, up and down, at one pace.

    Its ends are the HCAs of the first two nodes: it has no other ends than all of them.
    """
    shape, maker = batch.shape, TreeMaker(fabric)
    edges = []
    for ports in batch.port:
        for rail in range(shape.n_rails):
            up = maker.tree(ports[shape.leader[:, rail]]).up
            edges.append(np.concatenate([up, fabric.channel_reverse[up]]))
    base = np.arange(len(batch.port))[:, None] * len(shape)
    ptr = np.concatenate([[0], np.cumsum([len(one) for one in edges])])
    one = round_of(base + shape.leader[0], base + shape.leader[1], 1 / shape.n_rails)
    return one, Channels(ptr, np.concatenate(edges).astype(np.int32))


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the steps on a tree of one switch, number n: to the heads by NVLink, to the switch, and back."""
    n, k = len(shape), shape.n_rails
    member, rail = (axis.ravel() for axis in np.meshgrid(np.arange(n), np.arange(k), indexing="ij"))
    head = shape.leader[shape.node[member], rail]
    away = member != head
    gather = step(member[away], head[away], rail[away], adds=True)
    spread = step(head[away], member[away], rail[away])
    up = step(shape.leader, n, np.arange(k), adds=True)
    return Schedule(k, (gather, up, step(up.dst, up.src, up.first), spread))


def rounds(_shape: Shape, _operation: str) -> list[Round]:
    """Return nothing: switches are at the ends of what SHARP sends (`trees`)."""
    return []


ALGORITHM = Algorithm("sharp", ("all_reduce",), schedule, rounds, trees)
