"""Pipelined chain broadcast from rank 0, one chain per rail."""

from __future__ import annotations

from fabctl.traffic.collective import Collective, Demand
from fabctl.traffic.placement import Job
from fabctl.traffic.rings import rail_chains, ring_steps


def demand(job: Job) -> Demand:
    """Return the flows per byte of message.

    The message S goes down a chain through all ranks in pieces, so each edge between hosts carries ``S / k`` over k chains,
    and the first piece takes n - 1 steps to the last rank, N - 1 of them between the N hosts. NCCL has no other broadcast.
    """
    return Demand(rail_chains(job, 1.0))


def bus_factor(_n_ranks: int) -> float:
    """Return busbw / algbw: 1."""
    return 1.0


COLLECTIVE = Collective("broadcast", "chain", demand, lambda job: ring_steps(job, 1), bus_factor, root=0)
