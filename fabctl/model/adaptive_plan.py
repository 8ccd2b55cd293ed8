"""`AdaptivePlan`: what adaptive routing would do on each switch of a fabric, whether that is safe, and what it gains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PortGroup:
    """Ports among which a switch chooses.

    Parameters
    ----------
    ports : tuple of int
        Port numbers, ascending.
    destinations : int
        HCA ports towards which it does.
    """

    ports: tuple[int, ...]
    destinations: int


@dataclass(frozen=True)
class SwitchGroups:
    """The groups of one switch.

    Parameters
    ----------
    switch, guid : str
    tier : int
        0 for leaves; -1: unknown.
    able : bool, optional
        Whether it routes adaptively; None: unknown. One that cannot keeps its static routes, whatever groups it could have.
    groups : tuple of PortGroup
        Those of several ports, the widest first.
    forced : int
        HCA ports towards which it has one way only.
    """

    switch: str
    guid: str
    tier: int
    able: bool | None
    groups: tuple[PortGroup, ...]
    forced: int


@dataclass(frozen=True)
class AdaptiveGain:
    """What `bench` predicts for one collective of a job, with static routes and with adaptive ones.

    Parameters
    ----------
    operation : str
    size_bytes : int
    static_gb_s, adaptive_gb_s : float
        Bus bandwidth, GB = 1e9 bytes.
    """

    operation: str
    size_bytes: int
    static_gb_s: float
    adaptive_gb_s: float

    @property
    def speedup(self) -> float:
        """Adaptive over static; 1: nothing is gained."""
        return self.adaptive_gb_s / self.static_gb_s


@dataclass(frozen=True)
class AdaptivePlan:
    """Adaptive routing on a fabric.

    Parameters
    ----------
    engine : str
        ``ar_updn``, ``ar_ftree``, ``dfp``.
    algorithm : str
        How groups are made: ``LAG``, ``TREE``, ``DF_PLUS``.
    routes : str
        Where the routes are from whose groups these are.
    sls : tuple of int
        Service levels that are routed adaptively; the groups are the same on all of them.
    switches : tuple of SwitchGroups
    circle : bool, optional
        Whether channels may wait for each other in a circle, on one virtual lane; None: the routes have several, it is not told.
    environment : tuple of str
        ``NAME=VALUE`` for the hosts.
    gains : tuple of AdaptiveGain
    gain_note : str
        What the gains rest on, or why there are none.
    """

    engine: str
    algorithm: str
    routes: str
    sls: tuple[int, ...]
    switches: tuple[SwitchGroups, ...]
    circle: bool | None
    environment: tuple[str, ...]
    gains: tuple[AdaptiveGain, ...] = ()
    gain_note: str = ""
