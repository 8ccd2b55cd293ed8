"""All-to-all: every rank sends its own piece to every other rank, all at once, as grouped sends and receives."""

from __future__ import annotations

from fabctl.traffic.collective import Collective, Demand, Exchange, Steps
from fabctl.traffic.placement import Job


def demand(job: Job) -> Demand:
    """Return the exchanges per byte of message.

    Each rank sends ``(n - 1) / n`` of its message S, S / n to each other rank; what stays inside a host goes over NVLink and
    not over the fabric. With m ranks per HCA port each pair of ports on different hosts carries ``m**2 S / n``.

    With PXN a piece changes to the destination's rail inside the sending host (NCCL 2.12 and later), so that only ports of
    one rail talk to each other: ``m p S / n`` per pair with p ranks per host.
    """
    ranks_per_port = job.ranks_per_port
    if not job.pxn:
        return Demand(exchanges=(Exchange(job.ports, ranks_per_port**2 / job.n_ranks),))
    weight = ranks_per_port * job.ranks_per_host / job.n_ranks
    return Demand(exchanges=tuple(Exchange(job.ports[:, [column]], weight) for column in range(job.ports.shape[1])))


def steps(job: Job) -> Steps:
    """Return the steps: one hop over the fabric, after a post for each of the other peers (and NVLink before, with PXN)."""
    return Steps(intra=int(job.pxn), inter=1, posts=job.n_ranks - job.ranks_per_host - 1)


def bus_factor(n_ranks: int) -> float:
    """Return busbw / algbw: (n - 1) / n."""
    return (n_ranks - 1) / n_ranks


COLLECTIVE = Collective("alltoall", "pairwise", demand, steps, bus_factor, protocols=("LL", "Simple"), per_rank=True)
