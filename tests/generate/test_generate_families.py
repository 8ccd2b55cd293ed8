"""Counts of every family against closed forms, published tables and a real fabric."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed


def fabric_of(text: str) -> Fabric:
    return parse(text, "spec.yaml")[0]


def tier_counts(fabric: Fabric) -> list[int]:
    assert fabric.tiers.min() >= 0
    return np.bincount(fabric.tiers).tolist()


def cables_per_tier(fabric: Fabric) -> list[int]:
    """Cables between HCAs and leaves, leaves and spines, ... without aggregation nodes."""
    rank = np.full(fabric.n_nodes, -9)
    rank[fabric.is_hca] = -1
    rank[: fabric.n_switches] = fabric.tiers
    src, dst = rank[fabric.channel_src], rank[fabric.channel_dst]
    return [int(np.count_nonzero((src == tier - 1) & (dst == tier))) for tier in range(fabric.tiers.max() + 1)]


def check_ports(fabric: Fabric, radix: int) -> None:
    """No port twice, each cable has two ends, no switch has more ports than its radix."""
    keys = list(zip(fabric.port_node.tolist(), fabric.port_number.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)
    joined = np.flatnonzero(fabric.port_peer >= 0)
    assert np.array_equal(fabric.port_peer[fabric.port_peer[joined]], joined)
    assert not np.any(fabric.port_peer[joined] == joined)
    degree = np.bincount(fabric.channel_src, minlength=fabric.n_nodes)
    assert degree[: fabric.n_switches].max() <= radix
    assert np.all(degree[fabric.n_switches :] == 1)
    assert fabric.port_number.max() <= radix
    assert len(set(fabric.node_guid.tolist())) == fabric.n_nodes
    assert set(fabric.node_port_count[: fabric.n_switches].tolist()) == {radix}


# ---- fat trees by radix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radix", [2, 4, 8, 16, 36, 40])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_full_fat_tree_has_the_closed_form_counts(radix: int, levels: int) -> None:
    fabric = fabric_of(f"family: fat-tree\nradix: {radix}\nlevels: {levels}\nspeed: EDR\n")
    half = radix // 2
    hosts = {1: radix, 2: radix**2 // 2, 3: radix**3 // 4}[levels]
    assert fabric.n_switches == (2 * levels - 1) * half ** (levels - 1)
    assert int(fabric.is_hca.sum()) == len(fabric.hosts.name) == hosts
    assert fabric.n_cables == levels * hosts
    check_ports(fabric, radix)
    if radix > 2:
        assert tier_counts(fabric) == [2 * half ** (levels - 1)] * (levels - 1) + [half ** (levels - 1)]


def test_the_11664_host_fat_tree() -> None:
    fabric = fabric_of("family: fat-tree\nradix: 36\nlevels: 3\nspeed: EDR\n")
    assert tier_counts(fabric) == [648, 648, 324]
    assert cables_per_tier(fabric) == [11_664, 11_664, 11_664]
    assert sum(cables_per_tier(fabric)[1:]) == 23_328
    assert fabric.n_cables == 34_992


def test_diameters_are_twice_the_height() -> None:
    for levels in (1, 2, 3):
        graph = fabric_of(f"family: fat-tree\nradix: 6\nlevels: {levels}\nspeed: EDR\n").graph()
        assert nx.diameter(graph) == 2 * levels


def test_every_host_pair_of_a_full_fat_tree_has_all_paths() -> None:
    fabric = fabric_of("family: fat-tree\nradix: 6\nlevels: 3\nspeed: EDR\n")
    graph = nx.Graph(fabric.graph())
    first, last = fabric.guid_text(fabric.n_switches), fabric.guid_text(fabric.n_nodes - 1)
    assert len(list(nx.all_shortest_paths(graph, first, last))) == 3 * 3


# ---- XGFT --------------------------------------------------------------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    height = draw(st.integers(1, 4))
    top = {1: 12, 2: 8, 3: 5, 4: 3}[height]
    m = [draw(st.integers(1, top)), *(draw(st.integers(2, top)) for _ in range(height - 1))]
    w = [1, *(draw(st.integers(1, top)) for _ in range(height - 1))]
    p = [draw(st.integers(1, 3)) for _ in range(height)]
    return m, w, p


@settings(deadline=None)
@given(tree=trees(), aggregation=st.booleans())
def test_any_xgft_is_connected_and_has_the_papers_counts(tree: tuple[list[int], list[int], list[int]], aggregation: bool) -> None:
    m, w, p = tree
    fabric = fabric_of(f"family: xgft\nm: {m}\nw: {w}\np: {p}\nspeed: HDR\naggregation_nodes: {str(aggregation).lower()}\n")
    height = len(m)
    switches = [prod(m[level:]) * prod(w[:level]) for level in range(1, height + 1)]
    cables = [prod(m[level:]) * prod(w[: level + 1]) * p[level] for level in range(height)]
    assert tier_counts(fabric) == switches
    assert cables_per_tier(fabric) == cables
    assert len(fabric.hosts.name) == prod(m)
    assert set(fabric.hosts.hca_count.tolist()) == {p[0]}
    assert int(fabric.is_aggregation.sum()) == sum(switches) * aggregation
    assert fabric.n_cables == sum(cables) + sum(switches) * aggregation
    radix = max(m[level] * p[level] + (w[level + 1] * p[level + 1] if level + 1 < height else 0) for level in range(height))
    check_ports(fabric, radix + aggregation)
    assert nx.is_connected(fabric.graph())


# ---- leaf-spine --------------------------------------------------------------------------------------------------------


def test_leaf_spine_counts_and_parallel_cables() -> None:
    fabric = fabric_of("family: leaf-spine\nhosts_per_leaf: 12\nleaves: 5\nspines: 3\ncables: 4\nspeed: NDR\nradix: 24\n")
    assert tier_counts(fabric) == [5, 3]
    assert cables_per_tier(fabric) == [60, 60]
    check_ports(fabric, 24)
    between = Counter(
        (int(src), int(dst)) for src, dst in zip(fabric.channel_src, fabric.channel_dst, strict=True) if src < 5 <= dst < 8
    )
    assert set(between.values()) == {4}
    assert len(between) == 15


@pytest.mark.parametrize(("ratio", "cables"), [("1", 6), ("1.5", 4), ("2", 3), ("3", 2), ("0.5", 12)])
def test_oversubscription_is_the_ratio_of_down_to_up_links(ratio: str, cables: int) -> None:
    text = f"family: leaf-spine\nhosts_per_leaf: 18\nleaves: 4\nspines: 3\noversubscription: {ratio}\nspeed: EDR\n"
    assert cables_per_tier(fabric_of(text)) == [72, 4 * 3 * cables]


# ---- rail-optimised ----------------------------------------------------------------------------------------------------


def rail_optimised(units: int, nodes: int = 32, node_type: str = "dgx-b200", more: str = "") -> Fabric:
    return fabric_of(f"family: rail-optimised\nnode_type: {node_type}\nnodes_per_unit: {nodes}\nunits: {units}\n{more}")


@pytest.mark.parametrize("units", [1, 2, 4, 8])
def test_two_level_superpods_have_the_published_counts(units: int) -> None:
    fabric = rail_optimised(units)
    gpus = units * 32 * 8
    assert tier_counts(fabric) == [gpus // 32, gpus // 64]
    assert cables_per_tier(fabric) == [gpus, gpus]
    check_ports(fabric, 64)


@pytest.mark.parametrize("units", [16, 32, 64])
def test_three_level_superpods_have_the_published_counts(units: int) -> None:
    fabric = rail_optimised(units)
    gpus = units * 32 * 8
    assert tier_counts(fabric) == [gpus // 32, gpus // 32, gpus // 64]
    assert cables_per_tier(fabric) == [gpus, gpus, gpus]
    check_ports(fabric, 64)


@pytest.mark.parametrize(("units", "leaves", "spines"), [(1, 8, 4), (2, 16, 8), (4, 32, 18), (8, 64, 36), (18, 144, 72)])
def test_units_of_72_nodes_on_144_ports_have_the_published_counts(units: int, leaves: int, spines: int) -> None:
    fabric = fabric_of(f"family: rail-optimised\nrails: 8\nradix: 144\nspeed: XDR\nnodes_per_unit: 72\nunits: {units}\n")
    assert tier_counts(fabric) == [leaves, spines]
    assert cables_per_tier(fabric) == [units * 576, units * 576]


def test_every_leaf_carries_one_rail_of_one_unit() -> None:
    fabric = rail_optimised(4, node_type="dgx-h100")
    hosts = fabric.hosts
    hca = fabric.channel_dst[(fabric.channel_src < fabric.n_switches) & fabric.is_hca[fabric.channel_dst]]
    leaf = fabric.channel_src[(fabric.channel_src < fabric.n_switches) & fabric.is_hca[fabric.channel_dst]]
    seen = {
        switch: (set(hosts.node_rail[hca[leaf == switch]].tolist()), set((hosts.node_host[hca[leaf == switch]] // 32).tolist()))
        for switch in set(leaf.tolist())
    }
    assert all(len(rails) == len(units) == 1 for rails, units in seen.values())
    assert {(min(rails), min(units)) for rails, units in seen.values()} == {(r, u) for r in range(8) for u in range(4)}
    assert set(hosts.hca_count.tolist()) == {8}
    assert set(hosts.grouped_by) == {"name"}
    assert [hosts.node_device[node] for node in hca[hosts.node_host[hca] == 0]] == [
        f"mlx5_{number}" for number in (0, 3, 4, 5, 6, 9, 10, 11)
    ]


def test_a_rail_of_a_unit_may_have_several_leaves() -> None:
    fabric = rail_optimised(2, nodes=64, more="leaves_per_rail: 2\n")
    assert tier_counts(fabric) == [32, 16]
    assert fabric.labels[:2] == ("leaf-su01-rail0-1", "leaf-su01-rail0-2")


def test_given_counts_replace_the_derived_ones() -> None:
    assert tier_counts(rail_optimised(4, more="spines: 32\n")) == [32, 32]
    assert cables_per_tier(rail_optimised(4, more="oversubscription: 2\n")) == [1024, 512]
    assert tier_counts(rail_optimised(4, more="cores: 32\n")) == [32, 32, 32]
    assert tier_counts(rail_optimised(16, more="spines: 256\ncores: 128\n")) == [128, 256, 128]


def test_the_plan_of_selene_is_how_selene_is_cabled(fixtures: Path, project: Path) -> None:
    real = load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric
    plan = load_fabric(str(project / "topologies/selene-plan.yaml")).fabric
    kinds = Counter(label.split("-")[0][:5] for label in real.labels[: real.n_switches])
    assert tier_counts(plan)[1:] == [kinds["CSPIN"], kinds["CCORE"]]

    def neighbours(fabric: Fabric, label: str) -> Counter[str]:
        switch = fabric.labels.index(label)
        channels = range(fabric.channel_ptr[switch], fabric.channel_ptr[switch + 1])
        labels = [fabric.labels[fabric.channel_dst[channel]] for channel in channels]
        return Counter(label for label in labels if "SPINE" in label or "CORE" in label or "spine" in label or "core" in label)

    leaf, planned_leaf = neighbours(real, "LG03-05"), neighbours(plan, "leaf-su03-rail4")
    assert sorted(leaf.values()) == sorted(planned_leaf.values()) == [2] * 10
    spine, planned_spine = neighbours(real, "CSPINE1-41"), neighbours(plan, "spine-pod1-rail4-01")
    assert sorted(spine.values()) == sorted(planned_spine.values()) == [1] * 14


# ---- hardware ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_type", "hcas", "speed", "hca_id", "switch_id", "radix", "part"),
    [
        ("dgx-1", 4, Speed.EDR, 0x1013, 0xCF08, 36, "MSB7800"),
        ("dgx-a100", 8, Speed.HDR, 0x101B, 0xD2F0, 40, "MQM8700"),
        ("dgx-h100", 8, Speed.NDR, 0x1021, 0xD2F2, 64, "MQM9700"),
        ("dgx-b200", 8, Speed.NDR, 0x1021, 0xD2F2, 64, "MQM9700"),
        ("dgx-b300", 8, Speed.XDR, 0x1023, 0xD2F4, 144, "Q3400"),
        ("gb200-nvl72", 4, Speed.NDR, 0x1021, 0xD2F2, 64, "MQM9700"),
    ],
)
def test_node_types_bring_their_hardware(
    node_type: str, hcas: int, speed: Speed, hca_id: int, switch_id: int, radix: int, part: str
) -> None:
    fabric = rail_optimised(2, nodes=4, node_type=node_type)
    assert fabric.hosts.common_hca_count == hcas
    assert set(fabric.channel_speed.tolist()) == {speed}
    assert set(fabric.device_id[fabric.is_hca].tolist()) == {hca_id}
    assert set(fabric.device_id[: fabric.n_switches].tolist()) == {switch_id}
    assert set(fabric.vendor_id.tolist()) == {0x2C9}
    assert fabric.node_name[0] == f"MF0;leaf-su01-rail0:{part}/U1"
    assert fabric.labels[0] == "leaf-su01-rail0"
    check_ports(fabric, radix)


def test_the_slower_of_node_and_switch_sets_the_speed() -> None:
    assert set(rail_optimised(1, nodes=4, more="switch: QM8700\n").channel_speed.tolist()) == {Speed.HDR}
    assert set(rail_optimised(1, nodes=4, more="speed: EDR\n").channel_speed.tolist()) == {Speed.EDR}


def test_aggregation_nodes_look_like_real_ones(fixtures: Path) -> None:
    real = load_fabric(str(fixtures / "ibnetdiscover/selene-compute-2021.txt")).fabric
    made = rail_optimised(2, nodes=4, node_type="dgx-a100", more="aggregation_nodes: true\n")
    for fabric in (real, made):
        nodes = np.flatnonzero(fabric.is_aggregation)
        channels = fabric.channel_ptr[nodes]
        assert len(nodes) == fabric.n_switches
        assert sorted(fabric.channel_dst[channels].tolist()) == list(range(fabric.n_switches))
        assert set(fabric.port_number[fabric.port_peer[fabric.channel_port[channels]]].tolist()) == {41}
        assert set(fabric.node_port_count[: fabric.n_switches].tolist()) == {41}
        assert set(fabric.device_id[nodes].tolist()) == {0xCF09}
        assert np.array_equal(fabric.system_guid[nodes], fabric.system_guid[fabric.channel_dst[channels]])
        assert np.all(fabric.hosts.node_host[nodes] == -1)
    assert {made.node_name[node] for node in np.flatnonzero(made.is_aggregation)} == {
        real.node_name[node] for node in np.flatnonzero(real.is_aggregation)
    }
