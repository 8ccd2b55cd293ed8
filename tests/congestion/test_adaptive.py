"""Groups against networkx and plain walks, the fluid balance against closed forms and a linear program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from adaptive_oracles import coolest, group_of, walked_hops
from families import build as family
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import build, random_fabrics, switch_graph
from small_fabrics import dmodk, two_levels

from fabctl.congestion.adaptive import adaptive_channels, balance, relative_rates, split_channels, ways
from fabctl.congestion.adaptive_demand import demand_of_alltoall, demand_of_flows
from fabctl.congestion.adaptive_groups import Groups, adaptive_groups
from fabctl.congestion.adaptive_safety import waits_in_a_circle
from fabctl.congestion.load import channel_loads, flow_channels
from fabctl.congestion.maxmin import complete
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows, unit_flows
from fabctl.model.phases import Channels
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed

CLOSE = 1.02
"""How near to the optimum of the linear program the balance must come."""


def some_flows(fabric: Fabric, seed: int, count: int = 12) -> Flows:
    rng = np.random.default_rng(seed)
    src, dst = rng.choice(fabric.endpoints, (2, count)).astype(np.int32)
    return Flows(src, dst, rng.integers(1, 5, count).astype(float))


# ---- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["xgft", "fat-tree", "leaf-spine", "torus", "hyperx", "slim-fly", "dragonfly"])
def test_groups_of_minimal_tables_are_all_shortest_next_hops(name: str) -> None:
    fabric = family(name, "small")
    tables = compute_tables(fabric, "minhop")
    fabric = tables.fabric
    distance = dict(nx.all_pairs_shortest_path_length(switch_graph(fabric)))
    groups = adaptive_groups(tables, fabric.endpoints, "tree")
    for port in fabric.endpoints.tolist():
        home = int(fabric.port_node[fabric.port_peer[port]])
        for switch in range(fabric.n_switches):
            nearer = {
                channel
                for channel in np.flatnonzero(fabric.channel_src == switch).tolist()
                if distance.get(int(fabric.channel_dst[channel]), {}).get(home, 99) + 1 == distance[switch][home]
            }
            assert group_of(groups, switch, port) == nearer


@settings(max_examples=30, deadline=None)
@given(random_fabrics(), st.sampled_from(["minhop", "updn", "sssp"]))
def test_groups_by_the_hops_of_any_tables(fabric: Fabric, engine: str) -> None:
    """One hop nearer by the tables, up where these go up, down to where they go on down; the tables' own ports always."""
    tables = compute_tables(fabric, engine)
    tree, lag = (adaptive_groups(tables, fabric.endpoints, mode) for mode in ("tree", "lag"))
    for port in fabric.endpoints.tolist():
        members = np.flatnonzero(tree.class_of_port == tree.class_of_port[port]).tolist()
        for switch in range(fabric.n_switches):
            hops = walked_hops(tables, switch, port)
            entries = {int(fabric.channel_at[switch, tables.lft[switch, fabric.port_lid[member]]]) for member in members}
            wanted = set()
            for channel in np.flatnonzero(fabric.channel_src == switch).tolist():
                far = int(fabric.channel_dst[channel])
                if not hops or far >= fabric.n_switches or walked_hops(tables, far, port) != hops - 1:
                    continue
                onward = {int(fabric.channel_at[far, tables.lft[far, fabric.port_lid[member]]]) for member in members}
                ends = {int(fabric.channel_dst[c]) for c in onward if fabric.channel_dst[c] < fabric.n_switches}
                here = {int(fabric.channel_dst[c]) for c in entries}
                turns_up = any(fabric.tiers[e] >= fabric.tiers[far] for e in ends)
                goes_up = any(fabric.tiers[e] >= fabric.tiers[switch] for e in here)
                if channel in entries or (not turns_up if fabric.tiers[far] < fabric.tiers[switch] else goes_up):
                    wanted.add(channel)
            assert group_of(tree, switch, port) == wanted
            own = int(fabric.channel_at[switch, tables.lft[switch, fabric.port_lid[port]]])
            parallel = set(
                np.flatnonzero((fabric.channel_src == switch) & (fabric.channel_dst == fabric.channel_dst[own])).tolist()
            )
            assert group_of(lag, switch, port) == (parallel if hops else set())


