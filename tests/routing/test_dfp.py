"""dfp: Dragonfly+ on one lane while it is whole, on several where paths must turn, and nothing else."""

from __future__ import annotations

from pathlib import Path

import families
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import build, dependency_graph, plain_path, switch_graph

from fabctl.congestion.load import alltoall_loads
from fabctl.congestion.quality import shift_congestion
from fabctl.errors import RefusedError
from fabctl.generate.spec import parse
from fabctl.model.dragonfly_plus import find_groups
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric


def dragonfly_plus(remove: str = "", groups: int = 5) -> Fabric:
    """Return groups of 3 leaves with 2 hosts each and 2 spines with 2 links to other groups each."""
    spec = f"family: dragonfly-plus\nhosts_per_leaf: 2\nleaves: 3\nspines: 2\nglobal_links: 2\ngroups: {groups}\nspeed: EDR\n"
    return parse(spec + (f"remove: {remove}\n" if remove else ""), "dfp.yaml")[0]


def steps(tables: RoutingTables, source: int, target: int) -> str:
    """Return what a path does between switches: ``u`` up, ``g`` between groups, ``d`` down."""
    fabric = tables.fabric
    path = plain_path(tables, source, target)
    assert path is not None
    rise = fabric.tiers[fabric.channel_dst[path[1:-1]]].astype(int) - fabric.tiers[fabric.channel_src[path[1:-1]]]
    return "".join("dgu"[step + 1] for step in rise.tolist())


@pytest.mark.parametrize("size", families.SIZES)
def test_paths_go_up_over_and_down_on_one_lane(size: str) -> None:
    fabric = families.build("dragonfly-plus", size)
    tables = compute_tables(fabric, "dfp")
    assert tables.notes == ()
    assert tables.n_vls == 1
    seen = {steps(tables, s, t) for s in fabric.endpoints[:9].tolist() for t in fabric.endpoints.tolist() if s != t}
    assert seen == {"", "ud", "ugd"}
    assert verify(tables).safe
    assert verify(tables).lost_other == 0
    if size != "large":
        assert nx.is_directed_acyclic_graph(dependency_graph(tables))


def test_the_dragonfly_plus_of_1088_hosts_is_routed_at_its_bound(project: Path) -> None:
    """One cable between each two groups carries 64 x 64 flows, and a shift sends all 64 hosts of a group to one other.

    OpenSM's minhop and ftree (measured on the twin) reach 4,096 and 64 as well.
    """
    fabric = load_fabric(str(project / "topologies/dragonfly-plus-1088.yaml")).fabric
    tables = compute_tables(fabric, "dfp")
    assert tables.n_vls == 1
    assert verify(tables).safe
    assert alltoall_loads(tables, fabric.compute_endpoints).max() == 64 * 64
    assert shift_congestion(tables, fabric.compute_endpoints).worst == 64


def test_parallel_ways_between_groups_are_shared_evenly() -> None:
    """4 groups of 16 hosts with 8 global links each, 2 or 3 to each other group; OpenSM's minhop puts 176 on one, ftree 192."""
    fabric = families.build("dragonfly-plus", "middle")
    tables = compute_tables(fabric, "dfp")
    level = np.flatnonzero(fabric.tiers[fabric.channel_src[fabric.channel_src < fabric.n_switches]] == 1)
    assert len(level)
    assert alltoall_loads(tables, fabric.compute_endpoints).max() <= 16 * 16 // 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.integers(0, 1), st.integers(0, 99))
def test_faults_cost_lanes_and_no_reachability(cables: int, switches: int, seed: int) -> None:
    fabric = dragonfly_plus(f"{{seed: {seed}, cables: {cables}, switches: {switches}}}")
    try:
        tables = compute_tables(fabric, "dfp")
    except RefusedError:
        with pytest.raises(RefusedError, match=r"no Dragonfly\+|in parts"):
            compute_tables(fabric, "dfp")
        return
    found = verify(tables)
    assert found.safe
    assert (found.lost_hca, found.lost_other) == (0, 0)
    hops = dict(nx.all_pairs_shortest_path_length(switch_graph(fabric)))
    home = fabric.port_node[fabric.port_peer]
    for source in fabric.endpoints[:6].tolist():
        for target in fabric.endpoints.tolist():
            if source != target:
                assert len(steps(tables, source, target)) == hops[int(home[source])][int(home[target])]


