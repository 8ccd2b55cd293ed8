"""What jobs send, part by part; on a fabric also from where, and on routes how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.maxmin import complete
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.rows import loads
from fabctl.model.fabric import Fabric
from fabctl.model.job_view import JobView, ModelView, PartView
from fabctl.model.phases import Phase
from fabctl.model.rates import refuse_unknown_rates
from fabctl.model.tables import RoutingTables
from fabctl.nodeset import fold
from fabctl.traffic.call import Call
from fabctl.traffic.job import ALL, JobSpec
from fabctl.traffic.parallelism import grid
from fabctl.traffic.phases import called_phases
from fabctl.traffic.placement import place_jobs
from fabctl.traffic.roster import named_hosts
from fabctl.traffic.step import job_calls, ranks_without_fabric
from fabctl.traffic.training import stage_parameters

Float64 = NDArray[np.float64]


def show_jobs(
    specs: Sequence[JobSpec], fabric: Fabric | None = None, tables: RoutingTables | None = None, rates: Float64 | None = None
) -> tuple[JobView, ...]:
    """Return what each job sends, alone.

    Parameters
    ----------
    tables : RoutingTables, optional
        Routes on `fabric`; without them no times.
    rates : float64 array of shape (n_channels,), optional
        Payload rates in bytes per second, with `tables`.

    Raises
    ------
    InputError
        If a job does not fit the fabric, its ranks do not divide, or the file alone does not say how many there are.
    RefusedError
        If a cable that is used has no known rate.
    """
    if fabric is None:
        return tuple(_alone(spec) for spec in specs)
    views = []
    for spec, job in zip(specs, place_jobs(specs, fabric), strict=True):
        parts = []
        for call, phases in called_phases(spec, job):
            flows = sum(len(phase.flows) for phase in phases)
            most, seconds, bottleneck = _on_fabric(fabric, phases, call.times if call else 1, tables, rates)
            parts.append(
                replace(
                    _part(call, phases),
                    inside=not flows,
                    flows=flows,
                    host_bytes=most,
                    seconds=seconds if tables else None,
                    bottleneck=bottleneck,
                )
            )
        counts, model = (job.n_hosts, job.ranks_per_host, job.n_ranks), _model(spec, job.n_ranks)
        views.append(JobView(spec.name, spec.path, fold(job.hosts), *counts, job.rails, model, tuple(parts), job.notes))
    return tuple(views)


def _alone(spec: JobSpec) -> JobView:
    n_ranks = ranks_without_fabric(spec)
    parts = tuple(_part(call, []) for call in job_calls(spec, n_ranks))
    hosts = [] if spec.count or any(entry.text == ALL for entry in spec.hosts) else named_hosts(spec)
    counts = spec.count or len(hosts), spec.ranks_per_host or 0, n_ranks
    return JobView(spec.name, spec.path, fold(hosts), *counts, (), _model(spec, n_ranks), parts, spec.notes)


def _model(spec: JobSpec, n_ranks: int) -> ModelView | None:
    training = spec.training
    if training is None:
        return None
    cut = grid(training.parallelism, n_ranks)
    shared, routed = stage_parameters(training, cut)
    degrees = {"tp": cut.tp, "cp": cut.cp, "ep": cut.ep, "dp": cut.dp, "pp": cut.pp, "zero": training.parallelism.zero}
    model = training.model
    return ModelView(
        title=model.title or model.name,
        source=model.source,
        parameters=model.total_parameters(),
        rank_parameters=round(float((shared + routed).max())),
        parallelism=degrees | {"microbatches": training.parallelism.microbatches},
    )


def _part(call: Call | None, phases: list[Phase]) -> PartView:
    if call is None:
        phase = phases[0]
        largest = float(phase.flows.weight.max(initial=0.0))
        return PartView(phase.kind, phase.name, "", "", phase.groups, phase.group_size, largest, largest, phase.times)
    message, sent = float(call.size_bytes.max()), float(call.sent_bytes.max())
    named = call.kind, call.name, call.operation, call.algorithm
    return PartView(*named, call.n_groups, call.group_size, message, sent, call.times, call.overlapped)


def _on_fabric(
    fabric: Fabric, phases: list[Phase], runs: int, tables: RoutingTables | None, rates: Float64 | None
) -> tuple[float, float, str]:
    """Return the most that a host sends, the time, and the cable that takes longest, for one run of a collective."""
    sent = np.zeros(len(fabric.hosts.name))
    seconds, slowest, bottleneck = 0.0, 0.0, ""
    for phase in phases:
        repeated = phase.times / runs
        sent += _sent_by_hosts(fabric, phase) * repeated
        if tables is not None and rates is not None:
            channels = phase_channels(tables, phase)
            load = loads(channels, phase.flows.weight, len(rates))
            refuse_unknown_rates(tables.fabric, load > 0, rates)
            took = complete(channels, phase.flows.weight, rates).makespan
            seconds += took * repeated
            if took > slowest:
                drain = np.divide(load, rates, out=np.zeros(len(load)), where=load > 0)
                slowest, bottleneck = took, tables.fabric.cable_label(int(np.argmax(drain)))
    return float(sent.max(initial=0.0)), seconds, bottleneck


def _sent_by_hosts(fabric: Fabric, phase: Phase) -> Float64:
    """Return the bytes that each host sends in one run of a phase, float64 array of shape (n_hosts,)."""
    hosts = fabric.hosts
    if phase.fixed is None:
        node, weight = fabric.port_node[phase.flows.src], phase.flows.weight
    else:
        node, weight = fabric.channel_src[phase.fixed.index], np.repeat(phase.flows.weight, np.diff(phase.fixed.ptr))
    at_host = hosts.node_host[node] >= 0
    sent = np.bincount(hosts.node_host[node[at_host]], weights=weight[at_host], minlength=len(hosts.name))
    return sent.astype(np.float64, copy=False)
