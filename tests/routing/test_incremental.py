"""Routes changed after a fault: what must move moves and nothing else, it arrives, and it stays free of credit loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from routing_oracles import build, dependency_graph, plain_path, random_fabrics
from small_fabrics import dmodk, two_levels

from fabctl.errors import RefusedError
from fabctl.model.changes import Change
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.arrival import attached_lids, carried, hop_counts
from fabctl.routing.channel_order import channel_order
from fabctl.routing.compute import compute_tables
from fabctl.routing.incremental import change
from fabctl.routing.options import DEFAULTS
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric


def between(fabric: Fabric) -> list[int]:
    """Return the channels between switches."""
    inside = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    return np.flatnonzero(inside).tolist()


def cut(fabric: Fabric, *channels: int) -> Fabric:
    """Return a fabric with cables unplugged; ports and nodes keep their places."""
    peer = fabric.port_peer.copy()
    for channel in channels:
        port = fabric.channel_port[channel]
        peer[[port, peer[port]]] = -1
    return replace(fabric, port_peer=peer)


def changed(old: RoutingTables, now: Fabric, engine: str) -> Change:
    return change(RoutingTables(now, old.lft, "before.dump"), compute_tables(now, engine), DEFAULTS)


def old_way(tables: RoutingTables, switch: int, lid: int) -> list[tuple[int, int]]:
    """Return the (node, port number) that a switch's traffic leaves by, hop by hop."""
    fabric, way = tables.fabric, []
    while switch < fabric.n_switches and len(way) <= fabric.n_switches:
        number = int(tables.lft[switch, lid])
        channel = fabric.channel_at[switch, number] if number != NO_ROUTE else -1
        if channel < 0:
            break
        way.append((switch, number))
        switch = int(fabric.channel_dst[channel])
    return way


def double_ring() -> Fabric:
    """Return seven switches in a ring of two cables each: shortest paths need two lanes."""
    ring = [(switch, (switch + 1) % 7) for switch in range(7)]
    return build([2] * 7, ring + ring)


def ends(fabric: Fabric, channel: int) -> set[tuple[int, int]]:
    ports = (int(fabric.channel_port[channel]), int(fabric.port_peer[fabric.channel_port[channel]]))
    return {(int(fabric.port_node[port]), int(fabric.port_number[port])) for port in ports}


