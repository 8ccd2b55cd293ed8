"""Director switches: chassis in which line cards are joined with fabric cards, alone or as the spines of leaf switches.

Each card has one chip. Half of a line card's ports lead out, the other half are shared evenly by the fabric cards, so a chassis
is a two-level tree. With leaves the fabric is a tree of three, PGFT(3; hosts, leaves per line card, line cards; 1, chassis,
fabric cards; 1, cables, cables inside): a leaf is cabled to the line cards of one number, one in every chassis, so the line cards
of a number are the spines of a pod, and each chassis is a plane.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabctl.generate.graph import cables_per_link
from fabctl.generate.plan import Family, Plan, Settings, check_lids, check_ports, hca_names, numbered, tree_plan
from fabctl.generate.tree import Tree
from fabctl.yamlspec import Node

_OF_LEAVES = ("hosts_per_leaf", "chassis", "cables")


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    if not settings.radix or settings.radix % 2:
        raise settings.radix_place.error(
            "a director needs an even 'radix'", hint="write radix: 36, or name the hardware: switch: SB7800"
        )
    outer = settings.radix // 2
    lines, fabrics = values["line_cards"].integer(low=1), values["fabric_cards"].integer(low=1)
    if outer % fabrics:
        raise values["fabric_cards"].error(
            f"{outer} inner ports of a line card cannot be shared evenly by {fabrics} fabric cards"
        )
    inside = outer // fabrics
    if lines * inside > settings.radix:
        raise values["line_cards"].error(
            f"a fabric card needs {lines * inside} ports ({inside} for each line card), it has {settings.radix}"
        )
    if "leaves" in values:
        return _with_leaves(values, settings, Tree((outer, lines), (1, fabrics), (1, inside)))
    misplaced = next((values[key] for key in _OF_LEAVES if key in values), None)
    if misplaced is not None:
        raise misplaced.error(f"'{misplaced.name}' is for directors above leaves", hint="say how many 'leaves' there are")
    hosts = values["hosts_per_line_card"].integer(low=1, high=outer) if "hosts_per_line_card" in values else outer
    tree = Tree((hosts, lines), (1, fabrics), (1, inside))
    return _named(tree, settings, n_leaves=0, n_chassis=1)


def _with_leaves(values: Mapping[str, Node], settings: Settings, chassis: Tree) -> Plan:
    """Return the plan of leaves above which stand directors, each of which is the tree `chassis`."""
    if "hosts_per_line_card" in values:
        raise values["hosts_per_line_card"].error("hosts are on the leaves here", hint="write 'hosts_per_leaf'")
    if "hosts_per_leaf" not in values:
        raise values["leaves"].error("'leaves' needs 'hosts_per_leaf'")
    leaves, hosts = values["leaves"].integer(low=1), values["hosts_per_leaf"].integer(low=1)
    n_chassis, cables = values["chassis"].integer(low=1) if "chassis" in values else 1, cables_per_link(values)
    (outer, lines), fabrics, inside = chassis.m, chassis.w[1], chassis.p[1]
    each, rest = divmod(leaves, lines)
    if rest:
        raise values["leaves"].error(f"{leaves} leaves cannot be shared evenly by {lines} line cards of a chassis")
    if each * cables > outer:
        raise values["leaves"].error(
            f"a line card needs {each * cables} outer ports ({each} leaves, {cables} cables each), it has {outer}"
        )
    check_ports(settings, "a leaf switch", {"down": hosts, "up": n_chassis * cables}, hint="take fewer hosts, chassis or cables")
    tree = Tree((hosts, each, lines), (1, n_chassis, fabrics), (1, cables, inside))
    return _named(tree, settings, n_leaves=leaves, n_chassis=n_chassis)


def _named(tree: Tree, settings: Settings, *, n_leaves: int, n_chassis: int) -> Plan:
    check_lids(settings, tree.n_switches, tree.n_hcas)
    directors = numbered("director-", n_chassis, 1)
    lines, fabrics = numbered("L", tree.m[-1]), numbered("S", tree.w[-1])
    names = numbered("leaf-", n_leaves)
    names += [f"{director}/{line}/U1" for line in lines for director in directors]
    names += [f"{director}/{fabric}/U1" for director in directors for fabric in fabrics]
    place = np.arange(n_chassis)
    chassis = n_leaves + np.concatenate([np.tile(place, len(lines)), np.repeat(place, len(fabrics))])
    return tree_plan(tree, names, hca_names(settings, tree.n_hosts), np.concatenate([np.arange(n_leaves), chassis]))


FAMILY = Family(
    keys=("line_cards", "fabric_cards", "hosts_per_line_card", "leaves", *_OF_LEAVES),
    required=("line_cards", "fabric_cards"),
    plan=_plan,
)
