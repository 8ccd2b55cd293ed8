"""The tuner: what it considers on which hardware, what it takes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.bench.nccl.choice import ALGORITHMS, PROTOCOLS
from fabctl.bench.nccl.tuner import OPERATIONS, Tuner
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import Device, NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.reading import load_node

SHARP = Offloads(sharp=True)


@cache
def tuner(node: str, n_nodes: int, offloads: Offloads, gpus: int = 8) -> Tuner:
    return Tuner(load_node(node), n_nodes, gpus, offloads)


def considered(node: str, n_nodes: int, offloads: Offloads, operation: str = "all_reduce", gpus: int = 8) -> set[str]:
    return {option.algorithm for option in tuner(node, n_nodes, offloads, gpus).options(operation, 2**20)}


@pytest.mark.parametrize(
    ("node", "n_nodes", "offloads", "algorithms"),
    [
        ("dgx-1-v100", 1, SHARP, {"Ring", "Tree"}),
        ("dgx-1-v100", 4, Offloads(), {"Ring", "Tree"}),
        ("dgx-1-v100", 4, SHARP, {"Ring", "Tree", "CollNetChain"}),
        ("dgx-a100", 4, SHARP, {"Ring", "Tree", "CollNetChain", "CollNetDirect"}),
        ("dgx-h100", 1, Offloads(), {"Ring", "Tree", "NVLS"}),
        ("dgx-h100", 4, Offloads(), {"Ring", "Tree", "NVLSTree"}),
        ("dgx-h100", 4, SHARP, set(ALGORITHMS) - {"PAT"}),
        ("dgx-h100", 4, Offloads(sharp=True, nvls=False), {"Ring", "Tree", "CollNetChain", "CollNetDirect"}),
    ],
)
def test_algorithms_follow_the_hardware(node: str, n_nodes: int, offloads: Offloads, algorithms: set[str]) -> None:
    """CollNetDirect needs an NVSwitch, NVLS a Hopper's; SHARP counts over the network alone."""
    assert considered(node, n_nodes, offloads) == algorithms


def test_collnet_takes_eight_gpus_of_a_node_and_no_more() -> None:
    assert "CollNetChain" in considered("dgx-2", 4, SHARP, gpus=8)
    assert considered("dgx-2", 4, SHARP, gpus=16) == {"Ring", "Tree"}


def test_operations_follow_the_algorithm() -> None:
    assert considered("dgx-h100", 4, SHARP, "broadcast") == considered("dgx-h100", 4, SHARP, "reduce") == {"Ring"}
    assert considered("dgx-h100", 1, SHARP, "all_gather") == {"Ring", "NVLS"}
    assert considered("dgx-h100", 4, SHARP, "reduce_scatter") == {"Ring"}
    assert considered("dgx-h100", 4, SHARP, "all_gather", gpus=1) == {"Ring", "PAT"}


@pytest.mark.parametrize(("node", "has"), [("dgx-1-p100", False), ("dgx-1-v100", True), ("big-sur", False), ("dgx-h100", True)])
def test_ll128_needs_volta_and_nvlink(node: str, has: bool) -> None:
    assert any(o.protocol == "LL128" for o in Tuner(load_node(node), 2, 8, Offloads()).options("all_reduce", 8)) == has


def test_ll128_goes_with_gpudirect_rdma() -> None:
    """Through the CPU (PHB) NCCL does not trust it."""
    without = Tuner(load_node("dgx-a100"), 2, 8, Offloads(gdr=False)).options("all_reduce", 8)
    assert {option.protocol for option in without} == {"LL", "Simple"}


LOGGED_CHOICES = [
    ("dgx-h100", 64, Offloads(), 0.0, 8, 16 * 2**20, "Tree/LL128"),  # nccl issue 1752: 64 hosts of 8 H200
    ("dgx-h100", 64, Offloads(), 0.0, 8, 32 * 2**20, "NVLSTree/Simple"),
    ("dgx-h100", 3, Offloads(nvls=False), 25.0, 8, 8, "Tree/LL"),  # nccl issue 1453
    ("dgx-h100", 3, Offloads(nvls=False), 25.0, 8, 2**18, "Tree/LL128"),
    ("dgx-h100", 3, Offloads(nvls=False), 25.0, 8, 2**33, "Ring/Simple"),
    ("dgx-h100", 1, Offloads(nvls=False), 0.0, 8, 768 * 2**20, "Ring/Simple"),  # nccl issue 1595
    ("gb200-nvl72", 3, Offloads(nvls=False), 0.0, 4, 2**34, "Ring/Simple"),  # nccl issue 1801
]


@pytest.mark.parametrize(("node", "n_nodes", "offloads", "port_gb_s", "gpus", "size", "way"), LOGGED_CHOICES)
def test_it_takes_what_nccl_logged(
    node: str, n_nodes: int, offloads: Offloads, port_gb_s: float, gpus: int, size: int, way: str
) -> None:
    choice = Tuner(load_node(node), n_nodes, gpus, offloads, port_gb_s=port_gb_s).choose("all_reduce", size)
    assert f"{choice.algorithm}/{choice.protocol}" == way


