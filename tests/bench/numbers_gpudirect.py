"""Published numbers of GPUDirect: messages between GPU memories, HCAs and PCIe, staging, and what Async saves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from published import Number
from small_nodes import GEN3_GB_S, GEN4_GB_S, gh200, hca_at_the_root, through_root

from fabctl.bench.gpudirect import CHEAPEST_HOP_US, network_hop, peer_gb_s
from fabctl.bench.gpudirect_message import CUDA_COPY_US, message_gb_s, message_us
from fabctl.bench.inside import inside_limits
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import find_path
from fabctl.nodes.reading import load_node

HDR_GB_S = 24.5
DUAL_FDR_GB_S = 13.5
OTHERS = "every constant is from a machine of its own"


def ratio(size_bytes: int) -> float:
    """Return how much longer a message takes without GPUDirect RDMA and GDRCopy."""
    time = partial(message_us, load_node("dgx-a100"), size_bytes, wire_gb_s=HDR_GB_S)
    return time(gdr=False, gdrcopy=False) / time(gdr=True, gdrcopy=True)


def latency(name: str, size_bytes: int) -> float:
    return message_us(load_node(name), size_bytes, gdr=True, gdrcopy=True, wire_gb_s=DUAL_FDR_GB_S)


def bandwidth(node: Callable[[], NodeGraph], *, gdr: bool, wire_gb_s: float) -> float:
    return message_gb_s(node(), gdr=gdr, wire_gb_s=wire_gb_s)


def written(node: NodeGraph) -> float:
    return peer_gb_s(node, find_path(node, "GPU0", "mlx5_0"))[1]


def ring(node: Callable[[], NodeGraph], n_nodes: int, n_hcas: int, *, gdr: bool) -> float:
    """Return the busbw of a ring all-reduce that the inside of the hosts allows."""
    graph = node()
    n = n_nodes * len(graph.gpus)
    limits = inside_limits(graph, "all_reduce", "Ring", n_nodes, n, graph.hcas[:n_hcas], Offloads(gdr=gdr))
    return limits[0].algbw_gb_s * 2 * (n - 1) / n


def async_share() -> float:
    saved = -network_hop(load_node("dgx-1-v100"), Offloads(async_control=True)).extra_us
    return 100 * saved / CHEAPEST_HOP_US


dgx_1, dgx_a100 = partial(load_node, "dgx-1-v100"), partial(load_node, "dgx-a100")
ivy_bridge = partial(through_root, "ivy-bridge", "K40", "intel", GEN3_GB_S, GEN3_GB_S)
broadwell = partial(through_root, "broadwell", "P40", "intel", GEN3_GB_S, GEN3_GB_S)
epyc = partial(through_root, "epyc-7452", "V100", "amd", GEN3_GB_S, GEN4_GB_S)

NUMBERS = [
    Number(
        "GDR and GDRCopy against staging, 128 B message",
        "x",
        8.5,
        "HPC-Works, GPUDirect Benchmarking (OSU, 2021): over 8.5x up to 128 B; machines not named, computed for DGX A100",
        partial(ratio, 128),
        0.1,
        OTHERS,
        at_least=True,
    ),
    Number(
        "the same, 4 KiB message",
        "x",
        5,
        "the same: over 5x from 128 B to 4 KiB",
        partial(ratio, 4096),
        0.1,
        OTHERS,
        at_least=True,
    ),
    Number(
        "GDR, small message between GPUs",
        "us",
        2,
        "NVIDIA, Benchmarking GPUDirect RDMA on Modern Server Platforms (2014; as summarised on engineering.fyi): below 2",
        partial(latency, "dgx-1-p100", 1),
        0.2,
        "published as an upper bound",
    ),
    Number(
        "GDR, osu_latency D D, 1 B",
        "us",
        2.54,
        "openucx/ucx issue 7369 (UCX, OSU 5.7); its empty message takes 1.98, more than twice what is assumed here",
        partial(latency, "dgx-1-v100", 1),
        1 / 3,
        OTHERS,
    ),
    Number(
        "the same, 256 B",
        "us",
        2.8,
        "the same",
        partial(latency, "dgx-1-v100", 256),
        1 / 3,
        OTHERS,
    ),
    Number(
        "GDR, osu_bw D D, 4 MiB, two rails of FDR and PCIe 3.0",
        "GB/s",
        12.29,
        "the same; two rails are inferred from its 6.5 GB/s below 256 KiB",
        partial(bandwidth, dgx_1, gdr=True, wire_gb_s=DUAL_FDR_GB_S),
        0.05,
        "NCCL's round figure for PCIe 3.0 x16",
    ),
    Number(
        "GDR, dual-rail Connect-IB",
        "GB/s",
        11.6,
        "Benchmarking GPUDirect RDMA, 2014",
        partial(bandwidth, partial(load_node, "dgx-1-p100"), gdr=True, wire_gb_s=DUAL_FDR_GB_S),
        0.05,
        "NCCL's round figure for PCIe 3.0 x16",
    ),
    Number(
        "GDR, HCA writes a K40",
        "GB/s",
        9.8,
        "the same, host to GPU; that it goes through the root of an Ivy Bridge is assumed",
        lambda: written(ivy_bridge()),
        0.05,
        "NCCL's round figures for PCIe 3.0 x16 and for Intel's roots",
    ),
    Number(
        "SSDs write a P40 through the root of a Xeon E5-2650 v4",
        "GB/s",
        7.1,
        "NVIDIA's forum, topic 55564: no more from three SSDs, which write host memory at 9.4",
        lambda: written(broadwell()),
        0.05,
        "NCCL's round figures for PCIe 3.0 x16 and for Intel's roots",
        explained="roots differ by CPU more than NCCL's one figure for all of Intel's says; HCAs were not measured here",
    ),
    Number(
        "GDR, HCA reads a V100 through an EPYC 7452's root",
        "GB/s",
        6.11,
        "Stack Overflow question 59277346, ConnectX-6: GPU to CPU",
        partial(bandwidth, epyc, gdr=True, wire_gb_s=HDR_GB_S),
        0.05,
        "rounding",
        fitted=True,
    ),
    Number(
        "GDR, HCA writes a V100 through the same root",
        "GB/s",
        14.29,
        "the same: CPU to GPU",
        lambda: written(epyc()),
        0.2,
        "NCCL's figure for PCIe 3.0 x16 is what its kernels reach, verbs reach more",
    ),
    Number(
        "two small cudaMemcpy around a message",
        "us",
        14.2,
        "ofiwg/libfabric pull request 8881: osu_latency in one host, 15.13 at 16 B without GDRCopy, 0.95 at 0 B",
        lambda: 2 * CUDA_COPY_US,
        0.05,
        "rounding",
        fitted=True,
    ),
    Number(
        "one small copy on DGX A100",
        "us",
        12.5,
        "openucx/ucx issue 6206: osu_bw D H without GDR and GDRCopy, 0.08 MB/s at 1 B",
        lambda: CUDA_COPY_US,
        1 / 3,
        OTHERS,
        explained="UCX copies on a stream and waits for it, nearly twice the time of a plain copy",
    ),
    Number(
        "staging, osu_bw D D on DGX A100",
        "GB/s",
        16.7,
        "openucx/ucx issue 6206: peak without GDR; 24 with it",
        partial(bandwidth, dgx_a100, gdr=False, wire_gb_s=HDR_GB_S),
        0.01,
        "rounding",
        fitted=True,
    ),
    Number(
        "GDR, osu_bw D D on DGX A100",
        "GB/s",
        24,
        "the same",
        partial(bandwidth, dgx_a100, gdr=True, wire_gb_s=HDR_GB_S),
        0.05,
        "NCCL's round figure for PCIe 4.0 x16",
    ),
    Number(
        "staging, ring all-reduce, one HDR HCA at the CPU of 8 A800",
        "GB/s busbw",
        16,
        "nccl issue 412, sjeaugey: normal if the NIC is attached to the CPU",
        partial(ring, hca_at_the_root, 2, 1, gdr=True),
        0.1,
        "published as a round figure",
    ),
    Number(
        "staging, ring all-reduce, one EDR HCA on its GPUs' PCIe switch",
        "GB/s busbw",
        6,
        "nccl issue 465: without nv_peer_mem, half of what was expected; that they share a switch is sjeaugey's diagnosis",
        partial(ring, dgx_1, 4, 1, gdr=False),
        0.05,
        "published as a round figure",
    ),
    Number(
        "GDR, ring all-reduce, 2 GH200 with 4 HDR HCAs",
        "GB/s busbw",
        96.07,
        "nccl issue 1579",
        partial(ring, gh200, 2, 4, gdr=True),
        0.05,
        "NCCL's round figure for PCIe 4.0 x16",
    ),
    Number(
        "staging, the same",
        "GB/s busbw",
        79.72,
        "the same, by default then",
        partial(ring, gh200, 2, 4, gdr=False),
        0.2,
        "what an HCA moves of staged data was fitted on PCIe, here the GPU is at the CPU by C2C",
    ),
    Number(
        "GDR, all-reduce, 2 hosts of 8 A100 with 4 HDR HCAs",
        "GB/s busbw",
        96.45,
        "nccl-tests issue 119, its fastest row; sjeaugey: 24 GB/s per 200G NIC, so 96 is the target",
        partial(ring, dgx_a100, 2, 4, gdr=True),
        0.05,
        "NCCL's round figure for PCIe 4.0 x16",
    ),
    Number(
        "GPUDirect Async, the most it saves of communication",
        "%",
        30,
        "Offloading Communication Control Logic in GPU Accelerated Applications (2017): CoMD, up to 30 %",
        async_share,
        0.01,
        "rounding",
        fitted=True,
    ),
]
