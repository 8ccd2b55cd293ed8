"""GPUDirect RDMA and GPUDirect Async: what a message costs between GPU memory and the wire, with and without them."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads


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
    raise NotImplementedError(node, offloads, gdr_level)
