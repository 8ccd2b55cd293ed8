"""What ``fabctl job show`` tells: the parts of each job's step, where they run and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PartView:
    """A collective of a step, in all its groups; None where it takes a fabric or routes to know.

    Parameters
    ----------
    kind : str
        What cuts the job into groups: ``dp``, ``tp`` ...; ``all``, ``trace``, or empty for patterns and flow lists.
    name, operation, algorithm : str
    groups, group_size : int
        0 for patterns and flow lists.
    message_bytes, sent_bytes : float
        Of the busiest group: its message, and what each of its ranks sends in one run, NVLink included.
    times : int
        Runs per step.
    overlapped : bool
        Whether it hides behind compute.
    inside : bool, optional
        Whether every group sits in one host, so that nothing crosses the fabric.
    flows : int, optional
    host_bytes : float, optional
        Most that a host sends over the fabric in one run.
    seconds : float, optional
        Of one run.
    bottleneck : str
        The cable that takes longest, both ends; empty without routes.
    """

    kind: str
    name: str
    operation: str
    algorithm: str
    groups: int
    group_size: int
    message_bytes: float
    sent_bytes: float
    times: int
    overlapped: bool = False
    inside: bool | None = None
    flows: int | None = None
    host_bytes: float | None = None
    seconds: float | None = None
    bottleneck: str = ""


@dataclass(frozen=True)
class ModelView:
    """The model of a training: its title, parameters in all and on the fullest rank, and how it is cut."""

    title: str
    source: str
    parameters: int
    rank_parameters: int
    parallelism: Mapping[str, int]


@dataclass(frozen=True)
class JobView:
    """A job.

    Parameters
    ----------
    name, path : str
    hosts : str
        Node set; empty without a fabric where the file does not say it.
    n_hosts, ranks_per_host : int
        0 where they are not known.
    n_ranks : int
    rails : tuple of int
        Of each HCA that a host uses; empty without a fabric.
    model : ModelView, optional
    parts : tuple of PartView
    notes : tuple of str
    """

    name: str
    path: str
    hosts: str
    n_hosts: int
    ranks_per_host: int
    n_ranks: int
    rails: tuple[int, ...] = ()
    model: ModelView | None = None
    parts: tuple[PartView, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def seconds(self, *, overlapped: bool) -> float | None:
        """Return what the parts that do, or do not, hide behind compute take in a step; None if it is not known."""
        times = [
            None if part.seconds is None else part.seconds * part.times for part in self.parts if part.overlapped is overlapped
        ]
        known = [seconds for seconds in times if seconds is not None]
        return sum(known) if len(known) == len(times) else None
