"""What a collective is to the fabric: bytes between ports, steps one after the other, and nccl-tests' bookkeeping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.flows import Flows, unit_flows
from fabctl.traffic.placement import Job

MOST_FLOWS = 1 << 25
"""Flows that share the fabric at a time: each takes some 100 bytes while it is made."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Every port of every host sends the same to every port of every other host, too many pairs to write down.

    Parameters
    ----------
    ports : int32 array of shape (n_hosts, n_ports)
        One row per host; ports of one row send nothing to each other over the fabric.
    weight : float
        What each ordered pair carries, in the unit of the `Demand`.
    """

    ports: NDArray[np.int32]
    weight: float


def refuse_flows(n_flows: int, what: str) -> None:
    """Raise `RefusedError` for more flows at a time than `MOST_FLOWS`."""
    if n_flows > MOST_FLOWS:
        raise RefusedError(
            f"{what} is {n_flows:,} flows at a time, more than {MOST_FLOWS:,}",
            hint="pxn: true sends fewer, algorithm: bruck fewer still; fabctl bench predicts without writing flows down",
        )


def no_flows() -> Flows:
    """Return the empty flows."""
    nobody = np.empty(0, dtype=np.int32)
    return unit_flows(nobody, nobody)


@dataclass(frozen=True, eq=False)
class Demand:
    """What a collective puts on the fabric per byte of message; loads are linear in the message.

    Parameters
    ----------
    flows : Flows
        Weights are bytes per byte of message.
    exchanges : tuple of Exchange
        Weights likewise.
    """

    flows: Flows = field(default_factory=no_flows)
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class Steps:
    """What must happen one after the other before the last byte has arrived, apart from the bytes themselves.

    Parameters
    ----------
    intra : int
        Hops inside a host.
    inter : int
        Hops over the fabric.
    posts : int
        Sends that one rank posts besides, each at the cost of posting it.
    """

    intra: int
    inter: int
    posts: int = 0


@dataclass(frozen=True)
class Collective:
    """An algorithm of a collective operation.

    Parameters
    ----------
    name : str
        nccl-tests' name of the operation.
    algorithm : str
        ``ring``, ``chain`` or ``pairwise``.
    demand : callable
        `Job` to `Demand`.
    steps : callable
        `Job` to `Steps`.
    bus_factor : callable
        Number of ranks to busbw / algbw (nccl-tests, doc/PERFORMANCE.md).
    protocols : tuple of str
        NCCL protocols that may carry it.
    redop : str
    root : int
        -1 where the operation has none.
    per_rank : bool
        nccl-tests splits the message over the ranks: its count is per rank, in multiples of 16 bytes.
    """

    name: str
    algorithm: str
    demand: Callable[[Job], Demand]
    steps: Callable[[Job], Steps]
    bus_factor: Callable[[int], float]
    protocols: tuple[str, ...] = ("LL", "LL128", "Simple")
    redop: str = "none"
    root: int = -1
    per_rank: bool = False
