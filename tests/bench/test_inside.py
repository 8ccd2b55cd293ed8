"""Limits inside hosts: closed forms, a walk with networkx of what the ranks really send, and what must hold for every host."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nodes import through_root

from fabctl.bench.gpudirect import STAGED_GB_S
from fabctl.bench.inside import host_limits, inside_limits
from fabctl.bench.inside_chains import chains, rings
from fabctl.bench.inside_host import host_of
from fabctl.bench.inside_loads import Loads
from fabctl.bench.inside_traffic import TRAFFIC, Group, load
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import CPU, GPU, HCA, NVLINK, NVSWITCH, ON_DIE, PCIE, Device, NodeGraph, NodeLink
from fabctl.model.offloads import Offloads
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names
from fabctl.traffic.collectives import pairwise as pairwise_algorithm
from fabctl.traffic.collectives import pxn as pxn_algorithm
from fabctl.traffic.collectives import ring as ring_algorithm
from fabctl.traffic.collectives import tree as tree_algorithm
from fabctl.traffic.schedule import Schedule
from fabctl.traffic.shape import Shape

ON, STAGED = Offloads(), Offloads(gdr=False)


def limits(
    node: NodeGraph, operation: str, algorithm: str, n_nodes: int, offloads: Offloads = ON, **other: object
) -> dict[str, float]:
    """Return the limit of each kind in algorithm bandwidth, with all GPUs and HCAs of the node."""
    hcas = other.pop("hcas", node.hcas)
    per_node = len(node.gpus) or 2
    found = inside_limits(node, operation, algorithm, n_nodes, per_node * n_nodes, hcas, offloads, **other)  # type: ignore[arg-type]
    assert [limit.algbw_gb_s for limit in found] == pytest.approx(sorted(limit.algbw_gb_s for limit in found))
    return {limit.kind: limit.algbw_gb_s for limit in found}


def ring_bus(n_ranks: int) -> float:
    return 2 * (n_ranks - 1) / n_ranks


# Closed forms: rates of links as in the node's file, volumes from the algorithm


@pytest.mark.parametrize(
    ("name", "direct", "binds", "staged", "staged_binds"),
    [
        ("dgx-1-v100", 4 * 12.0, "hca", 4 * 12.0 / 2, "pcie"),  # the uplink of a PLX carries what the HCA and a GPU move: twice
        ("dgx-a100", 8 * 24.0, "hca", 4 * 24.0 / 2, "pcie"),  # two HCAs and two GPUs share an uplink
        ("dgx-h100", 18 * 20.6, "nvlink", 8 * STAGED_GB_S, "memory"),
    ],
)
def test_ring_between_hosts(name: str, direct: float, binds: str, staged: float, staged_binds: str) -> None:
    node = load_node(name)
    for offloads, expected, kind in ((ON, direct, binds), (STAGED, staged, staged_binds)):
        found = limits(node, "all_reduce", "Ring", 4, offloads)
        assert next(iter(found)) == kind
        assert found[kind] * ring_bus(32) == pytest.approx(expected)


def test_staged_bytes_are_in_memory_four_times() -> None:
    node = load_node("dgx-h100")
    slow = replace(node, links=tuple(replace(link, gb_s=100.0) if link.kind == ON_DIE else link for link in node.links))
    assert limits(slow, "all_reduce", "Ring", 4, STAGED)["memory"] * ring_bus(32) == pytest.approx(2 * 100 / 4)


def test_ring_names_the_shared_uplink() -> None:
    node = load_node("dgx-1-v100")
    assert inside_limits(node, "all_reduce", "Ring", 2, 16, node.hcas, STAGED)[0].name == "PLX0 -> ROOT0"


@pytest.mark.parametrize(
    ("name", "gb_s"),
    [
        ("dgx-1-v100", 6 * 20.0),  # three rings, both ways
        ("dgx-1-p100", 4 * 18.0),  # two
        ("dgx-2", 6 * 20.0),
        ("dgx-a100", 12 * 20.0),
        ("dgx-h100", 18 * 20.6),
    ],
)
def test_ring_in_one_host_uses_all_nvlinks(name: str, gb_s: float) -> None:
    node = load_node(name)
    n = len(node.gpus)
    assert limits(node, "all_reduce", "Ring", 1, hcas=())["nvlink"] * ring_bus(n) == pytest.approx(gb_s)
    assert limits(node, "all_gather", "Ring", 1, hcas=())["nvlink"] * (n - 1) / n == pytest.approx(gb_s)
    assert limits(node, "broadcast", "Ring", 1, hcas=())["nvlink"] == pytest.approx(gb_s)


def test_nvls_closed_forms() -> None:
    node, gb_s = load_node("dgx-h100"), 18 * 20.6
    assert limits(node, "all_reduce", "NVLS", 1, hcas=())["nvlink"] == pytest.approx(gb_s / (1 + 1 / 8))
    assert limits(node, "all_gather", "NVLS", 1, hcas=())["nvlink"] == pytest.approx(gb_s)
    four = limits(node, "all_reduce", "NVLS", 4, hcas=node.hcas[::2])
    assert four["nvlink"] == pytest.approx(gb_s / (1 + 1 / 4))
    assert four["hca"] == pytest.approx(4 * 48)


def test_collnet_closed_forms() -> None:
    node, gb_s = load_node("dgx-a100"), 12 * 20.0
    assert limits(node, "all_reduce", "CollNetDirect", 4)["nvlink"] == pytest.approx(gb_s / (2 * 7 / 8))
    assert limits(node, "all_reduce", "CollNetDirect", 4)["hca"] == pytest.approx(8 * 24)
    half = limits(node, "all_reduce", "CollNetDirect", 4, hcas=node.hcas[::2])
    assert half["nvlink"] == pytest.approx(gb_s / (7 / 4 + 3 / 4))
    assert half["hca"] == pytest.approx(4 * 24)
    assert limits(node, "all_gather", "CollNetDirect", 4)["hca"] == pytest.approx(8 * 24)
    assert limits(node, "all_reduce", "CollNetChain", 4)["nvlink"] == pytest.approx(gb_s / (2 * 7 / 8))


def test_pat_with_one_rank_a_host() -> None:
    node = load_node("dgx-h100")
    (found, *_) = inside_limits(node, "all_gather", "PAT", 4, 4, node.hcas[:1], ON)
    assert found.kind == "hca"
    assert found.algbw_gb_s == pytest.approx(48 * 4 / 3)


@pytest.mark.parametrize(("n_nodes", "volume"), [(2, 1.0), (4, 2.0), (7, 2.0), (128, 2.0)])
def test_trees_load_hcas_as_the_fabric_model_says(n_nodes: int, volume: float) -> None:
    node = load_node("dgx-a100")
    shape = Shape(np.repeat(np.arange(n_nodes), 8), np.tile(np.arange(8), n_nodes))
    (round_,) = tree_algorithm.rounds(shape, "all_reduce")
    sent = np.bincount(np.asarray(round_.src).ravel(), np.broadcast_to(round_.share, np.shape(round_.src)).ravel())
    assert sent.max() * 8 == pytest.approx(volume)
    for algorithm in ("Tree", "NVLSTree"):
        assert limits(node, "all_reduce", algorithm, n_nodes)["hca"] == pytest.approx(8 * 24 / volume)


# What the ranks send, walked with networkx


def walked(node: NodeGraph, shape: Shape, schedule: Schedule) -> dict[tuple[str, str], float]:
    """Return the load of each directed link of node 0, with GPUDirect RDMA: shortest ways, NVLink among GPUs only."""
    kinds = {device.name: device.kind for device in node.devices}
    fast = nx.Graph((link.a, link.b) for link in node.links if link.kind == NVLINK)
    pcie = nx.Graph((link.a, link.b) for link in node.links if link.kind != NVLINK)
    loads: dict[tuple[str, str], float] = defaultdict(float)

    def move(a: str, b: str, volume: float) -> None:
        graph = fast if kinds[a] == kinds[b] == GPU and fast.has_node(a) else pcie
        for edge in pairwise(nx.shortest_path(graph, a, b)):
            loads[edge] += volume

    local = shape.members[0].tolist()
    for step in schedule.steps:
        for src, dst, count in zip(step.src.tolist(), step.dst.tolist(), step.count.tolist(), strict=True):
            volume, here, there = count / schedule.pieces, src in local, dst in local
            if here and there and src != dst:
                move(node.gpus[src], node.gpus[dst], volume)
            elif here and not there:
                move(node.gpus[src], node.hcas[shape.rail[src]], volume)
            elif there and not here:
                move(node.hcas[shape.rail[dst]], node.gpus[dst], volume)
    return loads


def slowest(node: NodeGraph, loads: dict[tuple[str, str], float]) -> dict[str, float]:
    kinds = {device.name: device.kind for device in node.devices}
    found: dict[str, float] = {}
    for link in node.links:
        for edge in ((link.a, link.b), (link.b, link.a)):
            kind = HCA if HCA in (kinds[link.a], kinds[link.b]) else link.kind
            if loads.get(edge) and link.kind != ON_DIE:
                found[kind] = min(found.get(kind, float("inf")), link.gb_s / loads[edge])
    return found


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(algorithm, name) for name in ("dgx-a100", "dgx-h100", "gb200-nvl72") for algorithm in ("pairwise", "pxn")]
    + [("pairwise", "dgx-2")],  # two GPUs an HCA: with PXN both send by themselves, the schedule lets the first one send for both
)
@pytest.mark.parametrize("n_nodes", [1, 2, 3])
def test_alltoall_against_what_is_sent(name: str, algorithm: str, n_nodes: int) -> None:
    node = load_node(name)
    own = host_of(node, len(node.gpus), node.hcas, ON, "P2C", alone=False).own_hcas
    rail = np.array([node.hcas.index(own[gpu]) for gpu in node.gpus])
    shape = Shape(np.repeat(np.arange(n_nodes), len(node.gpus)), np.tile(rail, n_nodes))
    made = {"pairwise": pairwise_algorithm, "pxn": pxn_algorithm}[algorithm].schedule(shape, "alltoall")
    expected = slowest(node, walked(node, shape, made))
    assert limits(node, "alltoall", algorithm, n_nodes) == pytest.approx(expected)


@pytest.mark.parametrize("operation", ["all_reduce", "reduce_scatter", "all_gather"])
def test_rings_against_what_is_sent(operation: str) -> None:
    node = load_node("dgx-a100")
    shape = Shape(np.repeat([0, 1, 2], 8), np.tile(np.arange(8), 3))
    loads = walked(node, shape, ring_algorithm.schedule(shape, operation))
    enters = {hca: sum(load for (a, _), load in loads.items() if a == hca) for hca in node.hcas}
    assert limits(node, operation, "Ring", 3)["hca"] == pytest.approx(24 / max(enters.values()))


def links_of(node: NodeGraph, operation: str, algorithm: str, n_nodes: int, n_hcas: int) -> dict[tuple[str, str], float]:
    """Return the load of each directed link of a host, all GPUs taking part."""
    n_gpus = len(node.gpus)
    loads = Loads(host_of(node, n_gpus, node.hcas[:n_hcas], ON, "P2C", alone=n_nodes == 1))
    load(loads, Group(n_nodes, n_nodes * n_gpus), operation, algorithm)
    return {(sender, link.b if link.a == sender else link.a): volume for (link, sender), volume in loads.links.items() if volume}


@pytest.mark.parametrize("operation", ["all_reduce", "reduce_scatter", "all_gather"])
@pytest.mark.parametrize(("n_nodes", "n_hcas"), [(1, 0), (4, 8), (4, 4)])
def test_nvls_slice_by_slice(operation: str, n_nodes: int, n_hcas: int) -> None:
    """The switch reads a slice from every GPU and gives its head the sum; the head writes a slice and the switch gives it to all."""
    node = load_node("dgx-h100")
    heads = node.gpus if n_nodes == 1 else node.gpus[:: 8 // n_hcas] if n_hcas == 8 else node.gpus[:4]
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for head in heads:
        slice_ = 1 / len(heads)
        if operation != "all_gather":
            for gpu in node.gpus:
                expected[gpu, "NVSWITCH"] += slice_
            expected["NVSWITCH", head] += slice_
        if operation != "reduce_scatter":
            expected[head, "NVSWITCH"] += slice_
            for gpu in node.gpus:
                expected["NVSWITCH", gpu] += slice_
    found = links_of(node, operation, "NVLS", n_nodes, n_hcas)
    assert {edge: volume for edge, volume in found.items() if "NVSWITCH" in edge} == pytest.approx(expected)


@pytest.mark.parametrize("algorithm", ["CollNetDirect", "NVLS"])
@pytest.mark.parametrize(
    ("operation", "sent", "received"), [("all_reduce", 1, 1), ("reduce_scatter", 1, 1 / 4), ("all_gather", 1 / 4, 1)]
)
def test_what_crosses_hcas_that_leave_reducing_to_switches(algorithm: str, operation: str, sent: float, received: float) -> None:
    node = load_node("dgx-a100")
    found = links_of(node, operation, algorithm, 4, 8)
    for hca, switch in zip(node.hcas, sorted([*node.of_kind("pcie-switch")] * 2), strict=True):
        assert found[switch, hca] == pytest.approx(sent / 8)
        assert found[hca, switch] == pytest.approx(received / 8)


@pytest.mark.parametrize(
    ("operation", "what", "volume"),
    [("all_gather", "what it receives", 1.0), ("reduce_scatter", "what it sends", 1.0), ("all_gather", "what it sends", 1 / 4)],
)
def test_what_an_hca_moves_of_staged_data(operation: str, what: str, volume: float) -> None:
    node = load_node("dgx-a100")
    loads = Loads(host_of(node, 8, node.hcas, STAGED, "P2C", alone=False))
    load(loads, Group(4, 32), operation, "NVLS")
    found = {limit.name: limit.algbw_gb_s for limit in loads.limits()}
    assert found[f"staging for mlx5_0: {what}"] == pytest.approx(8 * STAGED_GB_S / volume)


# What must hold for every host


NODES = [load_node(name) for name in node_names()]
CASES = [
    (operation, algorithm) for algorithm, (_, operations) in TRAFFIC.items() for operation in operations if algorithm != "PAT"
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
@pytest.mark.parametrize("n_nodes", [2, 5])
def test_staging_is_never_faster(node: NodeGraph, n_nodes: int) -> None:
    for operation, algorithm in CASES:
        try:
            direct = limits(node, operation, algorithm, n_nodes)
        except RefusedError:
            continue
        assert min(limits(node, operation, algorithm, n_nodes, STAGED).values()) <= min(direct.values()) * (1 + 1e-9)


@pytest.mark.parametrize("node", [node for node in NODES if node.gpus and node.hcas], ids=lambda node: node.name)
def test_chains_pass_every_gpu_and_end_near_their_hcas(node: NodeGraph) -> None:
    for hcas in (node.hcas, node.hcas[::2], node.hcas[:1]):
        host = host_of(node, len(node.gpus), hcas, ON, "P2C", alone=False)
        found = chains(host)
        assert [way.hca for way in found] == list(hcas)
        for way in found:
            assert sorted(way.ranks) == sorted(node.gpus)
            near = host.near(way.hca)
            assert way.ranks[0] in near
            assert way.ranks[-1] in near or len(near) == 1


@pytest.mark.parametrize("node", [node for node in NODES if node.gpus], ids=lambda node: node.name)
@pytest.mark.parametrize("n_gpus", [1, 2, 3, 4, 5, 8])
def test_rings_share_no_nvlink(node: NodeGraph, n_gpus: int) -> None:
    if n_gpus > len(node.gpus):
        pytest.skip("it has fewer GPUs")
    host = host_of(node, n_gpus, (), ON, "P2C", alone=True)
    found = rings(host)
    assert all(sorted(way.ranks) == sorted(host.ranks) for way in found)
    if len(found) > 2:
        edges = Counter(edge for way in found for edge in pairwise((*way.ranks, way.ranks[0])))
        assert all(count <= host.mesh[frozenset(edge)] for edge, count in edges.items())


def test_a_mesh_that_has_no_rings_is_given_up_on() -> None:
    """Fifteen GPUs around a sixteenth, well joined, but by one link to the last: the search must end."""
    gpus = tuple(f"GPU{number}" for number in range(16))
    links = [NodeLink(a, b, NVLINK, 20.0) for a, b in combinations(gpus[:15], 2)]
    links += [NodeLink(gpus[15], gpus[0], NVLINK, 40.0, count=2)]
    host = host_of(
        NodeGraph("wheel", "wheel", tuple(Device(gpu, GPU) for gpu in gpus), tuple(links)), 16, (), ON, "P2C", alone=True
    )
    assert [way.ranks for way in rings(host)] == [gpus, gpus[::-1]]


def test_the_cube_meshes_fall_into_as_many_rings_as_they_have_links() -> None:
    for name, links in (("dgx-1-v100", 6), ("dgx-1-p100", 4)):
        host = host_of(load_node(name), 8, (), ON, "P2C", alone=True)
        found = rings(host)
        assert len(found) == links
        used = Counter(edge for way in found for edge in pairwise((*way.ranks, way.ranks[0])))
        assert used == Counter({edge: n for pair, n in host.mesh.items() for edge in (tuple(pair), tuple(pair)[::-1])})


@settings(deadline=None, max_examples=40)
@given(
    node=st.sampled_from([node for node in NODES if node.hcas]),
    case=st.sampled_from(CASES),
    factor=st.floats(0.5, 8),
    gdr=st.booleans(),
    n_nodes=st.integers(2, 6),
)
def test_faster_links_raise_limits_alike(node: NodeGraph, case: tuple[str, str], factor: float, gdr: bool, n_nodes: int) -> None:
    faster = replace(node, links=tuple(replace(link, gb_s=link.gb_s * factor) for link in node.links))
    offloads = Offloads(gdr=gdr)
    try:
        before = limits(node, *case, n_nodes, offloads)
    except RefusedError:
        return
    after = limits(faster, *case, n_nodes, offloads)
    before.pop("memory", None), after.pop("memory", None)  # what an HCA was seen to move of staged data is no link's
    assert {kind: gb_s * factor for kind, gb_s in before.items()} == pytest.approx(after)


def test_one_hca_less_takes_its_share() -> None:
    node = load_node("dgx-1-v100")
    for count in (1, 2, 4):
        found = limits(node, "all_reduce", "Ring", 4, hcas=node.hcas[:count])
        assert found["hca"] * ring_bus(32) == pytest.approx(12 * count)


def test_fewer_ranks_take_gpus_near_the_hcas_in_use() -> None:
    node = load_node("dgx-1-v100")
    assert host_of(node, 4, node.hcas, ON, "P2C", alone=False).node.gpus == ("GPU0", "GPU2", "GPU4", "GPU6")
    assert host_of(node, 4, node.hcas[:2], ON, "P2C", alone=False).node.gpus == ("GPU0", "GPU1", "GPU2", "GPU3")
    found = {
        limit.kind: limit.algbw_gb_s * ring_bus(8) for limit in inside_limits(node, "all_reduce", "Ring", 2, 8, node.hcas, ON)
    }
    assert found["hca"] == pytest.approx(48)
    assert found["nvlink"] == pytest.approx(40)  # 16 hops of a quarter each, PXN's included, on 8 directions of 20 GB/s


def test_gpus_without_peer_to_peer_use_host_memory() -> None:
    assert {"smp", "memory", "pcie"} <= set(limits(load_node("big-sur"), "all_reduce", "Ring", 1, hcas=()))


def test_hosts_without_gpus_send_from_memory() -> None:
    node = load_node("cpu-server")
    found = inside_limits(node, "all_reduce", "Ring", 4, 4 * 28, node.hcas, ON)
    assert found[0].kind in ("hca", "smp")
    alltoall = {limit.kind: limit.algbw_gb_s for limit in inside_limits(node, "alltoall", "pairwise", 4, 8, node.hcas, ON)}
    assert alltoall["hca"] == pytest.approx(12 / (2 * 6 / 8))


def test_two_gpus_of_an_amd_host_are_peers_wherever_they_are() -> None:
    node = replace(load_node("big-sur"), cpu_vendor="amd")
    assert "memory" in limits(node, "all_reduce", "Ring", 1, hcas=())
    assert [limit.kind for limit in inside_limits(node, "all_reduce", "Ring", 1, 2, (), ON)] == ["pcie"]
    ends = replace(
        node, devices=tuple(device for device in node.devices if device.kind != GPU or device.name in ("GPU0", "GPU7"))
    )
    ends = replace(
        ends, links=tuple(link for link in ends.links if not {link.a, link.b} & {f"GPU{number}" for number in range(1, 7)})
    )
    assert {limit.kind for limit in inside_limits(ends, "all_reduce", "Ring", 1, 2, (), ON)} == {"pcie", "smp"}


def test_amd_roots_hold_what_hcas_read() -> None:
    node = through_root("epyc", "A100", "amd", 24, 24)
    (first, *_) = inside_limits(node, "all_reduce", "Ring", 2, 2, node.hcas, ON, "PHB")
    assert first.name == "mlx5_0 reads GPU0 through a root"
    assert first.algbw_gb_s == pytest.approx(6.1)
    loads = Loads(host_of(node, 1, node.hcas, ON, "PHB", alone=False))
    loads.receive("mlx5_0", "GPU0", 1.0)
    assert min(limit.algbw_gb_s for limit in loads.limits()) == pytest.approx(24)


def test_ranks_of_one_host_are_its_first_gpus() -> None:
    node = load_node("dgx-1-v100")
    assert host_of(node, 4, node.hcas, ON, "P2C", alone=True).node.gpus == ("GPU0", "GPU1", "GPU2", "GPU3")


def test_raised_level_meets_the_root() -> None:
    node = load_node("big-basin")
    direct = limits(node, "all_reduce", "Ring", 2, gdr_level="PHB")
    assert direct["pcie"] * ring_bus(16) == pytest.approx(12 * 5 / 6)


def test_unknown_bandwidths_do_not_bind() -> None:
    node = load_node("dgx-1-v100")
    dark = replace(node, links=tuple(replace(link, gb_s=0.0) if link.kind == PCIE else link for link in node.links))
    assert set(limits(dark, "all_reduce", "Ring", 2)) == {"nvlink"}
    nvswitch = load_node("dgx-a100")
    dark = replace(nvswitch, links=tuple(replace(link, gb_s=0.0) for link in nvswitch.links))
    assert limits(dark, "all_reduce", "NVLS", 1, hcas=()) == {}


@pytest.mark.parametrize(
    ("name", "operation", "algorithm", "n_nodes", "n_ranks", "error", "words"),
    [
        ("dgx-1-v100", "all_reduce", "NVLS", 1, 8, RefusedError, "needs NVSwitches"),
        ("dgx-1-v100", "all_reduce", "CollNetDirect", 2, 16, RefusedError, "CollNetChain works"),
        ("dgx-1-v100", "all_reduce", "Ring", 2, 32, RefusedError, "has 8 GPUs"),
        ("dgx-1-v100", "all_reduce", "Butterfly", 2, 16, UsageError, "unknown algorithm"),
        ("dgx-1-v100", "broadcast", "Tree", 2, 16, UsageError, "does not do broadcast"),
        ("dgx-1-v100", "all_reduce", "PAT", 2, 16, UsageError, "does not do all_reduce"),
        ("dgx-1-v100", "all_gather", "PAT", 2, 16, UsageError, "one rank per host"),
        ("dgx-1-v100", "all_reduce", "CollNetChain", 1, 8, UsageError, "joins several hosts"),
        ("dgx-1-v100", "all_reduce", "Ring", 3, 16, UsageError, "evenly"),
        ("big-sur", "alltoall", "pxn", 2, 16, RefusedError, "NVLink"),
    ],
)
def test_refusals(
    name: str, operation: str, algorithm: str, n_nodes: int, n_ranks: int, error: type[Exception], words: str
) -> None:
    node = load_node(name)
    with pytest.raises(error, match=words):
        inside_limits(node, operation, algorithm, n_nodes, n_ranks, node.hcas, ON)


def test_what_is_missing_is_named() -> None:
    node = load_node("dgx-1-v100")
    with pytest.raises(UsageError, match="no HCA 'mlx5_9'"):
        inside_limits(node, "all_reduce", "Ring", 2, 16, ["mlx5_9"], ON)
    with pytest.raises(RefusedError, match="nothing leaves it"):
        inside_limits(node, "all_reduce", "Ring", 2, 16, [], ON)
    kinds = {device.name: device.kind for device in node.devices}
    headless = replace(
        node,
        devices=tuple(device for device in node.devices if device.kind != CPU),
        links=tuple(link for link in node.links if CPU not in (kinds[link.a], kinds[link.b])),
    )
    assert min(limits(headless, "all_reduce", "Ring", 2).values()) * ring_bus(16) == pytest.approx(48)
    with pytest.raises(RefusedError, match="staged"):
        limits(headless, "all_reduce", "Ring", 2, STAGED)


@pytest.mark.parametrize(
    ("name", "gdr", "level"), [("dgx-1-v100", True, "P2C"), ("dgx-h100", False, "P2C"), ("big-basin", True, "SYS")]
)
def test_two_halves_load_as_the_whole(name: str, gdr: bool, level: str) -> None:
    node = load_node(name)
    host = host_of(node, 8, node.hcas, Offloads(gdr=gdr), level, alone=False)
    one, two = Loads(host), Loads(host)
    load(one, Group(3, 24), "all_reduce", "Ring")
    two.add(one, 0.25)
    two.add(one, 0.75)
    expected = {limit.name: limit.algbw_gb_s for limit in one.limits()}
    assert {limit.name: limit.algbw_gb_s for limit in two.limits()} == pytest.approx(expected)
    assert {limit.kind for limit in host_limits(two)} == {limit.kind for limit in one.limits()}


def test_nvswitch_planes_add_up() -> None:
    node = load_node("dgx-a100")
    plain = [link for link in node.links if link.kind != NVLINK]
    planes = [device for device in node.devices if device.kind == NVSWITCH]
    split = [replace(link, gb_s=link.gb_s / 2, count=6) for link in node.links if link.kind == NVLINK]
    second = [replace(link, b="NVSWITCH2") for link in split]
    two = replace(node, devices=(*node.devices, replace(planes[0], name="NVSWITCH2")), links=(*plain, *split, *second))
    assert limits(two, "all_reduce", "NVLS", 1, hcas=()) == pytest.approx(limits(node, "all_reduce", "NVLS", 1, hcas=()))
