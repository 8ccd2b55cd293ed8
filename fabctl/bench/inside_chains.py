"""In which order a channel passes the GPUs of a host: along the NVLinks where they are a mesh, else as they are numbered.

NCCL searches for the same (2.30.7, ``ncclTopoCompute`` in ``src/graph/search.cc``): rings that share no NVLink, and chains that
begin and end at GPUs near the channel's HCA. Here a ring of one host uses its links in both directions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from fabctl.bench.inside_host import Host

Pair = frozenset[str]


@dataclass(frozen=True)
class Chain:
    """The way of a channel through a host.

    Parameters
    ----------
    hca : str
        By which it enters and leaves; empty for a ring of one host.
    ranks : tuple of str
        From the first that receives to the last that sends.
    """

    hca: str
    ranks: tuple[str, ...]


@lru_cache(maxsize=64)
def rings(host: Host) -> tuple[Chain, ...]:
    """Return the rings of one host, each in both directions: as many as share no NVLink, one if NVLink is no mesh."""
    mesh = host.mesh
    ranks = host.ranks
    if len(ranks) == 2:
        return (Chain("", ranks),)
    degree = min(sum(n for pair, n in mesh.items() if rank in pair) for rank in ranks) if mesh else 0
    for count in range(degree // 2, 0, -1):
        found = _disjoint_rings(ranks, mesh, count)
        if found:
            return tuple(Chain("", order) for ring in found for order in (ring, ring[::-1]))
    return Chain("", ranks), Chain("", ranks[::-1])


@lru_cache(maxsize=64)
def chains(host: Host) -> tuple[Chain, ...]:
    """Return the chain of each rail: from a GPU near its HCA over all others to another near it, where there is one."""
    mesh = host.mesh
    enters: Counter[str] = Counter()
    leaves: Counter[str] = Counter()
    used: Counter[tuple[str, str]] = Counter()
    found = []
    for hca in host.node.hcas:
        near = host.near(hca)
        first = min(near, key=lambda rank: enters[rank])
        ends = [rank for rank in near if rank != first] or [rank for rank in host.ranks if rank != first] or [first]
        ends.sort(key=lambda rank: leaves[rank])
        order = _along(host.ranks, mesh, used, first, ends)
        enters[first] += 1
        leaves[order[-1]] += 1
        used.update(pairwise(order))
        found.append(Chain(hca, order))
    return tuple(found)


def _disjoint_rings(ranks: Sequence[str], mesh: dict[Pair, int], count: int) -> list[tuple[str, ...]]:
    """Return `count` Hamiltonian cycles that share no NVLink, by backtracking; empty if there are none."""
    if not count:
        return []
    free = dict(mesh)
    found: list[tuple[str, ...]] = []

    def extend(order: list[str]) -> bool:
        if len(order) == len(ranks):
            closing = frozenset((order[-1], order[0]))
            if not free.get(closing):
                return False
            free[closing] -= 1
            found.append(tuple(order))
            if len(found) == count or extend([ranks[0]]):
                return True
            found.pop()
            free[closing] += 1
            return False
        for rank in ranks:
            pair = frozenset((order[-1], rank))
            if rank not in order and free.get(pair):
                free[pair] -= 1
                if extend([*order, rank]):
                    return True
                free[pair] += 1
        return False

    return found if extend([ranks[0]]) else []


def _along(
    ranks: Sequence[str], mesh: dict[Pair, int], used: Counter[tuple[str, str]], first: str, ends: Sequence[str]
) -> tuple[str, ...]:
    """Return a chain that loads no NVLink more than it must; without one, the ranks as they are numbered."""

    def extend(order: list[str], last: str, most: int) -> list[str] | None:
        if len(order) == len(ranks):
            return order if order[-1] == last else None
        for rank in ranks:
            if rank in order or (rank == last and len(order) < len(ranks) - 1):
                continue
            if used[order[-1], rank] < most * mesh.get(frozenset((order[-1], rank)), 0):
                found = extend([*order, rank], last, most)
                if found:
                    return found
        return None

    for most in range(1, 1 + max(used.values(), default=0) + 1) if mesh else ():
        for last in ends:
            found = extend([first], last, most)
            if found:
                return tuple(found)
    start = ranks.index(first)
    turned = [*ranks[start:], *ranks[:start]]
    if len(ranks) > 1 and ends[0] != first:
        turned.remove(ends[0])
        turned.append(ends[0])
    return tuple(turned)
