"""`NodeGraph`: what is inside a host: GPUs, HCAs, PCIe switches, root ports, sockets, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

GPU, HCA, NVSWITCH, PCIE_SWITCH, ROOT, CPU = "gpu", "hca", "nvswitch", "pcie-switch", "root", "cpu"
"""Kinds of devices. A ``root`` is a PCIe host bridge of a socket, a ``cpu`` the socket with its memory."""
NVLINK, C2C, PCIE, ON_DIE, SMP = "nvlink", "c2c", "pcie", "on-die", "smp"
"""Kinds of links. ``on-die`` joins a root to its socket, ``smp`` (QPI, UPI, Infinity Fabric) two sockets."""


@dataclass(frozen=True)
class Device:
    """A device inside a host.

    Parameters
    ----------
    name : str
        As ``nvidia-smi topo -m`` and ``ibv_devices`` call it: ``GPU0``, ``mlx5_0``; ``CPU0``, ``PLX0`` of the others.
    kind : str
        One of `GPU`, `HCA`, `NVSWITCH`, `PCIE_SWITCH`, `ROOT`, `CPU`.
    model : str
        Name in the catalogue (``V100``, ``ConnectX-4``); empty: unknown.
    """

    name: str
    kind: str
    model: str = ""


@dataclass(frozen=True)
class NodeLink:
    """A link between two devices, full duplex.

    Parameters
    ----------
    a, b : str
        Names of devices.
    kind : str
        One of `NVLINK`, `C2C`, `PCIE`, `ON_DIE`, `SMP`.
    gb_s : float
        What all `count` parallel links together carry in each direction, GB/s of payload; 0: unknown.
    latency_us : float
        Of one crossing; 0: unknown.
    count : int
        Parallel links: 2 for ``NV2``.
    source : str
        Where the two numbers come from.
    """

    a: str
    b: str
    kind: str
    gb_s: float = 0.0
    latency_us: float = 0.0
    count: int = 1
    source: str = ""


@dataclass(frozen=True)
class NodeGraph:
    """What is inside a host of one type.

    Parameters
    ----------
    name : str
        ``dgx-1-v100``, or the name of the file that it was read from.
    title : str
        For people: ``NVIDIA DGX-1 (V100)``.
    devices : tuple of Device
        GPUs in the order of their ranks; HCAs in rail order, those of the compute fabric only.
    links : tuple of NodeLink
    cpu_vendor : str
        ``intel``, ``amd``, ``arm`` or ``power``; empty: unknown.
    notes : tuple of str
        What was assumed or left out, worth printing.
    """

    name: str
    title: str
    devices: tuple[Device, ...]
    links: tuple[NodeLink, ...]
    cpu_vendor: str = ""
    notes: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Return the names of all devices of a kind, in order."""
        return tuple(device.name for device in self.devices if device.kind == kind)

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Names of the GPUs."""
        return self.of_kind(GPU)

    @cached_property
    def hcas(self) -> tuple[str, ...]:
        """Names of the HCAs on the compute fabric, in rail order."""
        return self.of_kind(HCA)

    @cached_property
    def kind_of(self) -> dict[str, str]:
        """Kind of each device, by name."""
        return {device.name: device.kind for device in self.devices}

    @cached_property
    def neighbours(self) -> dict[str, tuple[tuple[str, NodeLink], ...]]:
        """For each device, by name, what it is joined with and by which link."""
        joined: dict[str, list[tuple[str, NodeLink]]] = {device.name: [] for device in self.devices}
        for link in self.links:
            joined[link.a].append((link.b, link))
            joined[link.b].append((link.a, link))
        return {name: tuple(pairs) for name, pairs in joined.items()}

    @cached_property
    def gpu_model(self) -> str:
        """The GPUs' name in the catalogue; empty if there are none, or it is unknown."""
        return next((device.model for device in self.devices if device.kind == GPU), "")

    @cached_property
    def hca_model(self) -> str:
        """The HCAs' name in the catalogue; empty if there are none, or it is unknown."""
        return next((device.model for device in self.devices if device.kind == HCA), "")
