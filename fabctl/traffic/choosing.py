"""Hosts for a job that asks for a number of them: packed, spread, random, by rail unit, or the first.

::

    packed         few leaves, and those under common spines
    spread         one host under each leaf in turn
    random:SEED    any
    rail           few rail units: hosts whose HCAs of each rail share a leaf
    given          the first by name
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import chain, zip_longest

import numpy as np

from fabctl.errors import InputError
from fabctl.model.cables import list_cables
from fabctl.model.components import components
from fabctl.model.fabric import Fabric
from fabctl.model.rails import find_rails
from fabctl.traffic.job import JobSpec

Hosts = list[int]


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

    Notes
    -----
    Packed and rail are best fit: the smallest set of hosts that holds the rest of the job, else the largest, as Slurm's
    ``topology/tree`` chooses leaves (slurm.conf, topology.html).
    """
    if len(free) < spec.count:
        raise InputError(f"the job asks for {spec.count} hosts, and {len(free)} are free", where=spec.hosts[0].where)
    row = {name: host for host, name in enumerate(fabric.hosts.name)}
    hosts = [row[name] for name in free]
    if spec.placement == "random":
        drawn = np.random.default_rng(spec.placement_seed).permutation(len(hosts))[: spec.count]
        chosen = [hosts[index] for index in drawn]
    elif spec.placement == "given":
        chosen = hosts[: spec.count]
    else:
        chosen = _by_blocks(spec, fabric, hosts)
    return [fabric.hosts.name[host] for host in sorted(chosen)]


def by_topology(fabric: Fabric, names: Sequence[str]) -> list[str]:
    """Return hosts leaf by leaf, the leaves under common spines together, else in the order given."""
    row = {name: host for host, name in enumerate(fabric.hosts.name)}
    leaf, pod = _neighbours(fabric)
    first: dict[Hashable, int] = {}
    for position, name in enumerate(names):
        for key in (("pod", pod[row[name]]), ("leaf", leaf[row[name]])):
            first.setdefault(key, position)
    return sorted(names, key=lambda name: (first["pod", pod[row[name]]], first["leaf", leaf[row[name]]]))


def _by_blocks(spec: JobSpec, fabric: Fabric, hosts: Hosts) -> Hosts:
    leaf, pod = _neighbours(fabric)
    if spec.placement == "spread":
        blocks = _grouped(hosts, lambda host: leaf[host])
        turns = chain.from_iterable(zip_longest(*blocks))
        return [host for host in turns if host is not None][: spec.count]
    if spec.placement == "rail":
        units = _rail_units(spec, fabric)
        return _best_fit(_grouped(hosts, lambda host: units[host]), spec.count, lambda block, wanted: block[:wanted])
    return _best_fit(
        _grouped(hosts, lambda host: pod[host]),
        spec.count,
        lambda block, wanted: _best_fit(
            _grouped(block, lambda host: leaf[host]), wanted, lambda under_leaf, few: under_leaf[:few]
        ),
    )


def _grouped(hosts: Hosts, key: Callable[[int], Hashable]) -> list[Hosts]:
    groups: dict[Hashable, Hosts] = {}
    for host in hosts:
        groups.setdefault(key(host), []).append(host)
    return list(groups.values())


def _best_fit(groups: list[Hosts], wanted: int, take: Callable[[Hosts, int], Hosts]) -> Hosts:
    chosen: Hosts = []
    left = list(groups)
    while len(chosen) < wanted:
        missing = wanted - len(chosen)
        enough = [group for group in left if len(group) >= missing]
        best = min(enough, key=len) if enough else max(left, key=len)
        chosen += take(best, min(missing, len(best)))
        left.remove(best)
    return chosen


def _neighbours(fabric: Fabric) -> tuple[dict[int, int], dict[int, int]]:
    """Return each host's leaf, that of its first HCA, and its pod: the leaves that hang together below the top tier."""
    tier = fabric.tiers
    n, top = fabric.n_switches, int(tier.max(initial=0))
    src, dst = fabric.channel_src, fabric.channel_dst
    between = (src < n) & (dst < n)
    src, dst = src[between], dst[between]
    below = (tier[src] < top) & (tier[dst] < top) if top else np.ones(len(src), dtype=bool)
    label = components(n, src[below], dst[below])
    leaf: dict[int, int] = {}
    for host, order, switch in sorted(_attachments(fabric)):
        if order >= 0:
            leaf.setdefault(host, switch)
    return leaf, {host: int(label[switch]) if switch < n else -1 for host, switch in leaf.items()}


def _attachments(fabric: Fabric) -> list[tuple[int, int, int]]:
    """Return host, order of the HCA within the host, and neighbour, of each connected HCA port."""
    ports = fabric.endpoints
    node = fabric.port_node[ports]
    peer = fabric.port_node[fabric.port_peer[ports]]
    return list(zip(fabric.hosts.node_host[node].tolist(), fabric.hosts.node_order[node].tolist(), peer.tolist(), strict=True))


def _rail_units(spec: JobSpec, fabric: Fabric) -> dict[int, tuple[int, ...]]:
    if not find_rails(fabric, list_cables(fabric)).optimised:
        raise InputError(
            "the rails of this fabric have no leaves of their own",
            where=spec.placement_where,
            hint="placement: packed takes few leaves on any fabric",
        )
    units: dict[int, list[int]] = {}
    for host, _, switch in sorted(_attachments(fabric)):
        units.setdefault(host, []).append(switch)
    return {host: tuple(switches) for host, switches in units.items()}
