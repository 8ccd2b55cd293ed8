"""All-to-all by a message for every pair, all at once: NCCL's grouped sends and receives, each by the ranks' own HCAs."""

from __future__ import annotations

import numpy as np

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.collective import Exchange, refuse_flows
from fabctl.traffic.placement import Job
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Shape


def rounds(shape: Shape, _operation: str) -> list[Round]:
    """Return S / n for every ordered pair."""
    refuse_flows(len(shape) ** 2, f"an all-to-all of {len(shape):,} ranks")
    src, dst = np.nonzero(shape.node[:, None] != shape.node)
    return [round_of(src, dst, 1 / len(shape))]


def exchanges(job: Job) -> tuple[Exchange, ...]:
    """Return the same for all ranks of a job without writing pairs down: ``m**2 S / n`` with m ranks per HCA port."""
    return (Exchange(job.ports, job.ranks_per_port**2 / job.n_ranks),)


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the one step; the own block stays where it is."""
    n = len(shape)
    src, dst = np.nonzero(~np.eye(n, dtype=bool))
    return Schedule(n, (step(src, dst, dst, into=src),))


ALGORITHM = Algorithm("pairwise", ("alltoall",), schedule, rounds)
