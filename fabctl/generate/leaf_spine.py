"""Two levels by counts: every leaf has the same cables to every spine, the folded Clos network.

References
----------
.. [1] C. Clos, A study of non-blocking switching networks, Bell System Technical Journal 32(2), 1953.
"""

from __future__ import annotations

from collections.abc import Mapping

from fabctl.generate.plan import Family, Plan, Settings, checked, plain_plan, uplinks
from fabctl.generate.tree import Tree
from fabctl.yamlspec import Node


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    hosts, leaves, spines = (values[key].integer(low=1) for key in ("hosts_per_leaf", "leaves", "spines"))
    tree = Tree(m=(hosts, leaves), w=(1, spines), p=(1, _cables(values, hosts, spines)))
    return plain_plan(checked(tree, settings), settings)


def _cables(values: Mapping[str, Node], hosts: int, spines: int) -> int:
    cables, ratio = values.get("cables"), values.get("oversubscription")
    if ratio is None:
        return cables.integer(low=1) if cables else 1
    if cables is not None:
        raise ratio.error("'cables' and 'oversubscription' say the same thing", hint="keep one of them")
    links = uplinks(values, hosts)
    if links % spines:
        raise ratio.error(f"{links} up-links per leaf cannot be shared evenly by {spines} spines")
    return links // spines


FAMILY = Family(
    keys=("hosts_per_leaf", "leaves", "spines", "cables", "oversubscription"),
    required=("hosts_per_leaf", "leaves", "spines"),
    plan=_plan,
)
