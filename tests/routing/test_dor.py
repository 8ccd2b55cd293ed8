"""Grids are found whatever the numbering and the ports, and dimension order keeps its promises on them."""

from __future__ import annotations

import random
from contextlib import suppress
from math import prod
from pathlib import Path

import families
import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from routing_oracles import build, dependency_graph, plain_path, random_fabrics, switch_graph

from fabctl.congestion.load import alltoall_loads
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.grid import Grid, find_grid
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric

FACTORS = {"line": nx.path_graph, "ring": nx.cycle_graph, "full": nx.complete_graph}

factors = st.one_of(
    st.tuples(st.just("line"), st.integers(3, 5)),
    st.tuples(st.just("ring"), st.integers(5, 7)),
    st.tuples(st.just("full"), st.integers(2, 5)),
)


def product(kinds: list[tuple[str, int]]) -> nx.Graph:
    """Return a product of graphs, its nodes the tuples of coordinates."""
    graph = nx.Graph()
    graph.add_node(())
    for kind, size in kinds:
        graph = nx.cartesian_product(graph, FACTORS[kind](size))
        graph = nx.relabel_nodes(graph, {node: (*node[0], node[1]) for node in graph})
    return graph


def plugged(graph: nx.Graph, rng: random.Random, hosts: int = 1, cables: int = 1) -> Fabric:
    """Return a graph as a fabric whose switches are numbered, and whose cables are plugged, at random."""
    nodes = list(graph)
    rng.shuffle(nodes)
    number = {node: index for index, node in enumerate(nodes)}
    edges = [(number[one], number[other]) for one, other in graph.edges for _ in range(cables)]
    rng.shuffle(edges)
    return build([hosts] * len(nodes), edges)


def assert_fits(fabric: Fabric, grid: Grid) -> None:
    """Each switch has a place of its own, and switches are joined as the kinds of the dimensions say."""
    places = [tuple(place) for place in grid.place.tolist()]
    assert len(set(places)) == len(places) == fabric.n_switches
    graph = switch_graph(fabric)
    whole = product(list(zip(grid.kinds, grid.sizes, strict=True)))
    assert all(whole.has_edge(places[one], places[other]) for one, other in graph.edges)
    for channel in np.flatnonzero(grid.channel_dimension >= 0).tolist():
        here, there = places[fabric.channel_src[channel]], places[fabric.channel_dst[channel]]
        assert [axis for axis, (one, other) in enumerate(zip(here, there, strict=True)) if one != other] == [
            grid.channel_dimension[channel]
        ]


@settings(max_examples=60, deadline=None)
@given(st.lists(factors, min_size=1, max_size=3), st.integers(1, 2), st.randoms(use_true_random=False))
def test_products_are_found_as_what_they_are(kinds: list[tuple[str, int]], cables: int, rng: random.Random) -> None:
    assume(prod(size for _, size in kinds) <= 130)
    fabric = plugged(product(kinds), rng, cables=cables)
    grid = find_grid(fabric)
    assert sorted(zip(grid.kinds, grid.sizes, strict=True)) == sorted(kinds)
    assert_fits(fabric, grid)


@settings(max_examples=60, deadline=None)
@given(st.lists(factors, min_size=2, max_size=3), st.integers(1, 2), st.booleans(), st.randoms(use_true_random=False))
def test_faults_are_survived_or_refused(kinds: list[tuple[str, int]], faults: int, whole: bool, rng: random.Random) -> None:
    """What is found always fits. One fault in three dimensions, each of three places or more, never hides the grid."""
    assume(prod(size for _, size in kinds) <= 130)
    graph = product(kinds)
    for _ in range(faults):
        if whole:
            graph.remove_node(rng.choice(sorted(graph)))
        else:
            graph.remove_edge(*rng.choice(sorted(graph.edges)))
    assume(nx.is_connected(graph))
    fabric = plugged(graph, rng)
    try:
        grid = find_grid(fabric)
    except RefusedError:
        assert faults > 1 or len(kinds) < 3 or min(size for _, size in kinds) < 3
        return
    assert_fits(fabric, grid)
    if faults == 1 and len(kinds) == 3 and min(size for _, size in kinds) > 2:
        assert sorted(zip(grid.kinds, grid.sizes, strict=True)) == sorted(kinds)


def test_a_ring_of_four_is_two_dimensions() -> None:
    grid = find_grid(plugged(nx.cycle_graph(4), random.Random(1)))
    assert (grid.sizes, grid.kinds) == ((2, 2), ("full", "full"))


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (nx.star_graph(3), "no line, no ring, no full mesh"),
        (nx.petersen_graph(), "no line, no ring, no full mesh"),
        (nx.circular_ladder_graph(3), None),
        (nx.moebius_kantor_graph(), "no grid"),
        (nx.circulant_graph(10, [1, 5]), "one place"),  # a Moebius ladder
        (nx.complete_bipartite_graph(4, 4), "4 common neighbours"),
        (nx.disjoint_union(nx.path_graph(2), nx.path_graph(3)), "in parts"),
    ],
)
def test_what_is_a_grid(graph: nx.Graph, why: str | None) -> None:
    fabric = plugged(graph, random.Random(1))
    if why is None:
        assert sorted(find_grid(fabric).sizes) == [2, 3]
    else:
        with pytest.raises(RefusedError, match=why) as error:
            find_grid(fabric)
        assert "switch-" in error.value.message


