"""Hosts for a job that asks for a number of them: packed, spread, random, by rail unit, or the first.

::

    packed         few leaves, and those under common spines
    spread         one host under each leaf in turn
    random:SEED    any
    rail           few rail units: hosts whose HCAs of each rail share a leaf
    given          the first by name
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.cables import list_cables
from fabctl.model.fabric import Fabric
from fabctl.model.neighbourhoods import Neighbourhoods, neighbourhoods, numbered
from fabctl.model.rails import find_rails
from fabctl.traffic.job import JobSpec

Int64 = NDArray[np.int64]


def choose(spec: JobSpec, fabric: Fabric, free: Sequence[str]) -> list[str]:
    """Return the hosts of a job that asks for a number of them, in natural order.

    Parameters
    ----------
    free : sequence of str
        Hosts that it may have, in natural order.

    Raises
    ------
    InputError
        If fewer are free, or rail units are asked for where rails do not have leaves of their own.
    """
    if len(free) < spec.count:
        raise InputError(f"the job asks for {spec.count} hosts, and {len(free)} are free", where=spec.hosts[0].where)
    every = np.arange(len(free))
    if spec.placement == "random":
        chosen = np.random.default_rng(spec.placement_seed).permutation(every)[: spec.count]
    elif spec.placement == "given":
        chosen = every[: spec.count]
    elif spec.placement == "rail":
        units = _rail_units(spec, fabric, free)
        chosen = Neighbourhoods(units[None], np.argsort(units, kind="stable")).packed(every, spec.count)
    else:
        near = _near(fabric, free)
        chosen = (near.spread if spec.placement == "spread" else near.packed)(every, spec.count)
    return [free[index] for index in np.sort(chosen)]


def by_topology(fabric: Fabric, names: Sequence[str]) -> list[str]:
    """Return hosts leaf by leaf, the leaves under common spines together, else in the order given; those without a cable last."""
    cabled = [name for name, ports in zip(names, _ports(fabric, names), strict=True) if ports]
    return [cabled[index] for index in _near(fabric, cabled).order] + [name for name in names if name not in set(cabled)]


def _near(fabric: Fabric, names: Sequence[str]) -> Neighbourhoods:
    return neighbourhoods(fabric, np.array([ports[0] for ports in _ports(fabric, names)], dtype=np.int32))


def _ports(fabric: Fabric, names: Sequence[str]) -> list[list[int]]:
    """Return each host's connected HCA ports, in the order of its HCAs; those whose order is unknown last."""
    node = fabric.port_node[fabric.endpoints]
    order = fabric.hosts.node_order[node]
    ports: dict[int, list[int]] = {}
    for index in np.lexsort((fabric.endpoints, order, order < 0)):
        ports.setdefault(int(fabric.hosts.node_host[node[index]]), []).append(int(fabric.endpoints[index]))
    row = {name: host for host, name in enumerate(fabric.hosts.name)}
    return [ports.get(row[name], []) for name in names]


def _rail_units(spec: JobSpec, fabric: Fabric, names: Sequence[str]) -> Int64:
    """Return the number of each host's rail unit, shape (n_hosts,): the hosts whose HCAs have the same leaves."""
    if not find_rails(fabric, list_cables(fabric)).optimised:
        raise InputError(
            "the rails of this fabric have no leaves of their own",
            where=spec.placement_where,
            hint="placement: packed takes few leaves on any fabric",
        )
    leaves = [tuple(fabric.port_node[fabric.port_peer[ports]].tolist()) for ports in _ports(fabric, names)]
    first = {unit: number for number, unit in reversed(list(enumerate(leaves)))}
    return numbered(np.array([first[unit] for unit in leaves], dtype=np.int64))
