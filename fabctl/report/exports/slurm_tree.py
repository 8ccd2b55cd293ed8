"""A fabric as the strict tree that Slurm's schedulers want: each host under one leaf, each switch under one parent.

InfiniBand fabrics are no strict trees: leaves have many spines, and where each HCA of a host is a rail of its own a host has
many leaves. So leaves that serve the same hosts count as one unit, and what stands above is not single spines but the sets of
switches that are joined without climbing higher (a pod), up to the whole fabric. Slurm's topology guide advises the same: leaves
and one switch on top place jobs as well as every spine spelt out, and faster.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np
from numpy.typing import NDArray

from fabctl.model.cables import HOST, Cables, connected, list_cables
from fabctl.model.fabric import Fabric
from fabctl.model.naming import natural_key
from fabctl.nodeset import fold

SAME_HOSTS = 0.5
"""Two leaves form one unit when they share more than this part of the hosts of the fuller one."""

NAME_CHARS = 64
"""Longest switch name (topology.conf(5))."""

_HOST_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
_NAMED = ("name", "single", "system-image")


@dataclass(frozen=True)
class Unit:
    """Leaves that serve the same hosts, and those hosts.

    Parameters
    ----------
    name : str
    leaves : tuple of str
        Labels of the switches.
    hosts, compute : tuple of str
        All hosts, and those of them that are compute hosts.
    """

    name: str
    leaves: tuple[str, ...]
    hosts: tuple[str, ...]
    compute: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """A set of switches that joins `children`: names of units or of other branches."""

    name: str
    children: tuple[str, ...]


@dataclass(frozen=True)
class SlurmTree:
    """Units, the branches above them (parents first), and what could not be written."""

    units: tuple[Unit, ...]
    branches: tuple[Branch, ...]
    left_out: tuple[str, ...]


def slurm_tree(fabric: Fabric) -> SlurmTree:
    """Return the tree of a fabric's named hosts.

    A host belongs to the unit that most of its HCAs are cabled to. HCAs and hosts whose machine is not known by name, and
    hosts without a cable, are left out, and said to be.

    Complexity
    ----------
    O(cables + hosts x HCAs^2).
    """
    cables = list_cables(fabric)
    hosts = fabric.hosts
    usable = np.array(
        [how in _NAMED and bool(_HOST_NAME.match(name)) for how, name in zip(hosts.grouped_by, hosts.name, strict=True)],
        dtype=bool,
    )
    on_leaf = _hosts_on_leaves(fabric, cables, usable)
    unit_of_leaf = _join_leaves(fabric, on_leaf)
    home = {host: _home(leaves, unit_of_leaf) for host, leaves in on_leaf.items()}
    units = _units(fabric, unit_of_leaf, home)
    branches = _branches(fabric, cables, units, unit_of_leaf)
    return SlurmTree(tuple(units.values()), branches, _left_out(fabric, usable, home))


def fold_names(names: Iterable[str]) -> str:
    """Return a hostlist with brackets at the ends of names only, as all versions of Slurm read it (slurm.conf(5)).

    Examples
    --------
    >>> fold_names(["r1-n1", "r1-n2", "r2-n1", "gw"])
    'gw,r1-n[1-2],r2-n1'
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=natural_key):
        groups[name.rstrip("0123456789")].append(name)
    return ",".join(fold(members) for members in groups.values())


def _hosts_on_leaves(fabric: Fabric, cables: Cables, usable: NDArray[np.bool_]) -> dict[int, Counter[int]]:
    """Return for each usable host how many of its HCAs' cables each switch has."""
    rows = (cables.low_level == HOST) & (cables.high < fabric.n_switches)
    on_leaf: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for host, switch in zip(fabric.hosts.node_host[cables.low[rows]].tolist(), cables.high[rows].tolist(), strict=True):
        if usable[host]:
            on_leaf[host][switch] += 1
    return on_leaf


