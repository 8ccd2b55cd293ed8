"""GPUDirect RDMA and GPUDirect Async: what a message costs between GPU memory and the wire, with and without them."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.errors import UsageError
from fabctl.model import catalog
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.nodes.paths import PathType, find_path
from fabctl.yamlspec import suggestion

LEVELS = ("LOC", "PIX", "PXB", "P2C", "PHB", "SYS")
"""What ``NCCL_NET_GDR_LEVEL`` may be; NCCL's default is P2C where ``NCCL_NET_GDR_C2C`` is 1."""
READS_FREELY = 80
"""Compute capability from which on NCCL lets HCAs read GPU memory whatever else is on PCIe."""


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


def gdr_of(node: NodeGraph, gpu: str, hca: str, offloads: Offloads, gdr_level: str = "P2C") -> Gdr:
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
    reads = model is None or model.compute_capability >= READS_FREELY or len(node.gpus) == 1 or _has_nvlink_peer(node, gpu)
    if not reads:
        return Gdr(send=False, receive=True, reason=f"{node.gpu_model} without NVLink: NCCL leaves reads to the host")
    return Gdr(send=True, receive=True)


def _has_nvlink_peer(node: NodeGraph, gpu: str) -> bool:
    return any(find_path(node, gpu, other).type == PathType.NVL for other in node.gpus if other != gpu)


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


def network_hop(node: NodeGraph, offloads: Offloads, gdr_level: str = "P2C") -> Hop:
    """Return what a hop costs besides NCCL's constants, for the GPU that is farthest from its HCA."""
    return Hop(gdr_send=offloads.gdr, gdr_receive=offloads.gdr, extra_us=0.0, reasons=())
