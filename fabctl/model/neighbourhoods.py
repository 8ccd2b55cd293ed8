"""Which hosts are near each other: hosts in the order of the tree, packed on few leaves, or spread over all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.components import components
from fabctl.model.fabric import Fabric

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Hosts in nested groups: of one part of the fabric, of one pod, ... of one leaf.

    Parameters
    ----------
    level : int64 array of shape (n_levels, n_hosts)
        Number of each host's group, widest level first, leaves last. Groups are numbered by their first host.
    order : int64 array of shape (n_hosts,)
        The hosts, group by group at every level.
    """

    level: Int64
    order: Int64

    @property
    def leaf(self) -> Int64:
        """Leaf of each host, shape (n_hosts,)."""
        return self.level[-1]

    def packed(self, hosts: Int64, count: int) -> Int64:
        """Return `count` of some hosts, on as few groups as a best fit finds, widest level first, in `order`.

        Best fit takes the smallest group that holds the rest, else the largest, as Slurm's ``topology/tree`` chooses leaves
        (slurm.conf, topology.html).
        """
        chosen = _fit(self.level, self._ordered(hosts), count, 0)
        return self._ordered(chosen)

    def spread(self, hosts: Int64, count: int) -> Int64:
        """Return `count` of some hosts, one of each leaf in turn, in `order`."""
        hosts = self._ordered(hosts)
        leaf = self.leaf[hosts]
        first = np.flatnonzero(np.r_[True, leaf[1:] != leaf[:-1]])
        turn = np.arange(len(leaf)) - np.repeat(first, np.diff(np.r_[first, len(leaf)]))
        return hosts[np.sort(np.argsort(turn, kind="stable")[:count])]

    def _ordered(self, hosts: Int64) -> Int64:
        return self.order[np.isin(self.order, hosts)]


def neighbourhoods(fabric: Fabric, ports: Int32) -> Neighbourhoods:
    """Return the neighbourhoods of hosts.

    Parameters
    ----------
    ports : int32 array of shape (n_hosts,)
        A connected port of each host, of the same rail if possible.

    Notes
    -----
    Two hosts are of one group at level k if switches of tiers 0 to k join their leaves. On a fabric without tiers all leaves are
    of one group, and hosts keep their order.
    """
    home = fabric.channel_dst[fabric.channel_of_port[ports]]
    tier = fabric.tiers
    rows = [numbered(home.astype(np.int64))]
    for top in range(int(tier.max(initial=0)) + 1):
        part = _parts(fabric, (tier >= 0) & (tier <= top))
        inside = home < fabric.n_switches
        rows.append(numbered(np.where(inside, part[np.minimum(home, fabric.n_switches - 1)], -1 - home)))
    level = np.array(rows[::-1])
    return Neighbourhoods(level, np.lexsort((np.arange(len(ports)), *level[::-1])))


def numbered(group: Int64) -> Int64:
    """Return groups numbered by their first member."""
    _, first, member = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[member]


def _parts(fabric: Fabric, chosen: NDArray[np.bool_]) -> Int64:
    """Return, per switch, the lowest switch that it is joined to by switches that are `chosen`."""
    n = fabric.n_switches
    inside = np.flatnonzero((fabric.channel_src < n) & (fabric.channel_dst < n))
    src, dst = fabric.channel_src[inside], fabric.channel_dst[inside]
    both = chosen[src] & chosen[dst]
    return components(n, src[both], dst[both])


def _fit(level: Int64, hosts: Int64, count: int, depth: int) -> Int64:
    """Return `count` of `hosts`: of the smallest group that holds them, else of the largest groups first."""
    if depth == len(level) or count >= len(hosts):
        return hosts[:count]
    group = level[depth][hosts]
    size = np.bincount(group)
    enough = np.flatnonzero(size >= count)
    if len(enough):
        best = enough[np.argmin(size[enough])]
        return _fit(level, hosts[group == best], count, depth + 1)
    taken: list[Int64] = []
    for largest in np.argsort(-size, kind="stable").tolist():
        if size[largest] > count:
            break
        taken.append(hosts[group == largest])
        count -= int(size[largest])
        hosts, group = hosts[group != largest], group[group != largest]
    return np.concatenate((*taken, _fit(level, hosts, count, depth))) if count else np.concatenate(taken)
