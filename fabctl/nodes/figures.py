"""What links inside hosts carry where a file does not say it: NCCL's own figures, and latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fabctl.model.node_graph import C2C, NVLINK, ON_DIE, PCIE, SMP, NodeGraph

TOPO_H = "NCCL 2.30.7 src/graph/topo.h"
LATENCY_US = {NVLINK: 0.5, C2C: 0.5, PCIE: 0.075, ON_DIE: 0.2, SMP: 0.2}
"""Of one crossing, as in ``topologies/nodes``; PCIe's is half of what a PEX8796 takes (product brief), the others are assumed."""
MOST_NVLINKS = 18
"""Of any GPU in the catalogue."""

_NVLINK_GB_S = ((100, 40.1), (90, 20.6), (87, 20.0), (86, 12.0), (80, 20.0), (70, 20.0), (60, 18.0))
_LANE_GB_S = {2.5: 15 / 80, 5.0: 30 / 80, 8.0: 60 / 80, 16.0: 120 / 80, 32.0: 240 / 80, 64.0: 480 / 80}
_PCIE_GTS = {"ampere": 16.0, "hopper": 32.0, "blackwell": 32.0}
_INTEL_GB_S = ((0xCF, 40.0), (0x8F, 22.0), (0x55, 10.0), (0, 6.0))
_AMD_GB_S = {23: 16.0, 25: 24.0, 26: 32.0}


@dataclass(frozen=True)
class NodeSource:
    """A text format that holds the inside of a host.

    Parameters
    ----------
    recognises : callable
        Takes a text's first 64 KiB; tells whether it is in this format.
    parse : callable
        Takes the text, the file's name for messages, and the node's name. Raises `InputError` with ``file:line``.
    """

    recognises: Callable[[str], bool]
    parse: Callable[[str, str, str], NodeGraph]


def nvlink_gb_s(compute_capability: int) -> float:
    """Return the bandwidth of one NVLink of a GPU, GB/s per direction (NCCL's ``ncclTopoNVLinkBw``); 0: it has none."""
    return next((gb_s for least, gb_s in _NVLINK_GB_S if compute_capability >= least), 0.0)


def pcie_gb_s(gt_s: float, lanes: int = 16) -> float:
    """Return the bandwidth of a PCIe link, GB/s per direction, as NCCL has it (``ncclTopoAddPci``); unknown speeds as Gen3."""
    return lanes * _LANE_GB_S.get(gt_s, _LANE_GB_S[8.0])


def gpu_pcie_gb_s(architecture: str) -> float:
    """Return the bandwidth of the x16 link that GPUs of an architecture have; before Ampere Gen3."""
    return pcie_gb_s(_PCIE_GTS.get(architecture, 8.0))


def smp_gb_s(arch: str, vendor: str, family: int, model: int) -> float:
    """Return what traffic of devices gets from socket to socket, GB/s (``ncclTopoGetInterCpuBw``); 0: unknown.

    Parameters
    ----------
    arch, vendor : str
        As in NCCL's XML: ``x86_64``, ``GenuineIntel``.
    family, model : int
        The CPU's.
    """
    if arch in ("ppc64", "ppc64le"):
        return 32.0
    if arch in ("arm64", "aarch64"):
        return 6.0
    if vendor == "GenuineIntel":
        return next(gb_s for least, gb_s in _INTEL_GB_S if family == 6 and model >= least) if family == 6 else 6.0
    return _AMD_GB_S.get(family, 16.0) if vendor == "AuthenticAMD" else 0.0
