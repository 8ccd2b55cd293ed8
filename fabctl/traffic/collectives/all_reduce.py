"""Ring all-reduce: a reduce-scatter round and an all-gather round over one ring per rail."""

from __future__ import annotations

from fabctl.traffic.collective import Collective, Demand
from fabctl.traffic.placement import Job
from fabctl.traffic.rings import rail_rings, ring_steps


def demand(job: Job) -> Demand:
    """Return the flows per byte of message.

    Each rank sends ``2 (n - 1) / n`` times the message S over n ranks (Patarasuk, Yuan: Bandwidth optimal all-reduce
    algorithms for clusters of workstations, JPDC 69, 2009), so each edge between hosts carries ``2 (n - 1) / n S / k`` over
    k rings. It takes 2 (n - 1) steps, 2 (N - 1) of them between the N hosts.
    """
    return Demand(rail_rings(job, bus_factor(job.n_ranks)))


def bus_factor(n_ranks: int) -> float:
    """Return busbw / algbw: 2 (n - 1) / n."""
    return 2 * (n_ranks - 1) / n_ranks


COLLECTIVE = Collective("all_reduce", "ring", demand, lambda job: ring_steps(job, 2), bus_factor, redop="sum")
