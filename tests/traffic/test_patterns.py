from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_fabrics import dmodk, two_levels

from fabctl.congestion.load import channel_loads, flow_channels
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.tables import RoutingTables
from fabctl.traffic import PATTERNS
from fabctl.traffic.job import parse_job
from fabctl.traffic.patterns import alltoall, as_collective, bisect, permutation, ring, shift
from fabctl.traffic.placement import place

COUNTS = st.integers(2, 40)
SEEDS = st.integers(0, 1000)


def ports(n: int) -> np.ndarray:
    return np.arange(100, 100 + 3 * n, 3, dtype=np.int32)


def pairs(flows: Flows) -> list[tuple[int, int]]:
    assert flows.src.dtype == flows.dst.dtype == np.int32
    assert np.all(flows.weight == 1)
    return list(zip(flows.src.tolist(), flows.dst.tolist(), strict=True))


def share(tables: RoutingTables, flows: Flows) -> float:
    """Return ORCS's bandwidth of a pattern: the mean over its flows of one over the most flows on any channel of theirs."""
    loads = channel_loads(tables, flows)
    ptr, channels = flow_channels(tables, flows)
    return float(np.mean(1 / np.maximum.reduceat(loads[channels], ptr[:-1])))


@given(COUNTS)
def test_ring_is_one_cycle(n: int) -> None:
    following = dict(pairs(ring(ports(n))))
    start = here = int(ports(n)[0])
    for _ in range(n - 1):
        here = following[here]
        assert here != start
    assert following[here] == start


@given(COUNTS, st.integers(-50, 50))
def test_shift_moves_by_its_distance(n: int, distance: int) -> None:
    own = ports(n)
    expected = {(int(own[i]), int(own[(i + distance) % n])) for i in range(n) if distance % n}
    assert set(pairs(shift(own, distance))) == expected


@given(COUNTS)
def test_alltoall_is_all_shifts(n: int) -> None:
    shifts = [pair for distance in range(1, n) for pair in pairs(shift(ports(n), distance))]
    assert sorted(pairs(alltoall(ports(n)))) == sorted(shifts)


@given(COUNTS, SEEDS)
def test_bisect_matches_halves(n: int, seed: int) -> None:
    flows = bisect(ports(n), seed)
    assert len(flows) == n // 2
    ends = flows.src.tolist() + flows.dst.tolist()
    assert len(set(ends)) == 2 * (n // 2)
    assert set(ends) <= set(ports(n).tolist())
    assert pairs(flows) == pairs(bisect(ports(n), seed))


@given(COUNTS, SEEDS)
def test_permutation_has_no_fixed_point(n: int, seed: int) -> None:
    flows = permutation(ports(n), seed)
    assert sorted(flows.src.tolist()) == sorted(flows.dst.tolist()) == ports(n).tolist()
    assert np.all(flows.src != flows.dst)
    assert pairs(flows) == pairs(permutation(ports(n), seed))


def test_random_patterns_depend_on_the_seed() -> None:
    for pattern in (bisect, permutation):
        assert len({tuple(pairs(pattern(ports(12), seed))) for seed in range(10)}) == 10


# ---- published numbers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ls648() -> RoutingTables:
    return dmodk(two_levels(648, 18, 18))


def test_recursive_doubling_on_a_full_leaf_spine(ls648: RoutingTables) -> None:
    """The congestion of each step on 648 hosts, as real OpenSM routes had it."""
    endpoints = ls648.fabric.endpoints
    worst = []
    for bit in range(10):
        partner = np.arange(648) ^ (1 << bit)
        there = partner < 648
        worst.append(int(channel_loads(ls648, unit_flows(endpoints[there], endpoints[partner[there]])).max()))
    assert worst == [1, 1, 1, 1, 2, 2, 2, 2, 2, 1]


def test_every_shift_is_free_of_contention_under_d_mod_k(ls648: RoutingTables) -> None:
    """Zahavi, JPDC 2012."""
    for distance in (1, 2, 17, 18, 19, 100, 324, 647):
        assert channel_loads(ls648, shift(ls648.fabric.endpoints, distance)).max() == 1


def test_random_patterns_reach_the_published_share() -> None:
    """XGFT(2;16,32;1,16) under D-mod-k: 0.8118 for bisections; 0.6681 for permutations, which has a closed form."""
    tables = dmodk(two_levels(512, 16, 16))
    endpoints = tables.fabric.endpoints
    assert np.mean([share(tables, bisect(endpoints, seed)) for seed in range(60)]) == pytest.approx(0.8118, abs=0.006)
    assert np.mean([share(tables, permutation(endpoints, seed)) for seed in range(60)]) == pytest.approx(0.6681, abs=0.006)


def test_random_rank_order_costs_a_ring_what_was_measured(ls648: RoutingTables) -> None:
    """In order a ring has no contention; in random order the hottest of 648 hosts' cables carries 4.71 flows, 6 at most."""
    hottest = []
    for seed in range(40):
        job = place(parse_job(f"hosts: all\norder: random\nseed: {seed}\n", "j.yaml"), ls648.fabric)
        hottest.append(channel_loads(ls648, ring(job.ports[:, 0])).max())
    assert np.mean(hottest) == pytest.approx(4.71, abs=0.25)
    assert 4 <= min(hottest) <= max(hottest) <= 7


# ---- patterns of a job -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATTERNS.names())
def test_a_jobs_pattern_leaves_out_what_stays_in_a_host(name: str) -> None:
    fabric = two_levels(6, 3, 2, rails=2)
    job = place(parse_job("hosts: all\n", "j.yaml"), fabric)
    collective = as_collective(parse_job(f"hosts: all\npattern: {name}\n", "j.yaml"))
    demand = collective.demand(job)
    hosts = fabric.hosts.node_host[fabric.port_node]
    if name == "alltoall":
        assert [(exchange.ports.tolist(), exchange.weight) for exchange in demand.exchanges] == [(job.ports.tolist(), 1.0)]
        assert not len(demand.flows)
        return
    assert np.all(hosts[demand.flows.src] != hosts[demand.flows.dst])
    expected = PATTERNS.load(name)(job.ports.ravel())
    across = hosts[expected.src] != hosts[expected.dst]
    assert pairs(demand.flows) == [pair for pair, out in zip(pairs(expected), across, strict=True) if out]
    assert (collective.name, collective.algorithm, collective.bus_factor(64)) == (name, "pattern", 1.0)
