"""Everything about a pair of hosts: paths, loads, competing flows, and what was tried to make it faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fabctl.model.named import Cable, JobShare, RankPair
from fabctl.model.results import Finding

ChangeKind = Literal["cable", "entry", "rail", "swap", "engine", "none"]


@dataclass(frozen=True)
class Hop:
    """A directed cable on a route, with what it carries.

    Parameters
    ----------
    cable : Cable
    shares : tuple of JobShare
        With jobs: flows and bytes of one run of each phase on it, the pair's own included.
    step_bytes : float
        With jobs: bytes of all jobs in one step.
    own_bytes : float
        The part of `step_bytes` that the pair's own flows on this route are.
    sources : int
        Without jobs: flows of an all-to-all of all compute hosts on it.
    slower_than : str
        What cables of its kind commonly run at (``4xHDR``) where this one is slower or narrower; empty if it is not.
    """

    cable: Cable
    shares: tuple[JobShare, ...]
    step_bytes: float
    own_bytes: float
    sources: int
    slower_than: str


@dataclass(frozen=True)
class Leg:
    """The route from a port of one end to a port of the other.

    Parameters
    ----------
    rail : int
        -1 where it is unknown, or not the same at both ends.
    source, target : str
        HCA ports.
    target_lid : int
    hops : tuple of Hop
        Up to where it stops, if it does.
    problem : str
        Why the target is not reached; empty if it is.
    host_gb_s : float
        What the slower of both ends' own cables carries.
    alone_gb_s : float
        Max-min fair rate with nothing else on the fabric than the pair's other legs, 1e9 bytes of payload per second.
    now_gb_s : float
        The same among the other flows; without jobs what a port reaches at least in an all-to-all if all its flows are like this.
    now_binds : int
        Index of the hop that sets it; -1 with a problem.
    """

    rail: int
    source: str
    target: str
    target_lid: int
    hops: tuple[Hop, ...]
    problem: str
    host_gb_s: float
    alone_gb_s: float
    now_gb_s: float
    now_binds: int


@dataclass(frozen=True)
class Trial:
    """A change that was tried.

    Parameters
    ----------
    kind : str
    what : str
        What would be done, or why nothing of the kind can be.
    after_gb_s : float, optional
        The route's rate with it; None where nothing was computed.
    binds : str
        The cable that sets that rate.
    slowest : float, optional
        Time of all the flows with it over their time before; None where that was not computed.
    helps : bool
    command : str
        What to type, where it is a command.
    """

    kind: ChangeKind
    what: str
    after_gb_s: float | None = None
    binds: str = ""
    slowest: float | None = None
    helps: bool = False
    command: str = ""


@dataclass(frozen=True)
class PairExplanation:
    """What ``fabctl explain`` says.

    Parameters
    ----------
    first, second : str
        The hosts.
    routes : str
        Engine or tables file.
    jobs : tuple of str
        Their names; empty where the traffic is an all-to-all of all compute hosts.
    phases : tuple of (str, str)
        Job and phase of the flows that the pair meets.
    all_to_all_ports : int
        HCA ports of the all-to-all; 0 with jobs, and where its loads are not known as the tables lose some of it.
    legs : tuple of Leg
        Rail by rail, there and back.
    worst : int
        Index of the leg that the following is about: the slowest now.
    competing : tuple of JobShare
        Flows of others on the cable that sets its rate.
    competitors : tuple of RankPair
        The largest of them.
    trials : tuple of Trial
        In the order in which they were tried.
    findings : tuple of Finding
    notes : tuple of str
    """

    first: str
    second: str
    routes: str
    jobs: tuple[str, ...]
    phases: tuple[tuple[str, str], ...]
    all_to_all_ports: int
    legs: tuple[Leg, ...]
    worst: int
    competing: tuple[JobShare, ...]
    competitors: tuple[RankPair, ...]
    trials: tuple[Trial, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def loads_known(self) -> bool:
        """Whether it is known what else is on the routes."""
        return bool(self.jobs or self.all_to_all_ports)

    @property
    def advice(self) -> Trial | None:
        """The first change that helps."""
        return next((trial for trial in self.trials if trial.helps), None)
