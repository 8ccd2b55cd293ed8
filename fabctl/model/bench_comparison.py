"""`BenchComparison`: engines, offloads and placements side by side for one job, the first that runs being the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

STEP, COMMUNICATION = "step", "communication"
"""A training's operation: its step, or where compute is unknown what it waits for communication, pipeline's bubble included."""
WORTH = 0.005
"""Relative gain below which one offload more is not worth naming."""


@dataclass(frozen=True)
class Fact:
    """A statement about a deployment, and where it comes from: a source, or the reason of an assumption."""

    text: str
    why: str


@dataclass(frozen=True)
class ScenarioFacts:
    """What is known of a reference deployment.

    Parameters
    ----------
    name, title : str
    published, assumed : tuple of Fact
    """

    name: str
    title: str
    published: tuple[Fact, ...]
    assumed: tuple[Fact, ...]


@dataclass(frozen=True)
class Point:
    """What one operation takes.

    Parameters
    ----------
    operation : str
        nccl-tests' name of a collective, `STEP` or `COMMUNICATION`.
    size_bytes : int
        0 for a training.
    time_us : float
    busbw_gb_s : float, optional
        None for a training.
    algorithm : str
        What NCCL takes; empty for a training.
    phase : str
        Of a training: its longest exposed phase; empty where all hides behind compute.
    binds, binds_at : str
        What most of the time goes to (`fabctl.model.predictions.Row`); of a training: of that phase.
    exposed_us : float, optional
        A training's communication that does not hide behind compute.
    tokens_per_s : float, optional
        Of a training whose compute is known.
    """

    operation: str
    size_bytes: int
    time_us: float
    busbw_gb_s: float | None = None
    algorithm: str = ""
    phase: str = ""
    binds: str = ""
    binds_at: str = ""
    exposed_us: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What one setting gives.

    Parameters
    ----------
    routes : str
        Engine or tables file.
    placement : str
    offloads : str
        For people: ``+ GPUDirect RDMA``, ``gdr+sharp``.
    enabled : tuple of str
        Names of the offloads that are on.
    points : tuple of Point
        The same operations and sizes in every outcome; empty where it was refused.
    refusal : str
        Why it cannot run; empty where it can.
    instead : str
        The nearest thing that works.
    """

    routes: str
    placement: str
    offloads: str
    enabled: tuple[str, ...]
    points: tuple[Point, ...] = ()
    refusal: str = ""
    instead: str = ""


@dataclass(frozen=True)
class BenchComparison:
    """Settings side by side.

    Parameters
    ----------
    hosts : str
        Node set, as the job gives it.
    n_hosts, ranks_per_host : int
    node : str
        What the hosts are; empty: unknown.
    outcomes : tuple of Outcome
        In the order asked for: placements, then routes, then offloads. At least one ran.
    assumptions, notes : tuple of str
    scenario : ScenarioFacts, optional
    """

    hosts: str
    n_hosts: int
    ranks_per_host: int
    node: str
    outcomes: tuple[Outcome, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    scenario: ScenarioFacts | None = None

    @cached_property
    def baseline(self) -> Outcome:
        """The first outcome that ran."""
        return next(outcome for outcome in self.outcomes if outcome.points)

    def ratio(self, outcome: Outcome, index: int) -> float | None:
        """Return how many times as fast as the baseline's an outcome's point is; None if it takes no time at all."""
        time_us = outcome.points[index].time_us
        return self.baseline.points[index].time_us / time_us if time_us else None

    def best(self, index: int) -> Outcome:
        """Return the first outcome that is as fast as the fastest in one of the operations, but for `WORTH`."""
        ran = [outcome for outcome in self.outcomes if outcome.points]
        least = min(outcome.points[index].time_us for outcome in ran)
        return next(outcome for outcome in ran if outcome.points[index].time_us <= least * (1 + WORTH))
