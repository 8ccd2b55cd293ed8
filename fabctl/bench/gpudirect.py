"""GPUDirect RDMA and GPUDirect Async: who may use them, what PCIe gives an HCA, and what a network hop costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fabctl.errors import RefusedError, UsageError
from fabctl.model import catalog
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import Path, PathType, find_path, serving_hcas
from fabctl.yamlspec import suggestion

LEVELS = ("LOC", "PIX", "PXB", "P2C", "PHB", "SYS")
"""What ``NCCL_NET_GDR_LEVEL`` may be."""
GDR_LEVEL = "P2C"
"""NCCL's default: ``NCCL_NET_GDR_C2C`` is 1."""
READS_FREELY = 80
"""Compute capability from which on NCCL lets HCAs read GPU memory whatever else is on PCIe."""
NEEDS_NO_FLUSH = 90
"""Compute capability from which on NCCL does not read back what an HCA wrote to GPU memory (2.30.7, ``ncclTopoNeedFlush``)."""

PCIE_READ_US = 0.88
"""One PCIe read of GPU memory: GDRCopy's README, ``gdr_copy_from_mapping`` of 16 bytes, Tesla P100."""
INTEL_ROOT_SHARE = 5 / 6
"""What is left of PCIe where peers talk through an Intel root: NCCL 2.30.7, ``src/graph/topo.h``, ``INTEL_P2P_OVERHEAD``."""
AMD_ROOT_READ_GB_S = 6.1
"""Fitted: an HCA reads a GPU through an EPYC 7452's root; it writes at the slot's rate (Stack Overflow question 59277346)."""
STAGED_GB_S = 16.7
"""Fitted: the most that an HCA moves one way of what is staged: ``osu_bw D D``, DGX A100, PCIe 4.0 (openucx/ucx issue 6206)."""

CHEAPEST_HOP_US = 2.7
"""NCCL's smallest cost of a network hop (2.30.7, ``hwLatencies``: ring, LL)."""
ASYNC_GAIN = 0.3
"""The most that GPUDirect Async was published to save of communication: CoMD, Offloading Communication Control Logic, 2017."""


@dataclass(frozen=True)
class Gdr:
    """Which ways an HCA reaches a GPU's memory by itself.

    Parameters
    ----------
    send : bool
        It reads what is sent.
    receive : bool
        It writes what arrives.
    reason : str
        Why not, where it does not; empty if it does both.
    """

    send: bool
    receive: bool
    reason: str = ""


def gdr_of(node: NodeGraph, gpu: str, hca: str, offloads: Offloads, gdr_level: str = GDR_LEVEL) -> Gdr:
    """Return which ways an HCA reaches a GPU's memory by itself, by NCCL's rules (2.30.7, ``ncclTopoCheckGdr``).

    Both if they are no farther apart than `gdr_level`; but before compute capability 8.0 an HCA reads only if an NVLink joins the
    GPU to another one, or it is the only one: else PCIe is left to the GPUs. An unknown GPU counts as a recent one.

    Raises
    ------
    UsageError
        For an unknown level.
    """
    if gdr_level not in LEVELS:
        raise UsageError(f"unknown NCCL_NET_GDR_LEVEL '{gdr_level}'", hint=suggestion(gdr_level, LEVELS))
    if not offloads.gdr:
        return Gdr(send=False, receive=False, reason="GPUDirect RDMA is off")
    distance = find_path(node, gpu, hca).type
    if distance > PathType[gdr_level]:
        return Gdr(send=False, receive=False, reason=f"{gpu} to {hca} is {distance.name}, farther than {gdr_level}")
    model = catalog.gpu(node.gpu_model)
    if model is None or model.compute_capability >= READS_FREELY or len(node.gpus) == 1 or _has_nvlink_peer(node, gpu):
        return Gdr(send=True, receive=True)
    return Gdr(send=False, receive=True, reason=f"NCCL lets no HCA read GPUs without NVLink ({node.gpu_model})")


def _has_nvlink_peer(node: NodeGraph, gpu: str) -> bool:
    return any(find_path(node, gpu, other).type == PathType.NVL for other in node.gpus if other != gpu)


