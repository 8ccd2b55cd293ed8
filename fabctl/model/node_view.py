"""`NodeView`: what is inside a host, as ``fabctl bench node`` shows it."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.predictions import Limit


@dataclass(frozen=True)
class GpuView:
    """A GPU and the HCA that serves it.

    Parameters
    ----------
    gpu, hca : str
        `hca` is empty in a host without HCAs.
    path : str
        NCCL's type of the way between them; empty without an HCA.
    gb_s : float
        Of the slowest link on that way, GB/s per direction; 0: unknown.
    send, receive : bool
        Whether the HCA reads and writes the GPU's memory by itself (GPUDirect RDMA), by NCCL's rules.
    reason : str
        Why not; empty if it does both.
    relays : dict of str to str
        Other HCAs that NCCL's PXN reaches, and through which GPU.
    """

    gpu: str
    hca: str
    path: str
    gb_s: float
    send: bool
    receive: bool
    reason: str
    relays: dict[str, str]


@dataclass(frozen=True)
class LinkGroup:
    """Links of one kind, bandwidth and latency.

    Parameters
    ----------
    kind : str
    gb_s, latency_us : float
        Of one link, per direction and crossing; 0: unknown.
    links : int
    source : str
    """

    kind: str
    gb_s: float
    latency_us: float
    links: int
    source: str


@dataclass(frozen=True)
class NodeView:
    """What is inside a host.

    Parameters
    ----------
    name, title, cpu_vendor, gpu_model, hca_model : str
        The last three are empty where they are unknown.
    gpus : tuple of GpuView
    n_hcas, n_sockets : int
    matrix : dict of str to dict of str to str
        As ``nvidia-smi topo -m`` prints it, by row and column.
    legend : dict of str to str
        What the words in the matrix mean.
    links : tuple of LinkGroup
    direct, staged : tuple of Limit
        What the host allows a ring all-reduce over several such hosts, as busbw, with GPUDirect RDMA and without, tightest
        first. Empty without GPUs or HCAs, and where links are unknown.
    notes : tuple of str
    """

    name: str
    title: str
    cpu_vendor: str
    gpu_model: str
    hca_model: str
    gpus: tuple[GpuView, ...]
    n_hcas: int
    n_sockets: int
    matrix: dict[str, dict[str, str]]
    legend: dict[str, str]
    links: tuple[LinkGroup, ...]
    direct: tuple[Limit, ...]
    staged: tuple[Limit, ...]
    notes: tuple[str, ...]