def _join_leaves(fabric: Fabric, on_leaf: dict[int, Counter[int]]) -> dict[int, int]:
    """Return for each switch with hosts the lowest switch of its unit."""
    number: Counter[int] = Counter()
    shared: Counter[tuple[int, int]] = Counter()
    for host, leaves in on_leaf.items():
        if fabric.hosts.is_compute[host]:
            number.update(leaves.keys())
            shared.update(combinations(sorted(leaves), 2))
    root = {leaf: leaf for leaves in on_leaf.values() for leaf in leaves}

    def find(leaf: int) -> int:
        while root[leaf] != leaf:
            leaf = root[leaf]
        return leaf

    for (first, second), hosts in sorted(shared.items()):
        if hosts > SAME_HOSTS * max(number[first], number[second]):
            low, high = sorted((find(first), find(second)))
            root[high] = low
    return {leaf: find(leaf) for leaf in sorted(root)}


def _home(leaves: Counter[int], unit_of_leaf: dict[int, int]) -> int:
    votes: Counter[int] = Counter()
    for leaf, hcas in leaves.items():
        votes[unit_of_leaf[leaf]] += hcas
    return min(votes, key=lambda unit: (-votes[unit], unit))


def _units(fabric: Fabric, unit_of_leaf: dict[int, int], home: dict[int, int]) -> dict[int, Unit]:
    """Return the units by their lowest switch, in natural order of their leaves."""
    hosts = fabric.hosts
    leaves: defaultdict[int, list[str]] = defaultdict(list)
    for leaf, unit in unit_of_leaf.items():
        leaves[unit].append(fabric.labels[leaf])
    members: defaultdict[int, list[int]] = defaultdict(list)
    for host, unit in sorted(home.items()):
        members[unit].append(host)
    taken: set[str] = set()
    units, scalable = {}, 0
    for unit in sorted(members, key=lambda unit: natural_key(min(leaves[unit], key=natural_key))):
        labels = tuple(sorted(leaves[unit], key=natural_key))
        scalable += len(labels) > 1
        units[unit] = Unit(
            name=_new_name(labels[0] if len(labels) == 1 else f"su{scalable}", taken),
            leaves=labels,
            hosts=tuple(hosts.name[host] for host in members[unit]),
            compute=tuple(hosts.name[host] for host in members[unit] if hosts.is_compute[host]),
        )
    return units


def _new_name(wish: str, taken: set[str]) -> str:
    """Return a name that Slurm accepts and that nothing else has."""
    base = re.sub(r"[^A-Za-z0-9_.-]+", "-", wish).strip("-")[: NAME_CHARS - 6] or "switch"
    name = next(name for number in count(1) if (name := base if number == 1 else f"{base}-{number}") not in taken)
    taken.add(name)
    return name


def _branches(fabric: Fabric, cables: Cables, units: dict[int, Unit], unit_of_leaf: dict[int, int]) -> tuple[Branch, ...]:
    """Return what joins units, tier by tier; a set of switches that joins nothing new is passed over."""
    taken = {unit.name for unit in units.values()}
    tops = {unit.name: switch for switch, unit in units.items()}
    between = cables.between_switches
    leaf, unit = np.array(list(unit_of_leaf.items()), dtype=np.int32).reshape(-1, 2).T
    branches: list[Branch] = []
    for tier in range(1, int(fabric.tiers.max(initial=0)) + 1):
        inside = between & (cables.low_level <= tier) & (cables.high_level <= tier)
        label = connected(fabric.n_switches, np.append(cables.low[inside], leaf), np.append(cables.high[inside], unit))
        groups: defaultdict[int, list[str]] = defaultdict(list)
        for name, switch in tops.items():
            groups[int(label[switch])].append(name)
        tops, here = {}, []
        for number, (switch, children) in enumerate(groups.items(), 1):
            name = children[0]
            if len(children) > 1:
                wish = "fabric" if len(groups) == 1 else f"pod{number}" if tier == 1 else f"tier{tier}-{number}"
                name = _new_name(wish, taken)
                here.append(Branch(name, tuple(children)))
            tops[name] = switch
        branches = here + branches
    return tuple(branches)


def _left_out(fabric: Fabric, usable: NDArray[np.bool_], home: dict[int, int]) -> tuple[str, ...]:
    hosts = fabric.hosts
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for host, (name, how) in enumerate(zip(hosts.name, hosts.grouped_by, strict=True)):
        if how == "unnamed":
            reasons["HCAs whose description names no host"].append(name)
        elif not usable[host]:
            reasons["hosts whose name cannot be trusted or written"].append(name)
        elif host not in home:
            reasons["hosts without a cable to a switch"].append(name)
    return tuple(
        f"{reason} ({len(names)}): {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}" for reason, names in reasons.items()
    )
