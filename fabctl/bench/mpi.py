"""All-reduces of host memory by MPI, between hosts without GPUs: what HCOLL does, with SHARP and without, one rank per host.

Without SHARP: `fabctl.bench.sharp_time.host_based_us`. With it low-latency trees take up to `HCOLL_BYTES`, streaming trees from
`STREAMING_BYTES` on where switches and HCAs stream, and what is between goes without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabctl.bench.pricing import Priced, tightest
from fabctl.bench.sharp import SharpPlan
from fabctl.bench.sharp_time import HCOLL_BYTES, STREAMING_BYTES, STREAMING_SETUP_US, host_based_us, low_latency_us
from fabctl.model.predictions import Limit

ASSUMPTIONS = (
    "MPI's all-reduce of host memory, one rank per host, at its HCA: recursive doubling up to 4 KiB, halving and doubling beyond",
    "MPI's latencies are those of HCOLL on 128 hosts in 2016 (docs/models.md); other libraries and hosts differ",
)


@dataclass(frozen=True, eq=False)
class MpiPricer:
    """Prices MPI's all-reduce.

    Parameters
    ----------
    n_hosts : int
    pairs : sequence of Limit
        What hosts and fabric allow halving and doubling, in algorithm bandwidth.
    trees : sequence of Limit
        What hosts and switches allow SHARP; none without.
    plan : SharpPlan, optional
        None: SHARP is off.
    """

    n_hosts: int
    pairs: Sequence[Limit]
    trees: Sequence[Limit] = ()
    plan: SharpPlan | None = None

    def options(self, size_bytes: int) -> list[Priced]:
        """Return the one way that HCOLL takes."""
        plan = self.plan
        if plan and plan.payload_bytes and size_bytes <= HCOLL_BYTES:
            time_us = low_latency_us(plan.depth, plan.payload_bytes, size_bytes)
            return [_way("sharp", "LLT", size_bytes, time_us, self.trees)]
        if plan and plan.streaming and size_bytes >= STREAMING_BYTES:
            return [Priced("sharp", "SAT", size_bytes, STREAMING_SETUP_US, tightest([*self.trees]))]
        volume = 2 * (self.n_hosts - 1) / self.n_hosts
        wire_gb_s = volume * min(limit.algbw_gb_s for limit in self.pairs)
        algorithm = "doubling" if size_bytes <= HCOLL_BYTES else "halving-doubling"
        return [_way(algorithm, "MPI", size_bytes, host_based_us(self.n_hosts, size_bytes, wire_gb_s), self.pairs)]


def _way(algorithm: str, protocol: str, size_bytes: int, time_us: float, limits: Sequence[Limit]) -> Priced:
    """Return a way whose time is known: what its limits do not explain of it is latency."""
    ordered = tightest([*limits])
    return Priced(algorithm, protocol, size_bytes, time_us - size_bytes / (1e3 * ordered[0].algbw_gb_s), ordered)
