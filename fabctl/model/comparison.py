"""Engines side by side on one fabric, and what no routing of its cabling can pass."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.routes import Assessment


@dataclass(frozen=True)
class Bound:
    """An upper bound of the share of injection bandwidth that an all-to-all reaches on any routes.

    Parameters
    ----------
    fraction : float
        In the terms of `Quality.alltoall_fraction`; multipath and non-minimal routes are bounded too.
    kind : str
        What proves it: ``ports``, ``switch``, ``pod``, ``part``, ``distance`` or ``weights``.
    limit : str
        The cables that bind, for people.
    """

    fraction: float
    kind: str
    limit: str


@dataclass(frozen=True, eq=False)
class Contender:
    """What one engine made of the fabric.

    Parameters
    ----------
    engine : str
        Its name, ``opensm:NAME`` for the real OpenSM's.
    assessment : Assessment, optional
        None where it refused.
    routing_s : float, optional
        CPU seconds of routing alone; None where it refused.
    vls : int, optional
        Virtual lanes that its routes need.
    lanes_hidden : bool
        Whether its service levels are not known, so that credit loops cannot be judged.
    refusal : str
        Why it did not route; empty where it did.
    """

    engine: str
    assessment: Assessment | None
    routing_s: float | None
    vls: int | None
    lanes_hidden: bool = False
    refusal: str = ""

    @property
    def deadlock(self) -> str:
        """What is known of credit loops between HCAs: ``free``, ``loop``, ``hidden``, ``lost`` (traffic) or ``refused``."""
        if self.assessment is None:
            return "refused"
        found = self.assessment.verification
        if found.lost_hca or found.loop:
            return "lost"
        if not found.credit_loop:
            return "free"
        return "hidden" if self.lanes_hidden else "loop"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All engines' routes for one set of ports.

    Parameters
    ----------
    contenders : tuple of Contender
        In the order asked for.
    bound : Bound
    n_ports : int
        HCA ports that were scored.
    """

    contenders: tuple[Contender, ...]
    bound: Bound
    n_ports: int

    @property
    def best(self) -> Contender | None:
        """The engine without credit loops that reaches most for all-to-all, then in eBB; None if there is none."""
        free = [contender for contender in self.contenders if contender.deadlock == "free"]
        return max(free, key=_merit, default=None)


def _merit(contender: Contender) -> tuple[float, float]:
    quality = None if contender.assessment is None else contender.assessment.quality
    return (0.0, 0.0) if quality is None else (round(quality.alltoall_fraction, 9), quality.ebb.mean)
