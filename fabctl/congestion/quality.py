"""How good are routes? All-to-all fraction, shifts, effective bisection bandwidth, balance.

Definitions are those of ORCS (Hoefler, Schneider, Lumsdaine: Multistage Switches are not Crossbars, CLUSTER 2008, and its
source), with one correction: ORCS multiplies the variance, not the standard deviation, when it states an error.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import alltoall, walk
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.routes import Estimate, Quality, Shifts
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]

Z99 = 2.5758293035489004
"""Two-sided 99 % quantile of the normal distribution."""
SHIFT_FLOWS = 15_000_000
"""Flows that the shift test walks at most: all shifts up to 3,873 ports, an even sample of them above."""
BATCH_FLOWS = 1 << 15
"""Flows that are walked at a time: their counts stay in cache."""


def score(tables: RoutingTables, ports: Int32, *, bisections: int = 1000, seed: int = 1) -> Quality:
    """Score tables for traffic between `ports`.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        At least two connected HCA ports.
    bisections : int
        Random bisections for the effective bisection bandwidth.
    seed : int
        Of the random patterns.

    Raises
    ------
    InputError
        If a pair has no route or loops.
    """
    fabric = tables.fabric
    loads = alltoall(tables, ports)
    between = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    own = fabric.channel_of_port[ports]
    rates = fabric.data_gbps
    used = loads.loads > 0
    known = bool(np.all(rates[used] > 0))
    relative = rates / np.median(rates[own]) if known else np.ones(len(rates))
    cost = np.divide(loads.loads, relative, out=np.zeros(len(rates)), where=used)
    inside = loads.destinations[between]
    return Quality(
        n_ports=len(ports),
        alltoall=loads,
        alltoall_max=int(loads.loads.max(initial=0)),
        alltoall_ideal=len(ports) - 1,
        alltoall_fraction=float((len(ports) - 1) / cost.max()),
        hottest=_hottest(cost, between),
        shifts=shift_congestion(tables, ports),
        ebb=effective_bisection(tables, ports, samples=bisections, seed=seed),
        destinations_min=int(inside.min()) if len(inside) else 0,
        destinations_mean=float(inside.mean()) if len(inside) else 0.0,
        destinations_max=int(inside.max(initial=0)),
        unused=int(np.count_nonzero(inside == 0)),
        between=int(between.sum()),
        rates_known=known,
    )


def _hottest(cost: NDArray[np.float64], between: NDArray[np.bool_]) -> int:
    """Return the costliest channel, preferring one between switches where it is as hot as the hosts' own."""
    inside = np.flatnonzero(between & (cost >= cost.max()))
    return int(inside[0]) if len(inside) else int(np.argmax(cost))


def effective_bisection(tables: RoutingTables, ports: Int32, *, samples: int = 1000, seed: int = 1) -> Estimate:
    """Estimate the effective bisection bandwidth (eBB): the mean share of link bandwidth in a random bisection.

    Each sample matches the ports at random into senders and receivers, one flow per pair. A flow's share is one over the
    highest number of flows on any channel of its route, as ORCS defines it; all links count as equal.

    Complexity
    ----------
    O(samples x n x hops), vectorised in batches of bounded memory.
    """
    means = []
    for src, dst in bisections(ports, samples, seed):
        pattern = np.repeat(np.arange(len(src)), src.shape[1])
        share = 1.0 / _route_congestion(tables, unit_flows(src.ravel(), dst.ravel()), pattern, len(src))
        means.append(share.reshape(src.shape).mean(axis=1))
    return estimate(np.concatenate(means))


def bisections(ports: Int32, samples: int, seed: int) -> Iterator[tuple[Int32, Int32]]:
    """Yield random matchings of ports into senders and receivers, in batches of shape (n_patterns, n // 2)."""
    half = len(ports) // 2
    rng = np.random.default_rng(seed)
    batch = max(1, BATCH_FLOWS // max(1, half))
    for start in range(0, samples, batch):
        order = rng.permuted(np.broadcast_to(ports, (min(batch, samples - start), len(ports))), axis=1)
        yield order[:, :half], order[:, half : 2 * half]


def estimate(means: NDArray[np.float64]) -> Estimate:
    """Return the mean over patterns, with the half width of its 99 % confidence interval (nan for a single one)."""
    spread = float(means.std(ddof=1)) if len(means) > 1 else float("nan")
    return Estimate(float(means.mean()), Z99 * spread / len(means) ** 0.5, len(means))


def _route_congestion(tables: RoutingTables, flows: Flows, pattern: NDArray[np.int64], n_patterns: int) -> NDArray[np.int32]:
    """Return, per flow, the highest number of its own pattern's flows on any channel of its route."""
    n_channels = len(tables.fabric.channel_port)
    steps = [(flow, pattern[flow] * n_channels + channel) for flow, channel in walk(tables, flows)]
    count = np.bincount(np.concatenate([key for _, key in steps]), minlength=n_patterns * n_channels).astype(np.int32)
    congestion = np.ones(len(flows), dtype=np.int32)
    for flow, key in steps:
        congestion[flow] = np.maximum(congestion[flow], count[key])
    return congestion


def shift_congestion(tables: RoutingTables, ports: Int32) -> Shifts:
    """Return the congestion of the cyclic shifts of `ports`.

    A ring collective is the shift by one, a linear all-to-all runs through all of them. Beyond `SHIFT_FLOWS` flows an even
    sample of shifts is tried (the first always), and the result says so.
    """
    n = len(ports)
    tried = min(n - 1, max(1, SHIFT_FLOWS // n))
    shifts = np.unique(np.linspace(1, n - 1, tried).round().astype(np.int64))
    highest = np.empty(len(shifts), dtype=np.int64)
    n_channels = len(tables.fabric.channel_port)
    batch = max(1, BATCH_FLOWS // n)
    index = np.arange(n)
    for start in range(0, len(shifts), batch):
        block = shifts[start : start + batch]
        target = ports[(index[None, :] + block[:, None]) % n]
        flows = unit_flows(np.tile(ports, len(block)), target.ravel())
        keys = [flow // n * n_channels + channel for flow, channel in walk(tables, flows)]
        count = np.bincount(np.concatenate(keys), minlength=len(block) * n_channels)
        highest[start : start + len(block)] = count.reshape(len(block), n_channels).max(axis=1)
    worst = int(np.argmax(highest))
    return Shifts(int(highest[worst]), int(shifts[worst]), float(highest.mean()), len(shifts), n - 1)
