"""`SweepPoint`: one line of a sweep's results, and the `Grid` that they cover."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """What a sweep covers: all routes x scales x offload sets, each with all collectives and sizes.

    Parameters
    ----------
    routes : tuple of str
        Engines and files of tables.
    scales : tuple of int
        Numbers of hosts: the first of the job's.
    offloads : tuple of str
        Sets like ``gdr+sharp``; ``cpu`` for none, ``default`` for what NCCL uses without being asked.
    collectives : tuple of str
    sizes : tuple of int
        Bytes.
    """

    routes: tuple[str, ...]
    scales: tuple[int, ...]
    offloads: tuple[str, ...]
    collectives: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.routes) * len(self.scales) * len(self.offloads)


@dataclass(frozen=True)
class Unit:
    """What is predicted in one go, and written as a whole."""

    routes: str
    n_hosts: int
    offloads: str


@dataclass(frozen=True)
class SweepPoint:
    """One prediction; where nothing can run, one point with the reason.

    Parameters
    ----------
    routes, offloads : str
    n_hosts, n_ranks : int
    collective : str
    size_bytes : int
    time_us, algbw_gb_s, busbw_gb_s : float
    algorithm, protocol : str
    binds, binds_at : str
        What takes the time, and which one.
    refusal : str
        Why there is nothing; empty where there is.
    """

    routes: str
    offloads: str
    n_hosts: int
    n_ranks: int = 0
    collective: str = ""
    size_bytes: int = 0
    time_us: float = 0.0
    algbw_gb_s: float = 0.0
    busbw_gb_s: float = 0.0
    algorithm: str = ""
    protocol: str = ""
    binds: str = ""
    binds_at: str = ""
    refusal: str = ""

    @property
    def unit(self) -> Unit:
        """What it was predicted with."""
        return Unit(self.routes, self.n_hosts, self.offloads)
