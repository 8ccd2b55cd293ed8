"""Completion times on fat trees whose values are known on paper."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom
from small_fabrics import dmodk, two_levels

from fabctl.congestion.load import flow_channels
from fabctl.congestion.maxmin import complete, fair_rates
from fabctl.congestion.phases import phase_channels
from fabctl.congestion.quality import Z99
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.phases import Channels
from fabctl.model.rates import PAYLOAD_SHARE, payload_rates
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric
from fabctl.traffic.job import parse_job
from fabctl.traffic.phases import job_traffic
from fabctl.units import Speed

GB = 1e9
RATE = 50 * GB


@cache
def full_tree(per_leaf: int, leaves: int) -> RoutingTables:
    """Return D-mod-k routes of leaves with as many up-links as hosts."""
    return dmodk(two_levels(per_leaf * leaves, per_leaf, per_leaf))


@cache
def shipped(project: Path, name: str) -> RoutingTables:
    return compute_tables(load_fabric(str(project / f"topologies/{name}.yaml")).fabric, "ftree")


def in_order(tables: RoutingTables) -> np.ndarray:
    """Return the hosts' ports, leaf by leaf."""
    ports = tables.fabric.endpoints
    return ports[np.argsort(tables.fabric.port_lid[ports])]


def rates(tables: RoutingTables) -> np.ndarray:
    return np.full(len(tables.fabric.channel_port), RATE)


def routed(tables: RoutingTables, src: np.ndarray, dst: np.ndarray) -> Channels:
    ports = in_order(tables)
    return Channels(*flow_channels(tables, unit_flows(ports[src], ports[dst])))


