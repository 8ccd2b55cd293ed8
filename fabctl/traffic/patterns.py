"""Traffic patterns over a list of ports, as ORCS and the routing papers use them: flows of weight 1.

Each function takes ``ports``, an int32 array of shape (n,), n >= 2, and returns `Flows` between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.flows import Flows, unit_flows
from fabctl.traffic.collective import Collective, Demand, Exchange, Steps, refuse_flows
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job

Int32 = NDArray[np.int32]


def ring(ports: Int32) -> Flows:
    """Return each port's flow to the next, the last one's to the first; n flows."""
    return shift(ports, 1)


def shift(ports: Int32, distance: int = 1) -> Flows:
    """Return each port's flow to the one `distance` places on, cyclically; n flows, none if n divides `distance`."""
    return _without_own(ports, np.roll(ports, -distance))


def alltoall(ports: Int32) -> Flows:
    """Return a flow for every ordered pair of distinct ports; n (n - 1) flows, at most `MOST_FLOWS`.

    Notes
    -----
    Loads of large all-to-alls come from `fabctl.congestion.load.alltoall_loads`, which writes no pair down.
    """
    n = len(ports)
    refuse_flows(n * n, f"an all-to-all of {n:,} HCAs")
    return _without_own(np.repeat(ports, n), np.tile(ports, n))


def bisect(ports: Int32, seed: int = 1) -> Flows:
    """Return a random bisection: random halves, each port of the first sends to its own port of the second.

    n // 2 flows in one direction; an odd port stays silent. This is the ``bisect`` of ORCS (Hoefler, Schneider, Lumsdaine:
    Multistage Switches are not Crossbars, CLUSTER 2008), whose mean bandwidth over many seeds is the effective bisection
    bandwidth.
    """
    half = len(ports) // 2
    order = np.random.default_rng(seed).permutation(ports)
    return unit_flows(order[:half], order[half : 2 * half])


def permutation(ports: Int32, seed: int = 1) -> Flows:
    """Return a uniformly random permutation without fixed points; n flows.

    Notes
    -----
    Permutations are drawn until one has no fixed point, 2.7 draws on average.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(ports)
        if not np.any(order == ports):
            return unit_flows(ports, order)


def pattern_flows(spec: JobSpec, job: Job) -> Flows:
    """Return the flows of a job's pattern between its ports, host by host; those inside a host are left out.

    Raises
    ------
    InputError
        If none is left.
    """
    ports = job.ports.ravel()
    flows = {
        "alltoall": lambda: alltoall(ports),
        "ring": lambda: ring(ports),
        "shift": lambda: shift(ports, spec.shift),
        "bisect": lambda: bisect(ports, spec.seed),
        "permutation": lambda: permutation(ports, spec.seed),
    }[spec.pattern]()
    host = np.empty(len(job.fabric.port_node), dtype=np.int64)
    host[job.ports] = np.arange(job.n_hosts)[:, None]
    away = host[flows.src] != host[flows.dst]
    if not away.any():
        what = f"a shift by {spec.shift}" if spec.pattern == "shift" else f"the pattern '{spec.pattern}'"
        raise InputError(f"{what} of {len(ports)} HCAs sends nothing over the fabric", where=spec.hosts[0].where)
    return unit_flows(flows.src[away], flows.dst[away])


def as_collective(spec: JobSpec) -> Collective:
    """Return a job's pattern as one more operation to predict: every flow carries the message once.

    The pairs of an all-to-all are not written down.
    """

    def demand(job: Job) -> Demand:
        if spec.pattern == "alltoall":
            return Demand(exchanges=(Exchange(job.ports, 1.0),))
        return Demand(pattern_flows(spec, job))

    return Collective(
        name=spec.pattern,
        algorithm="pattern",
        demand=demand,
        steps=lambda _: Steps(intra=0, inter=1),
        bus_factor=lambda _: 1.0,
        protocols=("LL", "Simple"),
    )


def _without_own(src: Int32, dst: Int32) -> Flows:
    away = src != dst
    return unit_flows(src[away], dst[away])
