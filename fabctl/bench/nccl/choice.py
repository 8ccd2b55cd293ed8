"""`Choice`: an algorithm and a protocol for one message, with what NCCL's model says of them."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOLS = ("LL", "LL128", "Simple")
ALGORITHMS = ("Tree", "Ring", "CollNetDirect", "CollNetChain", "NVLS", "NVLSTree", "PAT")
"""As ``NCCL_PROTO`` and ``NCCL_ALGO`` spell them, in NCCL's order."""


@dataclass(frozen=True)
class Choice:
    """One way to do an operation for one message size.

    Parameters
    ----------
    algorithm : str
        One of `ALGORITHMS`.
    protocol : str
        One of `PROTOCOLS`.
    bandwidth_gb_s : float
        Algorithm bandwidth by NCCL's model, GB/s.
    latency_us : float
        By NCCL's model, microseconds.
    size_bytes : int
    inter_steps : int
        Network hops of one message that follow one another.
    """

    algorithm: str
    protocol: str
    bandwidth_gb_s: float
    latency_us: float
    size_bytes: int
    inter_steps: int

    @property
    def time_us(self) -> float:
        """Time by NCCL's model, microseconds."""
        return self.latency_us + self.size_bytes / (1e3 * self.bandwidth_gb_s)