def test_a_leaf_without_its_cable_turns_at_one_other_leaf_and_needs_no_lane() -> None:
    """Turns at several leaves would close a circle through two of them and two spines."""
    spec = "family: dragonfly-plus\nhosts_per_leaf: 1\nleaves: 4\nspines: 4\nglobal_links: 2\nspeed: EDR\n"
    fabric = parse(spec + "remove: {names: [group-0-leaf-1 - group-0-spine-0]}\n", "dfp.yaml")[0]
    tables = compute_tables(fabric, "dfp")
    assert tables.n_vls == 1
    assert nx.is_directed_acyclic_graph(dependency_graph(tables))
    lone = fabric.labels.index("group-0-leaf-1")
    home = fabric.port_node[fabric.port_peer]
    turns = set()
    for source in fabric.endpoints[home[fabric.endpoints] == lone].tolist():
        for target in fabric.endpoints[home[fabric.endpoints] != lone].tolist():
            path = plain_path(tables, source, target)
            assert path is not None
            turns |= {fabric.labels[s] for s in fabric.channel_src[path[2:-1]].tolist() if fabric.tiers[s] == 0}
    assert turns == {"group-0-leaf-0"}


def test_groups_without_a_link_are_joined_by_way_of_others_and_named() -> None:
    whole = dragonfly_plus()
    groups = find_groups(whole)
    assert sorted(np.bincount(groups.of_switch).tolist()) == [5] * 5
    one, other = (np.flatnonzero((groups.of_switch == group) & (whole.tiers == 1)) for group in (0, 1))
    between = [
        f"{whole.labels[whole.channel_src[channel]]} - {whole.labels[whole.channel_dst[channel]]}"
        for channel in np.flatnonzero(np.isin(whole.channel_src, one) & np.isin(whole.channel_dst, other)).tolist()
    ]
    fabric = dragonfly_plus(f"{{names: [{', '.join(between)}]}}")
    tables = compute_tables(fabric, "dfp")
    assert verify(tables).safe
    assert "1 pairs of groups have no link and are joined by way of other groups: the groups of " in tables.notes[0]
    if tables.n_vls > 1:
        with pytest.raises(RefusedError, match="1 may be used"):
            compute_tables(fabric, "dfp", Options(max_vls=1))


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("xgft", "core-01 is neither a leaf nor joined with one"),
        ("leaf-spine", "it is one group"),
        ("torus", "cables join leaves: sw-0-0-0/P2 -> sw-2-0-0/P3"),
        ("dragonfly", "cables join leaves"),
    ],
)
def test_other_families_are_refused(family: str, why: str) -> None:
    with pytest.raises(RefusedError, match=r"no Dragonfly\+: .*" + why) as error:
        compute_tables(families.build(family, "middle"), "dfp")
    assert "--engine auto" in error.value.hint


def test_spines_joined_inside_a_group_and_groups_in_a_row_are_refused() -> None:
    pair = [(leaf, spine) for leaf in (0, 1) for spine in (4, 5)]
    inside = build([2] * 4 + [0] * 4, [*pair, (2, 6), (2, 7), (3, 6), (3, 7), (4, 5), (4, 6)])
    with pytest.raises(RefusedError, match="1 cables join spines of one group: switch-4/P3 -> switch-5/P3"):
        compute_tables(inside, "dfp")
    row = build([2] * 8 + [0] * 4, [(leaf, 8 + leaf // 2) for leaf in range(8)] + [(8, 9), (9, 10), (10, 11)])
    with pytest.raises(RefusedError, match="3 pairs of 4 groups have no link: the groups of switch-0 and switch-4"):
        compute_tables(row, "dfp")
