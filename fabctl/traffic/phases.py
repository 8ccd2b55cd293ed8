"""From a job file to what the job sends: its phases, with bytes and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fabctl.errors import InputError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.phases import JobTraffic, Phase
from fabctl.traffic.algorithm import collective_phases
from fabctl.traffic.call import Call
from fabctl.traffic.group import groups
from fabctl.traffic.job import JobSpec
from fabctl.traffic.patterns import pattern_flows
from fabctl.traffic.placement import Job, place, place_jobs
from fabctl.traffic.step import DEFAULT_BYTES, job_calls


def jobs_traffic(specs: Sequence[JobSpec], fabric: Fabric) -> tuple[JobTraffic, ...]:
    """Return what each of several jobs sends on a fabric.

    Raises
    ------
    InputError
        If a job does not fit the fabric, or two share a host or a name.
    """
    return tuple(placed_traffic(spec, job) for spec, job in zip(specs, place_jobs(specs, fabric), strict=True))


def job_traffic(spec: JobSpec, fabric: Fabric) -> JobTraffic:
    """Return what a job sends on a fabric, phase by phase.

    Raises
    ------
    InputError
        If the job does not fit the fabric.
    """
    return placed_traffic(spec, place(spec, fabric))


def placed_traffic(spec: JobSpec, job: Job) -> JobTraffic:
    """Return what a job sends from where it has been placed, phase by phase.

    Raises
    ------
    InputError
        If its ranks do not divide as the training is cut.
    """
    phases = tuple(phase for _, made in called_phases(spec, job) for phase in made)
    return JobTraffic(spec.name, job.hosts, job.ranks_per_host, phases, job.notes)


def called_phases(spec: JobSpec, job: Job) -> list[tuple[Call | None, list[Phase]]]:
    """Return each collective of a job's step with its phases; a pattern or a list of flows has no collective.

    Raises
    ------
    InputError
        As `placed_traffic` does.
    """
    if spec.transfers:
        from fabctl.traffic.listed import listed_phases

        return [(None, [phase]) for phase in listed_phases(spec.transfers, job)]
    if spec.pattern:
        return [(None, [_pattern(spec, job)])]
    return [(call, call_phases(call, spec, job)) for call in job_calls(spec, job.n_ranks)]


def call_phases(call: Call, spec: JobSpec, job: Job) -> list[Phase]:
    """Return what a collective sends over the fabric, one phase after the other; none if every group sits in one host.

    Raises
    ------
    InputError
        If there is no such algorithm for the operation.
    """
    over_fabric = np.ptp(call.ranks // job.ranks_per_host, axis=1) > 0
    sending, sizes = groups(job, call.ranks[over_fabric]), call.size_bytes[over_fabric]
    try:
        phases = collective_phases(
            call.operation,
            call.algorithm,
            sending,
            sizes,
            fabric=job.fabric,
            channels=spec.channels,
            cross_nic=spec.cross_nic,
            name=call.name,
        )
    except UsageError as error:
        raise InputError(error.message, hint=error.hint) from error
    return [
        replace(
            phase,
            times=phase.times * call.times,
            kind=call.kind,
            groups=call.n_groups,
            group_size=call.group_size,
            overlapped=call.overlapped,
        )
        for phase in phases
    ]


def _pattern(spec: JobSpec, job: Job) -> Phase:
    flows = pattern_flows(spec, job)
    weight = np.full(len(flows), float(spec.sizes[-1] if spec.sizes else DEFAULT_BYTES))
    first_rank = np.full(len(job.fabric.port_node), -1, dtype=np.int32)
    first_rank[job.ports.ravel()] = np.arange(job.ports.size) * job.ranks_per_port
    ranks = first_rank[flows.src], first_rank[flows.dst]
    return Phase(f"pattern {spec.pattern}", Flows(flows.src, flows.dst, weight), *ranks)
