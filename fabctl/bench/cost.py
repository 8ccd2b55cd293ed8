"""Bytes to seconds: the slowest cable bounds, each cable at its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import alltoall_loads, channel_loads
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric, speed_name
from fabctl.model.flows import unit_flows
from fabctl.model.predictions import Bound
from fabctl.model.rates import PAYLOAD_SHARE, Float64, refuse_unknown_rates
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Demand, Exchange
from fabctl.traffic.patterns import alltoall

Int64 = NDArray[np.int64]

TIE = 1e-9
"""Relative difference below which two cables count as equally slow."""


@dataclass(frozen=True)
class Cost:
    """What a message costs on the fabric, per byte.

    Parameters
    ----------
    us_per_byte : float
        Time of the slowest cable, in microseconds per byte of message.
    host_us_per_byte : float
        Time of the slowest of the hosts' own cables.
    bound : Bound
        The slowest cable; one at a host where several are equally slow.
    """

    us_per_byte: float
    host_us_per_byte: float
    bound: Bound


def cost(tables: RoutingTables, demand: Demand, rates: Float64) -> Cost:
    """Return what a demand costs on these routes.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Data rate of each channel in Gb/s.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a cable that carries traffic has no known rate, or no cable carries any.
    """
    return slowest(tables.fabric, *loads(tables, demand), rates)


def slowest(fabric: Fabric, volume: Float64, flows: Int64, rates: Float64) -> Cost:
    """Return what loads cost: bytes per byte of message, and flows, on each channel, two arrays of shape (n_channels,).

    Raises
    ------
    RefusedError
        As `cost` does.
    """
    used = volume > 0
    _check(fabric, used, rates)
    us_per_byte = np.zeros(len(volume))
    us_per_byte[used] = volume[used] * 8 / (rates[used] * 1e3 * PAYLOAD_SHARE)
    at_host = (fabric.channel_src >= fabric.n_switches) | (fabric.channel_dst >= fabric.n_switches)
    tied = us_per_byte >= us_per_byte.max() * (1 - TIE)
    channel = int(np.argmax(tied & at_host) if np.any(tied & at_host) else np.argmax(tied))
    return Cost(
        us_per_byte=float(us_per_byte.max()),
        host_us_per_byte=float(us_per_byte[at_host].max()),
        bound=Bound(
            source=_end(fabric, int(fabric.channel_port[channel])),
            target=_end(fabric, int(fabric.port_peer[fabric.channel_port[channel]])),
            speed=_speed(fabric, channel),
            data_gbps=float(rates[channel]),
            flows=int(flows[channel]),
            at_host=bool(at_host[channel]),
            equals=int(np.count_nonzero(tied)),
        ),
    )


def one_after_the_other(costs: Sequence[Cost]) -> Cost:
    """Return what several cost that follow one another, with the cable that takes longest."""
    longest = max(costs, key=lambda cost: cost.us_per_byte)
    return Cost(sum(cost.us_per_byte for cost in costs), sum(cost.host_us_per_byte for cost in costs), longest.bound)


def loads(tables: RoutingTables, demand: Demand) -> tuple[Float64, Int64]:
    """Return the volume and the number of flows on each channel, two arrays of shape (n_channels,).

    Complexity
    ----------
    O(flows x hops), and for each exchange O(switches x ports x hops): its pairs are never written down.
    """
    n_channels = len(tables.fabric.channel_port)
    volume, flows = np.zeros(n_channels), np.zeros(n_channels, dtype=np.int64)
    if len(demand.flows):
        volume += channel_loads(tables, demand.flows)
        flows += _count(channel_loads(tables, unit_flows(demand.flows.src, demand.flows.dst)))
    for exchange in demand.exchanges:
        pairs = _exchange_loads(tables, exchange)
        volume += pairs * exchange.weight
        flows += pairs
    return volume, flows


def _end(fabric: Fabric, port: int) -> tuple[str, int]:
    return fabric.labels[fabric.port_node[port]], int(fabric.port_number[port])


def _speed(fabric: Fabric, channel: int) -> str:
    if not fabric.data_gbps[channel]:
        return "assumed"
    return speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel]))


def _exchange_loads(tables: RoutingTables, exchange: Exchange) -> Int64:
    pairs = alltoall_loads(tables, exchange.ports.ravel())
    if exchange.ports.shape[1] == 1:
        return pairs
    inside = [alltoall(row) for row in exchange.ports]
    src, dst = (np.concatenate([getattr(flows, end) for flows in inside]) for end in ("src", "dst"))
    return pairs - _count(channel_loads(tables, unit_flows(src, dst)))


def _count(unit_loads: Float64) -> Int64:
    return np.rint(unit_loads).astype(np.int64)


def _check(fabric: Fabric, used: NDArray[np.bool_], rates: Float64) -> None:
    if not used.any():
        raise RefusedError("nothing crosses the fabric in this pattern: all its flows stay inside a host")
    refuse_unknown_rates(fabric, used, rates)
