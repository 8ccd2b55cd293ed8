"""Swapping two hosts of a job in its rank order, tried on the same traffic and measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.around import Ends, JobsAround
from fabctl.congestion.remedies import GAIN, Case, order_of
from fabctl.congestion.rows import flows_on
from fabctl.model.fabric import Fabric
from fabctl.model.pairs import Trial

WORK = 4_000_000
"""Flows whose rates are computed at most in search of a swap."""
FEWEST, MOST = 4, 96
"""Swaps that are tried at least and at most."""
MEASURED = 4
"""Of the swaps that speed the route up: how many are measured on all flows, fastest first."""


def other_host(case: Case, around: JobsAround) -> Trial:
    """Return the best swap of a host of the pair, or of the largest competing flow, with another host of the same job.

    Where more hosts could be swapped than `WORK` allows, an even sample of them is tried.
    """
    candidates = list(_candidates(case, around))
    if not candidates:
        return Trial("swap", "no host of the pair or of a flow by the tables has another host of its job to swap with")
    allowed = min(MOST, max(FEWEST, WORK // max(1, len(around.met.src))))
    chosen = sorted({round(at) for at in np.linspace(0, len(candidates) - 1, min(allowed, len(candidates))).tolist()})
    found = []
    for number in chosen:
        row, first, second = candidates[number]
        ports = _swapped(around.tables.fabric, first, second)
        if ports is None:
            continue
        after, ends = around.with_ports(ports, row), _moved_ends(case, around, row, ports)
        rate = float(after.figures(ends).rate[case.leg])
        if rate >= GAIN * case.rate:
            found.append((-round(rate, 3), number, after, ends))
    names = around.tables.fabric.hosts.name
    tried = []
    for _, number, after, ends in sorted(found, key=lambda entry: entry[:2])[:MEASURED]:
        row, first, second = candidates[number]
        what = f"swap {names[first]} and {names[second]} in the rank order of {around.met.running[row][0].name}"
        tried.append(case.trial("swap", what, after, ends))
    if not tried:
        return Trial("swap", f"none of {len(chosen)} swaps of two hosts of a job makes it faster")
    return min(tried, key=order_of)


def _candidates(case: Case, around: JobsAround) -> Iterator[tuple[int, int, int]]:
    """Yield job, host to move and host to move it with: the pair's own first, then the largest competitor's."""
    met, fabric = around.met, around.tables.fabric
    host_of = fabric.hosts.node_host
    pair = {int(host_of[fabric.port_node[port]]) for port in case.ends[case.leg]}
    index = {name: host for host, name in enumerate(fabric.hosts.name)}
    movable: dict[tuple[int, int], None] = {}
    for row in range(len(met.running)):
        if around.own[met.start[row] : met.start[row + 1]].any():
            movable |= dict.fromkeys((row, host) for host in sorted(pair, reverse=True))
    on_it = flows_on(met.channels, int(case.before.binds[case.leg]))
    for flow in met.largest(on_it[~around.own[on_it] & ~met.fixed[on_it]], 1).tolist():
        row = int(np.searchsorted(met.start, flow, side="right") - 1)
        ends = (int(met.dst[flow]), int(met.src[flow]))
        movable |= dict.fromkeys((row, int(host_of[fabric.port_node[port]])) for port in ends)
    for row, host in movable:
        for name in dict.fromkeys(met.running[row][0].hosts):
            other = index.get(name, -1)
            if other >= 0 and other != host and other not in pair:
                yield row, host, other


def _swapped(fabric: Fabric, first: int, second: int) -> NDArray[np.int32] | None:
    """Return each port's stand-in when two hosts change places; None where their HCAs do not match."""
    rail, number = fabric.hosts.node_rail, fabric.port_number
    ports = [fabric.endpoints[fabric.hosts.node_host[fabric.port_node[fabric.endpoints]] == host] for host in (first, second)]
    here, there = ({(int(rail[fabric.port_node[port]]), int(number[port])): port for port in own.tolist()} for own in ports)
    if set(here) != set(there) or len(here) != len(ports[0]):
        return None
    out = np.arange(len(fabric.port_node), dtype=np.int32)
    for socket, port in here.items():
        out[port], out[there[socket]] = there[socket], port
    return out


def _moved_ends(case: Case, around: JobsAround, row: int, ports: NDArray[np.int32]) -> Ends:
    """Return the ends of the pair's ranks after a swap: elsewhere only if the job that is swapped is the pair's own."""
    if not around.own[around.met.start[row] : around.met.start[row + 1]].any():
        return case.ends
    return tuple((int(ports[source]), int(ports[target])) for source, target in case.ends)
