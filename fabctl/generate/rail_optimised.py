"""Rail-optimised clusters: each rail of a scalable unit has a leaf (or several) of its own, as DGX SuperPODs are built.

HCA number r of every node of a unit is on the unit's leaf of rail r, so traffic within a rail of a unit takes one hop. As long
as a spine has ports for every leaf there are two levels. Beyond that each rail of a pod of units has its own group of spines,
and the spines that have the same place in their groups are joined by a group of cores: Selene is cabled so (its dump, pods
of 7 units of 20 nodes: 10 spines per rail and pod, 2 cables from each leaf to each, 14 cores per place).

Counts that the spec leaves open are the fewest that keep every switch of a level alike, carry all up-links of the leaves
and stay within the radix. They are those of the reference architectures: 2, 4 and 8 units of 32 nodes on 64 ports take 8, 16 and
32 spines; 16, 32 and 64 units take 128, 256 and 512 spines and half as many cores [1]_; units of 72 nodes on 144 ports take 4,
8, 18, 36 and 72 spines for 1, 2, 4, 8 and 18 of them [2]_.

References
----------
.. [1] NVIDIA, DGX SuperPOD Reference Architecture with DGX B200, table "Larger SuperPOD component counts".
.. [2] NVIDIA, DGX SuperPOD Reference Architecture with DGX B300 and XDR, table of component counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fabctl.generate.plan import MAX_PORT, Family, Plan, Settings, checked, numbered, tree_plan, uplinks
from fabctl.generate.tree import Tree
from fabctl.model.fabric import MAX_UNICAST_LID
from fabctl.yamlspec import Node


@dataclass(frozen=True)
class _Leaves:
    """The lowest level: how many leaves there are, and their down- and up-links."""

    rails: int
    units: int
    per_rail: int
    down: int
    up: int

    @property
    def count(self) -> int:
        return self.rails * self.units * self.per_rail


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    leaves = _leaves(values, settings)
    radix = settings.radix or MAX_PORT
    if "cores" in values or "units_per_pod" in values or not _fewest(leaves.up, leaves.count, radix):
        tree = _three_levels(leaves, radix, values, settings)
    else:
        tree = _two_levels(leaves, radix, values)
    return _named(checked(tree, settings), leaves, settings)


def _leaves(values: Mapping[str, Node], settings: Settings) -> _Leaves:
    if "node_type" not in values and "rails" not in values:
        raise settings.family.error("'node_type' or 'rails' must say how many rails there are", hint="write node_type: dgx-h100")
    nodes = values["nodes_per_unit"].integer(low=1, high=MAX_UNICAST_LID)
    per_rail = values["leaves_per_rail"].integer(low=1) if "leaves_per_rail" in values else 1
    if nodes % per_rail:
        raise values["leaves_per_rail"].error(f"{nodes} nodes cannot be shared evenly by {per_rail} leaves")
    down = nodes // per_rail
    return _Leaves(
        rails=len(settings.node_type.devices),
        units=values["units"].integer(low=1, high=MAX_UNICAST_LID),
        per_rail=per_rail,
        down=down,
        up=uplinks(values, down),
    )


def _two_levels(leaves: _Leaves, radix: int, values: Mapping[str, Node]) -> Tree:
    spines = _share(values["spines"], 1, leaves.up) if "spines" in values else _fewest(leaves.up, leaves.count, radix)
    return Tree(m=(leaves.down, leaves.count), w=(1, spines), p=(1, leaves.up // spines))


def _three_levels(leaves: _Leaves, radix: int, values: Mapping[str, Node], settings: Settings) -> Tree:
    in_pod = _leaves_in_pod(leaves, radix, values)
    groups = leaves.count // in_pod
    spines = _share(values["spines"], groups, leaves.up) if "spines" in values else _fewest(leaves.up, in_pod, radix // 2)
    up = in_pod * leaves.up // spines if spines else 0
    cores = _share(values["cores"], spines, up) if "cores" in values and up else _fewest(up, groups, radix)
    if not cores:
        raise settings.family.error(
            f"{leaves.count} leaves with {leaves.up} up-links do not make a regular tree of three levels on {radix} ports",
            hint="take fewer units or a larger radix, or say 'units_per_pod', 'spines' and 'cores'",
        )
    return Tree(m=(leaves.down, in_pod, groups), w=(1, spines, cores), p=(1, leaves.up // spines, up // cores))


def _leaves_in_pod(leaves: _Leaves, radix: int, values: Mapping[str, Node]) -> int:
    """Return how many leaves of one rail share a group of spines: of all units if half of a spine's ports take them."""
    place = values.get("units_per_pod")
    if place is None:
        units = max((count for count in _divisors(leaves.units) if count * leaves.per_rail <= radix // 2), default=1)
    else:
        units = place.integer(low=1, high=leaves.units)
        if leaves.units % units:
            raise place.error(f"{leaves.units} units do not make whole pods of {units}")
    return units * leaves.per_rail


def _fewest(links: int, below: int, ports: int) -> int:
    """Return the fewest switches that share `links` evenly and have `ports` for the cables of `below` others; 0 if none do."""
    return next((count for count in _divisors(links) if below * (links // count) <= ports), 0)


def _share(total: Node, groups: int, links: int) -> int:
    """Return how many switches of a total each of several groups gets; `links` from below must share out evenly among them."""
    count = total.integer(low=1)
    each, rest = divmod(count, groups)
    if rest:
        raise total.error(f"{count} {total.name} do not make {groups} equal groups")
    if links % each:
        whole = f" ({count} in {groups} groups)" if groups > 1 else ""
        raise total.error(f"{links} up-links from each switch below cannot be shared evenly by {each} {total.name}{whole}")
    return each


def _divisors(number: int) -> Iterator[int]:
    return (candidate for candidate in range(1, number + 1) if number % candidate == 0)


def _named(tree: Tree, leaves: _Leaves, settings: Settings) -> Plan:
    places = [""] if leaves.per_rail == 1 else numbered("-", leaves.per_rail, 1)
    units = numbered("su", leaves.units)
    names = [f"leaf-{unit}-rail{rail}{place}" for rail in range(leaves.rails) for unit in units for place in places]
    if tree.height == 2:
        names += numbered("spine-", tree.switches(2))
    else:
        n_pods = tree.m[2] // leaves.rails
        pods = [""] if n_pods == 1 else [f"{pod}-" for pod in numbered("pod", n_pods, 1)]
        groups = [f"spine-{pod}rail{rail}-" for rail in range(leaves.rails) for pod in pods]
        names += [name for group in groups for name in numbered(group, tree.w[1])]
        names += numbered("core-", tree.switches(3))
    hosts = numbered(settings.host_prefix, tree.n_hosts // leaves.rails, digits=4)
    return tree_plan(tree, names, [f"{host} {device}" for device in settings.node_type.devices for host in hosts])


FAMILY = Family(
    keys=(
        "node_type",
        "rails",
        "nodes_per_unit",
        "units",
        "leaves_per_rail",
        "oversubscription",
        "units_per_pod",
        "spines",
        "cores",
    ),
    required=("nodes_per_unit", "units"),
    plan=_plan,
)
