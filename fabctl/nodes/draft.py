"""`Draft`: the devices and links of a host while a file is read."""

from __future__ import annotations

from fabctl.model import catalog
from fabctl.model.catalog import Gpu
from fabctl.model.naming import natural_key
from fabctl.model.node_graph import GPU, HCA, NVLINK, PCIE, Device, NodeGraph, NodeLink
from fabctl.nodes.figures import LATENCY_US, TOPO_H, nvlink_gb_s


class Draft:
    """Devices and links that are added one by one; each name and each pair once."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.links: dict[tuple[str, frozenset[str]], NodeLink] = {}
        self.notes: list[str] = []

    def add(self, name: str, kind: str, model: str = "") -> str:
        """Add a device unless it is there; return its name."""
        self.devices.setdefault(name, Device(name, kind, model))
        return name

    def count(self, kind: str) -> int:
        """Return how many devices of a kind there are."""
        return sum(device.kind == kind for device in self.devices.values())

    def join(self, a: str, b: str, kind: str, gb_s: float, source: str, count: int = 1) -> None:
        """Join two devices by `count` links of `gb_s` each, unless they are joined so; 0: unknown."""
        key = kind, frozenset((a, b))
        latency = "half of what a PEX8796 takes" if kind == PCIE else "assumed"
        self.links.setdefault(key, NodeLink(a, b, kind, gb_s * count, LATENCY_US[kind], count, f"{source}; us: {latency}"))

    def nvlink(self, a: str, b: str, count: int, compute_capability: int) -> None:
        """Join two devices by NVLinks as fast as a GPU has them; 0: that is unknown."""
        gb_s = nvlink_gb_s(compute_capability)
        self.join(a, b, NVLINK, gb_s, f"GB/s: {TOPO_H}" if gb_s else "GB/s: unknown, as the GPU is", count)

    def finish(self, name: str, title: str, cpu_vendor: str = "") -> NodeGraph:
        """Return the node: first GPUs, then HCAs in natural order, which is that of rails, then the rest."""
        gpus = [device for device in self.devices.values() if device.kind == GPU]
        hcas = sorted((device for device in self.devices.values() if device.kind == HCA), key=lambda hca: natural_key(hca.name))
        devices = gpus + hcas + [device for device in self.devices.values() if device.kind not in (GPU, HCA)]
        return NodeGraph(name, title, tuple(devices), tuple(self.links.values()), cpu_vendor, tuple(self.notes))


def gpu_in(text: str) -> Gpu | None:
    """Return the catalogue's GPU whose name is a word of a text like ``NVIDIA A100-SXM4-80GB``; None if there is none.

    Examples
    --------
    >>> gpu_in("Tesla V100-SXM2-32GB").name
    'V100'
    """
    words = text.replace("-", " ").replace("_", " ").upper().split()
    return next((found for found in map(catalog.gpu, words) if found), None)
