"""Dragonfly+: groups that are leaf-spine trees inside, joined all to all by global links of their spines.

A leaf's ports are for its hosts, then for the spines of its group; a spine's for the leaves of its group, then for its global
links (see `fabctl.generate.global_links` for where they go).

References
----------
.. [1] A. Shpiner, Z. Haramaty, S. Eliad, V. Zdornov, B. Gafni, E. Zahavi, Dragonfly+: low cost topology for scaling
   datacenters, HiPINEB 2017.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabctl.generate.global_links import join_groups, read_groups
from fabctl.generate.graph import check_size, graph_plan
from fabctl.generate.plan import Family, Int64, Plan, Settings
from fabctl.yamlspec import Node

_KEYS = ("hosts_per_leaf", "leaves", "spines", "global_links")


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    hosts, leaves, spines, outward = (values[key].integer(low=1) for key in _KEYS)
    groups = read_groups(values, spines * outward)
    n_leaves, n_spines = groups * leaves, groups * spines
    n_switches, n_hosts = n_leaves + n_spines, n_leaves * hosts
    check_size(settings, n_switches, n_hosts, {"to hosts": hosts, "to spines": spines}, "a leaf switch")
    check_size(settings, n_switches, n_hosts, {"to leaves": leaves, "global": outward}, "a spine switch")
    between = join_groups(groups, spines, outward, first_switch=n_leaves, first_slot=leaves)
    links = np.concatenate([_inside(groups, leaves, spines), between])
    names = [
        f"group-{group}-{kind}-{switch}"
        for kind, count in (("leaf", leaves), ("spine", spines))
        for group in range(groups)
        for switch in range(count)
    ]
    return graph_plan(settings, names, np.repeat([hosts, 0], [n_leaves, n_spines]), links, level_sizes=(n_leaves, n_spines))


def _inside(groups: int, leaves: int, spines: int) -> Int64:
    group, leaf, spine = np.indices((groups, leaves, spines)).reshape(3, -1)
    return np.stack([group * leaves + leaf, spine, groups * leaves + group * spines + spine, leaf], axis=1)


FAMILY = Family(keys=(*_KEYS, "groups"), required=_KEYS, plan=_plan)
