"""Bruck's all-gather and all-to-all: ``ceil(log2 n)`` steps for any n, each rank with one partner a step.

Bruck, Ho, Kipnis, Upfal, Weathersby: Efficient algorithms for all-to-all communications in multiport message-passing systems,
TPDS 8, 1997. The all-to-all moves each block up to log2 n times: for small messages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Shape

Int = NDArray[np.int64]

OPERATIONS = ("all_gather", "alltoall")


def rounds(shape: Shape, operation: str) -> list[Round]:
    """Return a round for each distance.

    All-gather: to the rank `distance` before, all blocks that one has. All-to-all: to the rank `distance` after, the blocks
    whose way has that bit.
    """
    n, rank = len(shape), np.arange(len(shape))
    backwards = operation == "all_gather"
    return [
        round_of(
            rank,
            (rank - distance if backwards else rank + distance) % n,
            (min(distance, n - distance) if backwards else sum(_runs(n, distance)[1].tolist())) / n,
            f"distance {distance}",
        )
        for distance in _distances(n)
    ]


def schedule(shape: Shape, operation: str) -> Schedule:
    """Return the steps, with the turns of the buffer before and after; the second half of the buffer is the turned one."""
    n, rank = len(shape), np.arange(len(shape))
    place = np.arange(n)[:, None]
    if operation == "all_gather":
        steps = [step(rank, rank, rank, into=n)]
        steps += [step(rank, (rank - d) % n, n, min(d, n - d), into=n + d) for d in _distances(n)]
        steps += [step(rank, rank, n + place, into=(rank + place) % n)]
    else:
        steps = [step(rank, rank, (rank + place) % n, into=n + place)]
        for distance in _distances(n):
            first, count = _runs(n, distance)
            steps.append(step(rank, (rank + distance) % n, n + first[:, None], count[:, None]))
        steps += [step(rank, rank, n + place, into=(rank - place) % n)]
    return Schedule(n, tuple(steps), room=n)


def _distances(n: int) -> list[int]:
    return [1 << k for k in range((n - 1).bit_length())]


def _runs(n: int, distance: int) -> tuple[Int, Int]:
    """Return first and length of the runs of places below n that have the bit `distance`."""
    first = np.arange(distance, n, 2 * distance)
    return first, np.minimum(distance, n - first)


ALGORITHM = Algorithm("bruck", OPERATIONS, schedule, rounds)
