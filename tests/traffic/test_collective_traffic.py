"""Collectives on fabrics: published loads of rings, trees and partners, rails that stay apart, and trees of switches."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from small_fabrics import two_levels

from fabctl.congestion.phases import phase_channels, phase_loads
from fabctl.errors import RefusedError, UsageError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.phases import Phase
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric
from fabctl.traffic.algorithm import collective_phases, load_algorithm
from fabctl.traffic.group import Group, world
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed

SEEDS = 30
TREES = {"ls648": "leaf-spine-648", "ft16": "fat-tree-1024"}


@pytest.fixture(scope="module")
def routed() -> dict[str, RoutingTables]:
    project = Path(__file__).parents[2]
    return {
        name: compute_tables(load_fabric(str(project / f"topologies/{file}.yaml")).fabric, "ftree")
        for name, file in TREES.items()
    }


def one_rank_per_port(ports: np.ndarray) -> Group:
    number = np.arange(len(ports), dtype=np.int32)
    return Group(number, number, ports.astype(np.int32))


def all_reduce(algorithm: str, group: Group, fabric: Fabric | None = None) -> list[Phase]:
    """Return the phases of an all-reduce of one byte."""
    return collective_phases("all_reduce", algorithm, [group], 1.0, fabric=fabric)


def most_flows(tables: RoutingTables, phase: Phase) -> int:
    return int(np.bincount(phase_channels(tables, phase).index).max())


def random_orders(ports: np.ndarray) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.permutation(ports) for _ in range(SEEDS)]


# ---- published loads (one HCA per host, OpenSM's ftree; reference numbers measured on OpenSM's own tables) ---------------


@pytest.mark.parametrize(("name", "random_mean"), [("ls648", 5.96), ("ft16", 6.27)])
def test_double_binary_tree_on_the_hottest_channel(routed: dict[str, RoutingTables], name: str, random_mean: float) -> None:
    tables = routed[name]
    ports = tables.fabric.endpoints
    (phase,) = all_reduce("tree", one_rank_per_port(ports))
    assert phase_loads(tables, phase).max() == pytest.approx(2.0)
    loads = [phase_loads(tables, all_reduce("tree", one_rank_per_port(order))[0]).max() for order in random_orders(ports)]
    assert np.mean(loads) == pytest.approx(random_mean, abs=0.35)


@pytest.mark.parametrize(("name", "random_mean"), [("ls648", 4.71), ("ft16", 5.17)])
def test_ring_in_host_order_and_in_random_order(routed: dict[str, RoutingTables], name: str, random_mean: float) -> None:
    tables = routed[name]
    ports = tables.fabric.endpoints
    (phase,) = all_reduce("ring", one_rank_per_port(ports))
    assert phase.flows.weight == pytest.approx(np.full(len(ports), 2 * (len(ports) - 1) / len(ports)))
    assert most_flows(tables, phase) == 1
    flows = [most_flows(tables, all_reduce("ring", one_rank_per_port(order))[0]) for order in random_orders(ports)]
    assert np.mean(flows) == pytest.approx(random_mean, abs=0.35)


@pytest.mark.parametrize(("name", "wanted"), [("ls648", [1, 1, 1, 1, 2, 2, 2, 2, 2]), ("ft16", [1] * 10)])
def test_partners_of_halving_doubling(routed: dict[str, RoutingTables], name: str, wanted: list[int]) -> None:
    tables = routed[name]
    ports = tables.fabric.endpoints[: 1 << len(wanted)]
    phases = all_reduce("halving-doubling", one_rank_per_port(ports))
    assert [most_flows(tables, phase) for phase in phases] == wanted
    assert [float(phase.flows.weight[0]) for phase in phases] == [0.5**k for k in range(1, len(wanted) + 1)]
    assert {phase.times for phase in phases} == {2}


# ---- rails ------------------------------------------------------------------------------------------------------------


def job_of(fabric: Fabric, hosts: list[str]) -> Job:
    return place(JobSpec(hosts=tuple(Placed(host, "") for host in hosts)), fabric)


@pytest.fixture(scope="module")
def unit(routed: dict[str, RoutingTables]) -> tuple[RoutingTables, Job]:
    """All hosts of one scalable unit of a rail-optimised fabric: each rail has one leaf there."""
    fabric = load_fabric(str(Path(__file__).parents[2] / "topologies/superpod-4su.yaml")).fabric
    leaf = fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]]
    host = fabric.hosts.node_host[fabric.port_node[fabric.endpoints]]
    names = [fabric.hosts.name[h] for h in np.unique(host[leaf == leaf[0]])]
    return compute_tables(fabric, "ftree"), job_of(fabric, names)


def between_switches(tables: RoutingTables, phases: list[Phase]) -> float:
    fabric = tables.fabric
    inside = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    return float(sum(phase_loads(tables, phase)[inside].sum() for phase in phases))


@pytest.mark.parametrize(
    ("operation", "algorithm", "stays"),
    [
        ("alltoall", "pairwise", False),
        ("alltoall", "pxn", True),
        ("all_reduce", "ring", True),
        ("all_reduce", "tree", True),
        ("all_reduce", "nvls-tree", True),
        ("all_reduce", "hierarchical", True),
        ("all_reduce", "sharp", True),
        ("all_gather", "multicast", True),
    ],
)
def test_what_stays_on_its_rail_stays_on_the_leaf(
    unit: tuple[RoutingTables, Job], operation: str, algorithm: str, stays: bool
) -> None:
    tables, job = unit
    assert job.n_hosts >= 16
    assert job.ports.shape[1] == 8
    phases = collective_phases(operation, algorithm, [world(job)], 1.0, fabric=tables.fabric)
    assert sum(len(phase.flows) for phase in phases) > 0
    assert (between_switches(tables, phases) == 0) == stays


def test_channels_beyond_the_rails_share_them_and_cross_nic_2_crosses_no_rail(unit: tuple[RoutingTables, Job]) -> None:
    tables, job = unit
    n_hosts = job.n_hosts // 2 * 2
    group = world(job_of(tables.fabric, list(job.hosts[:n_hosts])))
    (once,) = collective_phases("all_reduce", "ring", [group], 1.0)
    (thrice,) = collective_phases("all_reduce", "ring", [group], 1.0, channels=24)
    assert np.array_equal(once.flows.src, thrice.flows.src)
    assert thrice.flows.weight == pytest.approx(once.flows.weight)
    (twelve,) = collective_phases("all_reduce", "ring", [group], 1.0, channels=12)
    assert np.unique(np.rint(twelve.flows.weight / twelve.flows.weight.min())).tolist() == [1, 2]
    rail = dict(zip(group.port.tolist(), (group.rank % 8).tolist(), strict=True))

    def crossing(cross_nic: int) -> int:
        (phase,) = collective_phases("all_reduce", "ring", [group], 1.0, cross_nic=cross_nic)
        return sum(rail[a] != rail[b] for a, b in zip(phase.flows.src.tolist(), phase.flows.dst.tolist(), strict=True))

    assert [crossing(0), crossing(1), crossing(2)] == [0, 8 * n_hosts, 0]


def test_cross_nic_2_needs_channels_in_pairs() -> None:
    group = world(place(JobSpec(), two_levels(4, 4, 2, rails=3)))

    def pairs(cross_nic: int, channels: int) -> set[tuple[int, int]]:
        (phase,) = collective_phases("all_reduce", "ring", [group], 1.0, cross_nic=cross_nic, channels=channels)
        return set(zip(phase.src_rank.tolist(), phase.dst_rank.tolist(), strict=True))

    assert pairs(2, 3) == pairs(1, 3)
    assert pairs(2, 2) != pairs(1, 2)


def test_per_nic_bytes() -> None:
    """Per HCA of 4 hosts with 4 rails, 16 ranks: the table of volumes per NIC."""
    fabric = two_levels(4, 4, 2, rails=4)
    group = world(place(JobSpec(), fabric))
    n, hosts, rails = 16, 4, 4

    def out(operation: str, algorithm: str) -> list[float]:
        sent = np.zeros(len(fabric.port_node))
        for phase in collective_phases(operation, algorithm, [group], 1.0):
            np.add.at(sent, phase.flows.src, phase.flows.weight * phase.times)
        return sent[group.port].tolist()

    assert out("all_reduce", "ring") == pytest.approx([2 * (n - 1) / n / rails] * n)
    assert out("all_gather", "ring") == pytest.approx([(n - 1) / n / rails] * n)
    assert out("all_reduce", "hierarchical") == pytest.approx([2 * (hosts - 1) / hosts / rails] * n)
    assert out("alltoall", "pairwise") == pytest.approx([(n - rails) / n] * n)
    assert out("alltoall", "pxn") == pytest.approx([(n - rails) / n] * n)
    assert max(out("all_reduce", "tree")) == pytest.approx(2 / rails)


# ---- several groups at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ring", "tree", "halving-doubling", "hierarchical", "nvls-tree"])
def test_groups_at_once_are_the_groups_one_by_one(algorithm: str) -> None:
    rng = np.random.default_rng(11)
    groups, rank = [], 0
    for size in (4, 4, 7, 4, 2, 7, 12):
        host = np.sort(rng.integers(0, 6, size)).astype(np.int32)
        number = np.arange(rank, rank + size, dtype=np.int32)
        groups.append(Group(number, host, number + 100))
        rank += size

    def table(phases: list[Phase]) -> dict[tuple[int, int], float]:
        total: dict[tuple[int, int], float] = {}
        for phase in phases:
            for src, dst, weight in zip(
                phase.src_rank.tolist(), phase.dst_rank.tolist(), phase.flows.weight.tolist(), strict=True
            ):
                total[src, dst] = total.get((src, dst), 0.0) + weight * phase.times
        return total

    sizes = rng.integers(1, 1000, len(groups)).astype(np.float64)
    alone = [collective_phases("all_reduce", algorithm, [group], size) for group, size in zip(groups, sizes, strict=True)]
    together = collective_phases("all_reduce", algorithm, groups, sizes, name="dp")
    assert table(together) == pytest.approx({pair: bytes_ for phases in alone for pair, bytes_ in table(phases).items()})
    assert len(together) <= sum(map(len, alone))
    assert all(phase.name.startswith(f"dp: all_reduce, {algorithm}") for phase in together)


def test_one_host_sends_nothing() -> None:
    group = Group(np.arange(8, dtype=np.int32), np.zeros(8, dtype=np.int32), np.arange(8, dtype=np.int32))
    for algorithm in ("ring", "tree", "hierarchical", "nvls-tree", "halving-doubling"):
        assert collective_phases("all_reduce", algorithm, [group], 1.0) == []
    assert collective_phases("all_reduce", "ring", [], 1.0) == []


def test_more_flows_than_fit_are_refused_before_they_are_made() -> None:
    many = np.arange(1 << 13, dtype=np.int32)
    with pytest.raises(RefusedError, match="an all-to-all of 8,192 ranks is 67,108,864 flows at a time") as error:
        collective_phases("alltoall", "pairwise", [Group(many, many, many)], 1.0)
    assert "pxn: true" in error.value.hint
    groups = [Group(number + many[:1024], many[:1024], many[:1024]) for number in range(33)]
    with pytest.raises(RefusedError, match="alltoall, pairwise is 34,569,216 flows at a time"):
        collective_phases("alltoall", "pairwise", groups, 1.0)


# ---- trees of switches --------------------------------------------------------------------------------------------------


def check_tree(fabric: Fabric, ports: np.ndarray, channels: np.ndarray) -> int:
    """Run a reduction and a copy over both directions of a tree, on real numbers; return its number of switches."""
    up_and_down = set(channels.tolist())
    assert len(up_and_down) == len(channels)
    assert {int(fabric.channel_reverse[channel]) for channel in channels} == up_and_down, "every cable both ways, once"
    graph = nx.Graph((int(fabric.channel_src[channel]), int(fabric.channel_dst[channel])) for channel in channels)
    assert graph.number_of_edges() == len(channels) // 2, "no two cables between the same two switches"
    assert nx.is_tree(graph)
    hcas = set(fabric.port_node[ports].tolist())
    assert {node for node in graph if graph.degree[node] == 1} == hcas, "nothing hangs there for nothing"
    value = {node: np.int64(3**index) for index, node in enumerate(sorted(hcas))} if len(hcas) < 39 else dict.fromkeys(hcas, 1)
    root = max(graph, key=lambda node: (node < fabric.n_switches, graph.degree[node]))
    total = {node: value.get(node, 0) for node in graph}
    for parent, child in reversed(list(nx.bfs_edges(graph, root))):
        total[parent] += total[child]
    assert total[root] == sum(value.values())
    assert set(nx.descendants(nx.bfs_tree(graph, root), root)) | {root} >= hcas
    return sum(node < fabric.n_switches for node in graph)


def trees_of(fabric: Fabric, job: Job) -> list[np.ndarray]:
    (phase,) = collective_phases("all_reduce", "sharp", [world(job)], 1.0, fabric=fabric)
    assert phase.fixed is not None
    ptr = phase.fixed.ptr
    rails = job.ports.shape[1]
    assert len(phase.fixed) == len(phase.flows) == rails
    assert phase.flows.weight == pytest.approx(np.full(rails, 1 / rails))
    return [phase.fixed.index[ptr[tree] : ptr[tree + 1]] for tree in range(rails)]


def check_sharp(fabric: Fabric, job: Job) -> None:
    """Assert the volumes: S / k per HCA out and in, 2 S (hosts + switches but the root) / k in all, per rail."""
    trees = trees_of(fabric, job)
    rails = len(trees)
    for rail, channels in enumerate(trees):
        switches = check_tree(fabric, job.ports[:, rail], channels)
        assert len(channels) / rails == pytest.approx(2 * (job.n_hosts + switches - 1) / rails)
    (phase,) = collective_phases("all_reduce", "sharp", [world(job)], 1.0, fabric=fabric)
    loads = phase_loads(RoutingTables(fabric, np.empty((0, 0), dtype=np.uint8), "none"), phase)
    host_out = fabric.channel_of_port[job.ports.ravel()]
    assert loads[host_out] == pytest.approx(np.full(job.ports.size, 1 / rails))
    assert loads[fabric.channel_reverse[host_out]] == pytest.approx(np.full(job.ports.size, 1 / rails))


@pytest.mark.parametrize(("hosts", "switches"), [(18, 1), (19, 3), (648, 37)])
def test_sharp_on_a_two_level_tree(routed: dict[str, RoutingTables], hosts: int, switches: int) -> None:
    fabric = routed["ls648"].fabric
    names = list(dict.fromkeys(fabric.hosts.name[h] for h in fabric.hosts.node_host[fabric.port_node[fabric.endpoints]]))
    job = job_of(fabric, names[:hosts])
    check_sharp(fabric, job)
    assert check_tree(fabric, job.ports[:, 0], trees_of(fabric, job)[0]) == switches


def test_sharp_on_a_three_level_tree(routed: dict[str, RoutingTables]) -> None:
    """1,024 hosts: 128 leaves, one of 8 middle switches in each of 16 pods, one root."""
    fabric = routed["ft16"].fabric
    job = place(JobSpec(), fabric)
    check_sharp(fabric, job)
    assert check_tree(fabric, job.ports[:, 0], trees_of(fabric, job)[0]) == 128 + 16 + 1


@pytest.mark.parametrize("topology", ["torus-44", "hypercube-5", "dragonfly-1056", "slim-fly-200"])
def test_sharp_where_leaves_are_not_equally_far(topology: str) -> None:
    fabric = load_fabric(str(Path(__file__).parents[2] / f"topologies/{topology}.yaml")).fabric
    everybody = place(JobSpec(), fabric)
    for seed in range(5):
        some = np.random.default_rng(seed).choice(everybody.n_hosts, min(everybody.n_hosts, 20), replace=False)
        check_sharp(fabric, job_of(fabric, [everybody.hosts[index] for index in some]))


def test_sharp_on_selene(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / "selene-compute-2021.txt")).fabric
    everybody = place(JobSpec(), fabric)
    check_sharp(fabric, everybody)
    some = [everybody.hosts[index] for index in np.random.default_rng(2).choice(everybody.n_hosts, 32, replace=False)]
    check_sharp(fabric, job_of(fabric, some))


def test_trees_of_several_groups_take_turns(routed: dict[str, RoutingTables]) -> None:
    """18 groups over the same two leaves, each with its own bytes: one spine for each, no cable between switches twice."""
    fabric = routed["ls648"].fabric
    ports = fabric.endpoints[:36].reshape(2, 18).T
    groups = [Group(np.array([2 * g, 2 * g + 1], dtype=np.int32), np.arange(2, dtype=np.int32), ports[g]) for g in range(18)]
    (phase,) = collective_phases("all_reduce", "sharp", groups, np.arange(1.0, 19.0), fabric=fabric)
    assert phase.fixed is not None
    assert len(phase.fixed) == 18
    assert phase.flows.weight.tolist() == list(range(1, 19))
    assert np.bincount(phase.fixed.index).max() == 1


@pytest.mark.parametrize("operation", ["broadcast", "all_gather"])
def test_multicast_crosses_each_edge_once_away_from_the_sender(routed: dict[str, RoutingTables], operation: str) -> None:
    fabric = routed["ft16"].fabric
    group = one_rank_per_port(fabric.endpoints[:: 1024 // 24])
    (phase,) = collective_phases(operation, "multicast", [group], 24.0, fabric=fabric)
    assert phase.fixed is not None
    senders = {"broadcast": 1, "all_gather": len(group)}[operation]
    assert phase.flows.weight == pytest.approx(np.full(senders, {"broadcast": 24.0, "all_gather": 24.0 / len(group)}[operation]))
    assert phase.flows.src.tolist() == group.port[:senders].tolist()
    for flow in range(senders):
        channels = phase.fixed.index[phase.fixed.ptr[flow] : phase.fixed.ptr[flow + 1]]
        graph = nx.DiGraph((int(fabric.channel_src[channel]), int(fabric.channel_dst[channel])) for channel in channels)
        sender = int(fabric.port_node[group.port[flow]])
        assert graph.number_of_edges() == len(channels) == graph.number_of_nodes() - 1
        assert graph.in_degree(sender) == 0
        assert set(nx.descendants(graph, sender)) == set(graph) - {sender}
        ends = {node for node in graph if graph.out_degree(node) == 0}
        assert ends == set(fabric.port_node[group.port].tolist()) - {sender}


# ---- what cannot be done ------------------------------------------------------------------------------------------------


def test_unknown_names_and_missing_fabrics() -> None:
    group = one_rank_per_port(np.arange(4))
    with pytest.raises(UsageError, match="unknown algorithm 'rnig'") as error:
        collective_phases("all_reduce", "rnig", [group], 1.0)
    assert error.value.hint is not None
    assert "'ring'" in error.value.hint
    with pytest.raises(UsageError, match="unknown operation 'allreduce'"):
        load_algorithm("allreduce")
    with pytest.raises(UsageError, match="'tree' does no all_gather") as error:
        load_algorithm("all_gather", "tree")
    assert error.value.hint is not None
    assert "ring" in error.value.hint
    with pytest.raises(UsageError, match="follow from the fabric"):
        collective_phases("all_reduce", "sharp", [group], 1.0)


def test_no_tree_of_switches() -> None:
    builder = FabricBuilder()
    for part in range(2):
        builder.node(NodeKind.SWITCH, 1 + part, f"leaf-{part}", ports=4)
        for port in (1, 2):
            guid = 0x100 + 2 * part + port
            builder.node(NodeKind.CA, guid, f"n{guid:04x} mlx5_0", ports=1)
            builder.link(1 + part, port, guid, 1, lanes=4, speed=Speed.HDR)
            builder.link(guid, 1, 1 + part, port, lanes=4, speed=Speed.HDR)
    fabric = builder.build()
    with pytest.raises(RefusedError, match="leaf-0 does not reach leaf-1"):
        all_reduce("sharp", one_rank_per_port(fabric.endpoints), fabric)
