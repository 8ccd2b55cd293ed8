"""Point-to-point between the stages of a pipeline: each member sends the message to the next, all at once."""

from __future__ import annotations

import numpy as np

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Shape


def rounds(shape: Shape, _operation: str) -> list[Round]:
    """Return S from each stage to the next; the last one sends nothing."""
    stage = np.arange(len(shape) - 1)
    return [round_of(stage, stage + 1, 1.0)]


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the one step; what arrives stands behind the own vector, here a single piece."""
    stage = np.arange(len(shape) - 1)
    return Schedule(1, (step(stage, stage + 1, 0, into=1),), room=1)


ALGORITHM = Algorithm("pipeline", ("sendrecv",), schedule, rounds)
