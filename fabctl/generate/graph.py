"""Fabrics that are no trees: switches with hosts, joined by links.

Links are int64 arrays of shape (n_links, 4): switch, its slot, switch, its slot. A switch's hosts take its first ports; behind
them each slot, counted from 0, takes as many ports as a link has cables. Grids give each direction a slot of its own, used
or not, so that a dimension has the same ports on every switch, as dimension-order routing wants it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabctl.generate.plan import Int64, Plan, Settings, check_lids, check_ports, hca_names
from fabctl.yamlspec import Node


def check_size(settings: Settings, n_switches: int, n_hosts: int, uses: Mapping[str, int], switch: str = "a switch") -> None:
    """Refuse a fabric that its switches or a subnet cannot hold, before it is drawn; `uses` as in `check_ports`."""
    check_lids(settings, n_switches, n_hosts)
    check_ports(settings, switch, uses, hint="take a larger radix, or fewer hosts, links or cables")


def cables_per_link(values: Mapping[str, Node]) -> int:
    """Return the value of ``cables``, 1 by default."""
    return values["cables"].integer(low=1) if "cables" in values else 1


def graph_plan(
    settings: Settings,
    names: list[str],
    hosts: Int64,
    links: Int64,
    *,
    cables: int = 1,
    level_sizes: tuple[int, ...] | None = None,
) -> Plan:
    """Return the plan of a graph of switches.

    Parameters
    ----------
    settings : Settings
    names : list of str of length n_switches
    hosts : int64 array of shape (n_switches,)
        Hosts of each switch, with one HCA each.
    links : int64 array of shape (n_links, 4)
        Switch, its slot, switch, its slot.
    cables : int
        Parallel cables of each link.
    level_sizes : tuple of int or None
        Switches of each level; None for one level.
    """
    n_switches, n_hcas = len(names), int(hosts.sum())
    switch = np.repeat(np.arange(n_switches), hosts)
    hca = np.arange(n_hcas)
    port = hca - (np.cumsum(hosts) - hosts)[switch] + 1
    down = np.stack([n_switches + hca, np.ones_like(hca), switch, port], axis=1)
    between = np.repeat(links, cables, axis=0)
    cable = np.tile(np.arange(cables), len(links))
    for end in (0, 2):
        between[:, end + 1] = hosts[between[:, end]] + between[:, end + 1] * cables + cable + 1
    return Plan(level_sizes or (n_switches,), names, hca_names(settings, n_hcas), np.concatenate([down, between]))


def by_neighbour(pairs: Int64) -> Int64:
    """Return links between pairs of switches, shape (n_links, 2): slots are in the order of the neighbours' numbers.

    Examples
    --------
    >>> by_neighbour(np.array([[0, 2], [0, 1]])).tolist()
    [[0, 1, 2, 0], [0, 0, 1, 0]]
    """
    here = np.concatenate([pairs[:, 0], pairs[:, 1]])
    there = np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((there, here))
    slot = np.empty_like(order)
    slot[order] = np.arange(len(order)) - np.searchsorted(here[order], here[order])
    return np.stack([pairs[:, 0], slot[: len(pairs)], pairs[:, 1], slot[len(pairs) :]], axis=1)
