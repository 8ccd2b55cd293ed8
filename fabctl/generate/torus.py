"""Tori and meshes (k-ary n-cubes): switches on a grid, joined with their neighbours in each dimension.

A dimension of a torus is a ring, or a single link where it has two places; a dimension of a mesh has open ends. Behind the hosts'
ports each dimension in turn has ports for its minus direction, then for its plus direction, the same on every switch.

References
----------
.. [1] W. J. Dally, C. L. Seitz, Deadlock-free message routing in multiprocessor interconnection networks, IEEE ToC
   C-36(5), 1987.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod

import numpy as np

from fabctl.generate.graph import cables_per_link, check_size, graph_plan
from fabctl.generate.grid import grid_names, join_lines, read_dims
from fabctl.generate.plan import Family, Int64, Plan, Settings
from fabctl.yamlspec import Node


def _plan(values: Mapping[str, Node], settings: Settings, *, rings: bool) -> Plan:
    dims, hosts, cables = read_dims(values), values["hosts_per_switch"].integer(low=1), cables_per_link(values)
    n_switches = prod(dims)
    check_size(settings, n_switches, n_switches * hosts, {"to hosts": hosts, "to neighbours": 2 * len(dims) * cables})
    links = np.concatenate([_along(dims, axis, rings) for axis in range(len(dims))])
    return graph_plan(settings, grid_names(dims), np.full(n_switches, hosts), links, cables=cables)


def _along(dims: tuple[int, ...], axis: int, rings: bool) -> Int64:
    size = dims[axis]
    place = np.arange(size if rings and size > 2 else size - 1)
    minus = np.full_like(place, 2 * axis)
    return join_lines(dims, axis, place, minus + 1, (place + 1) % size, minus)


_KEYS = ("dims", "hosts_per_switch", "cables")
_REQUIRED = ("dims", "hosts_per_switch")

TORUS = Family(_KEYS, _REQUIRED, partial(_plan, rings=True))
MESH = Family(_KEYS, _REQUIRED, partial(_plan, rings=False))
