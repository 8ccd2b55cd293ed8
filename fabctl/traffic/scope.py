"""Whose traffic routes are judged by: the ports, and the flows whose cables are to be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.patterns import as_collective
from fabctl.traffic.phases import placed_traffic
from fabctl.traffic.placement import Job, place_jobs

_NOBODY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Scope:
    """Ports to score routes for, and what loads the cables.

    Parameters
    ----------
    ports : int32 array of shape (n,)
    flows : Flows, optional
        None: an all-to-all of the ports.
    title : str
        What the flows are, for people.
    """

    ports: NDArray[np.int32]
    flows: Flows | None
    title: str


def scope(specs: Sequence[JobSpec], fabric: Fabric) -> Scope:
    """Return the scope of some jobs; without any, an all-to-all of all compute HCAs.

    Of one job it is the first collective or the pattern; of several jobs, a training, a list of flows or a trace it is all that
    a step of each sends.

    Raises
    ------
    InputError
        If a job does not fit the fabric.
    """
    if not specs:
        return Scope(fabric.compute_endpoints, None, "all-to-all")
    jobs = place_jobs(specs, fabric)
    if len(specs) == 1 and (specs[0].pattern or specs[0].collectives) and not specs[0].tuning:
        return _first_collective(specs[0], jobs[0])
    traffic = [placed_traffic(spec, job) for spec, job in zip(specs, jobs, strict=True)]
    phases = [phase for one in traffic for phase in one.phases if phase.fixed is None]
    src = np.concatenate([_NOBODY, *(phase.flows.src for phase in phases)])
    dst = np.concatenate([_NOBODY, *(phase.flows.dst for phase in phases)])
    weight = np.concatenate([np.empty(0), *(phase.flows.weight * phase.times for phase in phases)])
    what = f"a step of {specs[0].name}" if len(specs) == 1 else f"a step of {len(specs)} jobs"
    ports = np.unique(np.concatenate([*(job.ports.ravel() for job in jobs), src, dst]))
    return Scope(ports, Flows(src, dst, weight), f"{what}, bytes")


def _first_collective(spec: JobSpec, job: Job) -> Scope:
    collective = as_collective(spec) if spec.pattern else COLLECTIVES.load(spec.collectives[0])
    demand = collective.demand(job)
    ports = job.ports.ravel()
    if demand.exchanges and not len(demand.flows):
        return Scope(ports, None, "all-to-all")
    distance = f":{spec.shift}" if spec.pattern == "shift" else ""
    unit = "" if spec.pattern else ", bytes per byte of message"
    return Scope(ports, demand.flows, f"{collective.name}{distance}{unit}")
