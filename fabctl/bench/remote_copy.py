"""What it costs to drive a GPU in another host (rCUDA and its like): bandwidth of copies, and the network's part of a call.

A copy is cut into chunks that go from the client's memory over the fabric into the server's memory, and on to the GPU while the
next chunk crosses. So it runs at the rate of its slowest stage, and is late by one chunk.

References
----------
.. [1] rCUDA team, "rCUDA achieves maximum performance with the new Mellanox Connect-IB cards" (rcuda.net): bandwidthTest reaches
   10.06 GB/s locally and 9.91 GB/s over dual-port Connect-IB, with a K40.
"""

from __future__ import annotations

CHUNK_BYTES = 512 * 1024
"""Chunk of the pipeline; set so that the 98.5 % of [1]_ come out, as rCUDA's own is not published."""
BANDWIDTH_TEST_BYTES = 32 * 1024 * 1024
"""Message of ``bandwidthTest`` (CUDA samples), by default."""
END_US = 0.8
"""One way of a small message through both HCAs, without switches: assumed, as MPI's latency over EDR is about 1 us."""
SWITCH_US = 0.13
"""Port to port in a switch: Quantum's data sheet; Switch-IB 2's says 0.09."""


def copy_us(size_bytes: int, network_gb_s: float, server_gb_s: float) -> float:
    """Return the time of a copy from a client's memory to a GPU, in microseconds.

    Parameters
    ----------
    network_gb_s : float
        From the client's memory into the server's.
    server_gb_s : float
        From the server's memory to the GPU.
    """
    first = min(size_bytes, CHUNK_BYTES)
    return first / network_gb_s / 1e3 + size_bytes / min(network_gb_s, server_gb_s) / 1e3


def copy_gb_s(network_gb_s: float, server_gb_s: float, size_bytes: int = BANDWIDTH_TEST_BYTES) -> float:
    """Return the bandwidth that a copy reaches, GB/s; parameters as for `copy_us`."""
    return size_bytes / copy_us(size_bytes, network_gb_s, server_gb_s) / 1e3


def call_us(switches: int) -> float:
    """Return the round trip of a small call and its answer over a number of switches, in microseconds."""
    return 2 * (END_US + switches * SWITCH_US)
