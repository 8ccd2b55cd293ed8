"""One battery for every engine: reachable, loop-free, deterministic; and what each engine promises besides."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from routing_oracles import TREE_ENGINES, build, dependency_graph, plain_path, ragged_tree, random_fabrics, switch_graph

from fabctl.congestion.load import alltoall_loads
from fabctl.congestion.quality import shift_congestion
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.routing import ENGINES
from fabctl.routing.compute import compute_tables
from fabctl.routing.order import is_whole_tree
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric

ANY_FABRIC = ["minhop", "updn", "sssp", "lash", "dfsssp", "nue"]


def shipped(project: Path, name: str) -> Fabric:
    return load_fabric(str(project / f"topologies/{name}.yaml")).fabric


@pytest.mark.parametrize("engine", TREE_ENGINES)
@pytest.mark.parametrize(
    "topology", ["xgft-16", "dgx1-16", "leaf-spine-648", "oversubscribed-2to1", "superpod-4su", "fat-tree-1024"]
)
def test_shipped_topologies(engine: str, topology: str, project: Path) -> None:
    fabric = shipped(project, topology)
    tables = compute_tables(fabric, engine)
    found = verify(tables)
    assert found.safe
    assert found.lost_other == 0
    np.testing.assert_array_equal(compute_tables(fabric, engine).lft, tables.lft)


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.sampled_from(ANY_FABRIC))
def test_every_hca_reaches_every_hca(fabric: Fabric, engine: str) -> None:
    tables = compute_tables(fabric, engine)
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            assert source == target or plain_path(tables, source, target) is not None
    found = verify(tables)
    assert (found.lost_hca, found.loop) == (0, ())


@settings(max_examples=60, deadline=None)
@given(random_fabrics())
def test_minhop_takes_shortest_paths(fabric: Fabric) -> None:
    tables = compute_tables(fabric, "minhop")
    hops = dict(nx.all_pairs_shortest_path_length(switch_graph(fabric)))
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            if source != target:
                ends = (int(fabric.port_node[fabric.port_peer[port]]) for port in (source, target))
                here, there = ends
                path = plain_path(tables, source, target)
                assert path is not None
                assert len(path) == hops[here][there] + 2


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(fabric: Fabric, rng: random.Random) -> None:
    """The same cables reported in another order give the same fabric and the same tables."""
    hosts = np.bincount(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]], minlength=fabric.n_switches).tolist()
    edges = [(0, new) for new in range(1, len(hosts))]
    order = list(range(len(hosts) * 2 + sum(hosts) * 3 + len(edges)))
    rng.shuffle(order)
    one, other = build(hosts, edges), build(hosts, edges, order)
    assert one.digest == other.digest
    for engine in ANY_FABRIC:
        np.testing.assert_array_equal(compute_tables(one, engine).lft, compute_tables(other, engine).lft)


def test_rings_and_random_graphs_are_routed_up_and_down_without_credit_loops() -> None:
    rng = random.Random(7)
    for _ in range(20):
        n = rng.randint(4, 12)
        edges = [(i, (i + 1) % n) for i in range(n)] + [tuple(rng.sample(range(n), 2)) for _ in range(n)]
        tables = compute_tables(build([1] * n, edges), "updn")
        assert nx.is_directed_acyclic_graph(dependency_graph(tables))
        assert verify(tables).safe


def test_leaves_without_a_common_ancestor_are_joined_without_credit_loops() -> None:
    """Joining them over one leaf may close a loop: updn then ranks otherwise, ftree refuses. Both cases are among the seeds."""
    told, refused = set(), 0
    for seed in [*range(200), 2137, 2993, 3033]:
        fabric = ragged_tree(seed)
        for engine in ("updn", "ftree"):
            try:
                tables = compute_tables(fabric, engine)
            except RefusedError as error:
                refused += "without a possible credit loop" in error.message
                continue
            told |= {note.partition(" would ")[0] for note in tables.notes}
            assert nx.is_directed_acyclic_graph(dependency_graph(tables))
            assert verify(tables).safe
    assert refused
    assert "tiers" in told


def test_minhop_on_a_ring_has_a_credit_loop_and_names_it(fixtures: Path) -> None:
    """ibdmchk finds one on the same ring (tool-output/ring6.net), OpenSM's dfsssp needs 2 virtual lanes there."""
    fabric = load_fabric(str(fixtures / "tool-output/ring6.net")).fabric
    found = verify(compute_tables(fabric, "minhop"))
    assert not found.safe
    assert len(found.credit_loop) == 6
    ends = [(int(fabric.channel_src[c]), int(fabric.channel_dst[c])) for c in found.credit_loop]
    assert all(here[1] == there[0] for here, there in zip(ends, ends[1:] + ends[:1], strict=True))


