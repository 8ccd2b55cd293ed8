"""Rings and chains over a job's hosts, one per rail, as NCCL builds them."""

from __future__ import annotations

import numpy as np

from fabctl.model.flows import Flows
from fabctl.traffic.collective import Steps
from fabctl.traffic.placement import Job


def rail_rings(job: Job, volume: float) -> Flows:
    """Return one ring per rail: port `r` of each host sends to port `r` of the next, the last host to the first.

    Inside a host a ring visits all ranks; those hops do not touch the fabric.

    Parameters
    ----------
    volume : float
        Bytes that one edge of a single ring would carry per byte of message; each of the k rings carries 1/k of it.
    """
    return _edges(job, np.roll(job.ports, -1, axis=0), len(job.ports), volume)


def rail_chains(job: Job, volume: float) -> Flows:
    """Return one chain per rail: `rail_rings` without the edge that closes the ring."""
    return _edges(job, np.roll(job.ports, -1, axis=0), len(job.ports) - 1, volume)


def ring_steps(job: Job, rounds: int) -> Steps:
    """Return the steps of `rounds` rounds over n ranks on N hosts: n - 1 each, N - 1 of these over the fabric."""
    inter = rounds * (job.n_hosts - 1)
    return Steps(intra=rounds * (job.n_ranks - 1) - inter, inter=inter)


def _edges(job: Job, following: np.ndarray, rows: int, volume: float) -> Flows:
    n_rings = job.ports.shape[1]
    return Flows(job.ports[:rows].ravel(), following[:rows].ravel(), np.full(rows * n_rings, volume / n_rings))
