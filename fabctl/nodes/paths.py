"""Paths between the devices of a host, with NCCL's types, and which HCA serves which GPU."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fabctl.model.node_graph import NodeGraph, NodeLink


class PathType(IntEnum):
    """NCCL's path types, nearest first (2.30.7, ``src/include/graph.h``)."""

    LOC = 0
    NVL = 1
    NVB = 2
    C2C = 3
    PIX = 4
    PXB = 5
    P2C = 6
    PXN = 7
    PHB = 8
    SYS = 9
    NET = 10
    DIS = 11


@dataclass(frozen=True)
class Path:
    """A way from one device to another.

    Parameters
    ----------
    type : PathType
    gb_s : float
        Of its slowest link, GB/s per direction.
    latency_us : float
        Sum over its links.
    devices : tuple of str
        From the first to the last.
    links : tuple of NodeLink
        One less than devices.
    """

    type: PathType
    gb_s: float
    latency_us: float
    devices: tuple[str, ...]
    links: tuple[NodeLink, ...]


def find_path(node: NodeGraph, a: str, b: str) -> Path:
    """Return the way that data takes between two devices: NVLink where it joins them, else PCIe and the sockets."""
    raise NotImplementedError(node, a, b)


def serving_hcas(node: NodeGraph) -> tuple[str, ...]:
    """Return the HCA that serves each GPU, in the order of the GPUs: the nearest, spread evenly where several are as near."""
    raise NotImplementedError(node)
