"""Families that are no trees, against networkx's generators, algebra and closed forms."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from itertools import combinations, product
from math import prod

import networkx as nx
import numpy as np
import pytest
from families import SIZES, SPECS, build
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabctl.generate import FAMILIES
from fabctl.generate.galois import galois_field
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric

Pairs = Counter[frozenset[object]]


def fabric_of(family: str, **values: object) -> Fabric:
    lines = [f"family: {family}", "speed: EDR", *(f"{key}: {value}" for key, value in values.items())]
    return parse("\n".join(lines), "spec.yaml")[0]


def cables_of(fabric: Fabric) -> NDArray[np.int64]:
    """Return the cables between switches as pairs of switches, shape (n, 2), the lower first; parallel ones are repeated."""
    src, dst = fabric.channel_src, fabric.channel_dst
    once = (dst < fabric.n_switches) & (fabric.channel_port < fabric.port_peer[fabric.channel_port])
    return np.stack([src[once], dst[once]], axis=1).astype(np.int64)


def adjacency(fabric: Fabric) -> NDArray[np.int64]:
    """Return the number of cables between each two switches."""
    matrix = np.zeros((fabric.n_switches, fabric.n_switches), dtype=np.int64)
    np.add.at(matrix, tuple(cables_of(fabric).T), 1)
    return matrix + matrix.T


def places(fabric: Fabric) -> list[tuple[int, ...]]:
    """Return the coordinates in the switches' names."""
    return [tuple(int(digits) for digits in label.split("-")[1:]) for label in fabric.labels[: fabric.n_switches]]


def cables_by_place(fabric: Fabric) -> Pairs:
    at = places(fabric)
    return Counter(frozenset((at[a], at[b])) for a, b in cables_of(fabric).tolist())


def expected(graph: nx.Graph, cables: int = 1) -> Pairs:
    """Return the edges of a networkx graph whose nodes are (perhaps nested) coordinates."""
    return Counter({frozenset((flat(a), flat(b))): cables for a, b in graph.edges})


def flat(place: object) -> tuple[int, ...]:
    return sum((flat(part) for part in place), ()) if isinstance(place, tuple) else (place,)  # type: ignore[return-value]


def hosts_per_switch(fabric: Fabric) -> NDArray[np.int64]:
    of_hcas = fabric.is_hca[fabric.channel_src]
    return np.bincount(fabric.channel_dst[of_hcas], minlength=fabric.n_switches)


