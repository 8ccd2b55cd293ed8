"""In which order a channel passes the GPUs of a host: along the NVLinks where they are a mesh, else as they are numbered.

NCCL searches for the same (2.30.7, ``ncclTopoCompute`` in ``src/graph/search.cc``): rings that share no NVLink, and chains that
begin and end at GPUs near the channel's HCA. Here a ring of one host uses its links in both directions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, pairwise

from fabctl.bench.inside_host import Host

Pair = frozenset[str]
SEARCH_STEPS = 1 << 14
"""How long a search may take before less is tried, NCCL's own number (``NCCL_SEARCH_TIMEOUT``); a DGX-1 needs some hundred."""


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
    ranks = host.ranks
    if len(ranks) == 2:
        return (Chain("", ranks),)
    fewest = min(sum(n for pair, n in host.mesh.items() if rank in pair) for rank in ranks)
    for number in range(fewest // 2, 0, -1):
        found = _disjoint_rings(ranks, host.mesh, number)
        if found:
            return tuple(Chain("", order) for ring in found for order in (ring, ring[::-1]))
    return Chain("", ranks), Chain("", ranks[::-1])


@lru_cache(maxsize=64)
def chains(host: Host) -> tuple[Chain, ...]:
    """Return the chain of each rail: from a GPU near its HCA over all others to another near it, where there is one."""
    enters: Counter[str] = Counter()
    leaves: Counter[str] = Counter()
    used: Counter[tuple[str, str]] = Counter()
    found = []
    for hca in host.node.hcas:
        near = host.near(hca)
        first = min(near, key=lambda rank: enters[rank])
        ends = [rank for rank in near if rank != first] or [rank for rank in host.ranks if rank != first] or [first]
        ends.sort(key=lambda rank: leaves[rank])
        order = _along(host.ranks, host.mesh, used, first, ends) or _as_numbered(host.ranks, first, ends[0])
        enters[first] += 1
        leaves[order[-1]] += 1
        used.update(pairwise(order))
        found.append(Chain(hca, order))
    return tuple(found)


def _disjoint_rings(ranks: Sequence[str], mesh: dict[Pair, int], number: int) -> list[tuple[str, ...]]:
    """Return so many Hamiltonian cycles that share no NVLink, by backtracking; empty if there are none, or they are not found."""
    free = dict(mesh)
    found: list[tuple[str, ...]] = []
    steps = count()

    def extend(order: list[str]) -> bool:
        if next(steps) > SEARCH_STEPS:
            return False
        if len(order) == len(ranks):
            return close(order)
        for rank in ranks:
            pair = frozenset((order[-1], rank))
            if rank not in order and free.get(pair):
                free[pair] -= 1
                if extend([*order, rank]):
                    return True
                free[pair] += 1
        return False

    def close(order: list[str]) -> bool:
        pair = frozenset((order[-1], order[0]))
        if not free.get(pair):
            return False
        free[pair] -= 1
        found.append(tuple(order))
        if len(found) == number or extend([ranks[0]]):
            return True
        found.pop()
        free[pair] += 1
        return False

    return found if extend([ranks[0]]) else []


def _along(
    ranks: Sequence[str], mesh: dict[Pair, int], used: Counter[tuple[str, str]], first: str, ends: Sequence[str]
) -> tuple[str, ...] | None:
    """Return a chain that loads no NVLink more than it must; None if NVLinks join no chain, or it is not found."""

    def extend(order: list[str], last: str, most: int) -> list[str] | None:
        if next(steps) > SEARCH_STEPS:
            return None
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

    if mesh:
        for most in range(1, max(used.values(), default=0) + 2):
            steps = count()
            for last in ends:
                found = extend([first], last, most)
                if found:
                    return tuple(found)
    return None


def _as_numbered(ranks: Sequence[str], first: str, last: str) -> tuple[str, ...]:
    """Return the ranks in a circle from the first one, with another one moved to the end."""
    start = ranks.index(first)
    between = [rank for rank in (*ranks[start + 1 :], *ranks[:start]) if rank != last]
    return (first, *between, last) if last != first else (first, *between)
