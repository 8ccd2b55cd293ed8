from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fabrics import dmodk, two_levels, walked

import fabctl.bench.cost as cost_module
from fabctl.bench.cost import cost, loads
from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.rates import PAYLOAD_SHARE, data_rates, parse_speed
from fabctl.traffic.collective import Demand
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.placement import place
from fabctl.units import Speed

RAILS = two_levels(8, 4, 2, rails=2)


def ideal_seconds(fabric: Fabric, name: str, message_bytes: float) -> float:
    """Return the time of a message on D-mod-k routes, had packets no headers."""
    tables = dmodk(fabric)
    job = place(JobSpec(), fabric)
    price = cost(tables, COLLECTIVES.load(name).demand(job), data_rates(fabric))
    return message_bytes * price.us_per_byte * PAYLOAD_SHARE / 1e6


def test_payload_share_is_that_of_a_full_packet() -> None:
    assert pytest.approx(4096 / 4122) == PAYLOAD_SHARE


# ---- closed forms; NDR carries 50 GB/s ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [16, 128])
def test_alltoall_without_blocking(hosts: int) -> None:
    """(n - 1) pieces leave every port; SimGrid finds 0.030000 s and 2.540000 s for these (100 MB and 1 GB pieces)."""
    piece = {16: 1e8, 128: 1e9}[hosts]
    seconds = ideal_seconds(two_levels(hosts, 8, 8), "alltoall", hosts * piece)
    assert seconds == pytest.approx((hosts - 1) * piece / 50e9, rel=1e-9)
    assert seconds == pytest.approx({16: 0.030, 128: 2.54}[hosts], rel=1e-9)


def test_alltoall_with_half_the_uplinks() -> None:
    """16 hosts a leaf, 8 up-links, 128 hosts: 16 x 112 / 8 = 224 flows a link; SimGrid finds 4.480000 s for 1 GB pieces."""
    fabric = two_levels(128, 16, 8)
    assert ideal_seconds(fabric, "alltoall", 128e9) == pytest.approx(4.48, rel=1e-9)
    price = cost(dmodk(fabric), COLLECTIVES.load("alltoall").demand(place(JobSpec(), fabric)), data_rates(fabric))
    assert (price.bound.flows, price.bound.at_host, price.bound.equals) == (224, False, 128)
    assert price.us_per_byte / price.host_us_per_byte == pytest.approx(224 / 127)


