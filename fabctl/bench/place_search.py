"""Search for the hosts of a job and their order: the slowest channel of each phase decides, and local search makes it cooler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.jit import announce_compiling
from fabctl.model.phases import JobTraffic, Phase
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

HOPS = 40_000_000
"""Budget of a search, in hops walked: a second or two."""


@dataclass(frozen=True, eq=False)
class Template:
    """What a job sends, by place in the job instead of by host: the same flows whichever hosts take the places.

    Parameters
    ----------
    n_places : int
        Hosts of the job.
    times : float64 array of shape (n_phases,)
        Runs of each phase in a step.
    phase, src, src_column, dst, dst_column : int32 arrays of shape (n_flows,)
        Phase, and place and HCA column of both ends.
    size_bytes : float64 array of shape (n_flows,)
    skipped : tuple of Phase
        Those that depend on the hosts in another way (trees of SHARP and multicast) and are left out.
    """

    n_places: int
    times: Float64
    phase: Int32
    src: Int32
    src_column: Int32
    dst: Int32
    dst_column: Int32
    size_bytes: Float64
    skipped: tuple[Phase, ...] = ()

    @property
    def flows(self) -> tuple[Int32, Int32, Int32, Int32, Int32, Float64]:
        """The columns as the kernel takes them."""
        return self.phase, self.src, self.src_column, self.dst, self.dst_column, self.size_bytes

    @property
    def of_place(self) -> tuple[Int64, Int32]:
        """CSR of the flows that each place sends or receives."""
        number = np.arange(len(self.phase))
        place = np.concatenate((self.src, self.dst))
        flow = np.concatenate((number, number))
        order = np.lexsort((flow, place))
        ptr = np.searchsorted(place[order], np.arange(self.n_places + 1))
        return ptr.astype(np.int64), flow[order].astype(np.int32)


def template(traffic: JobTraffic, ports: Int32) -> Template:
    """Return a job's traffic by place.

    Parameters
    ----------
    ports : int32 array of shape (n_hosts, n_columns)
        HCA ports of the job's hosts, in rank order.
    """
    at = np.full(int(ports.max()) + 1, -1, dtype=np.int32)
    at[ports.ravel()] = np.arange(ports.size)
    movable: list[Phase] = []
    skipped: list[Phase] = []
    for phase in traffic.phases:
        ends = np.concatenate((phase.flows.src, phase.flows.dst))
        known = bool(np.all(ends < len(at))) and bool(np.all(at[ends] >= 0))
        (movable if known and phase.fixed is None else skipped).append(phase)
    columns = [
        np.concatenate([np.empty(0, dtype=np.int32), *(at[getattr(phase.flows, end)] for phase in movable)])
        for end in ("src", "dst")
    ]
    (src, src_column), (dst, dst_column) = (np.divmod(end, np.int32(ports.shape[1])) for end in columns)
    counts = [len(phase.flows) for phase in movable]
    return Template(
        n_places=len(ports),
        times=np.array([phase.times for phase in movable], dtype=np.float64),
        phase=np.repeat(np.arange(len(movable), dtype=np.int32), counts),
        src=src,
        src_column=src_column,
        dst=dst,
        dst_column=dst_column,
        size_bytes=np.concatenate([np.empty(0), *(phase.flows.weight for phase in movable)]),
        skipped=tuple(skipped),
    )


@dataclass(frozen=True, eq=False)
class Ground:
    """Where a job may run.

    Parameters
    ----------
    tables : RoutingTables
    ports : int32 array of shape (n_hosts, n_columns)
        HCA ports of the hosts that may be chosen.
    leaf : int64 array of shape (n_hosts,)
        Leaf of each.
    rates : float64 array of shape (n_channels,)
        Bytes per second.
    background, taken : float64 arrays of shape (n_channels,)
        Endless flows of other jobs on each channel, and the share of its rate that they take without this job.
    """

    tables: RoutingTables
    ports: Int32
    leaf: Int64
    rates: Float64
    background: Float64
    taken: Float64

    @property
    def routes(self) -> tuple[NDArray[np.generic], ...]:
        """Tables and columns of the fabric as the kernel takes them."""
        fabric = self.tables.fabric
        return (
            np.ascontiguousarray(self.tables.lft),
            fabric.channel_at,
            fabric.channel_dst,
            fabric.channel_of_port,
            fabric.port_peer,
            fabric.port_lid,
            fabric.channel_port,
        )

    @property
    def channels(self) -> tuple[Float64, Float64, Float64]:
        """Seconds per byte (infinite where a rate is unknown), `background` and `taken` of each channel."""
        seconds = np.divide(1.0, self.rates, out=np.full(len(self.rates), np.inf), where=self.rates > 0)
        return seconds, self.background, self.taken

    @property
    def fastest(self) -> float:
        """Seconds per byte of the fastest of the hosts' own cables, in either direction."""
        own = self.tables.fabric.channel_of_port[self.ports]
        seconds = self.channels[0]
        return float(min(seconds[own].min(), seconds[self.tables.fabric.channel_reverse[own]].min()))


