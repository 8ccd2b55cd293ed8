"""SHARP: what the switches and HCAs of a job can reduce, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.traffic.placement import Job


@dataclass(frozen=True)
class SharpPlan:
    """What SHARP does for a job.

    Parameters
    ----------
    version : int
        The lowest of the switches on the trees.
    streaming : bool
        Whether large messages are aggregated (SAT), or only small ones (LLT).
    payload_bytes : int
        Of one low-latency operation.
    depth : int
        Switches between a leaf and the root.
    reasons : tuple of str
        What limits it, for people.
    """

    version: int
    streaming: bool
    payload_bytes: int
    depth: int
    reasons: tuple[str, ...]


def sharp_plan(job: Job) -> SharpPlan:
    """Return what SHARP can do for a job.

    Raises
    ------
    RefusedError
        If a switch or an HCA cannot, naming it and the nearest thing that works; also for hardware that is unknown.
    """
    raise NotImplementedError(job)


def low_latency_us(plan: SharpPlan, n_hosts: int, size_bytes: int) -> float:
    """Return the time of a host-memory all-reduce by low-latency trees."""
    raise NotImplementedError(plan, n_hosts, size_bytes)


def host_based_us(n_hosts: int, size_bytes: int, gb_s: float) -> float:
    """Return the time of MPI's all-reduce without SHARP, one rank per host."""
    raise NotImplementedError(n_hosts, size_bytes, gb_s)


STREAMING_SHARE = 0.95
"""Share of the wire that streaming aggregation reaches (ISC 2020, abstract: about 95 %)."""
