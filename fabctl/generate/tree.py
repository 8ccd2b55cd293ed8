"""The parallel-ports generalised fat tree, PGFT(h; m; w; p): the structure behind every family here.

A switch of level l stands in one of the subtrees of height l, numbered by the digits (a_h, ..., a_{l+1}), and has the digits
(b_1, ..., b_l) within it; switches of a level are numbered in lexicographic order of (a_h, ..., a_{l+1}, b_1, ..., b_l).
Two switches of adjacent levels are joined by p_l cables if they agree in all digits that both have. Hosts are numbered
by (a_h, ..., a_1).

Ports follow the digits, down first: the cable number k to child a_l is on port ``a_l * p_l + k + 1``; the cable number k to
parent b_{l+1} is on port ``m_l * p_l + b_{l+1} * p_{l+1} + k + 1``. So D-mod-k is the plain modulo rule: towards host d,
a switch of level l goes up to its parent ``b_{l+1} = (d // (w_1 * ... * w_l)) % w_{l+1}``.

References
----------
.. [1] S. R. Oehring, M. Ibel, S. K. Das, M. J. Kumar, On generalized fat trees, IPPS 1995: XGFT(h; m; w).
.. [2] E. Zahavi, D-Mod-K routing providing non-blocking traffic for shift permutations on real life fat trees, CCIT report
   776, Technion, 2010: p, the number of parallel cables.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tree:
    """PGFT(h; m; w; p).

    Parameters
    ----------
    m : tuple of int of length h
        ``m[l - 1]``: children of a switch of level l; of a leaf, its hosts.
    w : tuple of int of length h
        ``w[l - 1]``: parents of a node of level l - 1. The first is 1: hosts that reach several leaves would join planes
        that no switch joins.
    p : tuple of int of length h
        ``p[l - 1]``: cables between a node of level l - 1 and each of its parents. The first is the number of HCAs that
        a host has, each with one cable to the host's leaf.
    """

    m: tuple[int, ...]
    w: tuple[int, ...]
    p: tuple[int, ...]

    @property
    def height(self) -> int:
        """Number of levels of switches, h."""
        return len(self.m)

    @property
    def n_hosts(self) -> int:
        """Number of hosts."""
        return prod(self.m)

    @property
    def n_hcas(self) -> int:
        """Number of HCAs."""
        return self.n_hosts * self.p[0]

    @property
    def n_switches(self) -> int:
        """Number of switches of all levels."""
        return sum(self.switches(level) for level in range(1, self.height + 1))

    def switches(self, level: int) -> int:
        """Return the number of switches of a level, 1 (leaves) to h."""
        return prod(self.m[level:]) * prod(self.w[:level])

    def down_ports(self, level: int) -> int:
        """Return how many ports of a switch go down."""
        return self.m[level - 1] * self.p[level - 1]

    def up_ports(self, level: int) -> int:
        """Return how many ports of a switch go up."""
        return self.w[level] * self.p[level] if level < self.height else 0

    def cables(self) -> NDArray[np.int64]:
        """Return all cables, shape (n_cables, 4): lower node, its port, upper node, its port.

        Nodes are numbered level by level, leaves first, then the HCAs in order of leaf and port.
        """
        hcas = np.arange(self.n_hcas)
        per_leaf = self.down_ports(1)
        ones = np.ones_like(hcas)
        blocks = [np.stack([self.n_switches + hcas, ones, hcas // per_leaf, hcas % per_leaf + 1], axis=1)]
        first = 0
        for level in range(2, self.height + 1):
            blocks.append(self._cables_up(level, first))
            first += self.switches(level - 1)
        return np.concatenate(blocks)

    def _cables_up(self, level: int, first: int) -> NDArray[np.int64]:
        """Return the cables from level - 1, whose switches begin at node `first`, to `level`."""
        m, w, p = self.m[level - 1], self.w[level - 1], self.p[level - 1]
        planes = prod(self.w[: level - 1])
        shape = (prod(self.m[level:]), m, planes, w, p)
        subtree, child, plane, parent, cable = np.indices(shape).reshape(5, -1)
        return np.stack(
            [
                first + (subtree * m + child) * planes + plane,
                self.down_ports(level - 1) + parent * p + cable + 1,
                first + self.switches(level - 1) + (subtree * planes + plane) * w + parent,
                child * p + cable + 1,
            ],
            axis=1,
        )