def price(ground: Ground, job: Template, place: Int64) -> float:
    """Return the time of a step as its slowest channels have it, in seconds: the sum of times x longest drain time.

    Infinite where a flow has no route.

    Parameters
    ----------
    place : int array of shape (n_places,)
        Row of ``ground.ports`` at each place of the job.
    """
    from fabctl.bench.place_kernel import drain_times, lay_flows

    announce_compiling(lay_flows)
    announce_compiling(drain_times)
    shape = len(job.times), len(ground.rates)
    load, count = np.zeros(shape), np.zeros(shape)
    if lay_flows(ground.routes, job.flows, ground.ports, place.astype(np.int32), load, count) < 0:
        return float("inf")
    return float((job.times * drain_times(load, count, ground.channels)).sum())


def bounds(ground: Ground, job: Template) -> Float64:
    """Return the drain time per phase that no placement gets below: that of the hosts' own cables, shape (n_phases,)."""
    bound = np.zeros(len(job.times))
    n_ends = job.n_places * ground.ports.shape[1]
    for place, column in ((job.src, job.src_column), (job.dst, job.dst_column)):
        end = place * ground.ports.shape[1] + column
        total = np.bincount(job.phase * np.int64(n_ends) + end, weights=job.size_bytes, minlength=len(bound) * n_ends)
        bound = np.maximum(bound, total.reshape(len(bound), n_ends).max(axis=1, initial=0.0) * ground.fastest)
    return bound


def search(
    ground: Ground, job: Template, starts: Sequence[Int64], *, hops: int = HOPS, seed: int = 1, tries: int = 3
) -> tuple[Int64, float]:
    """Return the best hosts met, in rank order, and their `price`.

    All starts are priced; the `tries` best are improved by moves of hosts (`fabctl.bench.place_kernel.improve`).

    Parameters
    ----------
    starts : sequence of int arrays of shape (n_places,)
        The first wins where several are equally good.
    hops : int
        Budget in hops walked, all tries together.
    seed : int
        Of the moves.

    Complexity
    ----------
    O(starts x flows x hops of a route) and the budget.
    """
    from fabctl.bench.place_kernel import improve

    costs = [price(ground, job, start) for start in starts]
    ranked = [number for number in np.argsort(costs, kind="stable").tolist() if np.isfinite(costs[number])]
    if not ranked:
        return starts[0], float("inf")
    best, least = starts[ranked[0]], costs[ranked[0]]
    bound_s = bounds(ground, job)
    floor = float((job.times * bound_s).sum())
    announce_compiling(improve)
    order = np.argsort(ground.leaf, kind="stable")
    leaf = (
        ground.leaf.astype(np.int32),
        np.searchsorted(ground.leaf[order], np.arange(int(ground.leaf.max()) + 2)),
        order.astype(np.int32),
    )
    for number in ranked[:tries]:
        if least <= floor * (1 + 1e-9):
            break
        place = starts[number].astype(np.int32)
        spare = np.setdiff1d(np.arange(len(ground.ports)), place).astype(np.int32)
        found, cost = improve(
            ground.routes,
            job.flows,
            job.of_place,
            ground.ports,
            leaf,
            place,
            spare,
            (job.times, bound_s),
            ground.channels,
            hops // tries,
            seed,
        )
        if cost < least * (1 - 1e-9):
            best, least = found.astype(np.int64), float(cost)
    return best, least
