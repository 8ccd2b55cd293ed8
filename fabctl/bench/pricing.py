"""The time of one message: NCCL's latency, and its bytes over whatever is slowest between GPU memory and GPU memory.

``time = latency + bytes / min(NCCL's own bandwidth, share x NVLink, share x PCIe, share x HCA, share x cable)``

NCCL chooses algorithm and protocol by its own latencies and bandwidths (`fabctl.bench.nccl`). It does not know the routes, so
what it chooses is priced again with what the host's links and the fabric's cables allow that algorithm. The protocol's share of
a link is payload: LL sends a flag with each 4 bytes, LL128 with each 120.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fabctl.bench.cost import Cost
from fabctl.bench.nccl.choice import Choice
from fabctl.bench.nccl.ring import WIRE_SHARE, Ranks, latency_us
from fabctl.bench.nccl.tuner import Tuner
from fabctl.errors import RefusedError
from fabctl.model.predictions import LATENCY, Limit
from fabctl.traffic.collective import Collective, Steps

ON_FABRIC = {
    "Ring": "ring",
    "Tree": "tree",
    "NVLSTree": "nvls-tree",
    "NVLS": "sharp",
    "CollNetDirect": "sharp",
    "CollNetChain": "sharp",
    "PAT": "bruck",
}
"""fabctl's algorithms (`fabctl.traffic.collectives`) for what NCCL's send between several nodes."""
NCCL = "nccl"
TIE = 0.005
"""NCCL's own estimate binds where it is lower by more than this, relative, than what hardware allows."""


@dataclass(frozen=True)
class Priced:
    """One way to send one message.

    Parameters
    ----------
    algorithm, protocol : str
    size_bytes : int
    latency_us : float
    limits : tuple of Limit
        With this protocol, tightest first.
    """

    algorithm: str
    protocol: str
    size_bytes: int
    latency_us: float
    limits: tuple[Limit, ...]

    @property
    def time_us(self) -> float:
        """Predicted time, microseconds."""
        return self.latency_us + self.size_bytes / (1e3 * self.limits[0].algbw_gb_s)

    @property
    def binds(self) -> tuple[str, str]:
        """Kind and name of what most of the time goes to."""
        if 2 * self.latency_us >= self.time_us:
            return LATENCY, ""
        return self.limits[0].kind, self.limits[0].name


@dataclass(frozen=True, eq=False)
class NcclPricer:
    """Prices all that NCCL considers for one operation on nodes that are known; each algorithm's limits are found once.

    Parameters
    ----------
    operation : str
        One that NCCL prices.
    tuner : Tuner
    inside : callable
        NCCL's name of an algorithm to what the inside of a host allows.
    fabric : callable, optional
        NCCL's name of an algorithm to what the fabric allows; None inside one host.
    extra_us : float
        Of each hop over the network, beside NCCL's constants.
    only : tuple of str
        NCCL's algorithms to consider; empty: all.

    Raises
    ------
    RefusedError
        If there is nothing to consider.
    """

    operation: str
    tuner: Tuner
    inside: Callable[[str], Sequence[Limit]]
    fabric: Callable[[str], Limit] | None
    extra_us: float = 0.0
    only: tuple[str, ...] = ()
    _limits: dict[str, tuple[Limit, ...]] = field(default_factory=dict)

    def options(self, size_bytes: int) -> list[Priced]:
        """Return all ways, what NCCL takes first, in its own order."""
        choices = self.tuner.options(self.operation, size_bytes)
        chosen = [choice for choice in choices if not self.only or choice.algorithm in self.only]
        if not chosen:
            others = ", ".join(dict.fromkeys(choice.algorithm for choice in choices))
            raise RefusedError(f"NCCL does no {self.operation} by {' or '.join(self.only)} here", hint=f"it has {others}")
        return [self._priced(choice) for choice in chosen]

    def _priced(self, choice: Choice) -> Priced:
        share = WIRE_SHARE[choice.protocol]
        hardware = [Limit(limit.kind, limit.name, limit.algbw_gb_s * share) for limit in self._hardware(choice.algorithm)]
        own = Limit(NCCL, f"{choice.algorithm}, {choice.protocol}", choice.bandwidth_gb_s)
        latency = choice.latency_us + self.extra_us * choice.inter_steps
        return Priced(choice.algorithm, choice.protocol, choice.size_bytes, latency, tightest([*hardware, own]))

    def _hardware(self, algorithm: str) -> tuple[Limit, ...]:
        """Return what the host's links and the fabric allow an algorithm, as algorithm bandwidth of full links."""
        if algorithm not in self._limits:
            own = (self.fabric(algorithm),) if self.fabric else ()
            self._limits[algorithm] = (*self.inside(algorithm), *own)
        return self._limits[algorithm]


@dataclass(frozen=True, eq=False)
class FixedPricer:
    """Prices an operation by one algorithm: all-to-all and patterns, and everything on hosts that are unknown.

    Latencies are those of NCCL's rings (`fabctl.bench.nccl.ring`).

    Parameters
    ----------
    collective : Collective
    algorithm : str
        Name for people.
    steps : Steps
    ranks : Ranks
    limits : tuple of Limit
        Of full links.
    extra_us : float
        Of each hop over the network, beside NCCL's constants.
    """

    collective: Collective
    algorithm: str
    steps: Steps
    ranks: Ranks
    limits: tuple[Limit, ...]
    extra_us: float = 0.0

    def options(self, size_bytes: int) -> list[Priced]:
        """Return one way for each protocol, the fastest first."""
        return sorted((self._priced(protocol, size_bytes) for protocol in self.collective.protocols), key=lambda way: way.time_us)

    def _priced(self, protocol: str, size_bytes: int) -> Priced:
        share = WIRE_SHARE[protocol]
        limits = [Limit(limit.kind, limit.name, limit.algbw_gb_s * share) for limit in self.limits]
        latency = latency_us(self.collective.name, self.steps, self.ranks, protocol, size_bytes)
        return Priced(self.algorithm, protocol, size_bytes, latency + self.extra_us * self.steps.inter, tightest(limits))


class Pricer(Protocol):
    """What knows the ways to send a message."""

    def options(self, size_bytes: int) -> list[Priced]:
        """Return the ways, the one that is taken first."""
        ...


def fabric_limit(cost: Cost) -> Limit:
    """Return what the fabric allows."""
    return Limit("cable", cost.bound.label, 1 / cost.us_per_byte / 1e3)


def tightest(limits: list[Limit]) -> tuple[Limit, ...]:
    """Sort limits, hardware before NCCL's own where they are equal."""
    return tuple(sorted(limits, key=lambda limit: limit.algbw_gb_s * (1 + TIE if limit.kind == NCCL else 1)))
