"""What every rank sends in each step of a collective: `Step`s over numbered pieces of a vector, to be run on real vectors.

Each rank has a buffer of numbered slots; the first of them are the pieces of its vector. What must stand where in the end is the
operation's contract (`Schedule`). A schedule is the algorithm itself, and judges its closed form (`fabctl.traffic.algorithm`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Step:
    """Messages that are sent at the same time: all are read before any is written.

    Parameters
    ----------
    src, dst : int64 array of shape (m,)
        Sending and receiving rank of each message, numbered within the group; the same one for a move within its buffer. Numbers
        from the group's size on are switches that reduce or copy.
    first : int64 array of shape (m,)
        First slot that is sent.
    count : int64 array of shape (m,)
        How many slots.
    into : int64 array of shape (m,)
        First slot that is written at the receiver.
    adds : bool
        Whether the receiver adds to what it has, or overwrites it.
    out, enter : int64 array of shape (m,)
        Ranks whose HCAs the message leaves and enters by; `src` and `dst` unless a channel goes through another's HCA.
    """

    src: Int
    dst: Int
    first: Int
    count: Int
    into: Int
    adds: bool
    out: Int
    enter: Int


@dataclass(frozen=True, eq=False)
class Schedule:
    """A collective as the steps of its ranks.

    Parameters
    ----------
    pieces : int
        Pieces of a vector, the message of `Step` sizes: each is ``1 / pieces`` of it. Pieces are grouped in n equal blocks, block
        `b` belonging to rank `b`, where the operation has blocks.
    steps : tuple of Step
    room : int
        Slots of each buffer behind the pieces, for what is under way.

    Notes
    -----
    Where what stands, x[r, p] being piece `p` of rank `r`'s vector:

    ================  ==========================  ========================================================
    operation         before                      after
    ================  ==========================  ========================================================
    all_reduce        x[r, p] at r                the sum over r at every rank
    reduce_scatter    x[r, p] at r                the sum over r of block b at rank b
    all_gather        block r of x[r] at r        block b of x[b] at every rank, for every b
    alltoall          x[r, p] at r                block b of x[a] as block a at rank b
    broadcast         x[0, p] at 0                x[0, p] at every rank
    sendrecv          x[r, p] at r                x[r - 1, p] at slot ``pieces + p`` of r, from rank 1 on
    ================  ==========================  ========================================================

    Every other slot holds 0 before and may hold anything after.
    """

    pieces: int
    steps: tuple[Step, ...]
    room: int = 0

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


def step(
    src: object,
    dst: object,
    first: object,
    count: object = 1,
    *,
    into: object = None,
    adds: bool = False,
    out: object = None,
    enter: object = None,
) -> Step:
    """Return a step from numbers and arrays that broadcast to one shape.

    By default `into` is `first`, `out` is `src` and `enter` is `dst`.
    """
    columns = [
        src,
        dst,
        first,
        count,
        first if into is None else into,
        src if out is None else out,
        dst if enter is None else enter,
    ]
    flat = [column.ravel() for column in np.broadcast_arrays(*(np.asarray(column, dtype=np.int64) for column in columns))]
    return Step(flat[0], flat[1], flat[2], flat[3], flat[4], adds, flat[5], flat[6])