@settings(max_examples=150, deadline=None)
@given(random_fabrics())
def test_any_fabric_fits_what_is_found_or_is_refused(fabric: Fabric) -> None:
    with suppress(RefusedError):
        assert_fits(fabric, find_grid(fabric))


@settings(max_examples=40, deadline=None)
@given(random_fabrics())
def test_dor_reaches_all_on_shortest_paths_anywhere(fabric: Fabric) -> None:
    assert_shortest(compute_tables(fabric, "dor"))


@settings(max_examples=25, deadline=None)
@given(st.lists(factors, min_size=1, max_size=3), st.integers(1, 2), st.integers(0, 1), st.randoms(use_true_random=False))
def test_dimension_order(kinds: list[tuple[str, int]], cables: int, faults: int, rng: random.Random) -> None:
    """Paths are shortest; on whole grids in order, and without rings free of credit loops."""
    assume(prod(size for _, size in kinds) <= 40)
    graph = product(kinds)
    if faults:
        graph.remove_edge(*rng.choice(sorted(graph.edges)))
    assume(nx.is_connected(graph))
    fabric = plugged(graph, rng, cables=cables)
    tables = compute_tables(fabric, "dor")
    assert_shortest(tables)
    if faults:
        return
    dimension = find_grid(fabric).channel_dimension
    for source in fabric.endpoints[:5].tolist():
        for target in fabric.endpoints.tolist():
            taken = [dimension[channel] for channel in plain_path(tables, source, target) or []][1:-1]
            assert source == target or taken == sorted(taken)
    if all(kind != "ring" for kind, _ in kinds):
        assert nx.is_directed_acyclic_graph(dependency_graph(tables))
        assert verify(tables).safe


def assert_shortest(tables: RoutingTables) -> None:
    fabric = tables.fabric
    hops = dict(nx.all_pairs_shortest_path_length(switch_graph(fabric)))
    home = fabric.port_node[fabric.port_peer]
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            if source != target:
                path = plain_path(tables, source, target)
                assert path is not None
                assert len(path) == hops[int(home[source])][int(home[target])] + 2


@pytest.mark.parametrize(
    ("spec", "load"),
    [
        ("torus-888", 1024 * 2 * 8 // 8),  # k / 8 of all hosts' traffic to one of 2 n channels per dimension: bisection's bound
        ("torus-44", 32),
        ("hypercube-5", 64),
        ("hyperx-672", 671),
        ("mesh-443", 48),  # k / 4
    ],
)
def test_loads_are_those_of_the_closed_forms(spec: str, load: int, project: Path) -> None:
    fabric = load_fabric(str(project / f"topologies/{spec}.yaml")).fabric
    tables = compute_tables(fabric, "dor")
    assert alltoall_loads(tables, fabric.compute_endpoints).max() == load
    assert verify(tables).safe == (spec != "torus-888")
    assert verify(tables).lost_other == 0


@pytest.mark.parametrize("rows", ["ring", "line"])
def test_numbering_changes_neither_hops_nor_loads(rows: str) -> None:
    graph = product([(rows, 6), ("line", 3)])
    found = []
    for seed in range(4):
        tables = compute_tables(plugged(graph, random.Random(seed), hosts=2), "dor")
        loads = alltoall_loads(tables, tables.fabric.compute_endpoints)
        found.append((int(loads.max()), int(loads.sum())))
    # which dimension comes first is a matter of ports; both are as good
    assert len(set(found)) == 1


def test_the_order_of_the_records_does_not_matter() -> None:
    graph = nx.convert_node_labels_to_integers(product([("ring", 5), ("line", 3)]))
    edges, n = list(graph.edges), len(graph)
    order = list(range(n * 5 + len(edges)))
    random.Random(3).shuffle(order)
    one, other = build([1] * n, edges), build([1] * n, edges, order)
    for engine in ("dor", "torus-2QoS", "dnup", "auto"):
        np.testing.assert_array_equal(compute_tables(one, engine).lft, compute_tables(other, engine).lft)


def test_rings_may_close_a_loop_and_the_note_says_what_helps() -> None:
    tables = compute_tables(build([1] * 5, [(i, (i + 1) % 5) for i in range(5)]), "dor")
    assert len(verify(tables).credit_loop) == 5
    assert "--engine torus-2QoS" in tables.notes[0]


def test_no_grid_is_routed_on_shortest_paths_and_says_so() -> None:
    tables = compute_tables(families.build("fat-tree", "middle"), "dor")
    assert verify(tables).safe
    assert tables.notes == (
        "this fabric is no grid: core-01 and core-02 have 6 common neighbours; shortest paths instead, in no order",
    )


def test_ports_in_order_are_taken_where_only_they_are_free_of_loops() -> None:
    """A mesh with a diagonal cable is no grid; cabled in order, OpenSM's rule of the lowest port keeps it free of credit loops."""
    down = [(4 * row + column, 4 * row + column + 4) for row in range(3) for column in range(4)]
    along = [(4 * row + column, 4 * row + column + 1) for row in range(4) for column in range(3)]
    fabric = build([1] * 16, [*down, *along, (5, 10)])
    with pytest.raises(RefusedError, match="no grid"):
        find_grid(fabric)
    assert verify(compute_tables(fabric, "minhop")).credit_loop
    tables = compute_tables(fabric, "dor")
    assert "shortest paths by the lowest ports" in tables.notes[0]
    assert_shortest(tables)
    assert nx.is_directed_acyclic_graph(dependency_graph(tables))
