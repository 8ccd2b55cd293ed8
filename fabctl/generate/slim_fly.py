"""Slim Fly: the McKay-Miller-Siran graphs, of diameter two and close to the most switches that their degree allows.

For a power of a prime q = 4w + d with d of -1, 0 and 1 there are 2 q^2 switches, (0, x, y) and (1, m, c) over GF(q), of
degree (3q - d) / 2. With X and X' made of powers of a primitive element, (0, x, y) is joined with (0, x, y') if y - y' is in X,
(1, m, c) with (1, m, c') if c - c' is in X', and (0, x, y) with (1, m, c) if y = m x + c. Ports are in the order of the
neighbours' numbers.

References
----------
.. [1] M. Besta, T. Hoefler, Slim Fly: a cost effective low-diameter network topology, SC 2014, section II.
.. [2] B. D. McKay, M. Miller, J. Siran, A note on large graphs of diameter two and given maximum degree, J. Combin. Theory B 74,
   1998.
.. [3] P. R. Hafner, Geometric realisation of the graphs of McKay-Miller-Siran, J. Combin. Theory B 90, 2004: X and X'.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from fabctl.generate.galois import GaloisField, galois_field
from fabctl.generate.graph import by_neighbour, check_size, graph_plan
from fabctl.generate.plan import Family, Int64, Plan, Settings
from fabctl.yamlspec import Node

_LARGEST_Q = 110  # 2 * 111^2 switches with a host each are more than a subnet has LIDs


def _plan(values: Mapping[str, Node], settings: Settings) -> Plan:
    q, hosts = values["q"].integer(low=3, high=_LARGEST_Q), values["hosts_per_switch"].integer(low=1)
    field = galois_field(q)
    if field is None:
        powers = [str(other) for other in range(3, 30) if galois_field(other)]
        raise values["q"].error(f"'q' must be a power of a prime, not {q}", hint=f"such as {', '.join(powers)}")
    n_switches = 2 * q * q
    check_size(settings, n_switches, n_switches * hosts, {"to hosts": hosts, "to switches": (3 * q + 1) // 2 - (q % 4 == 1)})
    names = [f"sw-{side}-{x}-{y}" for side, x, y in product(range(2), range(q), range(q))]
    return graph_plan(settings, names, np.full(n_switches, hosts), by_neighbour(_pairs(q, field)))


def _pairs(q: int, field: GaloisField) -> Int64:
    line, element = np.arange(q)[:, None], np.arange(q)
    pairs = []
    for side, generators in enumerate(_generators(q, field)):
        for generator in generators.tolist():
            other = field.add[element, generator]
            once = element < other
            first = (side * q + line) * q + element[once]
            pairs.append(np.stack([first, (side * q + line) * q + other[once]], axis=-1).reshape(-1, 2))
    x, m, c = np.indices((q, q, q)).reshape(3, -1)
    pairs.append(np.stack([x * q + field.add[field.multiply[m, x], c], q * q + m * q + c], axis=-1))
    return np.concatenate(pairs)


def _generators(q: int, field: GaloisField) -> tuple[Int64, Int64]:
    """Return X and X', each of which holds the negative of each of its elements."""
    if q % 4 == 3:
        w = (q + 1) // 4
        exponents = np.concatenate([np.arange(0, 2 * w, 2), np.arange(2 * w - 1, 4 * w - 2, 2)])
    else:
        exponents = np.arange(0, q - 1, 2)
    return field.powers[exponents], field.powers[(exponents + 1) % (q - 1)]


FAMILY = Family(keys=("q", "hosts_per_switch"), required=("q", "hosts_per_switch"), plan=_plan)
