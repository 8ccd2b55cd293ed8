"""One MPI message from GPU memory to GPU memory, as OSU's ``osu_latency D D`` and ``osu_bw D D`` measure it.

A short message passes its stations one after the other; of a long one all stations are busy at once, and the slowest bounds. All
constants are those of others' measurements, each on a platform of its own: good to a third, not better.
"""

from __future__ import annotations

from functools import lru_cache

from fabctl.bench.gpudirect import PCIE_READ_US, STAGED_GB_S, peer_gb_s
from fabctl.bench.sharp_time import STEP_US
from fabctl.errors import RefusedError
from fabctl.model.node_graph import CPU, NodeGraph
from fabctl.nodes.paths import find_path, serving_hcas

CUDA_COPY_US = 7.1
"""A small ``cudaMemcpy``: half of what ofiwg/libfabric pull request 8881 takes off a message (GDRCopy's README: 6 to 7)."""
STORE_US, STORE_GB_S = 0.10, 12.2
"""The CPU stores into GPU memory: GDRCopy's README, ``gdr_copy_to_mapping``, Tesla P100: 16 bytes, and 4 KiB."""
LOAD_GB_S = 0.425
"""The CPU loads from GPU memory, after `PCIE_READ_US`: the same, ``gdr_copy_from_mapping`` of 4 KiB."""
SHORT_BYTES = 8192
"""What passes stations one after the other; UCX cuts longer ones into such pieces (openucx/ucx issue 6206)."""


def message_us(node: NodeGraph, size_bytes: int, *, gdr: bool, gdrcopy: bool, wire_gb_s: float) -> float:
    """Return the time of a message between the first GPUs of two hosts, in microseconds.

    ==================  =========================================================================================
    GDR and GDRCopy     the HCA reads the GPU, the wire, the CPU stores what arrives into GPU memory
    GDR alone           a rendezvous: two messages between the hosts before the HCA reads the GPU and writes one
    GDRCopy alone       the CPU loads from the GPU (or copies, if that is faster), the wire, the CPU stores
    neither             a copy to host memory, the wire, a copy to the GPU
    ==================  =========================================================================================

    Parameters
    ----------
    gdr, gdrcopy : bool
        Whether GPUDirect RDMA and GDRCopy are in use.
    wire_gb_s : float
        Payload rate of the HCA's port.

    Raises
    ------
    RefusedError
        If the node has no GPU, HCA or CPU, or a rate on the way is unknown.
    """
    read, write, copy = _rates(node)
    short = min(size_bytes, SHORT_BYTES)
    if gdr and gdrcopy:
        time = STEP_US + PCIE_READ_US + STORE_US + short * _us_per_byte(read, wire_gb_s, STORE_GB_S)
    elif gdr:
        time = 3 * STEP_US + PCIE_READ_US + short * _us_per_byte(read, wire_gb_s, write)
    elif gdrcopy:
        out = min(PCIE_READ_US + short * _us_per_byte(LOAD_GB_S), CUDA_COPY_US + short * _us_per_byte(copy))
        time = STEP_US + out + STORE_US + short * _us_per_byte(wire_gb_s, STORE_GB_S)
    else:
        time = STEP_US + 2 * CUDA_COPY_US + short * _us_per_byte(copy, wire_gb_s, copy)
    return time + (size_bytes - short) / (1e3 * message_gb_s(node, gdr=gdr, wire_gb_s=wire_gb_s))


def message_gb_s(node: NodeGraph, *, gdr: bool, wire_gb_s: float) -> float:
    """Return the bandwidth of long messages one way, GB/s; GDRCopy does not matter for it.

    Raises
    ------
    RefusedError
        As `message_us` does.
    """
    read, write, copy = _rates(node)
    return min(read, write, wire_gb_s) if gdr else min(copy, wire_gb_s, STAGED_GB_S)


def _us_per_byte(*stations_gb_s: float) -> float:
    return sum(1 / (1e3 * gb_s) for gb_s in stations_gb_s)


@lru_cache(maxsize=64)
def _rates(node: NodeGraph) -> tuple[float, float, float]:
    """Return at which rates the first GPU's HCA reads and writes it, and how fast it is copied to and from host memory."""
    sockets = node.of_kind(CPU)
    if not (node.gpus and node.hcas and sockets):
        raise RefusedError(
            f"{node.name} lacks a GPU, an HCA or a CPU: no message leaves its GPU memory", hint="name another node"
        )
    gpu = node.gpus[0]
    read, write = peer_gb_s(node, find_path(node, gpu, serving_hcas(node)[0]))
    copy = max(find_path(node, gpu, socket).gb_s for socket in sockets)
    if not min(read, write, copy):
        raise RefusedError(
            f"{node.name}: the bandwidth between {gpu} and its HCA or its CPU is unknown", hint="give gb_s in its file"
        )
    return read, write, copy
