"""Dragonfly: groups of switches joined all to all, and groups joined all to all by global links.

In the letters of the paper: p ``hosts_per_switch``, a ``switches_per_group``, h ``global_links`` of each switch, g ``groups``, at
most a h + 1; balanced with a = 2p = 2h. Behind the hosts' ports come those to the switches of the group, then the global links
(see `fabctl.generate.global_links` for where they go).

References
----------
.. [1] J. Kim, W. J. Dally, S. Scott, D. Abts, Technology-driven, highly-scalable dragonfly topology, ISCA 2008.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabctl.generate.global_links import join_groups, read_groups
from fabctl.generate.graph import check_size, graph_plan
from fabctl.generate.grid import join_all
from fabctl.generate.plan import Family, Plan, Settings
from fabctl.yamlspec import Node

_KEYS = ("hosts_per_switch", "switches_per_group", "global_links")


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    hosts, switches, outward = (values[key].integer(low=1) for key in _KEYS)
    groups = read_groups(values, switches * outward)
    n_switches, local = groups * switches, switches - 1
    check_size(settings, n_switches, n_switches * hosts, {"to hosts": hosts, "local": local, "global": outward})
    between = join_groups(groups, switches, outward, first_switch=0, first_slot=local)
    links = np.concatenate([join_all((groups, switches), 1, 0), between])
    names = [f"group-{group}-sw-{switch}" for group in range(groups) for switch in range(switches)]
    return graph_plan(settings, names, np.full(n_switches, hosts), links)


FAMILY = Family(keys=(*_KEYS, "groups"), required=_KEYS, plan=_plan)