@pytest.mark.parametrize("size", ["small", "middle"])
def test_dragonfly_plus_goes_by_way_of_every_joined_group(size: str) -> None:
    tables = compute_tables(family("dragonfly-plus", size), "dfp")
    fabric = tables.fabric
    names = [label.split("-")[1] for label in fabric.labels[: fabric.n_switches]]
    groups = adaptive_groups(tables, fabric.endpoints, "dragonfly+")
    for port in fabric.endpoints[::3].tolist():
        home = names[int(fabric.port_node[fabric.port_peer[port]])]
        for leaf in np.flatnonzero(fabric.tiers == 0)[::2].tolist():
            met, seen = [int(groups.start[groups.class_of_port[port], leaf])], set()
            while met:
                cell = met.pop()
                edges = range(groups.ptr[cell], groups.ptr[cell + 1])
                if not edges:
                    assert groups.rank.ravel()[cell] == 0
                    assert groups.switch(np.array([cell]))[0] == fabric.port_node[fabric.port_peer[port]]
                seen |= {names[int(groups.switch(np.array([int(groups.far[edge])]))[0])] for edge in edges}
                met += [int(groups.far[edge]) for edge in edges]
            assert seen >= (set(names) if names[leaf] != home else set()) - {names[leaf]}


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.sampled_from(["tree", "lag"]), st.sampled_from(["minhop", "updn"]))
def test_circles_of_waiting_channels_are_those_of_networkx(fabric: Fabric, mode: str, engine: str) -> None:
    tables = compute_tables(fabric, engine)
    ports = fabric.endpoints
    groups = adaptive_groups(tables, ports, mode)
    leaves = np.unique(fabric.channel_dst[fabric.channel_of_port[ports]])
    waits = nx.DiGraph()
    for port in ports.tolist():
        met = {int(groups.start[groups.class_of_port[port], leaf]) for leaf in leaves}
        todo = list(met)
        while todo:
            cell = todo.pop()
            for edge in range(groups.ptr[cell], groups.ptr[cell + 1]):
                far = int(groups.far[edge])
                waits.add_edges_from(
                    (int(groups.channel[edge]), int(groups.channel[e])) for e in range(groups.ptr[far], groups.ptr[far + 1])
                )
                if far not in met:
                    met.add(far)
                    todo.append(far)
    assert waits_in_a_circle(ways(groups, started(groups))) == (not nx.is_directed_acyclic_graph(waits))


@pytest.mark.parametrize("size", ["small", "middle", "large"])
@pytest.mark.parametrize("name", ["xgft", "xgft-faults", "fat-tree", "leaf-spine", "rail-optimised", "director"])
def test_groups_of_up_down_routes_close_no_circle(name: str, size: str) -> None:
    tables = compute_tables(family(name, size), "updn")
    groups = adaptive_groups(tables, tables.fabric.endpoints, "tree")
    assert not waits_in_a_circle(ways(groups, started(groups)))


def test_groups_on_a_torus_do() -> None:
    tables = compute_tables(family("torus", "large"), "minhop")
    groups = adaptive_groups(tables, tables.fabric.endpoints, "tree")
    assert waits_in_a_circle(ways(groups, started(groups)))


def started(groups: Groups) -> np.ndarray:
    """Return the cells in which traffic from HCAs begins."""
    fabric = groups.fabric
    met = np.zeros(groups.rank.size, dtype=bool)
    met[groups.start[:, np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]])]] = True
    return met


