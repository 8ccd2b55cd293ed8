"""GPUDirect: who may use it by NCCL's rules, what a hop and a message cost, and that no gain exceeds what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nodes import gh200, hca_at_the_root, through_root

from fabctl.bench.gpudirect import ASYNC_GAIN, PCIE_READ_US, gdr_of, network_hop, peer_gb_s
from fabctl.bench.gpudirect_message import message_gb_s, message_us
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import HCA, PCIE, NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import find_path
from fabctl.nodes.reading import load_node
from fabctl.nodes.shipped import node_names

ON, STAGED, ASYNC = Offloads(), Offloads(gdr=False), Offloads(async_control=True)


def with_gpu(node: NodeGraph, model: str) -> NodeGraph:
    return replace(
        node, devices=tuple(replace(device, model=model) if device.kind == "gpu" else device for device in node.devices)
    )


def without_nvlink(node: NodeGraph) -> NodeGraph:
    return replace(node, links=tuple(link for link in node.links if link.kind != "nvlink"))


@pytest.mark.parametrize(
    ("name", "gpu", "hca", "level", "both"),
    [
        ("dgx-1-v100", "GPU0", "mlx5_0", "P2C", True),  # PIX
        ("dgx-1-v100", "GPU0", "mlx5_0", "LOC", False),
        ("dgx-1-v100", "GPU0", "mlx5_1", "P2C", False),  # PHB
        ("dgx-1-v100", "GPU0", "mlx5_1", "PHB", True),
        ("dgx-1-v100", "GPU0", "mlx5_2", "PHB", False),  # SYS
        ("dgx-1-v100", "GPU0", "mlx5_2", "SYS", True),
        ("gb200-nvl72", "GPU0", "mlx5_0", "P2C", True),  # by C2C
        ("gb200-nvl72", "GPU0", "mlx5_0", "PXB", False),
    ],
)
def test_distance_decides(name: str, gpu: str, hca: str, level: str, both: bool) -> None:
    found = gdr_of(load_node(name), gpu, hca, ON, level)
    assert (found.send, found.receive) == (both, both)
    assert bool(found.reason) != both


@pytest.mark.parametrize(
    ("node", "reads"),
    [
        (load_node("dgx-1-v100"), True),  # before 8.0, with an NVLink peer
        (without_nvlink(load_node("dgx-1-v100")), False),
        (with_gpu(without_nvlink(load_node("dgx-1-v100")), "A100"), True),
        (with_gpu(without_nvlink(load_node("dgx-1-v100")), ""), True),  # unknown counts as recent
        (load_node("big-sur"), False),
        (
            replace(
                load_node("big-sur"),
                devices=tuple(d for d in load_node("big-sur").devices if d.kind != "gpu" or d.name == "GPU0"),
            ),
            True,
        ),
    ],
)
def test_who_lets_hcas_read(node: NodeGraph, reads: bool) -> None:
    alone = {device.name for device in node.devices}
    node = replace(node, links=tuple(link for link in node.links if {link.a, link.b} <= alone))
    found = gdr_of(node, "GPU0", "mlx5_0", ON)
    assert found.receive
    assert found.send == reads
    assert bool(found.reason) != reads


def test_unknown_level_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown NCCL_NET_GDR_LEVEL 'PBX'") as failure:
        gdr_of(load_node("dgx-1-v100"), "GPU0", "mlx5_0", ON, "PBX")
    assert "PXB" in failure.value.hint or "PHB" in failure.value.hint


def test_hops_with_gdr_cost_what_nccl_says() -> None:
    for name in ("dgx-1-v100", "dgx-a100", "dgx-h100", "dgx-b200", "gb200-nvl72"):
        hop = network_hop(load_node(name), ON)
        assert (hop.gdr_send, hop.gdr_receive, hop.extra_us, hop.reasons) == (True, True, 0.0, ())


@pytest.mark.parametrize(
    ("node", "extra"),
    [
        (load_node("dgx-1-v100"), PCIE_READ_US / 2),  # what it reads from memory it need not flush
        (load_node("dgx-h100"), PCIE_READ_US * 3 / 2),
    ],
)
def test_staged_hops(node: NodeGraph, extra: float) -> None:
    hop = network_hop(node, STAGED)
    assert (hop.gdr_send, hop.gdr_receive) == (False, False)
    assert hop.extra_us == pytest.approx(extra)
    assert "GPUDirect RDMA is off" in hop.reasons[0]


def test_only_sends_are_staged_without_nvlink() -> None:
    hop = network_hop(load_node("big-sur"), ON)
    assert "GPU4 to mlx5_0 is SYS, farther than P2C" in hop.reasons[0]  # half of its GPUs are at the other socket
    hop = network_hop(without_nvlink(load_node("dgx-1-v100")), ON)
    assert (hop.gdr_send, hop.gdr_receive) == (False, True)
    assert hop.extra_us == pytest.approx(PCIE_READ_US / 2)
    assert hop.reasons[0].startswith("sends are staged")


@pytest.mark.parametrize("name", [name for name in node_names() if name != "cpu-server"])
def test_async_stays_within_what_was_published(name: str) -> None:
    node = load_node(name)
    if network_hop(node, ON).reasons:
        with pytest.raises(RefusedError, match="GPUDirect RDMA both ways"):
            network_hop(node, ASYNC)
        return
    saved = -network_hop(node, ASYNC).extra_us
    assert saved >= 0
    for hop_us in (2.7, 4.0, 5.0, 8.5, 14.0, 18.0, 20.9, 30.0, 31.0):  # NCCL 2.30.7, hwLatencies of the network
        assert saved <= ASYNC_GAIN * hop_us * (1 + 1e-9)


def test_async_needs_gdr_and_gpus() -> None:
    with pytest.raises(RefusedError, match="GPUDirect RDMA is off"):
        network_hop(load_node("dgx-1-v100"), replace(ASYNC, gdr=False))
    with pytest.raises(RefusedError, match="needs GPUs"):
        network_hop(load_node("cpu-server"), ASYNC)
    assert network_hop(load_node("cpu-server"), ON).extra_us == 0


@pytest.mark.parametrize(
    ("node", "read", "written"),
    [
        (load_node("dgx-a100"), 24, 24),  # PCIe switches alone
        (through_root("i", "K40", "intel", 12, 12), 10, 10),
        (through_root("a", "V100", "amd", 12, 24), 6.1, 12),
        (through_root("a", "V100", "arm", 12, 24), 12, 12),
        (gh200(), 24, 24),
        (hca_at_the_root(), 24, 24),
    ],
)
def test_rates_of_peers(node: NodeGraph, read: float, written: float) -> None:
    assert peer_gb_s(node, find_path(node, "GPU0", node.hcas[0])) == pytest.approx((read, written))


DGX_A100 = load_node("dgx-a100")


@settings(deadline=None, max_examples=100)
@given(size=st.integers(0, 1 << 28), more=st.integers(0, 1 << 20), gdr=st.booleans(), gdrcopy=st.booleans())
def test_messages_take_longer_the_longer_they_are(size: int, more: int, gdr: bool, gdrcopy: bool) -> None:
    node = DGX_A100

    def time(size_bytes: int) -> float:
        return message_us(node, size_bytes, gdr=gdr, gdrcopy=gdrcopy, wire_gb_s=24.5)

    assert time(size) <= time(size + more)
    assert size / time(size) / 1e3 <= message_gb_s(node, gdr=gdr, wire_gb_s=24.5)


def test_what_makes_messages_fast() -> None:
    node = load_node("dgx-a100")
    for size in (1, 128, 4096, 1 << 20, 1 << 26):
        both, gdr, copy, neither = (
            message_us(node, size, gdr=gdr, gdrcopy=gdrcopy, wire_gb_s=24.5)
            for gdr, gdrcopy in ((True, True), (True, False), (False, True), (False, False))
        )
        assert both < gdr < neither
        assert both < copy < neither
    assert message_gb_s(node, gdr=True, wire_gb_s=12.4) == 12.4


def test_messages_need_a_gpu_and_known_rates() -> None:
    with pytest.raises(RefusedError, match="lacks a GPU"):
        message_us(load_node("cpu-server"), 8, gdr=True, gdrcopy=True, wire_gb_s=12)
    node = load_node("dgx-a100")
    hcas = set(node.of_kind(HCA))
    dark = tuple(replace(link, gb_s=0.0) if link.kind == PCIE and {link.a, link.b} & hcas else link for link in node.links)
    with pytest.raises(RefusedError, match="unknown"):
        message_gb_s(replace(node, links=dark), gdr=True, wire_gb_s=12)