@pytest.mark.parametrize(("name", "volume"), [("all_reduce", 2 * 15 / 16), ("all_gather", 15 / 16), ("broadcast", 1)])
@pytest.mark.parametrize("rails", [1, 2, 4])
def test_rings_without_blocking(name: str, volume: float, rails: int) -> None:
    """Sixteen ranks on 16 / rails hosts; each rail carries its share of the message."""
    seconds = ideal_seconds(two_levels(16 // rails, 4, 4, rails=rails), name, 1e9)
    assert seconds == pytest.approx(volume * 1e9 / rails / 50e9, rel=1e-9)


def test_a_slow_cable_bounds_though_it_carries_no_more() -> None:
    """One flow between leaves over EDR, at a quarter of the hosts' NDR."""
    fabric = two_levels(8, 4, 4, up_speed=Speed.EDR)
    price = cost(dmodk(fabric), COLLECTIVES.load("all_gather").demand(place(JobSpec(), fabric)), data_rates(fabric))
    assert (price.bound.flows, price.bound.at_host, price.bound.speed) == (1, False, "4xEDR")
    assert price.us_per_byte / price.host_us_per_byte == pytest.approx(4)
    assert price.bound.label == "leaf-0/P5 -> spine-0/P1"


def test_between_equals_the_hosts_own_cable_is_named() -> None:
    """One flow over four cables of one speed: the leaf's up-link is listed first and bounds no more than the others."""
    fabric = two_levels(8, 4, 4)
    job = place(JobSpec(hosts=(Placed("n0000", ""), Placed("n0004", ""))), fabric)
    bound = cost(dmodk(fabric), COLLECTIVES.load("broadcast").demand(job), data_rates(fabric)).bound
    assert (bound.label, bound.at_host, bound.equals) == ("leaf-1/P1 -> n0004 mlx5_0/P1", True, 4)


def test_a_fast_cable_bears_more_flows() -> None:
    """Two to one in cables, none in bandwidth: EDR hosts under NDR spines."""
    fabric = two_levels(32, 8, 2, host_speed=Speed.EDR)
    price = cost(dmodk(fabric), COLLECTIVES.load("alltoall").demand(place(JobSpec(), fabric)), data_rates(fabric))
    assert price.bound.at_host
    assert price.us_per_byte == pytest.approx(price.host_us_per_byte)


# ---- against flows written out and walked one by one -------------------------------------------------------------------


@pytest.mark.parametrize("name", COLLECTIVES.names())
@given(hosts=st.permutations(range(8)), count=st.integers(2, 8), ranks=st.sampled_from([1, 2, 6]), pxn=st.booleans())
def test_loads_are_those_of_the_flows_written_out(name: str, hosts: list[int], count: int, ranks: int, pxn: bool) -> None:
    placed = tuple(Placed(f"n{host:04}", "") for host in hosts[:count])
    job = place(JobSpec(hosts=placed, ranks_per_host=ranks, pxn=pxn), RAILS)
    demand = COLLECTIVES.load(name).demand(job)
    pairs = [
        (src, dst, exchange.weight)
        for exchange in demand.exchanges
        for here in exchange.ports.tolist()
        for there in exchange.ports.tolist()
        for src in here
        for dst in there
        if here != there
    ] + list(zip(demand.flows.src.tolist(), demand.flows.dst.tolist(), demand.flows.weight.tolist(), strict=True))
    src, dst, weight = (np.array(column) for column in zip(*pairs, strict=True))
    volume, flows = loads(dmodk(RAILS), demand)
    assert volume == pytest.approx(walked(dmodk(RAILS), Flows(src, dst, weight)))
    assert flows.tolist() == walked(dmodk(RAILS), unit_flows(src, dst)).tolist()


def test_an_alltoall_writes_no_pair_down(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    real = cost_module.channel_loads
    monkeypatch.setattr(cost_module, "channel_loads", lambda tables, flows: walks.append(len(flows)) or real(tables, flows))
    fabric = two_levels(128, 16, 16)
    loads(dmodk(fabric), COLLECTIVES.load("alltoall").demand(place(JobSpec(), fabric)))
    assert walks == []


# ---- rates -------------------------------------------------------------------------------------------------------------


def test_an_unknown_rate_on_a_used_cable_is_refused() -> None:
    fabric = two_levels(8, 4, 4, up_speed=Speed.UNKNOWN)
    demand = COLLECTIVES.load("all_gather").demand(place(JobSpec(), fabric))
    with pytest.raises(RefusedError) as error:
        cost(dmodk(fabric), demand, data_rates(fabric))
    assert error.value.message.startswith("4 directed cables in use have no known rate, the first: leaf-0/P5 -> spine-0/P1")
    assert "--assume-speed" in error.value.hint
    assumed = cost(dmodk(fabric), demand, data_rates(fabric, (4, Speed.EDR)))
    assert (assumed.bound.speed, assumed.bound.data_gbps) == ("assumed", pytest.approx(100))


def test_an_unknown_rate_elsewhere_does_not_matter() -> None:
    fabric = two_levels(8, 4, 4, up_speed=Speed.UNKNOWN)
    job = place(JobSpec(hosts=(Placed("n[0000-0003]", ""),)), fabric)
    price = cost(dmodk(fabric), COLLECTIVES.load("alltoall").demand(job), data_rates(fabric))
    assert price.bound.data_gbps == pytest.approx(400)


def test_assuming_a_speed_leaves_known_ones_alone() -> None:
    assert data_rates(RAILS, (1, Speed.SDR)).tolist() == RAILS.data_gbps.tolist()


def test_nothing_on_the_fabric_is_refused() -> None:
    with pytest.raises(RefusedError, match="nothing crosses the fabric"):
        cost(dmodk(RAILS), Demand(), data_rates(RAILS))


def test_speeds_are_parsed_or_refused() -> None:
    assert parse_speed("2xNDR") == (2, Speed.NDR)
    assert parse_speed("4xFDR10") == (4, Speed.FDR10)
    for text in ("HDR", "4xhdr", "3xHDR", "4xUNKNOWN", "4x200", ""):
        with pytest.raises(UsageError, match="is no link speed"):
            parse_speed(text)
