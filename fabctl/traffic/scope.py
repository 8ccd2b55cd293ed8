"""Whose traffic routes are judged by: the ports, and the flows whose cables are to be named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec
from fabctl.traffic.patterns import as_collective
from fabctl.traffic.placement import place


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


def scope(spec: JobSpec | None, fabric: Fabric) -> Scope:
    """Return the scope of a job's first collective or pattern; without a job, an all-to-all of all compute HCAs.

    Raises
    ------
    InputError
        If the job does not fit the fabric.
    """
    if spec is None:
        return Scope(fabric.compute_endpoints, None, "all-to-all")
    job = place(spec, fabric)
    collective = as_collective(spec) if spec.pattern else COLLECTIVES.load(spec.collectives[0])
    demand = collective.demand(job)
    ports = job.ports.ravel()
    if demand.exchanges and not len(demand.flows):
        return Scope(ports, None, "all-to-all")
    distance = f":{spec.shift}" if spec.pattern == "shift" else ""
    unit = "" if spec.pattern else ", bytes per byte of message"
    return Scope(ports, demand.flows, f"{collective.name}{distance}{unit}")
