"""The graph search: channels as NCCL logs them, against brute force on small nodes, and NVLink's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.bench.nccl.attempt import STEPS, Attempt
from fabctl.bench.nccl.graphs import BALANCED_TREE, RING, TREE, Graph
from fabctl.bench.nccl.heads import nvls_channels
from fabctl.bench.nccl.machine import Hop, Machine, machine
from fabctl.bench.nccl.search import search_channels
from fabctl.bench.nccl.tuner import Tuner
from fabctl.model.node_graph import CPU, GPU, HCA, NVLINK, ON_DIE, PCIE, PCIE_SWITCH, ROOT, SMP, Device, NodeGraph, NodeLink
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import PathType
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names

PAGE = Path(__file__).resolve().parents[2] / "docs/models.md"
Loads = list[tuple[Hop, float]]


def mesh(counts: dict[tuple[int, int], int], *, pcie: float = 12.0, hcas: int = 0) -> NodeGraph:
    """Return a node of four V100 with so many NVLinks between each two, two GPUs on each PCIe switch, an HCA beside them."""
    devices = [Device(f"GPU{i}", GPU, "V100") for i in range(4)]
    devices += [Device(f"mlx5_{i}", HCA, "ConnectX-4") for i in range(hcas)]
    devices += [Device(f"PLX{i}", PCIE_SWITCH) for i in range(2)] + [Device("ROOT0", ROOT), Device("CPU0", CPU)]
    links = [NodeLink(f"GPU{a}", f"GPU{b}", NVLINK, 20.0 * n, count=n) for (a, b), n in counts.items() if n]
    links += [NodeLink(f"GPU{i}", f"PLX{i // 2}", PCIE, pcie) for i in range(4)]
    links += [NodeLink(f"mlx5_{i}", f"PLX{i}", PCIE, pcie) for i in range(hcas)]
    links += [NodeLink(f"PLX{i}", "ROOT0", PCIE, pcie) for i in range(2)] + [NodeLink("ROOT0", "CPU0", ON_DIE, 80.0)]
    return NodeGraph("mesh", "a mesh", tuple(devices), tuple(links), cpu_vendor="intel")


LOGS = [
    ("dgx-a100", 1, 8, 0, 0.0, Offloads(), 24),  # nccl-tests issue 100: "Channel 19/24"
    ("dgx-h100", 1, 8, 0, 0.0, Offloads(), 24),  # nccl issue 1259: 24 coll channels
    ("dgx-2", 1, 8, 0, 0.0, Offloads(), 12),  # nccl issue 507: trees 0 to 11, 8 of the 16 GPUs
    ("dgx-h100", 3, 8, 8, 25.0, Offloads(), 16),  # nccl issue 1453: 16 coll channels
    ("dgx-h100", 2, 8, 4, 0.0, Offloads(), 16),  # nccl issue 1357: 16 trees on four ports
]


@pytest.mark.parametrize(("node", "n_nodes", "gpus", "n_hcas", "port_gb_s", "offloads", "channels"), LOGS)
def test_channels_as_nccl_logs_them(
    node: str, n_nodes: int, gpus: int, n_hcas: int, port_gb_s: float, offloads: Offloads, channels: int
) -> None:
    graph = load_node(node)
    hcas = graph.hcas[:: len(graph.hcas) // n_hcas] if n_hcas else graph.hcas
    assert Tuner(graph, n_nodes, gpus, offloads, hcas=hcas, port_gb_s=port_gb_s).channels == channels


def test_two_gpus_across_sockets() -> None:
    """nccl issue 1358: ``Pattern 4, nChannels 1, bw 10.000000/10.000000, type SYS/PIX, sameChannels 1``."""
    devices = [Device(f"GPU{i}", GPU, "V100") for i in range(2)]
    devices += [Device(f"{kind}{i}", kind) for kind in (ROOT, CPU) for i in range(2)]
    links = [NodeLink("cpu0", "cpu1", SMP, 10.0)]
    links += [NodeLink(f"GPU{i}", f"root{i}", PCIE, 24.0) for i in range(2)]
    links += [NodeLink(f"root{i}", f"cpu{i}", ON_DIE, 100.0) for i in range(2)]
    node = NodeGraph("two", "two GPUs", tuple(devices), tuple(links), cpu_vendor="intel")
    ring = Tuner(node, 1, 2, Offloads()).ring
    assert (ring.channels, ring.label, ring.same) == (1, "1 channels x 10/10 GB/s, SYS/PIX", True)


def test_four_gpus_on_two_sockets_and_four_ports_of_10_gb_s() -> None:
    """nccl issue 601: ``Pattern 4, crossNic 0, nChannels 4, speed 1.200000/1.200000, type SYS/SYS``."""
    devices = [Device(f"GPU{i}", GPU, "V100") for i in range(4)] + [Device(f"net{i}", HCA) for i in range(4)]
    devices += [Device(f"{kind}{i}", kind) for kind in (ROOT, CPU) for i in range(2)]
    links = [NodeLink("cpu0", "cpu1", SMP, 10.0)] + [NodeLink(f"root{i}", f"cpu{i}", ON_DIE) for i in range(2)]
    links += [NodeLink(f"{name}{i}", f"root{i // 2}", PCIE, 12.0) for name in ("GPU", "net") for i in range(4)]
    node = NodeGraph("sockets", "four GPUs", tuple(devices), tuple(links), cpu_vendor="intel")
    ring = Tuner(node, 2, 4, Offloads(), port_gb_s=1.25).ring
    assert (ring.label, ring.cross_nic) == ("4 channels x 1.2/1.2 GB/s, SYS/SYS", False)


def test_four_v100_in_a_mesh_of_two_nvlinks() -> None:
    """nccl issue 713: six channels, each over single links (22 GB/s then, 20 now)."""
    ring = Tuner(mesh(dict.fromkeys(PAIRS, 2)), 1, 4, Offloads()).ring
    assert (ring.channels, ring.intra_gb_s) == (6, 20.0)


@pytest.mark.parametrize(
    ("node", "label"),
    [
        ("dgx-1-p100", "4 channels x 12/12 GB/s, NVL/PIX"),
        ("dgx-1-v100", "4 channels x 12/12 GB/s, NVL/PIX"),
        ("dgx-2", "8 channels x 12/12 GB/s, NVL/PIX"),
        ("dgx-a100", "8 channels x 24/24 GB/s, NVL/PIX"),
        ("dgx-h100", "8 channels x 48/48 GB/s, NVL/PIX"),
    ],
)
def test_every_port_gets_its_ring(node: str, label: str) -> None:
    graph = load_node(node)
    assert Tuner(graph, 4, len(graph.gpus), Offloads()).ring.label == label


def graph_text(graph: Graph) -> str:
    inter = "" if graph.inter_gb_s == graph.intra_gb_s else f"/{graph.inter_gb_s:g}"
    return f"{graph.channels} x {graph.intra_gb_s:g}{inter}" if graph.channels else "-"


@pytest.mark.parametrize("name", [name for name in node_names() if load_node(name).gpus and not name.startswith("big-basin-")])
def test_the_page_has_the_channels_of_every_node(name: str) -> None:
    node = load_node(name)
    inside, several, staged = (
        Tuner(node, n_nodes, len(node.gpus), Offloads(gdr=gdr)) for n_nodes, gdr in ((1, True), (4, True), (4, False))
    )
    ring = several.ring
    way = f"{graph_text(ring)}, {ring.intra.name}/{ring.inter.name}{', crossing ports' if ring.cross_nic else ''}"
    cells = (name, graph_text(inside.ring), way, graph_text(several.tree), graph_text(several.nvls), graph_text(staged.ring))
    assert f"| {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8")


def test_rings_cross_ports_where_nvlink_would_not_carry_the_way_back() -> None:
    """Eight rings of 48 GB/s that all go back over NVLink to the port they came by need 384 of 370.8 GB/s."""
    assert Tuner(load_node("dgx-h100"), 4, 8, Offloads()).ring.cross_nic
    assert not Tuner(load_node("dgx-a100"), 4, 8, Offloads()).ring.cross_nic


PAIRS = [(a, b) for a in range(4) for b in range(a)]
counts = st.fixed_dictionaries({pair: st.integers(0, 2) for pair in PAIRS})


def most_channels(ways: list[Loads], capacity: dict[Hop, float]) -> int:
    """Return how many of the ways, each as often as one likes, fit together: by trying all."""

    def best(first: int, left: dict[Hop, float]) -> int:
        most = 0
        for i in range(first, len(ways)):
            rest = dict(left)
            for hop, gb_s in ways[i]:
                rest[hop] -= gb_s
            if min(rest.values()) >= -1e-3:
                most = max(most, 1 + best(i, rest))
        return most

    return best(0, capacity)


def loads(used: Machine, ends: list[tuple[str, str, float]]) -> Loads:
    return [(hop, share * gb_s) for a, b, gb_s in ends for hop, share in used.ways[a, b].loads]


def inside(used: Machine, pattern: str, speed: float) -> Iterator[Loads]:
    """Yield the loads of every ring or chain over NVLink."""
    for order in permutations(used.gpus):
        steps = list(pairwise(order)) + ([(order[-1], order[0])] if pattern == RING else [])
        if (pattern == TREE or order[0] == "GPU0") and all(used.ways[step].type == PathType.NVL for step in steps):
            yield loads(used, [(a, b, speed) for a, b in steps])


def check(attempt: Attempt, most: int) -> None:
    """An attempt never finds more than there is, and all of it unless it gave up."""
    found = attempt.run()
    assert found == most or (found < most and attempt.taken >= STEPS)


@settings(max_examples=40, deadline=None)
@given(counts, st.sampled_from([RING, TREE]), st.sampled_from([10.0, 20.0, 40.0]))
def test_as_many_channels_as_brute_force_finds(links: dict[tuple[int, int], int], pattern: str, speed: float) -> None:
    used = machine(mesh(links), 70, 4, (), 0.0, Offloads())
    expected = most_channels(list(inside(used, pattern, speed)), used.capacity)
    check(Attempt(used, Graph(pattern, 0, speed, speed, PathType.NVL, PathType.PIX, same=False), expected + 1), expected)


def outside(used: Machine, speed: float) -> Iterator[Loads]:
    """Yield the loads of every ring that comes from a port and goes back to it by PCIe switches alone."""
    for hca in used.hcas:
        for order in permutations(used.gpus):
            steps = list(pairwise(order))
            back = used.ways[order[-1], hca].type <= PathType.PIX
            if order[0] in used.near[hca] and back and all(used.ways[step].type == PathType.NVL for step in steps):
                yield loads(used, [(hca, order[0], speed), *((a, b, speed) for a, b in steps), (order[-1], hca, speed)])


@settings(max_examples=30, deadline=None)
@given(counts, st.sampled_from([4.0, 6.0, 12.0]), st.sampled_from([12.0, 24.0]))
def test_as_many_rings_over_ports_as_brute_force_finds(links: dict[tuple[int, int], int], speed: float, pcie: float) -> None:
    used = machine(mesh(links, pcie=pcie, hcas=2), 70, 4, ("mlx5_0", "mlx5_1"), 12.5, Offloads())
    ways = list(outside(used, speed))
    expected = most_channels(ways, used.capacity)
    check(Attempt(used, Graph(RING, 0, speed, speed, PathType.NVL, PathType.PIX, same=False), expected + 1), expected)


@settings(max_examples=40, deadline=None)
@given(counts, st.sampled_from([RING, BALANCED_TREE, TREE]), st.integers(0, 2))
def test_whatever_is_found_stays_within_links_and_ports(links: dict[tuple[int, int], int], pattern: str, hcas: int) -> None:
    node = mesh(links, hcas=hcas)
    used = machine(node, 70, 4, node.hcas, 12.5, Offloads())
    graph = search_channels(used, pattern)
    assert graph.channels >= 1
    if hcas:
        assert graph.channels * graph.inter_gb_s <= 12.5 * hcas + 1e-6
    assert graph.channels * graph.intra_gb_s <= 4 / 3 * max(used.total_gb_s, 24.0) + 1e-6


@pytest.mark.parametrize("gpus", range(2, 9))
def test_heads_of_nvls_fit_the_nvlinks(gpus: int) -> None:
    """Each head takes its bandwidth twice, all others once, both ways (`ncclTopoSearchTryNvls`)."""
    node = load_node("dgx-h100")
    used = machine(node, 90, gpus, (), 0.0, Offloads())
    graph = nvls_channels(used)
    assert graph.channels == gpus
    sent = [sum(graph.intra_gb_s * (2 if head == gpu else 1) for head in range(gpus)) for gpu in range(gpus)]
    assert max(sent) <= used.nvlink_gb_s
    assert graph.intra_gb_s == 60 or max(sent) * 60 / 50 >= 0.9 * used.nvlink_gb_s


def test_heads_pay_for_staging_too() -> None:
    """Without GPUDirect RDMA what a head sends and receives passes the link between PCIe switch and CPU twice."""
    node = load_node("dgx-h100")
    assert [Tuner(node, 4, 8, Offloads(gdr=gdr)).nvls.inter_gb_s for gdr in (True, False)] == [48, 20]


def test_no_way_at_all_is_a_simple_order() -> None:
    """GPUs that nothing joins: NCCL falls back to one channel of 0.1 GB/s."""
    node = NodeGraph("apart", "two GPUs apart", (Device("GPU0", GPU, "V100"), Device("GPU1", GPU, "V100")), ())
    ring = Tuner(node, 1, 2, Offloads()).ring
    assert (ring.channels, ring.intra_gb_s) == (1, 0.1)


def test_an_hca_that_nothing_joins_is_a_simple_order_too() -> None:
    node = mesh(dict.fromkeys(PAIRS, 1), hcas=1)
    apart = replace(node, links=tuple(link for link in node.links if "mlx5_0" not in (link.a, link.b)))
    assert Tuner(apart, 2, 4, Offloads()).ring.inter_gb_s == 0.1


def test_links_of_unknown_bandwidth_count_as_in_nccl() -> None:
    """What `nvidia-smi topo -m` does not tell: NVLinks by the GPU, PCIe as Gen3 x16."""
    for name in ("dgx-1-v100", "dgx-1-p100"):
        node = load_node(name)
        unknown = replace(node, links=tuple(replace(link, gb_s=0.0) for link in node.links))
        for n_nodes in (1, 4):
            ring, same = (Tuner(graph, n_nodes, 8, Offloads()).ring for graph in (node, unknown))
            assert ring.label == same.label


def test_an_hca_that_may_not_reach_the_gpu_goes_through_the_cpu() -> None:
    """As far as NCCL's graph goes: over PCIe switches; what passes a root anyway is the same with and without."""
    for name, differs in (("dgx-1-v100", True), ("big-basin", False)):
        node = load_node(name)
        ways = [machine(node, 70, 8, node.hcas, 12.5, Offloads(gdr=gdr)).ways["mlx5_0", "GPU0"] for gdr in (True, False)]
        assert (ways[0] != ways[1]) == differs
    assert ways[1].type == PathType.PHB
