"""Operations as nccl-tests names and counts them, each by its default algorithm: what ``bench`` predicts.

Bus factors are busbw / algbw of nccl-tests (doc/PERFORMANCE.md). What an operation sends is its algorithm's closed form; pairs
of an all-to-all are `Exchange`s.
"""

from __future__ import annotations

from collections.abc import Callable

from fabctl.model.flows import Flows
from fabctl.traffic.collective import Collective, Demand, Steps
from fabctl.traffic.collectives import pairwise, pxn, ring
from fabctl.traffic.group import world
from fabctl.traffic.placement import Job
from fabctl.traffic.shape import shape_of


def all_reduce_bus_factor(n_ranks: int) -> float:
    """Return 2 (n - 1) / n."""
    return 2 * (n_ranks - 1) / n_ranks


def split_bus_factor(n_ranks: int) -> float:
    """Return (n - 1) / n."""
    return (n_ranks - 1) / n_ranks


def ring_demand(job: Job, operation: str) -> Demand:
    """Return what the rings of all ranks of a job send between hosts, one ring per rail."""
    everybody = world(job)
    (edges,) = ring.rounds(shape_of(everybody), operation)
    return Demand(Flows(everybody.port[edges.src], everybody.port[edges.dst], edges.share))


def ring_steps(job: Job, rounds: int) -> Steps:
    """Return the steps of `rounds` rounds over n ranks on N hosts: n - 1 each, N - 1 of these over the fabric."""
    inter = rounds * (job.n_hosts - 1)
    return Steps(intra=rounds * (job.n_ranks - 1) - inter, inter=inter)


def alltoall_demand(job: Job) -> Demand:
    """Return the exchanges of all ranks of a job, with PXN if the job says so."""
    return Demand(exchanges=(pxn if job.pxn else pairwise).exchanges(job))


def alltoall_steps(job: Job) -> Steps:
    """Return one hop over the fabric, after a post for each of the other peers (and NVLink before, with PXN)."""
    return Steps(intra=int(job.pxn), inter=1, posts=job.n_ranks - job.ranks_per_host - 1)


def _by_rings(name: str, rounds: int, bus_factor: Callable[[int], float], *, redop: str = "none") -> Collective:
    return Collective(
        name,
        "ring",
        lambda job: ring_demand(job, name),
        lambda job: ring_steps(job, rounds),
        bus_factor,
        redop=redop,
        per_rank=name != "all_reduce",
    )


ALL_REDUCE = _by_rings("all_reduce", 2, all_reduce_bus_factor, redop="sum")
REDUCE_SCATTER = _by_rings("reduce_scatter", 1, split_bus_factor, redop="sum")
ALL_GATHER = _by_rings("all_gather", 1, split_bus_factor)
ALLTOALL = Collective(
    "alltoall",
    "pairwise",
    alltoall_demand,
    alltoall_steps,
    split_bus_factor,
    protocols=("LL", "Simple"),
    per_rank=True,
)
BROADCAST = Collective(
    "broadcast",
    "chain",
    lambda job: ring_demand(job, "broadcast"),
    lambda job: ring_steps(job, 1),
    lambda _: 1.0,
    root=0,
)