def peer_gb_s(node: NodeGraph, path: Path) -> tuple[float, float]:
    """Return at which rates an HCA reads and writes GPU memory at the end of a path, GB/s; 0: unknown.

    Through PCIe switches alone both are what the links carry. A socket's root is a bad switch: Intel's costs a sixth both ways,
    AMD's holds reads far below writes. Other vendors' are taken at the links' rate, for want of a measurement.
    """
    if path.type < PathType.PHB:
        return path.gb_s, path.gb_s
    if node.cpu_vendor == "intel":
        return path.gb_s * INTEL_ROOT_SHARE, path.gb_s * INTEL_ROOT_SHARE
    if node.cpu_vendor == "amd":
        return min(path.gb_s, AMD_ROOT_READ_GB_S), path.gb_s
    return path.gb_s, path.gb_s


@dataclass(frozen=True)
class Hop:
    """One network hop of a message, from GPU memory to GPU memory, compared with NCCL's own constants.

    Parameters
    ----------
    gdr_send, gdr_receive : bool
        Whether the HCA reads and writes GPU memory by itself.
    extra_us : float
        Microseconds that the hop takes longer (or, below zero, shorter) than NCCL's tuner counts.
    reasons : tuple of str
        Why, for people; the assumptions.
    """

    gdr_send: bool
    gdr_receive: bool
    extra_us: float
    reasons: tuple[str, ...]


@lru_cache(maxsize=64)
def network_hop(node: NodeGraph, offloads: Offloads, gdr_level: str = GDR_LEVEL) -> Hop:
    """Return what a hop costs besides NCCL's constants, for the GPU that is farthest from its HCA.

    NCCL's constants are those of hosts with GPUDirect RDMA. Without it the sending kernel writes to host memory (half a PCIe
    round trip more) and the receiving one reads from there (a round trip more); but nothing has to be flushed out of PCIe, which
    takes a round trip before compute capability 9.0. With GPUDirect Async the proxy thread is off the way: the handing over and
    the posting are saved, at most `ASYNC_GAIN` of the cheapest hop.

    Raises
    ------
    RefusedError
        For GPUDirect Async where HCAs do not reach GPU memory, or there is no GPU.
    """
    pairs = list(zip(node.gpus, serving_hcas(node), strict=False))
    if not pairs:
        if offloads.async_control:
            raise RefusedError(f"GPUDirect Async needs GPUs and HCAs, {node.name} lacks them", hint="leave async off")
        return Hop(gdr_send=False, gdr_receive=False, extra_us=0.0, reasons=("data is in host memory: no GPUDirect RDMA",))
    ways = [gdr_of(node, gpu, hca, offloads, gdr_level) for gpu, hca in pairs]
    worst = min(ways, key=lambda way: way.send + way.receive)
    extra, reasons = _staging(node, worst)
    if offloads.async_control:
        if worst.reason:
            raise RefusedError(f"GPUDirect Async needs GPUDirect RDMA both ways: {worst.reason}", hint="leave async off")
        saved = _async_us(node)
        extra -= saved
        reasons.append(
            f"GPUDirect Async: {saved:.2f} us less a hop, an upper bound: published gains go from none to {ASYNC_GAIN:.0%} of "
            "communication, and a GPU posts a single message slower than a CPU"
        )
    return Hop(gdr_send=worst.send, gdr_receive=worst.receive, extra_us=extra, reasons=tuple(reasons))


def _staging(node: NodeGraph, way: Gdr) -> tuple[float, list[str]]:
    """Return the microseconds that staging adds to a hop, and a line about it."""
    if not way.reason:
        return 0.0, []
    extra = PCIE_READ_US / 2
    if not way.receive:
        model = catalog.gpu(node.gpu_model)
        flushes = model is not None and model.compute_capability < NEEDS_NO_FLUSH
        extra += 0.0 if flushes else PCIE_READ_US
    staged = "sends are" if way.receive else "messages are"
    return extra, [f"{staged} staged through host memory, {extra:+.2f} us a hop: {way.reason}"]


def _async_us(node: NodeGraph) -> float:
    """Return what a hop saves without the proxy thread: handing over (half a PCIe round trip) and posting, bounded."""
    posting_us = 2.0 if node.cpu_vendor == "amd" else 1.0  # NCCL 2.30.7, getNetOverhead
    return min(PCIE_READ_US / 2 + posting_us, ASYNC_GAIN * CHEAPEST_HOP_US)
