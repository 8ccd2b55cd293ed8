"""Search for the hosts of a job and their order: the slowest channel of each phase decides, and local search makes it cooler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import flow_channels
from fabctl.errors import InputError
from fabctl.jit import announce_compiling
from fabctl.model.flows import Flows
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
    def flows(self) -> Int32:
        """The int columns as the kernel takes them, shape (n_flows, 5)."""
        return np.column_stack((self.phase, self.src, self.src_column, self.dst, self.dst_column)).astype(np.int32)

    @property
    def of_place(self) -> tuple[Int32, Int64]:
        """CSR of the flows that each place sends or receives."""
        number = np.arange(len(self.phase))
        place = np.concatenate((self.src, self.dst))
        flow = np.concatenate((number, number))
        order = np.lexsort((flow, place))
        ptr = np.searchsorted(place[order], np.arange(self.n_places + 1))
        return ptr.astype(np.int32), flow[order]


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
    sent = columns[0] != columns[1]
    (src, src_column), (dst, dst_column) = (np.divmod(end[sent], np.int32(ports.shape[1])) for end in columns)
    number = np.repeat(np.arange(len(movable), dtype=np.int32), [len(phase.flows) for phase in movable])
    return Template(
        n_places=len(ports),
        times=np.array([phase.times for phase in movable], dtype=np.float64),
        phase=number[sent],
        src=src,
        src_column=src_column,
        dst=dst,
        dst_column=dst_column,
        size_bytes=np.concatenate([np.empty(0), *(phase.flows.weight for phase in movable)])[sent],
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
    def exits(self) -> Int32:
        """Number, LID and own channel of each port as the kernel takes them, shape (n_hosts, n_columns, 3)."""
        fabric = self.tables.fabric
        lid = fabric.port_lid[self.ports]
        known = (lid > 0) & (lid < self.tables.lft.shape[1])
        columns = np.where(known, self.ports, -1), np.where(known, lid, 0), fabric.channel_of_port[self.ports]
        return np.stack(columns, axis=-1).astype(np.int32)

    @property
    def ends(self) -> Int32:
        """Node and port that each channel leads to, shape (n_channels, 2)."""
        fabric = self.tables.fabric
        return np.column_stack((fabric.channel_dst, fabric.port_peer[fabric.channel_port])).astype(np.int32)

    @property
    def channels(self) -> Float64:
        """Seconds per byte (infinite where a rate is unknown), `background` and the rest of `taken`, shape (n_channels, 3)."""
        seconds = np.divide(1.0, self.rates, out=np.full(len(self.rates), np.inf), where=self.rates > 0)
        return np.column_stack((seconds, self.background, 1.0 - self.taken))

    @property
    def fastest(self) -> float:
        """Seconds per byte of the fastest of the hosts' own cables, in either direction."""
        own = self.tables.fabric.channel_of_port[self.ports]
        seconds = self.channels[:, 0]
        return float(min(seconds[own].min(), seconds[self.tables.fabric.channel_reverse[own]].min()))


def price(ground: Ground, job: Template, place: Int64) -> float:
    """Return the time of a step as its slowest channels have it, in seconds: the sum of times x longest drain time.

    Infinite where a flow has no route.

    Parameters
    ----------
    place : int array of shape (n_places,)
        Row of ``ground.ports`` at each place of the job.
    """
    load, _ = _lay(ground, job, place)
    if load is None:
        return float("inf")
    amount, count = load.reshape(len(job.times), len(ground.rates), 2).transpose(2, 0, 1)
    seconds, background, left = ground.channels.T
    share = np.maximum(left, np.divide(count, count + background, out=np.ones(count.shape), where=count > 0))
    drain = np.divide(amount * seconds, share, out=np.zeros(count.shape), where=count > 0)
    return float((job.times * drain.max(axis=1, initial=0.0)).sum())


def _lay(ground: Ground, job: Template, place: Int64) -> tuple[Float64 | None, int]:
    """Return bytes and flows by phase and channel, shape (n_phases * n_channels, 2), and the channels on the longest route.

    None where a flow has no route.
    """
    flows = Flows(ground.ports[place[job.src], job.src_column], ground.ports[place[job.dst], job.dst_column], job.size_bytes)
    if len(flows) and ground.tables.fabric.channel_of_port[flows.src].min() < 0:
        return None, 0
    try:
        ptr, channel = flow_channels(ground.tables, flows)
    except InputError:
        return None, 0
    hops = np.diff(ptr)
    cell = np.repeat(job.phase.astype(np.int64) * len(ground.rates), hops) + channel
    size = len(job.times) * len(ground.rates)
    load = np.empty((size, 2))
    load[:, 0] = np.bincount(cell, weights=np.repeat(job.size_bytes, hops), minlength=size)
    load[:, 1] = np.bincount(cell, minlength=size)
    return load, int(hops.max(initial=0))


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
    costs = [price(ground, job, start) for start in starts]
    ranked = [number for number in np.argsort(costs, kind="stable").tolist() if np.isfinite(costs[number])]
    if not ranked:
        return starts[0], float("inf")
    best, least = starts[ranked[0]], costs[ranked[0]]
    floor = float((job.times * bounds(ground, job)).sum())
    for number in ranked[:tries]:
        if least <= floor * (1 + 1e-9):
            break
        found, cost = _improve(ground, job, starts[number], hops // tries, seed)
        if cost < least * (1 - 1e-9):
            best, least = found, cost
    return best, least


def _improve(ground: Ground, job: Template, start: Int64, hops: int, seed: int) -> tuple[Int64, float]:
    """Return the best placement that moves from `start` meet, and its price."""
    from fabctl.bench.place_kernel import LONGEST, improve

    load, longest = _lay(ground, job, start)
    ptr, touched = job.of_place
    room = 4 * (longest + 2) * int(np.diff(ptr).max()) if len(touched) else 1
    phases = np.zeros((len(job.times), 5))
    phases[:, 0], phases[:, 1] = job.times, bounds(ground, job)
    n_hosts = len(ground.ports)
    order = np.argsort(ground.leaf, kind="stable")
    first = (np.searchsorted(ground.leaf[order], ground.leaf, side=side) for side in ("left", "right"))
    hosts = np.column_stack((np.full(n_hosts, -1), *first, order)).astype(np.int32)
    hosts[start, 0] = np.arange(len(start))
    place = start.astype(np.int32)
    best = place.copy()
    announce_compiling(improve)
    cost = improve(
        job.flows,
        np.require(job.size_bytes, np.float64, ("C", "W")),
        ptr,
        touched,
        ground.exits,
        np.require(ground.tables.next_channel, np.int32, ("C", "W")),
        ground.ends,
        hosts,
        ground.channels,
        phases,
        load,
        place,
        best,
        np.empty(len(job.phase), dtype=np.int64),
        np.empty(LONGEST, dtype=np.int64),
        np.empty(room, dtype=np.int64),
        np.empty((room, 2)),
        np.array([(2 * seed + 88172645463325253) % (1 << 64)], dtype=np.uint64),
        hops,
    )
    return best.astype(np.int64), float(cost)
