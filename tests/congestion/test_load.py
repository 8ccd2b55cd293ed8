from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import build, plain_alltoall, plain_path, random_fabrics

from fabctl.congestion.explain import hottest_cables, hottest_of_alltoall
from fabctl.congestion.load import alltoall, channel_loads, flow_channels
from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.tables import NO_ROUTE
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed


@settings(max_examples=40, deadline=None)
@given(random_fabrics(), st.sampled_from(["minhop", "updn"]))
def test_alltoall_equals_walking_every_pair(fabric: Fabric, engine: str) -> None:
    tables = compute_tables(fabric, engine)
    ports = fabric.endpoints
    result = alltoall(tables, ports)
    wanted = plain_alltoall(tables, ports.tolist())
    assert {channel: load for channel, load in enumerate(result.loads.tolist()) if load} == dict(wanted)
    pairs = unit_flows(np.repeat(ports, len(ports)), np.tile(ports, len(ports)))
    np.testing.assert_array_equal(channel_loads(tables, pairs), result.loads)
    targets = {
        channel: len({t for t in ports.tolist() for s in ports.tolist() if s != t and channel in plain_path(tables, s, t)})
        for channel in wanted
        if fabric.channel_src[channel] < fabric.n_switches
    }
    assert {channel: int(result.destinations[channel]) for channel in targets} == targets


@settings(max_examples=40, deadline=None)
@given(random_fabrics(), st.integers(0, 1000))
def test_flows_take_the_path_in_order(fabric: Fabric, seed: int) -> None:
    tables = compute_tables(fabric, "minhop")
    rng = np.random.default_rng(seed)
    src, dst = rng.choice(fabric.endpoints, (2, 9)).astype(np.int32)
    weight = rng.random(9)
    ptr, channels = flow_channels(tables, Flows(src, dst, weight))
    loads = np.zeros(len(fabric.channel_port))
    for flow in range(9):
        path = channels[ptr[flow] : ptr[flow + 1]].tolist()
        assert path == ([] if src[flow] == dst[flow] else plain_path(tables, int(src[flow]), int(dst[flow])))
        loads[path] += weight[flow]
    np.testing.assert_allclose(channel_loads(tables, Flows(src, dst, weight)), loads)


def test_oversubscribed_leaf_closed_form(project: Path) -> None:
    """16 hosts a leaf on 8 up-links, 128 hosts: each up-link carries 16 x 112 / 8 flows."""
    fabric = load_fabric(str(project / "topologies/oversubscribed-2to1.yaml")).fabric
    loads = alltoall(compute_tables(fabric, "ftree"), fabric.endpoints).loads
    up = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    assert set(loads[up].tolist()) == {16 * 112 // 8}


def test_a_missing_entry_is_named() -> None:
    fabric = build([1, 1], [(0, 1)])
    tables = compute_tables(fabric, "minhop")
    broken = tables.lft.copy()
    broken[0, fabric.port_lid[fabric.endpoints[1]]] = NO_ROUTE
    for call in (
        lambda: alltoall(replace(tables, lft=broken), fabric.endpoints),
        lambda: channel_loads(replace(tables, lft=broken), unit_flows(fabric.endpoints[:1], fabric.endpoints[1:])),
    ):
        with pytest.raises(InputError, match=r"switch-0 has no route to LID 4"):
            call()


def test_a_loop_is_named() -> None:
    fabric = build([1, 1, 1], [(0, 1), (1, 2), (2, 0)])
    tables = compute_tables(fabric, "minhop")
    broken = tables.lft.copy()
    target = int(fabric.port_lid[fabric.endpoints[2]])
    broken[0, target], broken[1, target] = 2, 2
    for call in (
        lambda: alltoall(replace(tables, lft=broken), fabric.endpoints),
        lambda: channel_loads(replace(tables, lft=broken), unit_flows(fabric.endpoints[:1], fabric.endpoints[2:])),
    ):
        with pytest.raises(InputError, match="loops"):
            call()


def test_hottest_cables_name_the_flows_on_them(project: Path) -> None:
    fabric = load_fabric(str(project / "topologies/xgft-64.yaml")).fabric
    tables = compute_tables(fabric, "ftree")
    ports = fabric.endpoints
    incast = unit_flows(ports[:8], np.full(8, ports[-1]))
    hot = hottest_cables(tables, incast, top=4)
    assert hot[0].flows == 8
    last = int(fabric.channel_reverse[fabric.channel_of_port[ports[-1]]])
    assert last in {cable.channel for cable in hot}
    for cable in hot:
        assert all(cable.channel in plain_path(tables, *pair) for pair in cable.examples)
    loads = alltoall(tables, ports).loads
    for cable in hottest_of_alltoall(tables, ports, loads, top=4):
        assert cable.load == loads.max()
        assert all(cable.channel in plain_path(tables, *pair) for pair in cable.examples)


def test_slow_links_are_hotter() -> None:
    """Between equal loads, the cable with the lower rate takes longer and comes first."""
    fabric = build([2, 2], [(0, 1), (0, 1)])
    tables = compute_tables(fabric, "minhop")
    slow = int(fabric.channel_at[0, 4])
    speeds = fabric.port_speed.copy()
    speeds[fabric.channel_port[slow]] = Speed.FDR10
    pairs = unit_flows(fabric.endpoints[:2], fabric.endpoints[2:])
    hot = hottest_cables(replace(tables, fabric=replace(fabric, port_speed=speeds)), pairs, top=1)
    assert hot[0].channel == slow
