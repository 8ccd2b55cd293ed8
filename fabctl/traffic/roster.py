"""The hosts of a job: node sets expanded, checked against the fabric, and put into rank order."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.naming import natural_key
from fabctl.nodeset import NodesetError, expand
from fabctl.traffic.choosing import by_topology, choose
from fabctl.traffic.job import ALL, JobSpec, Placed

SHOWN = 3
"""How many names a message lists."""

_DIGITS = re.compile(r"\d+")


def roster(spec: JobSpec, fabric: Fabric, taken: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the names of a job's hosts in rank order, and what was decided for the user.

    Parameters
    ----------
    taken : collection of str
        Hosts that a job which asks for a number of them does not get.

    Raises
    ------
    InputError
        If a node set cannot be read, a host is unknown (the message suggests the nearest) or listed twice, or there are
        fewer than two, or fewer than asked for.
    """
    usual, notes = usual_hosts(fabric)
    if spec.count:
        free = [name for name in usual if name not in taken]
        chosen = choose(spec, fabric, free)
        return _ordered(spec, fabric, chosen), [*notes, f"placement {spec.placement}: {len(chosen)} of {len(free)} free hosts"]
    names = named_hosts(spec, fabric.hosts.name, usual)
    if len(names) < 2:
        found = f"one: {names[0]}" if names else "none"
        raise InputError(f"a job needs at least two hosts to use the fabric, this has {found}", where=spec.hosts[0].where)
    uses_all = any(entry.text == ALL for entry in spec.hosts)
    return _ordered(spec, fabric, names), notes if uses_all else []


def named_hosts(spec: JobSpec, known: tuple[str, ...] = (), usual: Sequence[str] = ()) -> list[str]:
    """Return the hosts that a job names, in its order.

    Parameters
    ----------
    known : tuple of str
        The fabric's hosts; empty without a fabric: any name will do.
    usual : sequence of str
        What ``all`` stands for.

    Raises
    ------
    InputError
        If a node set cannot be read, a host is unknown or listed twice.
    """
    every = set(known)
    places: dict[str, str] = {}
    for entry in spec.hosts:
        for name in _expanded(entry, every, usual):
            if known and name not in every:
                raise _unknown(name, entry, spec, known)
            if name in places:
                hint = f"the first is at {places[name]}" if places[name] != entry.where else ""
                raise InputError(f"host '{name}' is here twice", where=entry.where, hint=hint)
            places[name] = entry.where
    return list(places)


def usual_hosts(fabric: Fabric) -> tuple[list[str], list[str]]:
    """Return the compute hosts that ``all`` stands for, and a note on those that it leaves out.

    They are the compute hosts with as many connected HCA ports as the typical one and with known rails; all compute hosts
    where fewer than two are like that.
    """
    hosts = fabric.hosts
    node = fabric.port_node[fabric.endpoints]
    count = np.bincount(hosts.node_host[node], minlength=len(hosts.name))
    unknown = np.bincount(hosts.node_host[node], weights=hosts.node_rail[node] < 0, minlength=len(hosts.name)) > 0
    known = hosts.is_compute & ~unknown
    typical = int(np.argmax(np.bincount(count[known], weights=count[known]))) if known.any() else 0
    usual = known & (count == typical)
    if np.count_nonzero(usual) < 2:
        return _named(fabric, hosts.is_compute), []
    others = _named(fabric, hosts.is_compute & ~usual)
    if not others:
        return _named(fabric, usual), []
    note = f"all: {len(others)} compute hosts without {typical} connected HCAs of known rail are left out ({listed(others)})"
    return _named(fabric, usual), [note]


def listed(names: Sequence[str]) -> str:
    """Return the first names for a message, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _named(fabric: Fabric, chosen: NDArray[np.bool_]) -> list[str]:
    return [fabric.hosts.name[host] for host in np.flatnonzero(chosen)]


def _expanded(entry: Placed, known: set[str], usual: Sequence[str]) -> Sequence[str]:
    if entry.text in known:
        return [entry.text]
    if entry.text == ALL:
        return usual
    try:
        return expand(entry.text)
    except NodesetError as error:
        raise InputError(error.message, where=entry.where, hint=error.hint) from error


def _unknown(name: str, entry: Placed, spec: JobSpec, known: tuple[str, ...]) -> InputError:
    every = set(known)
    missing = sum(name not in every for entry in spec.hosts for name in _expanded(entry, every, []))
    others = f" ({missing} hosts of this job are unknown)" if missing > 1 else ""
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {len(known)} hosts: {listed(known)}"
    return InputError(f"the fabric has no host '{name}'{others}", where=entry.where, hint=hint)


def nearest(name: str, known: tuple[str, ...]) -> list[str]:
    """Return the neighbours by number of a name that others are like, else the nearest in spelling."""
    place = bisect_left(known, natural_key(name), key=natural_key)
    around = (*known[place : place + 1], *known[max(place - 1, 0) : place])
    like = _DIGITS.sub("0", name)
    return [other for other in around if _DIGITS.sub("0", other) == like] or get_close_matches(name, known, n=SHOWN)


def _ordered(spec: JobSpec, fabric: Fabric, names: list[str]) -> list[str]:
    if spec.order == "sorted":
        return sorted(names, key=natural_key)
    if spec.order == "topology":
        return by_topology(fabric, names)
    if spec.order == "random":
        return [names[i] for i in np.random.default_rng(spec.seed).permutation(len(names))]
    return names
