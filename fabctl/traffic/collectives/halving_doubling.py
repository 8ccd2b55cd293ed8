"""Recursive halving and doubling between partners ``r xor 2**k``, in logarithmic steps; NCCL has none of it, MPI libraries do.

Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19, 2005. Where n is no power of
two, the first ``2 (n - p)`` ranks, p the largest power of two, pair up, and one of each pair stands for both.
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


def core(n: int) -> tuple[Int, Int]:
    """Return the ranks that take part, shape (p,), and those that they stand for besides, shape (n - p,): 0, 2, 4 ..."""
    p = 1 << (n.bit_length() - 1)
    place = np.arange(p)
    return place + np.minimum(place + 1, n - p), 2 * np.arange(n - p)


def rounds(shape: Shape, operation: str) -> list[Round]:
    """Return a round for each distance.

    An all-reduce halves the vector from distance 1 on and goes the same way back, so each round runs twice. A reduce-scatter
    begins with the farthest partner and an all-gather ends with it, so that rank `r` has block `r`.
    """
    n = len(shape)
    ranks, others = core(n)
    place, stand_in = np.arange(len(ranks)), ranks[: len(others)]
    middle = []
    for distance in _distances(len(ranks))[:: -1 if operation == "reduce_scatter" else 1]:
        share: object = 0.5 / distance
        if operation != "all_reduce":
            share = _blocks(n, place ^ distance if operation == "reduce_scatter" else place, distance)[1] / n
        times = 2 if operation == "all_reduce" else 1
        middle.append(round_of(ranks, ranks[place ^ distance], share, f"distance {distance}", times))
    if not len(others):
        return middle
    before, after = {"all_reduce": (1.0, 1.0), "reduce_scatter": (1.0, 1 / n), "all_gather": (1 / n, (n - 1) / n)}[operation]
    return [round_of(others, stand_in, before, "fold"), *middle, round_of(stand_in, others, after, "unfold")]


def schedule(shape: Shape, operation: str) -> Schedule:
    """Return the steps; an all-reduce cuts the vector in p pieces, the others in a block per rank."""
    n = len(shape)
    ranks, others = core(n)
    stand_in = ranks[: len(others)]
    steps: list[Step] = []
    if operation == "all_reduce":
        pieces, halving = len(ranks), list(_halving(ranks))
        back = [step(one.src, one.dst, kept.first, kept.count) for one, kept in zip(halving, _kept(halving), strict=True)]
        middle = [*halving, *reversed(back)]
        last = [step(stand_in, others, 0, pieces)]
    elif operation == "reduce_scatter":
        pieces, middle = n, list(_by_blocks(n, ranks, adds=True))
        last = [step(stand_in, others, others)]
    else:
        pieces, middle = n, list(_by_blocks(n, ranks, adds=False))
        first, count = np.stack([0 * others, others + 1]), np.stack([others, n - 1 - others])
        sends = count > 0
        last = [step(np.tile(stand_in, (2, 1))[sends], np.tile(others, (2, 1))[sends], first[sends], count[sends])]
    if not len(others):
        return Schedule(pieces, tuple(middle))
    if operation == "all_gather":
        steps.append(step(others, stand_in, others))
    else:
        steps.append(step(others, stand_in, 0, pieces, adds=True))
    return Schedule(pieces, (*steps, *middle, *last))


def _distances(p: int) -> list[int]:
    return [1 << k for k in range(p.bit_length() - 1)]


def _blocks(n: int, place: Int, distance: int) -> tuple[Int, Int]:
    """Return first block and number of blocks of the aligned run of `distance` places that holds each place of the core."""
    low = place & ~(distance - 1)
    extra = n - (1 << (n.bit_length() - 1))
    first, end = (edge + np.minimum(edge, extra) for edge in (low, low + distance))
    return first, end - first


def _halving(ranks: Int) -> Iterator[Step]:
    """Yield the steps in which each sends the half of its pieces that it does not keep: the second if its bit is 0."""
    place, first, size = np.arange(len(ranks)), np.zeros_like(ranks), len(ranks)
    for distance in _distances(len(ranks)):
        size //= 2
        upper = (place & distance) > 0
        yield step(ranks, ranks[place ^ distance], np.where(upper, first, first + size), size, adds=True)
        first = np.where(upper, first + size, first)


def _kept(halving: list[Step]) -> Iterator[Step]:
    """Yield what the senders keep: what their partners send in the same step."""
    for one in halving:
        order = np.argsort(one.src)
        partner = order[np.searchsorted(one.src[order], one.dst)]
        yield step(one.src, one.dst, one.first[partner], one.count[partner])


def _by_blocks(n: int, ranks: Int, *, adds: bool) -> Iterator[Step]:
    """Yield the steps that halve from the farthest partner on (`adds`), or double from the nearest, in blocks."""
    place = np.arange(len(ranks))
    for distance in _distances(len(ranks))[:: -1 if adds else 1]:
        first, count = _blocks(n, place ^ (distance if adds else 0), distance)
        yield step(ranks, ranks[place ^ distance], first, count, adds=adds)


ALGORITHM = Algorithm("halving-doubling", OPERATIONS, schedule, rounds)
