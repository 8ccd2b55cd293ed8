"""What no routing of a cabling can pass: an upper bound of the all-to-all fraction, and the cables that bind it.

All traffic crosses every cut, and covers at least the distance between its ends. So for any lengths of the channels, the sum
of all pairs' distances is at most the slowest channel's time times the sum of rate times length: weak duality of the maximum
concurrent flow (Shahrokhi and Matula, JACM 37(2), 1990). Cuts are lengths of one on the channels that cross and zero elsewhere;
lengths of one everywhere are the mean distance. Lengths are then bettered by multiplicative weights (Garg and Koenemann, SIAM
J. Comput. 37(2), 2007): channels that shortest paths overload get longer. Each step is a bound in its own right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.comparison import Bound
from fabctl.model.components import components
from fabctl.model.fabric import Fabric

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

WORK = 100_000_000
"""Relaxations of distances spent on bettering lengths: a second or so."""
BLOCK = 1 << 22
STEP = 0.5
ROUNDS = 100
NAMED = 3
"""Heaviest cables named of a bound by weights."""


def alltoall_bound(fabric: Fabric, ports: Int32) -> Bound:
    """Return the least bound found of the all-to-all fraction of `ports`, over all routings.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        At least two connected HCA ports, each at a switch.

    Complexity
    ----------
    O(channels) for the cuts. Distances take O(leaves x channels x hops), and are bettered within `WORK`.
    """
    cabling = _cabling(fabric, ports)
    found = [_slowest_port(fabric, ports, cabling.relative), *_cuts(fabric, cabling)]
    if len(np.flatnonzero(cabling.hosts)) > 1:
        found += _by_lengths(fabric, cabling)
    return min(found, key=lambda bound: bound.fraction)


@dataclass(frozen=True, eq=False)
class _Cabling:
    """Channels between switches, those from one switch to another taken together.

    Parameters
    ----------
    hosts : int64 array of shape (n_switches,)
        Ports at each switch.
    relative : float64 array of shape (n_channels,)
        Rate of each channel over the ports' median rate.
    channels : int array
        Channels between two switches, by source and destination.
    src, dst, capacity : arrays of shape (n_edges,)
    edge : int64 array
        Edge of each of `channels`.
    """

    hosts: Int64
    relative: Float64
    channels: Int64
    src: Int32
    dst: Int32
    capacity: Float64
    edge: Int64


def _cabling(fabric: Fabric, ports: Int32) -> _Cabling:
    n = fabric.n_switches
    src, dst, rates = fabric.channel_src, fabric.channel_dst, fabric.data_gbps
    own = fabric.channel_of_port[ports]
    between = np.flatnonzero((src < n) & (dst < n) & (src != dst))
    known = bool(np.all(rates[own] > 0) and np.all(rates[between] > 0))
    relative = rates / np.median(rates[own]) if known else np.ones(len(rates))
    key = src[between].astype(np.int64) * n + dst[between]
    pairs, edge = np.unique(key, return_inverse=True)
    capacity = _sums(edge, relative[between], len(pairs))
    hosts = np.bincount(dst[own], minlength=fabric.n_nodes)[:n]
    return _Cabling(
        hosts, relative, between, (pairs // n).astype(np.int32), (pairs % n).astype(np.int32), capacity, edge.astype(np.int64)
    )


def _slowest_port(fabric: Fabric, ports: Int32, relative: Float64) -> Bound:
    own = relative[fabric.channel_of_port[ports]]
    slowest = int(np.argmin(own))
    if own[slowest] == own.max():
        return Bound(float(own[slowest]), "ports", "the HCA ports' own cables")
    return Bound(float(own[slowest]), "ports", f"the slower cable of {fabric.port_label(int(ports[slowest]))}")


def _cuts(fabric: Fabric, cabling: _Cabling) -> Iterator[Bound]:
    """Yield the bounds of the tightest switch, and of the tightest pod below each tier, by the cables that leave them.

    Pods hang together by cables between different tiers; cables within a tier join them (the groups of a dragonfly+).
    """
    n, tiers = fabric.n_switches, fabric.tiers
    yield from _cut(fabric, cabling, np.arange(n), "switch")
    yield from _cut(fabric, cabling, components(n, cabling.src, cabling.dst), "part")
    for tier in range(1, int(tiers.max(initial=0)) + 1):
        below, above = tiers[cabling.src], tiers[cabling.dst]
        inside = (below != above) & (below <= tier) & (above <= tier)
        yield from _cut(fabric, cabling, components(n, cabling.src[inside], cabling.dst[inside]), "pod")


def _cut(fabric: Fabric, cabling: _Cabling, part: Int64, kind: str) -> Iterator[Bound]:
    n, total = fabric.n_switches, int(cabling.hosts.sum())
    inside = np.bincount(part, weights=cabling.hosts, minlength=n)
    demand = inside * (total - inside)
    leaves = part[cabling.src] != part[cabling.dst]
    room = np.bincount(part[cabling.src[leaves]], weights=cabling.capacity[leaves], minlength=n)
    parts = np.flatnonzero(demand)
    if not len(parts):
        return
    share = (total - 1) * room[parts] / demand[parts]
    tightest = int(parts[np.argmin(share)])
    src = fabric.channel_src[cabling.channels]
    crossing = (part[src] == tightest) & (part[fabric.channel_dst[cabling.channels]] != tightest)
    cables = int(crossing.sum())
    name = fabric.labels[tightest]
    behind = f"{int(inside[tightest])} HCA ports behind"
    if kind != "switch":
        name = f"the {kind} of {name} ({int((part == tightest).sum())} switches)"
    if not cables:
        yield Bound(0.0, kind, f"no cable joins {name}, with {behind} it, to the others")
        return
    bundle = "the one cable" if cables == 1 else f"the {cables} cables"
    yield Bound(float(share.min()), kind, f"{bundle} of {name}, with {behind} {'it' if cables == 1 else 'them'}")


def _by_lengths(fabric: Fabric, cabling: _Cabling) -> Iterator[Bound]:
    """Yield the bound of the mean distance, and the best of those by lengths that follow the load."""
    hosts, total = cabling.hosts.astype(np.float64), int(cabling.hosts.sum())
    length = np.ones(len(cabling.src))
    best, weights = np.inf, length
    spent = 0
    for turn in range(ROUNDS):
        distance, loads, work = _shortest(cabling, length, hosts)
        if not np.isfinite(distance):
            return
        share = (total - 1) * float((cabling.capacity * length).sum()) / distance
        if not turn:
            pairs = total * total - float((hosts * hosts).sum())
            mean = f"the mean distance of {distance / pairs:.2f} hops between switches, over {len(cabling.channels)} channels"
            yield Bound(share, "distance", mean)
        if share < best:
            best, weights = share, length
        spent += work
        if spent + work > WORK or not loads.any():
            break
        use = loads / cabling.capacity
        length = length * (1 + STEP / (1 + turn / 8) * use / use.max())
        length = length / length.max()
    yield Bound(best, "weights", _heaviest(fabric, cabling, weights))


def _shortest(cabling: _Cabling, length: Float64, hosts: Float64) -> tuple[float, Float64, int]:
    """Return the sum of all pairs' distances, what each edge carries of shortest paths, and the relaxations that it took."""
    n = len(hosts)
    targets = np.flatnonzero(hosts)
    rows, first = np.unique(cabling.src, return_index=True)
    total, work = 0.0, 0
    loads = np.zeros(len(length))
    width = max(1, BLOCK // max(1, len(length)))
    for start in range(0, len(targets), width):
        block = targets[start : start + width]
        columns = np.arange(len(block))
        distance = np.full((n, len(block)), np.inf)
        distance[block, columns] = 0.0
        while True:
            work += len(length) * len(block)
            reach = distance[cabling.dst] + length[:, None]
            better = np.minimum(distance[rows], np.minimum.reduceat(reach, first, axis=0))
            if (better >= distance[rows] - 1e-12).all():
                break
            distance[rows] = better
        total += float((hosts[:, None] * hosts[block] * np.where(hosts[:, None] > 0, distance, 0.0)).sum())
        loads += _carried(cabling, reach <= distance[cabling.src] + 1e-12, hosts, block, first, rows)
    return total, loads, work


def _carried(cabling: _Cabling, tight: NDArray[np.bool_], hosts: Float64, targets: Int64, first: Int64, rows: Int32) -> Float64:
    """Move all traffic for `targets` along one tight edge of each switch at a time, and return what each edge carries."""
    n, width = len(hosts), len(targets)
    chosen = np.full((n, width), len(cabling.src), dtype=np.int64)
    turned = np.where(tight, np.arange(len(cabling.src))[:, None], len(cabling.src))
    chosen[rows] = np.minimum.reduceat(turned, first, axis=0)
    columns = np.arange(width)
    chosen[targets, columns] = len(cabling.src)
    moving = np.repeat(hosts[:, None] * 1.0, width, axis=1) * hosts[targets]
    moving[targets, columns] = 0.0
    loads = np.zeros(len(cabling.src))
    flat = chosen.ravel()
    amount = moving.ravel()
    for _ in range(n):
        cell = np.flatnonzero((amount > 0) & (flat < len(cabling.src)))
        if not len(cell):
            break
        edge = flat[cell]
        loads += _sums(edge, amount[cell], len(loads))
        amount = _sums(cabling.dst[edge].astype(np.int64) * width + cell % width, amount[cell], n * width)
    return loads


def _sums(place: Int64, amount: Float64, size: int) -> Float64:
    return np.bincount(place, weights=amount, minlength=size).astype(np.float64, copy=False)


def _heaviest(fabric: Fabric, cabling: _Cabling, weights: Float64) -> str:
    share = (weights * cabling.capacity)[cabling.edge]
    order = np.argsort(-share, kind="stable")[:NAMED]
    names = "; ".join(fabric.cable_label(int(cabling.channels[at])) for at in order)
    return f"lengths on {len(cabling.channels)} channels (linear-programming duality), the heaviest on {names}"