# ---- random fabrics -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.sampled_from(["minhop", "updn", "sssp", "nue"]), st.integers(0, 10_000))
def test_a_cut_cable_moves_what_it_carried_and_nothing_else(fabric: Fabric, engine: str, pick: int) -> None:
    cables = between(fabric)
    assume(cables)
    old = compute_tables(fabric, engine)
    dead = cables[pick % len(cables)]
    now = cut(old.fabric, dead)
    try:
        done = changed(old, now, engine)
    except RefusedError:
        assume(False)
    lids = attached_lids(now)
    for source in now.endpoints.tolist():
        for target in now.endpoints.tolist():
            assert source == target or plain_path(done.tables, source, target) is not None
    own = compute_tables(now, engine)
    if engine == "nue" or nx.is_directed_acyclic_graph(dependency_graph(own)):
        assert verify(done.tables).safe
    differs = np.argwhere(old.lft[:, lids] != done.tables.lft[:, lids])
    cells = {(int(switch), int(lids[column])) for switch, column in differs}
    if not done.fallback:
        for switch, lid in cells:
            assert lid in done.engine_lids or ends(fabric, dead) & set(old_way(old, switch, lid))
    assert {(moved.lid, switch) for moved in done.moved for switch in moved.switches} == {(lid, switch) for switch, lid in cells}
    assert done.rewritten.entries == len(cells)
    assert done.rewritten.switches == len({switch for switch, _ in cells})
    assert done.rewritten.blocks == len({(switch, lid // 64) for switch, lid in cells})
    again = changed(old, now, engine)
    np.testing.assert_array_equal(again.tables.lft, done.tables.lft)
    assert again.moved == done.moved


@settings(max_examples=30, deadline=None)
@given(random_fabrics())
def test_hops_are_those_of_plain_walks(fabric: Fabric) -> None:
    tables = compute_tables(fabric, "minhop")
    tables.lft[0, fabric.port_lid[fabric.endpoints[0]]] = NO_ROUTE
    lids = attached_lids(fabric)
    hops = hop_counts(fabric, tables.lft, lids)
    load = np.zeros(len(fabric.channel_port))
    for source in fabric.endpoints.tolist():
        leaf = int(fabric.port_node[fabric.port_peer[source]])
        for target in fabric.endpoints.tolist():
            column = int(np.flatnonzero(lids == fabric.port_lid[target])[0])
            path = plain_path(tables, source, target)
            assert hops[leaf, column] == (-1 if path is None else len(path) - 1)
            if path is not None:
                load[path[1:]] += 1
    hca = np.isin(lids, fabric.port_lid[fabric.endpoints])
    np.testing.assert_allclose(carried(fabric, tables.lft, lids[hca], hops[:, hca]), load)


@settings(max_examples=30, deadline=None)
@given(random_fabrics(), st.sampled_from(["minhop", "updn"]))
def test_the_order_of_channels_rises_along_every_path(fabric: Fabric, engine: str) -> None:
    tables = compute_tables(fabric, engine)
    lids = attached_lids(fabric)
    order = channel_order(fabric, [(tables.lft, hop_counts(fabric, tables.lft, lids))], lids)
    graph = dependency_graph(tables)
    assert (order is None) == (not nx.is_directed_acyclic_graph(graph))
    if order is not None:
        assert all(order[before] < order[after] for before, after in graph.edges)


# ---- trees --------------------------------------------------------------------------------------------------------------


def test_one_of_two_parallel_cables_moves_one_switch_each() -> None:
    fabric = build([3, 3, 0], [(0, 2), (0, 2), (1, 2), (1, 2)])
    old = compute_tables(fabric, "updn")
    dead = between(fabric)[0]
    done = changed(old, cut(fabric, dead), "updn")
    assert {switch for moved in done.moved for switch in moved.switches} <= {0, 2}
    assert all(len(moved.switches) == 1 for moved in done.moved)
    assert verify(done.tables).safe


def test_moved_lids_are_spread_over_what_is_left() -> None:
    fabric = two_levels(24, 4, 4)
    old = dmodk(fabric)
    leaf = 0
    dead = next(c for c in between(fabric) if fabric.channel_src[c] == leaf)
    now = cut(fabric, dead)
    done = change(RoutingTables(now, old.lft, "before"), compute_tables(now, "updn"), DEFAULTS)
    far = fabric.port_lid[fabric.endpoints[4:]]
    numbers, count = np.unique(done.tables.lft[leaf, far], return_counts=True)
    assert sorted(count.tolist()) == [6, 7, 7]
    kept = old.lft[leaf, far] != fabric.port_number[fabric.channel_port[dead]]
    np.testing.assert_array_equal(done.tables.lft[leaf, far[kept]], old.lft[leaf, far[kept]])
    assert len(numbers) == 3


@pytest.mark.parametrize("engine", ["minhop", "ftree", "updn"])
def test_a_tree_is_changed_less_than_it_is_routed_anew(project: object, engine: str) -> None:
    fabric = load_fabric(f"{project}/topologies/xgft-64.yaml").fabric
    old = compute_tables(fabric, engine)
    spines = np.flatnonzero(fabric.tiers == 1)
    for dead in [c for c in between(fabric) if fabric.channel_src[c] == spines[5]]:
        now = cut(fabric, dead)
        done = changed(old, now, engine)
        assert verify(done.tables).safe
        assert not done.fallback
        assert not set(done.engine_lids) & set(now.port_lid[now.endpoints].tolist())
        own = compute_tables(now, engine)
        lids = attached_lids(now)
        lengths, anew = (hop_counts(now, tables.lft, lids)[now.tiers == 0] for tables in (done.tables, own))
        assert (lengths <= anew).all()
        assert done.rewritten.blocks < done.whole.blocks
        assert done.rewritten.entries < done.whole.entries


def test_nothing_is_changed_without_a_fault(project: object) -> None:
    fabric = load_fabric(f"{project}/topologies/xgft-64.yaml").fabric
    old = compute_tables(fabric, "ftree")
    done = change(old, compute_tables(fabric, "minhop"), DEFAULTS)
    np.testing.assert_array_equal(done.tables.lft, old.lft)
    assert (done.rewritten.blocks, done.moved, done.fallback) == (0, (), "")
    assert done.whole.blocks > 0


# ---- other shapes -------------------------------------------------------------------------------------------------------


def test_routes_that_could_deadlock_before_are_mended_as_well() -> None:
    ring = build([2] * 6, [(switch, (switch + 1) % 6) for switch in range(6)])
    old = compute_tables(ring, "minhop")
    assert verify(old).credit_loop
    done = change(old, compute_tables(ring, "updn"), DEFAULTS)
    assert verify(done.tables).safe
    assert done.engine_lids or done.fallback


@pytest.mark.parametrize("engine", ["dfsssp", "lash", "nue"])
def test_lanes_are_chosen_anew_for_changed_routes(engine: str) -> None:
    fabric = double_ring()
    old = compute_tables(fabric, engine)
    assert old.n_vls > 1
    done = changed(old, cut(fabric, between(fabric)[7]), engine)
    assert verify(done.tables).safe
    assert done.tables.n_vls <= DEFAULTS.max_vls
    assert 0 < done.rewritten.entries <= done.whole.entries


def test_what_needs_more_lanes_than_there_are_is_routed_anew() -> None:
    fabric = double_ring()
    old = compute_tables(fabric, "minhop")
    now = cut(fabric, between(fabric)[7])
    lone = replace(DEFAULTS, max_vls=1)
    done = change(RoutingTables(now, old.lft, "before"), compute_tables(now, "dfsssp"), lone)
    assert "virtual lanes" in done.fallback
    np.testing.assert_array_equal(done.tables.lft, compute_tables(now, "dfsssp").lft)
    assert done.rewritten == done.whole


def test_a_switch_without_a_table_gets_one() -> None:
    fabric = two_levels(8, 2, 2)
    old = dmodk(fabric)
    old.lft[2] = NO_ROUTE
    done = changed(old, fabric, "updn")
    assert verify(done.tables).safe
    hosts = set(fabric.port_lid[fabric.endpoints].tolist())
    assert {moved.lid: moved.switches for moved in done.moved if moved.lid in hosts} == dict.fromkeys(hosts, (2,))


def test_a_host_that_has_changed_its_port_is_found_again() -> None:
    fabric = two_levels(8, 2, 2)
    old = dmodk(fabric)
    host = int(fabric.endpoints[0])
    lid, leaf = int(fabric.port_lid[host]), int(fabric.port_node[fabric.port_peer[host]])
    old.lft[leaf, lid] = 200
    done = changed(old, fabric, "updn")
    hosts = fabric.port_lid[fabric.endpoints].tolist()
    assert [(moved.lid, moved.switches) for moved in done.moved if moved.lid in hosts] == [(lid, (leaf,))]
    assert verify(done.tables).safe


def test_every_lid_of_a_port_is_mended(tmp_path: Path) -> None:
    (tmp_path / "lmc.yaml").write_text("family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\nlmc: 2\n")
    fabric = load_fabric(str(tmp_path / "lmc.yaml")).fabric
    old = compute_tables(fabric, "updn")
    dead = next(c for c in between(fabric) if fabric.tiers[fabric.channel_src[c]] == 0)
    now = cut(fabric, dead)
    done = changed(old, now, "updn")
    lids = attached_lids(now)
    leaves = np.flatnonzero(now.tiers == 0)
    assert (hop_counts(now, done.tables.lft, lids)[leaves] > 0).all()
    assert len(lids) == 8 + 4 * 16