def test_other_fabrics_are_refused() -> None:
    tables = dmodk(two_levels(8, 4, 2))
    with pytest.raises(RefusedError, match="no Dragonfly\\+"):
        adaptive_groups(tables, tables.fabric.endpoints, "dragonfly+")
    with pytest.raises(UsageError, match="no adaptive routing 'free'"):
        adaptive_groups(tables, tables.fabric.endpoints, "free")


def test_a_missing_entry_is_named() -> None:
    fabric = build([1, 1], [(0, 1)])
    tables = compute_tables(fabric, "minhop")
    broken = tables.lft.copy()
    broken[0, fabric.port_lid[fabric.endpoints[1]]] = NO_ROUTE
    with pytest.raises(InputError, match="switch-0 has no route to LID 4"):
        adaptive_channels(replace(tables, lft=broken), unit_flows(fabric.endpoints[:1], fabric.endpoints[1:]), "tree")


# ---- the fluid balance ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.integers(0, 1000), st.sampled_from(["minhop", "updn"]), st.sampled_from(["tree", "lag"]))
def test_the_balance_is_near_the_linear_program_and_loses_nothing(fabric: Fabric, seed: int, engine: str, mode: str) -> None:
    tables = compute_tables(fabric, engine)
    flows = some_flows(fabric, seed)
    groups = adaptive_groups(tables, flows.dst, mode)
    demand = demand_of_flows(tables, groups, flows)
    rates = np.random.default_rng(seed).choice([1.0, 2.0, 4.0], len(fabric.channel_port))
    balanced = balance(groups, demand, rates)
    best, found = coolest(groups, demand, rates), balanced.convergence
    assert best <= found.hottest * (1 + 1e-9)
    assert found.hottest <= best * CLOSE
    assert found.bound <= best * (1 + 1e-9)
    assert found.hottest <= found.static * (1 + 1e-9)
    assert found.hottest <= found.rounds[0].hottest * (1 + 1e-5)
    channels, share = split_channels(tables, flows, demand, balanced)
    carried = np.bincount(channels.index, share * np.repeat(flows.weight, np.diff(channels.ptr)), len(rates))
    np.testing.assert_allclose(carried, balanced.load, atol=1e-9)
    assert (balanced.load / rates).max() == pytest.approx(found.hottest)
    for flow in range(len(flows)):
        part = slice(channels.ptr[flow], channels.ptr[flow + 1])
        out = np.bincount(fabric.channel_src[channels.index[part]], share[part], fabric.n_nodes)
        into = np.bincount(fabric.channel_dst[channels.index[part]], share[part], fabric.n_nodes)
        moved = float(flows.src[flow] != flows.dst[flow])
        out[fabric.port_node[flows.dst[flow]]] += moved
        into[fabric.port_node[flows.src[flow]]] += moved
        np.testing.assert_allclose(out, into, atol=1e-9)


