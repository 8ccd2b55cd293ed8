"""Hosts of published measurements that are no shipped node type, drawn as far as their sources describe them."""

from __future__ import annotations

from fabctl.model.node_graph import (
    C2C,
    CPU,
    GPU,
    HCA,
    NVLINK,
    NVSWITCH,
    ON_DIE,
    PCIE,
    PCIE_SWITCH,
    ROOT,
    Device,
    NodeGraph,
    NodeLink,
)

GEN3_GB_S, GEN4_GB_S = 12.0, 24.0
"""x16 slots, NCCL's figures (2.30.7, ``src/graph/topo.h``)."""


def through_root(name: str, gpu: str, vendor: str, gpu_gb_s: float, hca_gb_s: float) -> NodeGraph:
    """Return a host whose GPU and HCA meet at the root of a socket."""
    devices = (Device("GPU0", GPU, gpu), Device("mlx5_0", HCA), Device("ROOT0", ROOT), Device("CPU0", CPU))
    links = (
        NodeLink("GPU0", "ROOT0", PCIE, gpu_gb_s),
        NodeLink("mlx5_0", "ROOT0", PCIE, hca_gb_s),
        NodeLink("ROOT0", "CPU0", ON_DIE, 100.0),
    )
    return NodeGraph(name, name, devices, links, cpu_vendor=vendor)


def hca_at_the_root() -> NodeGraph:
    """Return a host of 8 A800 whose one HCA is at a root of its own, as far as it is described: an NVSwitch, PCIe 4.0."""
    gpus = [f"GPU{number}" for number in range(8)]
    devices = (
        *(Device(name, GPU, "A800") for name in gpus),
        Device("mlx5_0", HCA),
        Device("NVSWITCH", NVSWITCH),
        *(Device(f"PLX{number}", PCIE_SWITCH) for number in range(4)),
        Device("ROOT0", ROOT),
        Device("ROOT1", ROOT),
        Device("CPU0", CPU),
    )
    links = (
        *(NodeLink(name, "NVSWITCH", NVLINK, 160.0, count=8) for name in gpus),
        *(NodeLink(name, f"PLX{number // 2}", PCIE, GEN4_GB_S) for number, name in enumerate(gpus)),
        *(NodeLink(f"PLX{number}", "ROOT0", PCIE, GEN4_GB_S) for number in range(4)),
        NodeLink("mlx5_0", "ROOT1", PCIE, GEN4_GB_S),
        NodeLink("ROOT0", "CPU0", ON_DIE, 204.8),
        NodeLink("ROOT1", "CPU0", ON_DIE, 204.8),
    )
    return NodeGraph("a800-hca-at-the-root", "8 A800", devices, links)


def gh200() -> NodeGraph:
    """Return a Grace Hopper host with four HCAs, each at a root of its own."""
    rails = range(4)
    devices = (
        Device("GPU0", GPU, "GH200"),
        *(Device(f"mlx5_{rail}", HCA) for rail in rails),
        *(Device(f"ROOT{rail}", ROOT) for rail in rails),
        Device("GRACE0", CPU),
    )
    links = (
        NodeLink("GPU0", "GRACE0", C2C, 450.0),
        *(NodeLink(f"mlx5_{rail}", f"ROOT{rail}", PCIE, GEN4_GB_S) for rail in rails),
        *(NodeLink(f"ROOT{rail}", "GRACE0", ON_DIE, 512.0) for rail in rails),
    )
    return NodeGraph("gh200", "GH200", devices, links, cpu_vendor="arm")
