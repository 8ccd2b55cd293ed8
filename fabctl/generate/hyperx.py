"""HyperX and hypercubes: switches on a grid, each joined with all others of its line in every dimension.

A hypercube is the HyperX of n dimensions with two places each. Behind the hosts' ports each dimension in turn has a port for each
of the other places, in their order; so the ports of a hypercube's dimension are the same on every switch.

References
----------
.. [1] J. H. Ahn, N. Binkert, A. Davis, M. McLaren, R. S. Schreiber, HyperX: topology, routing, and packaging of efficient
   large-scale networks, SC 2009: regular HyperX, with as many hosts on each switch and cables in each link.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from fabctl.generate.graph import cables_per_link, check_size, graph_plan
from fabctl.generate.grid import grid_names, join_all, read_dims
from fabctl.generate.plan import Family, Plan, Settings
from fabctl.yamlspec import Node

_MOST_DIMENSIONS = 14  # 2^15 switches with a host each are more than a subnet has LIDs


def _hyperx(values: Mapping[str, Node], settings: Settings) -> Plan:
    return _plan(read_dims(values), values, settings)


def _hypercube(values: Mapping[str, Node], settings: Settings) -> Plan:
    return _plan((2,) * values["dimensions"].integer(low=1, high=_MOST_DIMENSIONS), values, settings)


def _plan(dims: tuple[int, ...], values: Mapping[str, Node], settings: Settings) -> Plan:
    hosts, cables = values["hosts_per_switch"].integer(low=1), cables_per_link(values)
    n_switches, others = prod(dims), [size - 1 for size in dims]
    check_size(settings, n_switches, n_switches * hosts, {"to hosts": hosts, "to neighbours": sum(others) * cables})
    links = np.concatenate([join_all(dims, axis, sum(others[:axis])) for axis in range(len(dims))])
    return graph_plan(settings, grid_names(dims), np.full(n_switches, hosts), links, cables=cables)


HYPERX = Family(("dims", "hosts_per_switch", "cables"), ("dims", "hosts_per_switch"), _hyperx)
HYPERCUBE = Family(("dimensions", "hosts_per_switch", "cables"), ("dimensions", "hosts_per_switch"), _hypercube)