@pytest.mark.parametrize("name", ["xgft-16", "xgft-64", "leaf-spine-648"])
def test_every_shift_of_a_full_tree_runs_at_full_rate(project: Path, name: str) -> None:
    """D-mod-k on a full tree is free of contention for shifts (Zahavi, JPDC 2012)."""
    tables = shipped(project, name)
    n = len(in_order(tables))
    hosts = np.arange(n)
    for shift in range(1, n, max(1, n // 60)):
        channels = routed(tables, hosts, (hosts + shift) % n)
        assert np.all(fair_rates(channels, rates(tables)).rate == RATE)
        found = complete(channels, np.full(n, GB), rates(tables))
        assert np.all(found.seconds == GB / RATE)


@pytest.mark.parametrize(("name", "n"), [("xgft-16", 16), ("xgft-64", 64)])
def test_all_to_all_of_a_full_tree(project: Path, name: str, n: int) -> None:
    """Every port sends ``n - 1`` messages at its full rate."""
    tables = shipped(project, name)
    src, dst = np.divmod(np.arange(n * n), n)
    found = complete(routed(tables, src[src != dst], dst[src != dst]), np.full(n * (n - 1), GB), rates(tables))
    np.testing.assert_allclose(found.seconds, (n - 1) * GB / RATE, rtol=1e-12)
    assert found.solves == 1


def test_all_to_all_of_a_tree_with_half_the_up_links(project: Path) -> None:
    """16 hosts a leaf on 8 up-links, 128 hosts: 16 x 112 / 8 = 224 messages on each; those within a leaf get the rest of the ports."""
    tables = shipped(project, "oversubscribed-2to1")
    src, dst = np.divmod(np.arange(128 * 128), 128)
    src, dst = src[src != dst], dst[src != dst]
    found = complete(routed(tables, src, dst), np.full(len(src), GB), rates(tables))
    inside = src // 16 == dst // 16
    np.testing.assert_allclose(found.seconds[~inside], 224 * GB / RATE, rtol=1e-12)
    np.testing.assert_allclose(found.seconds[inside], GB / ((RATE - 112 * RATE / 224) / 15), rtol=1e-12)


@pytest.mark.parametrize("m", [2, 4, 16, 18])
def test_the_adversary_of_dmodk_gets_one_mth(m: int) -> None:
    """Host j of leaf i sends to host ``i mod m`` of leaf ``i + j + 1``: all of a leaf want one spine."""
    tables = full_tree(m, 2 * m)
    leaf, slot = np.divmod(np.arange(2 * m * m), m)
    target = (leaf + slot + 1) % (2 * m) * m + leaf % m
    assert len(np.unique(target)) == len(target)
    found = complete(routed(tables, np.arange(2 * m * m), target), np.full(2 * m * m, GB), rates(tables))
    np.testing.assert_allclose(found.first_rate, RATE / m, rtol=1e-14)
    np.testing.assert_allclose(found.seconds, m * GB / RATE, rtol=1e-14)


@pytest.mark.parametrize(("m", "leaves", "printed"), [(16, 32, 0.6681), (18, 36, 0.6642), (4, 3, None)])
def test_random_permutations_share_up_links_hypergeometrically(m: int, leaves: int, printed: float | None) -> None:
    """Of the ``m - 1`` other hosts of a leaf, a hypergeometric number wants the same spine; each gets its share of it.

    The share by ORCS, one over the most flows on any channel of the route, and the fair rate are the same on two levels.
    """
    n = m * leaves
    within = (m - 1) / (n - 1)
    wanting = np.arange(m)
    exact = within + (1 - within) * np.sum(hypergeom(n - 1, leaves - 2, m - 1).pmf(wanting) / (1 + wanting))
    assert printed is None or exact == pytest.approx(printed, abs=5e-5)
    tables, rng, hosts = full_tree(m, leaves), np.random.default_rng(m), np.arange(n)
    means = []
    for _ in range(300):
        target = rng.permutation(n)
        while np.any(target == hosts):
            target = rng.permutation(n)
        channels = routed(tables, hosts, target)
        rate = fair_rates(channels, rates(tables)).rate / RATE
        load = np.bincount(channels.index)[channels.index]
        np.testing.assert_allclose(rate, 1 / np.maximum.reduceat(load, channels.ptr[:-1]), rtol=1e-14)
        means.append(rate.mean())
    assert abs(np.mean(means) - exact) <= Z99 * np.std(means, ddof=1) / np.sqrt(len(means))


def test_fair_rates_are_never_below_the_share_by_orcs(project: Path) -> None:
    """On three levels a flow may share with flows that are held up elsewhere, which ORCS does not see."""
    tables = shipped(project, "xgft-64")
    rng = np.random.default_rng(1)
    gained = 0
    for _ in range(50):
        channels = routed(tables, np.arange(64), rng.permutation(64))
        some = np.diff(channels.ptr) > 0
        load = np.bincount(channels.index)[channels.index]
        orcs = 1 / np.maximum.reduceat(load, channels.ptr[:-1][some])
        fair = fair_rates(channels, rates(tables)).rate[some] / RATE
        assert np.all(fair >= orcs * (1 - 1e-12))
        gained += np.count_nonzero(fair > orcs * 1.01)
    assert gained > 0


@pytest.mark.parametrize("order", ["as-given", "random"])
def test_a_ring_takes_as_long_as_its_hottest_channel(project: Path, order: str) -> None:
    """``2 (n - 1) / n`` of the message leave every port, at full rate in the order of the leaves, else as the hottest channel says."""
    tables = shipped(project, "leaf-spine-648")
    text = f"hosts: node-[0001-0256]\norder: {order}\nseed: 1\ncollective: all_reduce\nsize: 1G\n"
    phase = job_traffic(parse_job(text, "ring.yaml"), tables.fabric).phases[0]
    channels, payload = phase_channels(tables, phase), payload_rates(tables.fabric)
    found = complete(channels, phase.flows.weight, payload)
    hottest = np.bincount(channels.index).max()
    bound_s = 2 * 255 / 256 * 2**30 / (tables.fabric.data_gbps.max() * GB / 8 * PAYLOAD_SHARE)
    assert found.makespan == pytest.approx(hottest * bound_s, rel=1e-12)
    assert hottest == 1 if order == "as-given" else hottest > 2


def test_mixed_speeds_give_the_rest_to_the_others() -> None:
    """Two hosts send to one through an up-link of half their speed; a third from the target's own leaf takes what they leave."""
    tables = dmodk(two_levels(4, 2, 1, host_speed=Speed.NDR, up_speed=Speed.HDR))
    channels = routed(tables, np.array([0, 1, 3]), np.array([2, 2, 2]))
    payload = payload_rates(tables.fabric)
    fast = payload.max()
    assert payload.min() == pytest.approx(fast / 2)
    found = complete(channels, np.array([GB, 2 * GB, 3 * GB]), payload)
    np.testing.assert_allclose(found.first_rate, [fast / 4, fast / 4, fast / 2], rtol=1e-12)
    np.testing.assert_allclose(found.seconds, np.array([4 * GB, 6 * GB, 6 * GB]) / fast, rtol=1e-12)


def test_flows_end_one_after_the_other() -> None:
    """Flows of 1 to k GB into one port: the i-th ends when it and all smaller have had their turn, and the larger as much."""
    tables = full_tree(4, 4)
    k = 9
    ports = in_order(tables)
    flows = Flows(ports[4 : 4 + k], np.repeat(ports[:1], k), np.arange(1, k + 1) * GB)
    channels = Channels(*flow_channels(tables, flows))
    found = complete(channels, flows.weight, rates(tables))
    i = np.arange(1, k + 1)
    np.testing.assert_allclose(found.seconds, (i * (i + 1) / 2 + i * (k - i)) * GB / RATE, rtol=1e-12)
    assert found.solves == k
