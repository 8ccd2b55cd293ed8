"""Jellyfish: a random graph of switches that all have the same number of links to others.

Free ports are paired at random. A pair that would join a switch with itself, or two switches again, breaks up a random link
and takes its ends, as Jellyfish does with ports that are left over. A graph that falls apart is drawn again, and where
a switch is joined with most of the others the links that it lacks are drawn. Only the raw stream of PCG64 is used, which numpy
keeps: the same seed gives the same fabric. Ports are in the order of the neighbours' numbers.

References
----------
.. [1] A. Singla, C.-Y. Hong, L. Popa, P. B. Godfrey, Jellyfish: networking data centers randomly, NSDI 2012, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fabctl.generate.graph import by_neighbour, check_size, graph_plan
from fabctl.generate.plan import Family, Int64, Plan, Settings, numbered
from fabctl.model.cables import connected
from fabctl.yamlspec import Node

Draw = Callable[[int], NDArray[np.uint64]]

_PATIENCE = 100  # tries per link to find one whose ends fit


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    hosts, n_switches = values["hosts_per_switch"].integer(low=1), values["switches"].integer(low=3)
    degree = values["degree"].integer(low=2, high=n_switches - 1)
    if degree * n_switches % 2:
        raise values["degree"].error(f"{n_switches} switches with {degree} links each would end in half a link")
    check_size(settings, n_switches, n_switches * hosts, {"to hosts": hosts, "to switches": degree})
    seed = values["seed"].integer(low=0) if "seed" in values else 0
    links = by_neighbour(_random_regular(n_switches, degree, np.random.PCG64(seed).random_raw))
    return graph_plan(settings, numbered("sw-", n_switches), np.full(n_switches, hosts), links)


def _random_regular(n: int, degree: int, draw: Draw) -> Int64:
    """Return the pairs of a connected graph, shape (n * degree // 2, 2)."""
    lacking = n - 1 - degree
    while True:
        pairs = _matched(n, min(degree, lacking), draw)
        if pairs is None:
            continue
        if lacking < degree:
            joined = np.ones((n, n), dtype=bool)
            joined[pairs[:, 0], pairs[:, 1]] = False
            pairs = np.argwhere(np.triu(joined, 1))
        if not connected(n, pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32)).any():
            return pairs


def _matched(n: int, degree: int, draw: Draw) -> Int64 | None:
    """Return the pairs of a graph in ascending order; None where ports are left over and no link has ends that fit."""
    ports = np.repeat(np.arange(n), degree)[np.argsort(draw(n * degree), kind="stable")]
    links: list[tuple[int, int]] = []
    joined: set[tuple[int, int]] = set()
    left_over = []
    for u, v in ports.reshape(-1, 2).tolist():
        if u == v or (u, v) in joined:
            left_over.append((u, v))
        else:
            links.append((u, v))
            joined |= {(u, v), (v, u)}
    for u, v in left_over:
        opened = _opened(u, v, links, joined, draw)
        if opened is None:
            return None
        place, x, y = opened
        joined -= {(x, y), (y, x)}
        joined |= {(u, x), (x, u), (v, y), (y, v)}
        links[place] = (u, x)
        links.append((v, y))
    return np.array(sorted((min(link), max(link)) for link in links), dtype=np.int64).reshape(-1, 2)


def _opened(
    u: int, v: int, links: list[tuple[int, int]], joined: set[tuple[int, int]], draw: Draw
) -> tuple[int, int, int] | None:
    """Return place and ends (x, y) of a random link such that u can be joined with x and v with y."""
    for _ in range(_PATIENCE * len(links)):
        number = int(draw(1)[0])
        place = (number >> 1) % len(links)
        x, y = links[place][:: -1 if number & 1 else 1]
        if not {u, v} & {x, y} and (u, x) not in joined and (v, y) not in joined:
            return place, x, y
    return None


FAMILY = Family(
    keys=("switches", "degree", "hosts_per_switch", "seed"), required=("switches", "degree", "hosts_per_switch"), plan=_plan
)
