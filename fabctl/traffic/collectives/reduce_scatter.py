"""Ring reduce-scatter: one round over one ring per rail."""

from __future__ import annotations

from fabctl.traffic.collective import Collective, Demand
from fabctl.traffic.placement import Job
from fabctl.traffic.rings import rail_rings, ring_steps


def demand(job: Job) -> Demand:
    """Return the flows per byte of message.

    Each rank sends ``(n - 1) / n`` times the whole message S (its result is S / n), half of an all-reduce, so each edge
    between hosts carries ``(n - 1) / n S / k`` over k rings. It takes n - 1 steps, N - 1 of them between the N hosts.
    """
    return Demand(rail_rings(job, bus_factor(job.n_ranks)))


def bus_factor(n_ranks: int) -> float:
    """Return busbw / algbw: (n - 1) / n."""
    return (n_ranks - 1) / n_ranks


COLLECTIVE = Collective("reduce_scatter", "ring", demand, lambda job: ring_steps(job, 1), bus_factor, redop="sum", per_rank=True)
