"""Paths inside hosts against networkx, NCCL's types, nvidia-smi's matrices, and which HCA serves which GPU."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations
from pathlib import Path as FilePath

import networkx as nx
import pytest

from fabctl.errors import UsageError
from fabctl.model.node_graph import GPU, HCA, NVLINK, PCIE, PCIE_SWITCH, Device, NodeGraph, NodeLink
from fabctl.nodes.matrix import matrix, relation
from fabctl.nodes.paths import PathType, find_path, nearest_hcas, pcie_path, pxn_relays, serving_hcas
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names

NODES = {name: load_node(name) for name in node_names()}


def simple_paths(node: NodeGraph, a: str, b: str) -> list[list[str]]:
    """Every way that NCCL's rules allow, by brute force over networkx's simple paths."""
    graph = nx.Graph((link.a, link.b, {"link": link}) for link in node.links)
    both_gpus = node.kind_of[a] == node.kind_of[b] == GPU

    def allowed(path: list[str]) -> bool:
        inner = path[1:-1]
        if any(node.kind_of[device] == HCA for device in inner):
            return False
        passing = [device for device in inner if node.kind_of[device] == GPU]
        nvlink = all(graph.edges[pair]["link"].kind == NVLINK for pair in pairwise(path))
        return not passing or (both_gpus and nvlink and len(path) == 3)

    return [path for path in nx.all_simple_paths(graph, a, b, cutoff=8) if allowed(path)]


@pytest.mark.parametrize("name", ["dgx-1-v100", "dgx-1-p100", "dgx-a100", "gb200-nvl72", "big-sur", "cpu-server"])
def test_a_path_is_the_widest_of_the_shortest(name: str) -> None:
    node = NODES[name]
    width = {frozenset((link.a, link.b)): link.gb_s for link in node.links}

    def score(path: list[str]) -> tuple[int, float]:
        return len(path), -min(width[frozenset(pair)] for pair in pairwise(path))

    for a, b in combinations((*node.gpus[:3], *node.gpus[-2:], *node.hcas[:1], *node.hcas[-1:]), 2):
        if a == b:
            continue
        found = find_path(node, a, b)
        best = min(score(path) for path in simple_paths(node, a, b))
        assert (len(found.devices), -found.gb_s) == best
        assert found.latency_us == pytest.approx(sum(link.latency_us for link in found.links))
        assert find_path(node, b, a).gb_s == found.gb_s


def test_types_of_a_dgx_1() -> None:
    node = NODES["dgx-1-v100"]
    types = {b: find_path(node, "GPU0", b).type.name for b in (*node.gpus, *node.hcas, "CPU0", "CPU1", "PLX0")}
    assert types == {
        "GPU0": "LOC", "GPU1": "NVL", "GPU2": "NVL", "GPU3": "NVL", "GPU4": "NVL", "GPU5": "NVB", "GPU6": "NVB", "GPU7": "NVB",
        "mlx5_0": "PIX", "mlx5_1": "PHB", "mlx5_2": "SYS", "mlx5_3": "SYS", "CPU0": "PHB", "CPU1": "SYS", "PLX0": "PIX",
    }  # fmt: skip
    assert find_path(node, "GPU0", "GPU5").gb_s == 20  # NV1 and NV2, whichever way
    assert find_path(node, "GPU0", "GPU3").gb_s == 40
    assert pcie_path(node, "GPU0", "GPU3").type is PathType.PHB


def test_types_of_the_others() -> None:
    assert find_path(NODES["dgx-2"], "GPU0", "mlx5_1").type is PathType.PXB
    assert find_path(NODES["dgx-h100"], "GPU0", "GPU7").type is PathType.NVL
    assert find_path(NODES["dgx-h100"], "GPU0", "mlx5_3").type is PathType.PHB
    tray = NODES["gb200-nvl72"]
    assert find_path(tray, "GPU0", "mlx5_0").type is PathType.P2C
    assert find_path(tray, "GPU0", "GRACE0").type is PathType.C2C
    assert find_path(tray, "GPU0", "mlx5_2").type is PathType.SYS
    assert find_path(NODES["big-basin"], "GPU0", "mlx5_0").type is PathType.PHB


def test_what_nothing_joins_has_no_links() -> None:
    node = NodeGraph("two", "two GPUs apart", (Device("GPU0", GPU), Device("GPU1", GPU)), ())
    path = find_path(node, "GPU0", "GPU1")
    assert (path.type, path.links) == (PathType.DIS, ())
    with pytest.raises(UsageError, match="no device 'GPU9'"):
        find_path(node, "GPU0", "GPU9")


def test_unknown_bandwidth_makes_a_path_unknown() -> None:
    devices = (Device("GPU0", GPU), Device("PLX0", PCIE_SWITCH), Device("mlx5_0", HCA))
    node = NodeGraph("n", "n", devices, (NodeLink("GPU0", "PLX0", PCIE, 12), NodeLink("PLX0", "mlx5_0", PCIE)))
    assert find_path(node, "GPU0", "mlx5_0").gb_s == 0


@pytest.mark.parametrize(
    ("name", "serving"),
    [
        ("dgx-1-v100", "0 0 1 1 2 2 3 3"),
        ("dgx-2", "0 0 1 1 2 2 3 3 6 6 7 7 8 8 9 9"),
        ("dgx-a100", "0 1 2 3 6 7 8 9"),
        ("dgx-h100", "0 3 4 5 6 9 10 11"),
        ("dgx-b200", "0 1 2 3 4 5 6 7"),
        ("gb200-nvl72", "0 1 2 3"),
        ("big-sur", "0 0 0 0 0 0 0 0"),
        ("cpu-server", ""),
    ],
)
def test_which_hca_serves_which_gpu(name: str, serving: str) -> None:
    assert serving_hcas(NODES[name]) == tuple(f"mlx5_{number}" for number in serving.split())


def test_every_hca_near_several_gpus_gets_its_share() -> None:
    """Four GPUs and four HCAs under one switch: each GPU one, in NCCL's order of mirrored bits."""
    devices = [Device(f"GPU{i}", GPU) for i in range(4)] + [Device(f"mlx5_{i}", HCA) for i in range(4)]
    links = tuple(NodeLink(device.name, "PLX0", PCIE, 12) for device in devices)
    node = NodeGraph("n", "n", (*devices, Device("PLX0", PCIE_SWITCH)), links)
    assert nearest_hcas(node, "GPU0") == node.hcas
    assert serving_hcas(node) == ("mlx5_0", "mlx5_2", "mlx5_1", "mlx5_3")


