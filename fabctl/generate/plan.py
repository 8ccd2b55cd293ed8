"""What a family makes of a spec: cables and the names of what they join, within the limits of a subnet and its switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.generate.hardware import NodeType, SwitchModel
from fabctl.generate.tree import Tree
from fabctl.model.fabric import MAX_UNICAST_LID
from fabctl.units import Speed
from fabctl.yamlspec import Node

Int64 = NDArray[np.int64]

MAX_PORT = 254
"""Highest port number that a forwarding table can hold; 255 means no route."""

_LEVEL_NAMES = {1: ("leaf",), 2: ("leaf", "spine"), 3: ("leaf", "spine", "core")}


@dataclass(frozen=True)
class Settings:
    """The keys that all families share.

    Parameters
    ----------
    family : Node
        The value of ``family``, for messages about the fabric as a whole.
    speed : Speed
    lanes : int
    node_type : NodeType
        One nameless HCA per host where the spec names no hardware.
    switch : SwitchModel or None
    radix : int
        Ports per switch; 0 where the spec says nothing.
    radix_place : Node
        What says so, for messages about ports.
    host_prefix : str
    aggregation_nodes : bool
        Whether each switch has a SHARP aggregation node, on the port after its last.
    lmc : int
        LID mask control of HCAs and aggregation nodes, 0 to 7.
    lmc_place : Node
        What says so, for messages about LIDs.
    """

    family: Node
    speed: Speed
    lanes: int
    node_type: NodeType
    switch: SwitchModel | None
    radix: int
    radix_place: Node
    host_prefix: str
    aggregation_nodes: bool
    lmc: int
    lmc_place: Node


@dataclass(frozen=True)
class Plan:
    """A fabric on paper.

    Parameters
    ----------
    level_sizes : tuple of int
        Switches of each level, leaves first; one level where the fabric has none.
    switch_names : list of str of length n_switches
        Level by level.
    hca_names : list of str of length n_hcas
        In order of leaf and port: ``node-0001 mlx5_0``.
    cables : int64 array of shape (n_cables, 4)
        Node, its port, node, its port. Switches are nodes 0 to n_switches - 1, HCAs follow.
    chassis : int64 array of shape (n_switches,) or None
        The first switch of the chassis that each switch sits in; None where each is a machine of its own. The names of
        switches in a chassis begin with the chassis (``director-1/L01/U1``).
    """

    level_sizes: tuple[int, ...]
    switch_names: list[str]
    hca_names: list[str]
    cables: Int64
    chassis: Int64 | None = None


@dataclass(frozen=True)
class Family:
    """A family of topologies.

    Parameters
    ----------
    keys, required : tuple of str
        Its own keys, and those of them that a spec must have.
    plan : callable
        Takes the values of a spec's keys and its settings; raises `InputError` with the place of what does not fit.
    """

    keys: tuple[str, ...]
    required: tuple[str, ...]
    plan: Callable[[Mapping[str, Node], Settings], Plan]


def checked(tree: Tree, settings: Settings) -> Tree:
    """Return `tree` if switches of this radix and one subnet can hold it.

    Raises
    ------
    InputError
        If a switch needs more ports than it has, or the fabric more LIDs than there are.
    """
    for level, name in enumerate(level_names(tree.height), 1):
        check_ports(
            settings,
            f"a {name} switch",
            {"down": tree.down_ports(level), "up": tree.up_ports(level)},
            hint="take a larger radix, or fewer children, parents or cables",
        )
    check_lids(settings, tree.n_switches, tree.n_hcas)
    return tree


def check_ports(settings: Settings, switch: str, uses: Mapping[str, int], *, hint: str) -> None:
    """Refuse a switch that needs more ports than it has; `uses` says what for (``{"down": 18, "up": 18}``)."""
    limit = settings.radix or MAX_PORT - settings.aggregation_nodes
    needed = sum(uses.values())
    if needed > limit:
        parts = ", ".join(f"{count} {use}" for use, count in uses.items())
        raise settings.radix_place.error(f"{switch} needs {needed} ports ({parts}), it has {limit}", hint=hint)


def check_lids(settings: Settings, n_switches: int, n_hcas: int) -> None:
    """Refuse a fabric that needs more LIDs than a subnet has."""
    n_aggregation = n_switches if settings.aggregation_nodes else 0
    lids = n_hcas + n_switches + n_aggregation
    if lids > MAX_UNICAST_LID:
        raise settings.family.error(f"this fabric needs {lids:,} LIDs, a subnet has {MAX_UNICAST_LID:,}")
    last = first_lids(n_hcas, n_switches, n_aggregation, settings.lmc)[-1] - 1
    if last > MAX_UNICAST_LID:
        raise settings.lmc_place.error(
            f"with {1 << settings.lmc} LIDs for each HCA this fabric needs LIDs up to {last:,}, a subnet has {MAX_UNICAST_LID:,}",
            hint="take a smaller 'lmc'",
        )


def first_lids(n_hcas: int, n_switches: int, n_aggregation: int, lmc: int) -> tuple[int, int, int, int]:
    """Return the first LID of HCAs, of switches and of aggregation nodes, and the first that nobody has.

    A switch has one LID; the others have ``2**lmc``, of which the first is a multiple of ``2**lmc``.

    Examples
    --------
    >>> first_lids(6, 4, 4, lmc=0), first_lids(6, 5, 5, lmc=2), first_lids(6, 5, 0, lmc=2)
    ((1, 7, 11, 15), (4, 28, 36, 56), (4, 28, 33, 33))
    """
    each = 1 << lmc
    switches = each * (1 + n_hcas)
    after = switches + n_switches
    aggregation = -(-after // each) * each if n_aggregation else after
    return each, switches, aggregation, aggregation + n_aggregation * each


def uplinks(values: Mapping[str, Node], hosts: int) -> int:
    """Return the up-links of a leaf with `hosts` down-links: as many, or fewer by the ``oversubscription`` ratio.

    Raises
    ------
    InputError
        If the ratio does not give a whole number.
    """
    ratio = values.get("oversubscription")
    if ratio is None:
        return hosts
    links = hosts / ratio.number(low=1 / 64, high=64)
    if links < 1 or abs(links - round(links)) > 1e-9:
        raise ratio.error(f"{hosts} down-links at {ratio.text()}:1 make {links:.4g} up-links, no whole number")
    return round(links)


def level_names(height: int) -> tuple[str, ...]:
    """Return what a switch of each level is called: leaf, spine and core, and tiers between where there are more.

    Examples
    --------
    >>> level_names(2), level_names(4)
    (('leaf', 'spine'), ('leaf', 'tier2', 'tier3', 'core'))
    """
    between = tuple(f"tier{level}" for level in range(2, height))
    return _LEVEL_NAMES.get(height) or ("leaf", *between, "core")


def numbered(prefix: str, count: int, digits: int = 2) -> list[str]:
    """Return `count` names, numbered from 1 with as many digits as the last needs, at least `digits`.

    Examples
    --------
    >>> numbered("leaf-", 2), numbered("node-", 1, 4)
    (['leaf-01', 'leaf-02'], ['node-0001'])
    """
    width = max(digits, len(str(count)))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


def tree_plan(tree: Tree, switch_names: list[str], hca_names: list[str], chassis: Int64 | None = None) -> Plan:
    """Return the plan of a tree whose nodes have these names."""
    sizes = tuple(tree.switches(level) for level in range(1, tree.height + 1))
    return Plan(sizes, switch_names, hca_names, tree.cables(), chassis)


def plain_plan(tree: Tree, settings: Settings) -> Plan:
    """Return the plan of a tree whose switches are numbered by level and whose hosts have all HCAs on one leaf."""
    levels = enumerate(level_names(tree.height), 1)
    names = [label for level, name in levels for label in numbered(f"{name}-", tree.switches(level))]
    return tree_plan(tree, names, hca_names(settings, tree.n_hosts, tree.p[0]))


def hca_names(settings: Settings, n_hosts: int, per_host: int = 1) -> list[str]:
    """Return the names of the HCAs of hosts that are numbered from 1: ``node-0001 mlx5_0``."""
    hosts = numbered(settings.host_prefix, n_hosts, digits=4)
    return [f"{host} mlx5_{device}" for host in hosts for device in range(per_host)]
