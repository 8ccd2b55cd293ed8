"""NCCL's own constants: what a message costs besides its bytes, and what the protocols leave of the bandwidth.

Source: NVIDIA NCCL 2.30.7, ``src/tuning/ring.cc`` and the tuning constants (``src/graph/tuning.cc`` in earlier releases).
NCCL chooses algorithm and protocol by these numbers; fabctl takes the latency from them and the bandwidth from the fabric.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.traffic.collective import Steps


@dataclass(frozen=True)
class Ranks:
    """Who takes part in an operation.

    Parameters
    ----------
    n_hosts, per_host : int
    n_ports : int
        HCA ports that each host uses; 0 on one host.
    """

    n_hosts: int
    per_host: int
    n_ports: int

    @property
    def total(self) -> int:
        """Number of ranks."""
        return self.n_hosts * self.per_host


@dataclass(frozen=True)
class Protocol:
    """A protocol's constants for the ring algorithm over NVLink and the network.

    Parameters
    ----------
    base_us : float
        ``baseLatencies[RING]``.
    intra_us : float
        ``hwLatencies[NVLINK][RING]``: one hop inside a host.
    inter_us : float
        ``hwLatencies[NET][RING]``: one hop over the network.
    exposed_inter_us : float
        ``hwLatencies[NET][TREE]``: the same with one rank per host, where nothing hides it.
    post_us : float
        Posting one network send: 1 us (``getNetOverhead`` on other CPUs than AMD's), three times that for Simple.
    bandwidth : float
        Share of the link that carries payload: LL sends a flag with each 4 bytes, LL128 one with each 120.
    """

    base_us: float
    intra_us: float
    inter_us: float
    exposed_inter_us: float
    post_us: float
    bandwidth: float


PROTOCOLS = {
    "LL": Protocol(6.6, 0.6, 2.7, 5.0, 1.0, 0.5),
    "LL128": Protocol(14.0, 1.9, 4.0, 8.5, 1.0, 0.92),
    "Simple": Protocol(8.4, 3.4, 14.0, 14.0, 3.0, 1.0),
}

PLATEAU = 1.4
"""Factor on the latency of a multi-node all-reduce by ring and Simple, compute capability 8.0 and later (1.9 before)."""
PLATEAU_BYTES = 64
"""Bytes per rank and channel from which on `PLATEAU` applies."""


def latency_us(operation: str, steps: Steps, job: Ranks, protocol: str, size_bytes: int) -> float:
    """Return the part of an operation's time that its bytes do not explain, in microseconds.

    ``base + intra steps x max(intra, post) + inter steps x inter``, NCCL's formula for rings, plus a post for each further
    send that a rank makes.
    """
    constants = PROTOCOLS[protocol]
    inter = constants.exposed_inter_us if job.per_host == 1 else constants.inter_us
    latency = (
        constants.base_us
        + steps.intra * max(constants.intra_us, constants.post_us)
        + steps.inter * inter
        + steps.posts * constants.post_us
    )
    if operation == "all_reduce" and protocol == "Simple" and size_bytes >= PLATEAU_BYTES * job.n_ports * job.total:
        latency *= PLATEAU
    return latency