@pytest.mark.parametrize("size", ["small", "middle"])
@pytest.mark.parametrize("shift", [0, 3])
def test_dragonfly_plus_is_near_the_linear_program(size: str, shift: int) -> None:
    tables = compute_tables(family("dragonfly-plus", size), "dfp")
    ports = tables.fabric.endpoints
    groups = adaptive_groups(tables, ports, "dragonfly+")
    flows = unit_flows(ports, np.roll(ports, len(ports) // 4 + shift))
    demand = demand_of_flows(tables, groups, flows)
    rates = relative_rates(groups, demand)
    found = balance(groups, demand, rates).convergence
    assert coolest(groups, demand, rates) * (1 - 1e-9) <= found.hottest <= coolest(groups, demand, rates) * CLOSE


def test_detours_carry_what_one_link_between_groups_cannot() -> None:
    """All 16 hosts of one group send to another, to which 3 of its 8 global links lead: other groups take half of it."""
    tables = compute_tables(family("dragonfly-plus", "middle"), "dfp")
    ports = tables.fabric.endpoints
    per_group = len(ports) // 4
    flows = unit_flows(ports[:per_group], ports[per_group : 2 * per_group])
    loads = {mode: channel_loads_of(tables, flows, mode).max() for mode in ("tree", "dragonfly+")}
    assert loads["tree"] == pytest.approx(16 / 3)
    assert loads["dragonfly+"] < 0.51 * loads["tree"]


def channel_loads_of(tables: RoutingTables, flows: Flows, mode: str) -> np.ndarray:
    channels, share = adaptive_channels(tables, flows, mode)
    return np.bincount(channels.index, share * np.repeat(flows.weight, np.diff(channels.ptr)))


@pytest.mark.parametrize("topology", ["xgft-512", "fat-tree-1024"])
def test_any_permutation_fits_a_full_tree(project: Path, topology: str) -> None:
    """Closed form: with equal shares every channel carries at most one flow's worth, where the tables put several."""
    tables = compute_tables(load_fabric(str(project / f"topologies/{topology}.yaml")).fabric, "ftree")
    ports = tables.fabric.endpoints
    flows = unit_flows(ports, np.random.default_rng(4).permutation(ports))
    assert channel_loads_of(tables, flows, "tree").max() == pytest.approx(1.0, abs=1e-12)
    assert channel_loads(tables, flows).max() > 3


@pytest.mark.parametrize("cables", [2, 3, 5])
def test_a_lag_divides_by_its_cables(cables: int) -> None:
    text = f"family: leaf-spine\nhosts_per_leaf: 5\nleaves: 2\nspines: 1\ncables: {cables}\nspeed: EDR\n"
    tables = compute_tables(parse(text, "spec.yaml")[0], "minhop")
    fabric, ports = tables.fabric, tables.fabric.endpoints
    flows = unit_flows(ports[:5], ports[5:])
    load = channel_loads_of(tables, flows, "lag")
    between = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    used = np.flatnonzero(between[: len(load)] & (load > 0))
    assert len(used) == 2 * cables
    np.testing.assert_allclose(load[used], 5 / cables)


def test_a_slower_cable_takes_less() -> None:
    """Two cables, one of a quarter of the rate: it carries a fifth."""
    fabric = build([2, 2], [(0, 1), (0, 1)])
    slow = int(fabric.channel_at[0, 4])
    lanes, speeds = fabric.port_lanes.copy(), fabric.port_speed.copy()
    speeds[:], lanes[:] = Speed.HDR, 4
    lanes[fabric.channel_port[slow]] = 1
    fabric = replace(fabric, port_lanes=lanes, port_speed=speeds)
    tables = compute_tables(fabric, "minhop")
    load = channel_loads_of(tables, unit_flows(fabric.endpoints[:2], fabric.endpoints[2:]), "lag")
    assert load[slow] == pytest.approx(2 / 5, rel=0.01)


@pytest.mark.parametrize(
    ("name", "mode"), [("xgft-faults", "tree"), ("xgft", "lag"), ("torus", "tree"), ("dragonfly-plus", "dragonfly+")]
)
def test_an_all_to_all_is_that_of_its_pairs(name: str, mode: str) -> None:
    tables = compute_tables(family(name, "small"), "minhop")
    ports = tables.fabric.endpoints
    groups = adaptive_groups(tables, ports, mode)
    levels = np.random.default_rng(2).integers(0, 3, tables.lft.shape).astype(np.uint8)
    tables = replace(tables, service_level=levels)
    src, dst = np.repeat(ports, len(ports)), np.tile(ports, len(ports))
    pairs = unit_flows(src[src != dst], dst[src != dst])
    for sls in (None, frozenset({0, 2}), frozenset({7})):
        whole, listed = demand_of_alltoall(tables, groups, ports, sls), demand_of_flows(tables, groups, pairs, sls)
        for key in ("inject", "base", "static"):
            np.testing.assert_allclose(getattr(whole, key), getattr(listed, key))
        assert whole.share == pytest.approx(listed.share)


def test_max_min_rates_on_shares(project: Path) -> None:
    """A permutation that takes several times its bytes' time on the tables' routes takes it once when it is split."""
    tables = compute_tables(load_fabric(str(project / "topologies/xgft-512.yaml")).fabric, "ftree")
    ports = tables.fabric.endpoints
    src, dst = ports, np.random.default_rng(8).permutation(ports)
    sizes = np.where(src == dst, 0.0, 5e9)
    rates = np.full(len(tables.fabric.channel_port), 50e9)
    channels, share = adaptive_channels(tables, Flows(src, dst, sizes), "tree")
    assert complete(channels, sizes, rates, share).makespan == pytest.approx(0.1, rel=1e-9)
    assert complete(Channels(*flow_channels(tables, Flows(src, dst, sizes))), sizes, rates).makespan > 0.19


def test_flows_of_nothing_have_their_ways_and_endless_ones_are_refused(project: Path) -> None:
    tables = compute_tables(load_fabric(str(project / "topologies/xgft-64.yaml")).fabric, "ftree")
    ports = tables.fabric.endpoints
    flows = Flows(ports[:8], ports[40:48], np.zeros(8))
    channels, share = adaptive_channels(tables, flows, "tree")
    into = np.bincount(channels.index, share)
    assert into[tables.fabric.channel_reverse[tables.fabric.channel_of_port[flows.dst]]].tolist() == [1.0] * 8
    assert len(channels.index) > 8 * 6
    for weight in (np.inf, np.nan, -1.0):
        with pytest.raises(InputError, match="cannot be balanced"):
            adaptive_channels(tables, Flows(flows.src, flows.dst, np.full(8, weight)), "tree")


def test_service_levels_without_adaptive_routing_stay_on_the_tables(project: Path) -> None:
    tables = compute_tables(load_fabric(str(project / "topologies/xgft-64.yaml")).fabric, "ftree")
    fabric, ports = tables.fabric, tables.fabric.endpoints
    levels = np.zeros(tables.lft.shape, dtype=np.uint8)
    levels[:, fabric.port_lid[ports[::2]]] = 1
    tables = replace(tables, service_level=levels)
    flows = unit_flows(ports, np.random.default_rng(1).permutation(ports))
    channels, share = adaptive_channels(tables, flows, "tree", sls=frozenset({0}))
    ptr, index = flow_channels(tables, flows)
    level = levels[fabric.channel_dst[fabric.channel_of_port[flows.src]], fabric.port_lid[flows.dst]]
    assert {0, 1} == set(level.tolist())
    wide = 0
    for flow in range(len(flows)):
        part = slice(channels.ptr[flow], channels.ptr[flow + 1])
        if level[flow] == 1:
            assert channels.index[part].tolist() == index[ptr[flow] : ptr[flow + 1]].tolist()
            assert set(share[part].tolist()) <= {1.0}
        else:
            wide += channels.ptr[flow + 1] - channels.ptr[flow] > ptr[flow + 1] - ptr[flow]
    assert wide > 20


def test_the_tables_are_kept_where_no_split_beats_them() -> None:
    """One round of equal shares on a dragonfly+ is far worse than minimal routes for an all-to-all."""
    tables = compute_tables(family("dragonfly-plus", "middle"), "dfp")
    ports = tables.fabric.endpoints
    groups = adaptive_groups(tables, ports, "dragonfly+")
    demand = demand_of_alltoall(tables, groups, ports)
    balanced = balance(groups, demand, np.ones(len(demand.base)), rounds=1)
    assert balanced.fraction is None
    assert balanced.convergence.kept_static
    assert balanced.convergence.rounds[0].hottest > balanced.convergence.hottest == demand.static.max()
    np.testing.assert_array_equal(balanced.load, demand.static)
