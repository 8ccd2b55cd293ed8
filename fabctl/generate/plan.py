"""What a family makes of a spec: a tree and the names of its nodes, within the limits of a subnet and its switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fabctl.generate.hardware import NodeType, SwitchModel
from fabctl.generate.tree import Tree
from fabctl.model.fabric import MAX_UNICAST_LID
from fabctl.units import Speed
from fabctl.yamlspec import Node

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


@dataclass(frozen=True)
class Plan:
    """A fabric on paper.

    Parameters
    ----------
    tree : Tree
    switch_names : list of str of length n_switches
        Level by level, leaves first.
    hca_names : list of str of length n_hcas
        In order of leaf and port: ``node-0001 mlx5_0``.
    """

    tree: Tree
    switch_names: list[str]
    hca_names: list[str]


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
    limit = settings.radix or MAX_PORT - settings.aggregation_nodes
    for level, name in enumerate(level_names(tree.height), 1):
        down, up = tree.down_ports(level), tree.up_ports(level)
        if down + up > limit:
            raise settings.radix_place.error(
                f"a {name} switch needs {down + up} ports ({down} down, {up} up), it has {limit}",
                hint="take a larger radix, or fewer children, parents or cables",
            )
    lids = tree.n_hcas + tree.n_switches * (1 + settings.aggregation_nodes)
    if lids > MAX_UNICAST_LID:
        raise settings.family.error(f"this fabric needs {lids:,} LIDs, a subnet has {MAX_UNICAST_LID:,}")
    return tree


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


def plain_plan(tree: Tree, settings: Settings) -> Plan:
    """Return the plan of a tree whose switches are numbered by level and whose hosts have all HCAs on one leaf."""
    levels = enumerate(level_names(tree.height), 1)
    hosts = numbered(settings.host_prefix, tree.n_hosts, digits=4)
    return Plan(
        tree,
        [label for level, name in levels for label in numbered(f"{name}-", tree.switches(level))],
        [f"{host} mlx5_{device}" for host in hosts for device in range(tree.p[0])],
    )
