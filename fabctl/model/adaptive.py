"""What adaptive routing makes of tables: how its balance converged, and its scores beside the static ones."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.routes import Estimate


@dataclass(frozen=True)
class Round:
    """One round of balancing.

    Parameters
    ----------
    hottest : float
        Load over relative rate of the hottest channel, after the round.
    bound : float
        What no split within the groups can get below, as far as is known by then.
    """

    hottest: float
    bound: float


@dataclass(frozen=True)
class Convergence:
    """How the split of traffic over adaptive groups was found.

    Parameters
    ----------
    rounds : tuple of Round
        The first splits equally over all ports of a group.
    static : float
        Hottest channel on the tables' own routes.
    hottest : float
        Hottest channel of what was chosen: the best round, or the tables' own routes where no round beats them.
    kept_static : bool
        Whether the tables' own routes were chosen.
    """

    rounds: tuple[Round, ...]
    static: float
    hottest: float
    kept_static: bool

    @property
    def bound(self) -> float:
        """What no split can get below."""
        return self.rounds[-1].bound

    @property
    def gap(self) -> float:
        """How far the choice is above the bound at most, relative."""
        return max(0.0, self.hottest / self.bound - 1) if self.bound else 0.0

    @property
    def changes(self) -> tuple[float, ...]:
        """Relative change of the hottest channel in each round after the first."""
        return tuple(
            after.hottest / before.hottest - 1 if before.hottest else 0.0
            for before, after in zip(self.rounds, self.rounds[1:], strict=False)
        )


@dataclass(frozen=True)
class Spread:
    """Scores of one way to spread traffic over several paths.

    Parameters
    ----------
    name : str
        ``static``, ``fluid`` (split without end), ``local`` (each flow whole, each switch by its own load), ``hash`` (by hashes
        of the flows, on the groups or on a port's LIDs).
    hottest : float, optional
        Load over relative rate of the hottest channel under the traffic that is looked at; None where it was not looked at.
    ebb : Estimate, optional
        Effective bisection bandwidth.
    """

    name: str
    hottest: float | None
    ebb: Estimate | None


@dataclass(frozen=True)
class AdaptiveQuality:
    """Adaptive routing beside the static routes of the tables.

    Parameters
    ----------
    mode : str
        ``lag``, ``tree``, ``dragonfly+``, or empty where only a port's LIDs are spread over.
    sls : tuple of int, optional
        Service levels that are routed adaptively; None: all.
    share : float
        Share of the traffic between leaves that goes adaptively.
    classes, widest : int
        Sets of destinations with groups of their own, and ports of the largest group.
    circle : bool, optional
        Whether channels can wait for each other in a circle: a possible credit loop. None: with several virtual lanes that is
        not told.
    traffic : str
        What loads the channels.
    alltoall_ideal : int, optional
        For an all-to-all: load of each port's own channel, so that `alltoall_ideal` over the hottest is the fraction of injection
        bandwidth.
    spreads : tuple of Spread
        The static routes first.
    convergence : Convergence, optional
        Of the fluid split under that traffic.
    seed, qps : int
        Of the hashes, and queue pairs per flow.
    """

    mode: str
    sls: tuple[int, ...] | None
    share: float
    classes: int
    widest: int
    circle: bool | None
    traffic: str
    alltoall_ideal: int | None
    spreads: tuple[Spread, ...]
    convergence: Convergence | None
    seed: int
    qps: int
