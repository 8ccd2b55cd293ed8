"""NCCL's rings: one per channel, through all members of a node and on to the next node by the channel's rail.

NCCL 2.30.7: ``connectRings`` in ``src/graph/connect.cc`` joins the last member of each node's chain to the first of the next
node's, the nodes in the order of the communicator, and channel `c` uses the `c`-th NIC that the search gave. Ring is NCCL's only
algorithm for broadcast.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, Step, step
from fabctl.traffic.shape import Shape

Int = NDArray[np.int64]

OPERATIONS = ("all_reduce", "reduce_scatter", "all_gather", "broadcast")


def rails(shape: Shape, channel: int) -> tuple[Int, Int]:
    """Return the rails by which a channel enters and leaves each node, two arrays of shape (n_nodes,).

    One and the same where crossNic is 0. Otherwise a ring leaves by the other rail of a pair; with crossNic 2 odd nodes take
    the pair the other way round, so that the cables between nodes stay on one rail (``ncclTopoPostset`` in
    ``src/graph/connect.cc``: "Alternate rings").
    """
    nodes = np.arange(shape.n_nodes)
    enters, leaves = np.full(shape.n_nodes, channel), np.full(shape.n_nodes, channel)
    if shape.cross_nic:
        leaves ^= 1
    if shape.cross_nic == 2 and shape.n_channels % 2 == 0:
        enters[nodes % 2 == 1] ^= 1
        leaves[nodes % 2 == 1] ^= 1
    return enters % shape.n_rails, leaves % shape.n_rails


def rounds(shape: Shape, operation: str) -> list[Round]:
    """Return the edges between nodes, on each channel all the time.

    Each rank forwards ``(n - 1) / n`` of the message S in a reduce-scatter or an all-gather, twice that in an all-reduce
    (Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69, 2009); a broadcast is a
    pipelined chain of S without the edge that closes the ring. Each of C channels carries 1/C.
    """
    n = len(shape)
    factor = {"all_reduce": 2 * (n - 1) / n, "broadcast": 1.0}.get(operation, (n - 1) / n)
    node = np.arange(shape.n_nodes - (operation == "broadcast"))
    following = (node + 1) % shape.n_nodes
    src, dst = [], []
    for channel in range(shape.n_channels):
        enters, leaves = rails(shape, channel)
        src.append(shape.leader[node, leaves[node]])
        dst.append(shape.leader[following, enters[following]])
    return [round_of(np.stack(src, axis=1), np.stack(dst, axis=1), factor / shape.n_channels)]


def schedule(shape: Shape, operation: str) -> Schedule:
    """Return the steps of all channels: n - 1 each for reduce-scatter, all-gather and broadcast, 2 (n - 1) for all-reduce.

    Block `b` consists of one piece per channel.
    """
    n, c = len(shape), shape.n_channels
    orders = np.stack([_order(shape, channel, operation == "broadcast") for channel in range(c)])
    channel = np.arange(c)[:, None]
    steps: list[Step] = []
    if operation == "broadcast":
        return Schedule(n * c, tuple(_chain(shape, orders)))
    if operation != "all_gather":
        steps += [_hop(shape, orders, np.roll(orders, 1 + s, axis=1) * c + channel, adds=True) for s in range(n - 1)]
    if operation != "reduce_scatter":
        steps += [_hop(shape, orders, np.roll(orders, s, axis=1) * c + channel, adds=False) for s in range(n - 1)]
    return Schedule(n * c, tuple(steps))


def _order(shape: Shape, channel: int, from_root: bool) -> Int:
    """Return the members along a channel's ring; the chain of a broadcast begins with the root on every channel."""
    enters, _ = rails(shape, channel)
    first = [shape.leader[node, enters[node]] for node in range(shape.n_nodes)]
    if from_root:
        first[0] = 0
    return np.concatenate([shape.chain(node, int(member)) for node, member in enumerate(first)])


def _hop(shape: Shape, orders: Int, piece: Int, adds: bool) -> Step:
    """Return one step of all rings: each member sends a piece to the next."""
    following = np.roll(orders, -1, axis=1)
    out, enter = _hcas(shape, orders, following)
    return step(orders, following, piece, adds=adds, out=out, enter=enter)


def _chain(shape: Shape, orders: Int) -> Iterator[Step]:
    c, n = orders.shape
    piece = np.arange(n)[None, :] * c + np.arange(c)[:, None]
    for position in range(n - 1):
        here, there = orders[:, position, None], orders[:, position + 1, None]
        out, enter = _hcas(shape, here, there)
        yield step(here, there, piece, out=out, enter=enter)


def _hcas(shape: Shape, src: Int, dst: Int) -> tuple[Int, Int]:
    """Return the members whose HCAs messages between `src` and `dst` take, one row per channel."""
    out, enter = src.copy(), dst.copy()
    for channel in range(len(src)):
        enters, leaves = rails(shape, channel)
        away = shape.node[src[channel]] != shape.node[dst[channel]]
        from_node, to_node = shape.node[src[channel, away]], shape.node[dst[channel, away]]
        out[channel, away] = shape.leader[from_node, leaves[from_node]]
        enter[channel, away] = shape.leader[to_node, enters[to_node]]
    return out, enter


ALGORITHM = Algorithm("ring", OPERATIONS, schedule, rounds)