def test_pxn_goes_through_the_gpu_that_the_hca_serves() -> None:
    node = NODES["dgx-h100"]
    relays = pxn_relays(node)
    serving = dict(zip(serving_hcas(node), node.gpus, strict=True))
    assert relays == {(gpu, hca): serving[hca] for gpu in node.gpus for hca in node.hcas if serving[hca] != gpu}


def test_pxn_needs_a_direct_nvlink_and_a_gain() -> None:
    relays = pxn_relays(NODES["dgx-1-v100"])
    assert relays["GPU0", "mlx5_1"] == "GPU2"
    assert relays["GPU4", "mlx5_0"] == "GPU0"
    assert ("GPU5", "mlx5_0") not in relays  # NVB alone joins it with GPU0
    assert ("GPU1", "mlx5_0") not in relays  # under the same switch: nothing to gain
    assert pxn_relays(NODES["big-basin"]) == {}  # no GPU is near the HCA
    assert pxn_relays(NODES["cpu-server"]) == {}


# ---- nvidia-smi's matrix -------------------------------------------------------------------------------------------


def smi_cells(text: str) -> dict[tuple[str, str], str]:
    """Cells of a matrix that has nothing but devices and a CPU affinity."""
    lines = [line.split() for line in text.splitlines() if "\t" in line]
    columns = lines[0][: lines[0].index("CPU")]
    return {(row[0], column): cell for row in lines[1:] for column, cell in zip(columns, row[1:], strict=False)}


def test_the_matrix_of_a_real_dgx_1(fixtures: FilePath) -> None:
    printed = smi_cells((fixtures / "nvidia-smi-topo" / "dgx1.txt").read_text())
    own = matrix(NODES["dgx-1-v100"])
    assert len(printed) == 144
    assert printed == {(row, column): own[row][column] for row in own for column in own}


def test_rows_of_other_real_machines() -> None:
    """NVIDIA/nccl-tests issue 78 (DGX-2), NVIDIA/DCGM issue 149 (DGX A100, whose PXB NCCL flattens to PIX), vllm issue 16336 (B200)."""
    dgx_2 = matrix(NODES["dgx-2"])
    assert [dgx_2["GPU0"][hca] for hca in NODES["dgx-2"].hcas] == ["PIX", "PXB", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert [dgx_2["GPU2"][hca] for hca in NODES["dgx-2"].hcas] == ["PXB", "PIX", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert {dgx_2["GPU0"][gpu] for gpu in NODES["dgx-2"].gpus[1:]} == {"NV6"}
    dgx_a100 = matrix(NODES["dgx-a100"])
    assert [dgx_a100["GPU2"][hca] for hca in NODES["dgx-a100"].hcas] == ["SYS", "SYS", "PIX", "PIX", "SYS", "SYS", "SYS", "SYS"]
    assert {dgx_a100["GPU0"][gpu] for gpu in NODES["dgx-a100"].gpus[1:]} == {"NV12"}
    b200 = matrix(NODES["dgx-b200"])
    assert [b200["GPU1"][hca] for hca in NODES["dgx-b200"].hcas] == ["NODE", "PIX", "NODE", "NODE", "SYS", "SYS", "SYS", "SYS"]
    assert b200["GPU0"]["GPU1"] == "NV18"


@pytest.mark.parametrize("name", node_names())
def test_shipped_types_hold_together(name: str) -> None:
    node = NODES[name]
    names = [device.name for device in node.devices]
    graph = nx.Graph((link.a, link.b) for link in node.links)
    assert nx.is_connected(graph)
    assert set(names) == set(graph)
    for link in node.links:
        assert link.gb_s > 0
        assert link.latency_us > 0
        assert "GB/s: " in link.source
        assert "us: " in link.source
    for a, b in permutations(node.gpus + node.hcas, 2):
        assert relation(node, a, b) == relation(node, b, a) != "-"
    nvlinks = {gpu: sum(link.count for _, link in node.neighbours[gpu] if link.kind == NVLINK) for gpu in node.gpus}
    assert len(set(nvlinks.values())) <= 1


@pytest.mark.parametrize(("name", "nvlinks"), [("dgx-1-p100", 4), ("dgx-1-v100", 6), ("big-basin", 4), ("big-basin-v100", 6)])
def test_cube_meshes_use_every_nvlink(name: str, nvlinks: int) -> None:
    node = NODES[name]
    for gpu in node.gpus:
        assert sum(link.count for _, link in node.neighbours[gpu] if link.kind == NVLINK) == nvlinks
        assert all(find_path(node, gpu, other).type <= PathType.NVB for other in node.gpus)