@settings(deadline=None)
@given(
    node=st.sampled_from(["dgx-1-v100", "dgx-a100", "dgx-h100", "dgx-b200"]),
    n_nodes=st.sampled_from([1, 2, 3, 17, 512]),
    operation=st.sampled_from(OPERATIONS),
    size=st.integers(0, 2**36),
)
def test_options_are_priced_and_in_order(node: str, n_nodes: int, operation: str, size: int) -> None:
    options = tuner(node, n_nodes, SHARP).options(operation, size)
    assert [option.time_us for option in options] == sorted(option.time_us for option in options)
    for option in options:
        assert option.algorithm in ALGORITHMS
        assert option.protocol in PROTOCOLS
        assert option.bandwidth_gb_s > 0
        assert option.latency_us > 0
        assert (option.inter_steps > 0) == (n_nodes > 1)
    assert len({(option.algorithm, option.protocol) for option in options}) == len(options)


@settings(deadline=None)
@given(st.sampled_from(["dgx-1-v100", "dgx-a100", "dgx-h100"]), st.sampled_from([2, 3, 5, 64, 1000]))
def test_rings_are_linear_in_the_nodes_and_trees_logarithmic(node: str, n_nodes: int) -> None:
    def steps(n: int) -> dict[str, int]:
        return {o.algorithm: o.inter_steps for o in tuner(node, n, Offloads()).options("all_reduce", 8)}

    assert steps(n_nodes)["Ring"] == 2 * (n_nodes - 1)
    assert steps(2 * n_nodes)["Tree"] == steps(n_nodes)["Tree"] + 2


def test_ring_bandwidth_is_that_of_its_slowest_part() -> None:
    """Half the ports, half the ring; slower ports, a slower ring; without GPUDirect RDMA less than half on DGX-1."""
    dgx = load_node("dgx-1-v100")

    def ring(offloads: Offloads = Offloads(), **used: object) -> float:  # noqa: B008
        graph = Tuner(dgx, 4, 8, offloads, **used).ring  # type: ignore[arg-type]
        return graph.channels * graph.inter_gb_s

    assert ring() == 48
    assert ring(hcas=dgx.hcas[:2]) == 24
    assert ring(port_gb_s=7.0) == 28
    assert ring(Offloads(gdr=False)) == 20


def test_a_size_makes_trees_slower_at_medium_messages() -> None:
    used = Tuner(load_node("dgx-a100"), 16, 8, Offloads())

    def tree(size: int) -> float:
        return next(o for o in used.options("all_reduce", size) if (o.algorithm, o.protocol) == ("Tree", "Simple")).bandwidth_gb_s

    full = tree(2**34)
    assert tree(2**18) == pytest.approx(0.5 * full)
    assert tree(2**28) == pytest.approx(0.9 * full)
    assert tree(63) == full


def test_the_plateau_begins_at_64_bytes_per_rank_and_channel() -> None:
    used = Tuner(load_node("dgx-1-v100"), 4, 8, Offloads())
    assert used.channels == 8

    def ring(size: int) -> float:
        return next(o for o in used.options("all_reduce", size) if (o.algorithm, o.protocol) == ("Ring", "Simple")).latency_us

    assert ring(64 * 8 * 32) == pytest.approx(1.9 * ring(64 * 8 * 32 - 1))


def test_what_cannot_be_asked() -> None:
    dgx = load_node("dgx-1-v100")
    with pytest.raises(UsageError, match="does not price alltoall"):
        Tuner(dgx, 2, 8, Offloads()).options("alltoall", 8)
    with pytest.raises(UsageError, match="has 8"):
        Tuner(dgx, 2, 9, Offloads())
    with pytest.raises(UsageError, match="two ranks"):
        Tuner(dgx, 1, 1, Offloads())
    with pytest.raises(RefusedError, match="no GPU"):
        Tuner(load_node("cpu-server"), 2, 1, Offloads())
    with pytest.raises(RefusedError, match="no HCA"):
        Tuner(dgx, 2, 8, Offloads(), hcas=())


def renamed(node: NodeGraph, kind: str, model: str) -> NodeGraph:
    return replace(node, devices=tuple(Device(d.name, d.kind, model if d.kind == kind else d.model) for d in node.devices))


def test_unknown_models_are_refused_by_name() -> None:
    dgx = load_node("dgx-1-v100")
    with pytest.raises(RefusedError, match="GPU model 'Z999' is unknown"):
        Tuner(renamed(dgx, "gpu", "Z999"), 2, 8, Offloads())
    with pytest.raises(RefusedError, match="GPU model of dgx-1-v100 is unknown"):
        Tuner(renamed(dgx, "gpu", ""), 2, 8, Offloads())
    with pytest.raises(RefusedError, match="rate of mlx5_0 is unknown"):
        Tuner(renamed(dgx, "hca", ""), 2, 8, Offloads())
    assert Tuner(renamed(dgx, "hca", ""), 2, 8, Offloads(), port_gb_s=12.5).ring.channels == 4
