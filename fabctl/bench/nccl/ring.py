"""What a message costs besides its bytes, by counting steps: for what NCCL's tuner does not price, and for unknown hosts.

Constants and formula are those of NCCL's rings (`fabctl.bench.nccl.constants`), on NVLink, GPUs of compute capability 8.0 and
later, and other CPUs than AMD's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.bench.nccl.constants import BASE_US, NET_US, NVLINK_US, PLATEAU, PLATEAU_BYTES, POST_DEFAULT_US
from fabctl.traffic.collective import Steps

WIRE_SHARE = {"LL": 0.5, "LL128": 0.92, "Simple": 1.0}
"""Share of a link that carries payload: LL sends a flag with each 4 bytes; LL128 with each 120, of which NCCL counts on a little
less (``src/tuning/ring.cc``)."""


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


def latency_us(operation: str, steps: Steps, ranks: Ranks, protocol: str, size_bytes: int) -> float:
    """Return the part of an operation's time that its bytes do not explain, in microseconds.

    ``base + intra steps x max(intra, post) + inter steps x inter``, NCCL's formula for rings, plus a post for each further
    send that a rank makes.
    """
    post_us = POST_DEFAULT_US * (3 if protocol == "Simple" else 1)
    inter_us = NET_US["Tree" if ranks.per_host == 1 else "Ring"][protocol]
    latency = (
        BASE_US["Ring"][protocol]
        + steps.intra * max(NVLINK_US["Ring"][protocol], post_us)
        + steps.inter * inter_us
        + steps.posts * post_us
    )
    if operation == "all_reduce" and protocol == "Simple" and size_bytes >= PLATEAU_BYTES * ranks.n_ports * ranks.total:
        latency *= PLATEAU
    return latency