def check_hosts_and_ports(fabric: Fabric, hosts: int | NDArray[np.int64]) -> None:
    """Hosts take the first ports in their order, and no port holds two cables."""
    assert np.all(hosts_per_switch(fabric) == hosts)
    keys = list(zip(fabric.port_node.tolist(), fabric.port_number.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert np.array_equal(fabric.port_peer[fabric.port_peer[fabric.channel_port]], fabric.channel_port)
    assert not np.any(fabric.channel_src == fabric.channel_dst)
    first = np.cumsum(hosts_per_switch(fabric)) - hosts_per_switch(fabric)
    for hca in range(int(fabric.is_hca.sum())):
        peer = fabric.port_peer[fabric.channel_port[fabric.channel_ptr[fabric.n_switches + hca]]]
        assert hca - first[fabric.port_node[peer]] + 1 == fabric.port_number[peer]
    assert fabric.node_port_count[: fabric.n_switches].min() >= fabric.port_number.max()


# ---- every family ------------------------------------------------------------------------------------------------------


def test_the_battery_has_every_family_at_three_sizes() -> None:
    assert {name.removesuffix("-faults") for name in SPECS} == set(FAMILIES.names())
    for family in SPECS:
        switches = [build(family, size).n_switches for size in SIZES]
        assert switches == sorted(switches)
        assert switches[-1] <= 150
        assert int(build(family, "large").is_hca.sum()) <= 400


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", SPECS)
def test_fabrics_of_the_battery_are_whole(family: str, size: str) -> None:
    fabric = build(family, size)
    assert nx.is_connected(fabric.graph())
    assert fabric.tiers.min() >= 0
    assert set(fabric.hosts.hca_count.tolist()) == {fabric.hosts.common_hca_count}
    lids = fabric.port_lid[fabric.port_lid > 0].tolist()
    assert len(set(lids)) == len(lids) == fabric.n_nodes
    again = parse(SPECS[family][SIZES.index(size)], "again.yaml")[0]
    assert again.digest == fabric.digest


# ---- grids -------------------------------------------------------------------------------------------------------------

GRIDS = [(5,), (2, 2), (3, 4), (2, 3, 4), (4, 4, 4), (3, 2, 2, 3)]


@pytest.mark.parametrize("rings", [True, False])
@pytest.mark.parametrize("dims", GRIDS)
def test_tori_and_meshes_are_networkx_grids(dims: tuple[int, ...], rings: bool) -> None:
    fabric = fabric_of("torus" if rings else "mesh", dims=list(dims), hosts_per_switch=2, cables=3)
    assert cables_by_place(fabric) == expected(nx.grid_graph(dim=dims[::-1], periodic=rings), cables=3)
    assert places(fabric) == list(product(*map(range, dims)))
    check_hosts_and_ports(fabric, 2)


@pytest.mark.parametrize("family", ["torus", "mesh"])
def test_a_direction_has_the_same_ports_on_every_switch(family: str) -> None:
    dims, hosts, cables = (3, 4, 5), 2, 2
    fabric = fabric_of(family, dims=list(dims), hosts_per_switch=hosts, cables=cables)
    at = np.array(places(fabric))
    for channel in np.flatnonzero((fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)).tolist():
        here, there = at[fabric.channel_src[channel]], at[fabric.channel_dst[channel]]
        port = int(fabric.port_number[fabric.channel_port[channel]]) - hosts - 1
        axis, plus = port // cables // 2, port // cables % 2
        step = np.zeros(len(dims), dtype=int)
        step[axis] = 1 if plus else -1
        assert np.array_equal((here + step) % dims, there)


@pytest.mark.parametrize("dimensions", [1, 2, 5, 8])
def test_hypercubes_are_networkx_hypercubes(dimensions: int) -> None:
    fabric = fabric_of("hypercube", dimensions=dimensions, hosts_per_switch=1)
    graph = nx.path_graph(2) if dimensions == 1 else nx.hypercube_graph(dimensions)
    assert cables_by_place(fabric) == expected(graph)
    check_hosts_and_ports(fabric, 1)
    assert set(fabric.port_number[fabric.channel_port[fabric.channel_src < fabric.n_switches]].tolist()) == set(
        range(1, dimensions + 2)
    )


@pytest.mark.parametrize("dims", GRIDS)
def test_hyperx_is_the_product_of_complete_graphs(dims: tuple[int, ...]) -> None:
    fabric = fabric_of("hyperx", dims=list(dims), hosts_per_switch=3, cables=2)
    assert cables_by_place(fabric) == expected(reduce(nx.cartesian_product, map(nx.complete_graph, dims)), cables=2)
    check_hosts_and_ports(fabric, 3)


def test_a_hyperx_of_twos_is_a_hypercube_port_by_port() -> None:
    cube, hyperx = fabric_of("hypercube", dimensions=4, hosts_per_switch=2), fabric_of("hyperx", dims=[2] * 4, hosts_per_switch=2)
    assert cube.digest == hyperx.digest


# ---- dragonflies -------------------------------------------------------------------------------------------------------


def groups_of(fabric: Fabric) -> NDArray[np.int64]:
    return np.array([int(label.split("-")[1]) for label in fabric.labels[: fabric.n_switches]])


def check_global_links(fabric: Fabric, globals_of_group: int, outward: NDArray[np.int64]) -> None:
    """Groups are joined evenly, by as many links of each switch as `outward` says but for one that parity leaves over."""
    group, joined = groups_of(fabric), adjacency(fabric)
    groups = int(group.max()) + 1
    member = group == np.arange(groups)[:, None]
    between = member.astype(np.int64) @ joined @ member.T.astype(np.int64)
    counts = between[~np.eye(groups, dtype=bool)]
    assert counts.min() >= globals_of_group // (groups - 1)
    assert counts.max() <= -(-globals_of_group // (groups - 1))
    lacking = outward - np.where(member[group], 0, joined).sum(axis=1)
    assert lacking.min() >= 0
    assert np.all(member @ lacking == globals_of_group * groups % 2)


@settings(deadline=None, max_examples=60)
@given(hosts=st.integers(1, 3), switches=st.integers(1, 6), outward=st.integers(1, 4), data=st.data())
def test_any_dragonfly_joins_its_groups_evenly(hosts: int, switches: int, outward: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(2, switches * outward + 1))
    fabric = fabric_of("dragonfly", hosts_per_switch=hosts, switches_per_group=switches, global_links=outward, groups=groups)
    assert fabric.n_switches == groups * switches
    check_hosts_and_ports(fabric, hosts)
    joined, group = adjacency(fabric), groups_of(fabric)
    inside = group[:, None] == group
    assert np.array_equal(joined * inside, inside & ~np.eye(len(group), dtype=bool))
    check_global_links(fabric, switches * outward, np.full(len(group), outward))


@pytest.mark.parametrize(("p", "a", "h"), [(1, 2, 1), (2, 4, 2), (3, 6, 3), (2, 3, 5)])
def test_the_full_dragonfly_has_the_papers_counts_and_diameter(p: int, a: int, h: int) -> None:
    fabric = fabric_of("dragonfly", hosts_per_switch=p, switches_per_group=a, global_links=h)
    groups, joined = a * h + 1, adjacency(fabric)
    assert fabric.n_switches == a * groups
    assert int(fabric.is_hca.sum()) == a * p * groups
    assert set(joined.sum(axis=1).tolist()) == {a - 1 + h}
    assert joined.max() == 1
    assert len(cables_of(fabric)) == groups * a * (a - 1) // 2 + groups * (groups - 1) // 2
    assert nx.diameter(nx.from_numpy_array(joined)) == 3


@pytest.mark.parametrize(("p", "a", "h", "groups"), [(2, 4, 2, 9), (1, 3, 2, 7), (2, 4, 2, 5)])
def test_a_groups_global_port_goes_to_the_group_as_far_away_as_its_number(p: int, a: int, h: int, groups: int) -> None:
    fabric = fabric_of("dragonfly", hosts_per_switch=p, switches_per_group=a, global_links=h, groups=groups)
    first, ports, met = p + a, a * h, set()
    for channel in np.flatnonzero(fabric.channel_src < fabric.n_switches).tolist():
        port = fabric.channel_port[channel]
        ends = [(int(fabric.port_node[end]), int(fabric.port_number[end])) for end in (port, fabric.port_peer[port])]
        if all(switch < fabric.n_switches and number >= first for switch, number in ends):
            (group, k), (other, back) = ((switch // a, switch % a * h + number - first) for switch, number in ends)
            assert other == (group + k % (groups - 1) + 1) % groups
            assert k % (groups - 1) + back % (groups - 1) == groups - 2
            assert k // (groups - 1) == back // (groups - 1)
            met.add((group, k))
    assert len(met) == groups * ports


@settings(deadline=None, max_examples=60)
@given(leaves=st.integers(1, 4), spines=st.integers(1, 5), outward=st.integers(1, 4), data=st.data())
def test_any_dragonfly_plus_is_trees_joined_by_their_spines(leaves: int, spines: int, outward: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(2, spines * outward + 1))
    fabric = fabric_of("dragonfly-plus", hosts_per_leaf=2, leaves=leaves, spines=spines, global_links=outward, groups=groups)
    is_leaf = np.array(["leaf" in label for label in fabric.labels[: fabric.n_switches]])
    assert (is_leaf.sum(), (~is_leaf).sum()) == (groups * leaves, groups * spines)
    check_hosts_and_ports(fabric, 2 * is_leaf)
    joined, group = adjacency(fabric), groups_of(fabric)
    inside = group[:, None] == group
    assert np.array_equal(joined * inside, inside & (is_leaf[:, None] != is_leaf))
    check_global_links(fabric, spines * outward, outward * ~is_leaf)


def test_leaves_of_a_dragonfly_plus_are_at_most_three_hops_apart() -> None:
    fabric = build("dragonfly-plus", "large")
    lengths = dict(nx.all_pairs_shortest_path_length(nx.from_numpy_array(adjacency(fabric))))
    leaves = np.flatnonzero(hosts_per_switch(fabric)).tolist()
    assert leaves == np.flatnonzero(fabric.tiers == 0).tolist()
    assert Counter(lengths[a][b] for a, b in combinations(leaves, 2)) == {2: 11 * 10, 3: 55 * 54 // 2 - 110}


# ---- Slim Fly ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", [3, 4, 5, 7, 8, 9, 11, 13])
def test_slim_flies_have_the_papers_size_degree_and_diameter(q: int) -> None:
    fabric = fabric_of("slim-fly", q=q, hosts_per_switch=1)
    delta = {0: 0, 1: 1, 3: -1}[q % 4]
    joined = adjacency(fabric)
    assert fabric.n_switches == 2 * q * q
    assert set(joined.sum(axis=1).tolist()) == {(3 * q - delta) // 2}
    assert joined.max() == 1
    assert not joined.trace()
    assert np.all(joined @ joined + joined + np.eye(2 * q * q, dtype=np.int64) > 0), "two switches are more than two hops apart"
    check_hosts_and_ports(fabric, 1)


def test_the_slim_fly_of_five_is_the_hoffman_singleton_graph() -> None:
    joined = adjacency(fabric_of("slim-fly", q=5, hosts_per_switch=4))
    one = np.eye(50, dtype=np.int64)
    assert np.array_equal(joined @ joined + joined - 6 * one, np.ones((50, 50))), "no Moore graph"
    assert nx.vf2pp_is_isomorphic(nx.from_numpy_array(joined), nx.hoffman_singleton_graph())


@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 8, 9, 16, 25, 27])
def test_galois_fields_are_fields(q: int) -> None:
    field = galois_field(q)
    assert field is not None
    add, times, all_of = field.add, field.multiply, np.arange(q)
    for table, neutral, elements in ((add, 0, all_of), (times, 1, all_of[1:])):
        assert np.array_equal(table, table.T)
        assert np.array_equal(table[neutral], all_of)
        assert np.array_equal(table[table[:, :, None], all_of], table[all_of[:, None, None], table[None]])
        assert np.all((table[np.ix_(elements, elements)] == neutral).sum(axis=1) == 1)
    assert np.array_equal(times[all_of[:, None, None], add[None]], add[times[:, :, None], times[:, None, :]])
    assert sorted(field.powers.tolist()) == list(range(1, q))
    assert np.array_equal(field.powers[1:], times[field.powers[:-1], field.powers[1] if q > 2 else 1])
    if q in (2, 3, 5, 7):
        assert np.array_equal(add, (all_of[:, None] + all_of) % q)
        assert np.array_equal(times, all_of[:, None] * all_of % q)


def test_only_powers_of_primes_have_a_field() -> None:
    powers = {p**k for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29) for k in range(1, 5)}
    assert [q for q in range(2, 30) if galois_field(q)] == sorted(q for q in powers if q < 30)


# ---- random graphs -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(n=st.integers(3, 24), seed=st.integers(0, 10**18 - 1), data=st.data())
def test_any_random_graph_is_simple_regular_and_connected(n: int, seed: int, data: st.DataObject) -> None:
    degree = data.draw(st.integers(2, n - 1).filter(lambda degree: degree * n % 2 == 0))
    fabric = fabric_of("random-regular", switches=n, degree=degree, hosts_per_switch=1, seed=seed)
    joined = adjacency(fabric)
    assert joined.max() == 1
    assert not joined.trace()
    assert set(joined.sum(axis=1).tolist()) == {degree}
    assert nx.is_connected(nx.from_numpy_array(joined))
    check_hosts_and_ports(fabric, 1)


def test_the_seed_and_nothing_else_sets_a_random_graph() -> None:
    def cables(**values: int) -> str:
        fabric = fabric_of("random-regular", switches=8, degree=3, hosts_per_switch=1, **values)
        return " ".join(f"{a}{b}" for a, b in cables_of(fabric).tolist())

    assert cables() == cables(seed=0)
    assert cables(seed=1) == "02 06 07 12 13 14 26 34 35 45 57 67"  # with every version of numpy
    assert len({cables(seed=seed) for seed in range(20)}) > 15


def test_a_random_graph_expands_as_random_graphs_do() -> None:
    """Friedman 2003: the second eigenvalue of a random d-regular graph is close to 2 sqrt(d - 1), the least there is."""
    joined = adjacency(fabric_of("random-regular", switches=200, degree=12, hosts_per_switch=1, seed=1))
    second = sorted(abs(np.linalg.eigvalsh(joined.astype(float))))[-2]
    assert 0.95 < second / (2 * np.sqrt(11)) < 1.05
    mean = nx.average_shortest_path_length(nx.from_numpy_array(joined))
    assert mean == pytest.approx(nx.average_shortest_path_length(nx.random_regular_graph(12, 200, seed=1)), rel=0.02)


# ---- directors ---------------------------------------------------------------------------------------------------------


def test_a_director_is_a_leaf_spine_tree_in_one_chassis() -> None:
    director = fabric_of("director", radix=12, line_cards=6, fabric_cards=3, hosts_per_line_card=5)
    tree = fabric_of("leaf-spine", radix=12, hosts_per_leaf=5, leaves=6, spines=3, cables=2)
    for column in ("port_node", "port_number", "port_peer", "port_lid", "node_guid"):
        assert np.array_equal(getattr(director, column), getattr(tree, column))
    assert len(set(director.system_guid[:9].tolist())) == 1
    assert director.labels[:9] == (*(f"director-1/L0{n}/U1" for n in range(1, 7)), *(f"director-1/S0{n}/U1" for n in range(1, 4)))


def test_leaves_reach_one_line_card_of_every_director() -> None:
    lines, fabrics, leaves, n_chassis, cables = 6, 3, 12, 2, 3
    fabric = fabric_of(
        "director",
        radix=12,
        line_cards=lines,
        fabric_cards=fabrics,
        leaves=leaves,
        hosts_per_leaf=6,
        chassis=n_chassis,
        cables=cables,
    )
    assert np.bincount(fabric.tiers).tolist() == [leaves, n_chassis * lines, n_chassis * fabrics]
    check_hosts_and_ports(fabric, np.repeat([6, 0], [leaves, n_chassis * (lines + fabrics)]))
    number = {label: switch for switch, label in enumerate(fabric.labels[: fabric.n_switches])}
    wanted = np.zeros((fabric.n_switches, fabric.n_switches), dtype=np.int64)
    for chassis, line in product(range(1, n_chassis + 1), range(1, lines + 1)):
        card = number[f"director-{chassis}/L{line:02}/U1"]
        for leaf in range((line - 1) * leaves // lines, line * leaves // lines):
            wanted[leaf, card] = wanted[card, leaf] = cables
        for fabric_card in range(1, fabrics + 1):
            other = number[f"director-{chassis}/S{fabric_card:02}/U1"]
            wanted[other, card] = wanted[card, other] = 12 // 2 // fabrics
    assert np.array_equal(adjacency(fabric), wanted)
    machines = {label: label.split("/")[0] for label in number}
    system = fabric.system_guid[: fabric.n_switches].tolist()
    assert len({(machines[label], system[switch]) for label, switch in number.items()}) == leaves + n_chassis == len(set(system))


def test_switches_of_a_director_are_described_as_its_system_does() -> None:
    fabric = fabric_of("director", line_cards=36, fabric_cards=18, switch="SB7800")
    assert fabric.node_name[0] == "MF0;director-1:MCS7500/L01/U1"
    assert fabric.labels[0] == "director-1/L01/U1"
    assert prod((36, 18)) == int(fabric.is_hca.sum()) == 648
