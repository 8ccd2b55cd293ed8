"""Two dimensions: reduce-scatter inside the nodes, a ring over the nodes on each rail, all-gather inside the nodes.

The scheme of BlueConnect and of 2-D torus all-reduce (Cho et al., SysML 2019; Mikami et al., 2018): each rail carries its share
of the data from node to node and never crosses to another rail.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, Step, step
from fabctl.traffic.shape import Shape

Int = NDArray[np.int64]

OPERATIONS = ("all_reduce", "reduce_scatter", "all_gather")


def rounds(shape: Shape, operation: str) -> list[Round]:
    """Return the edges of the rails' rings over N nodes, all the time.

    All-reduce: ``2 (N - 1) / N S / k`` each on k rails. Reduce-scatter and all-gather: all blocks of the rail's members but
    those of the sending or the receiving node.
    """
    nodes, k = shape.n_nodes, shape.n_rails
    node = np.arange(nodes)
    following = (node + 1) % nodes
    if operation == "all_reduce":
        share = np.full((nodes, k), 2 * (nodes - 1) / nodes / k)
    else:
        blocks = np.zeros((nodes, k), dtype=np.int64)
        np.add.at(blocks, (shape.node, _rail(shape)), 1)
        stays = blocks if operation == "reduce_scatter" else blocks[following]
        share = (blocks.sum(axis=0) - stays) / len(shape)
    return [round_of(shape.leader, shape.leader[following], share)]


def schedule(shape: Shape, operation: str) -> Schedule:
    """Return the steps. An all-reduce has k N pieces, piece ``c N + a`` ending its first round at node `a`, rail `c`."""
    nodes, k, n = shape.n_nodes, shape.n_rails, len(shape)
    if operation == "all_reduce":
        pieces = nodes * k
        home_rail, home_node = np.divmod(np.arange(pieces), nodes)
    else:
        pieces, home_rail, home_node = n, _rail(shape), shape.node
    member, piece = (axis.ravel() for axis in np.meshgrid(np.arange(n), np.arange(pieces), indexing="ij"))
    leader = shape.leader[shape.node[member], home_rail[piece]]
    away = member != leader
    inwards = step(member[away], leader[away], piece[away], adds=True)
    outwards = step(leader[away], member[away], piece[away])
    own = np.arange(n)[shape.leader[shape.node, _rail(shape)] != np.arange(n)]
    head = shape.leader[shape.node[own], _rail(shape)[own]]
    reduce, gather = (list(_ring(shape, home_rail, home_node, late, adds=late == 1)) for late in (1, 0))
    steps: dict[str, list[Step]] = {
        "all_reduce": [inwards, *reduce, *gather, outwards],
        "reduce_scatter": [inwards, *reduce, step(head, own, own)],
        "all_gather": [step(own, head, own), *gather, outwards],
    }
    return Schedule(pieces, tuple(steps[operation]))


def _rail(shape: Shape) -> Int:
    """Return the rail that each member's block takes: its own, or another's where not all nodes have that."""
    return shape.rail % shape.n_rails


def _ring(shape: Shape, home_rail: Int, home_node: Int, late: int, *, adds: bool) -> Iterator[Step]:
    """Yield the steps of the rails' rings: in step `s` a node passes on what belongs to the node ``s + late`` before it."""
    for s in range(shape.n_nodes - 1):
        node = (home_node + s + late) % shape.n_nodes
        yield step(
            shape.leader[node, home_rail], shape.leader[(node + 1) % shape.n_nodes, home_rail], np.arange(len(node)), adds=adds
        )


ALGORITHM = Algorithm("hierarchical", OPERATIONS, schedule, rounds)