@pytest.mark.parametrize("topology", ["fat-tree-1024", "xgft-4096", "superpod-4su", "selene-plan"])
@pytest.mark.parametrize("engine", TREE_ENGINES)
def test_whole_trees_are_contention_free(engine: str, topology: str, project: Path) -> None:
    """All-to-all at n - 1 and shifts at 1 (Zahavi 2012); OpenSM's minhop and updn reach 7,680 and 8 on the first."""
    fabric = shipped(project, topology)
    ports = fabric.compute_endpoints
    tables = compute_tables(fabric, engine)
    assert alltoall_loads(tables, ports).max() == len(ports) - 1
    if topology in ("fat-tree-1024", "xgft-4096"):
        assert shift_congestion(tables, ports).worst == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(2, 4), min_size=2, max_size=3),
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
    st.lists(st.integers(1, 2), min_size=2, max_size=3),
)
def test_where_a_tree_is_called_whole_nothing_is_left_to_even_out(m: list[int], w: list[int], p: list[int]) -> None:
    """On random PGFTs the shortcut of `rebalance` skips only what a lower bound shows to be even."""
    levels = min(len(m), len(w), len(p))
    m, w, p = m[:levels], [1, *w[1:levels]], [1, *p[1:levels]]
    from fabctl.generate.spec import parse

    fabric, _ = parse(f"family: xgft\nm: {m}\nw: {w}\np: {p}\n", "random.yaml")
    ports = fabric.compute_endpoints
    assume(is_whole_tree(fabric, ports))
    loads = alltoall_loads(compute_tables(fabric, "ftree"), ports)
    hosts, up = 1, 1
    bounds = [len(ports) - 1]
    for level in range(levels - 1):
        hosts *= m[level]
        up *= w[level + 1]
        bounds.append(-(-hosts * (len(ports) - hosts) // (up * p[level + 1])))
    assert loads.max() <= max(bounds)


@pytest.mark.parametrize("missing", [1, 7, 40])
def test_cut_cables_are_evened_out(missing: int, project: Path) -> None:
    """With cables cut at random the all-to-all stays within 10 % of what the poorest leaf's up-links allow."""
    from dataclasses import replace

    fabric = shipped(project, "leaf-spine-648")
    rng = np.random.default_rng(missing)
    between = np.flatnonzero((fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches))
    cut = fabric.channel_port[rng.choice(between, missing, replace=False)]
    peer = fabric.port_peer.copy()
    peer[peer[cut]] = -1
    peer[cut] = -1
    broken = replace(fabric, port_peer=peer)
    ports = broken.compute_endpoints
    up = np.bincount(broken.channel_src[(broken.channel_dst < broken.n_switches) & (broken.channel_src < broken.n_switches)])
    poorest = int(up[broken.tiers == 0].min())
    for engine in TREE_ENGINES:
        tables = compute_tables(broken, engine)
        assert verify(tables).safe
        assert alltoall_loads(tables, ports).max() <= 1.1 * 18 * (648 - 18) / poorest


def test_selene_is_routed_close_to_its_bound(fixtures: Path) -> None:
    """OpenSM's ftree refuses Selene, its minhop reaches 0.338, its sssp 0.542; leaf up-links alone bound it at 0.955."""
    fabric = load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric
    ports = fabric.compute_endpoints
    assert len(ports) == 3664
    for engine in TREE_ENGINES:
        tables = compute_tables(fabric, engine)
        assert (len(ports) - 1) / alltoall_loads(tables, ports).max() > 0.9
        assert engine in ("minhop", "sssp", "dor") or verify(tables).safe


@pytest.mark.parametrize("engine", TREE_ENGINES)
def test_damaged_trees_reach_their_switches_too(engine: str, project: Path) -> None:
    """Some leaves have no way up and down to some cores there: management takes the nearest neighbour that has one."""
    found = verify(compute_tables(shipped(project, "fat-tree-1024-faults"), engine))
    assert (found.lost_hca, found.lost_other, found.credit_loop) == (0, 0, ()) or engine in ("minhop", "sssp", "dor")


def test_ftree_refuses_what_is_no_tree(tmp_path: Path, fixtures: Path, run: Callable[..., object]) -> None:
    with pytest.raises(RefusedError, match=r"links do not join neighbouring tiers: switch-0/P2 -> switch-1/P2"):
        compute_tables(build([1, 1, 1], [(0, 1), (1, 2), (2, 0)]), "ftree")
    outcome = run("route", fixtures / "tool-output/ring6.net", "--engine", "ftree")
    assert outcome.code == 6
    assert "updn" in outcome.err


@pytest.mark.parametrize("engine", ENGINES.names())
def test_a_fabric_in_two_parts_is_refused(engine: str) -> None:
    with pytest.raises(RefusedError, match="in parts"):
        compute_tables(build([2, 2], []), engine)
