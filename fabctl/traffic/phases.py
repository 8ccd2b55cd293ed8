"""From a job file to what the job sends: its phases, with bytes and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.phases import JobTraffic, Phase
from fabctl.traffic.collective import Demand
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.patterns import alltoall, as_collective
from fabctl.traffic.placement import Job, place

DEFAULT_BYTES = 1 << 30
"""Message of a collective whose job file names no size."""


def jobs_traffic(specs: Sequence[JobSpec], fabric: Fabric) -> tuple[JobTraffic, ...]:
    """Return what each of several jobs sends on a fabric.

    Raises
    ------
    InputError
        If a job does not fit the fabric.
    """
    return tuple(job_traffic(spec, fabric) for spec in specs)


def job_traffic(spec: JobSpec, fabric: Fabric) -> JobTraffic:
    """Return what a job sends on a fabric, phase by phase.

    Raises
    ------
    InputError
        If the job does not fit the fabric.
    """
    job = place(spec, fabric)
    collectives = [as_collective(spec)] if spec.pattern else [COLLECTIVES.load(name) for name in spec.collectives]
    size_bytes = spec.sizes[-1] if spec.sizes else DEFAULT_BYTES
    phases = tuple(
        _phase(job, f"{collective.name}, {collective.algorithm}", collective.demand(job), size_bytes)
        for collective in collectives
    )
    return JobTraffic(spec.name, job.hosts, job.ranks_per_host, phases, job.notes)


def _phase(job: Job, name: str, demand: Demand, size_bytes: int) -> Phase:
    parts = [demand.flows]
    for exchange in demand.exchanges:
        pairs = alltoall(exchange.ports.ravel())
        row = {int(port): host for host, line in enumerate(exchange.ports) for port in line}
        away = np.array([row[int(a)] != row[int(b)] for a, b in zip(pairs.src, pairs.dst, strict=True)], dtype=bool)
        parts.append(Flows(pairs.src[away], pairs.dst[away], np.full(np.count_nonzero(away), exchange.weight)))
    src = np.concatenate([flows.src for flows in parts])
    dst = np.concatenate([flows.dst for flows in parts])
    weight = np.concatenate([flows.weight for flows in parts]) * size_bytes
    first_rank = np.full(len(job.fabric.port_node), -1, dtype=np.int32)
    first_rank[job.ports.ravel()] = np.arange(job.ports.size) * job.ranks_per_port
    return Phase(name, Flows(src, dst, weight), first_rank[src], first_rank[dst])
