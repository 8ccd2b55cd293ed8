"""What jobs that run side by side do to each other: slowdowns, who hurts whom, and the cable that binds each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.named import Cable


@dataclass(frozen=True)
class Binding:
    """The directed cable that bounds a job's slowest phase while the other jobs run.

    Parameters
    ----------
    phase : str
        The phase whose runs take longest in all.
    cable : Cable
    hosts : (str, str)
        Sender and receiver of one of its flows that end last.
    flows : int
        Flows of that phase on it.
    others : tuple of (str, int)
        Other jobs on it and how many flows of theirs, in the order of the jobs.
    pairs : tuple of (str, str, str)
        Job, sending and receiving rank of the largest flows on it, its own first.
    """

    phase: str
    cable: Cable
    hosts: tuple[str, str]
    flows: int
    others: tuple[tuple[str, int], ...]
    pairs: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class JobSlowdown:
    """One job among others.

    Parameters
    ----------
    name : str
    n_hosts, ranks_per_host : int
    fabric_bytes : float
        What its hosts send over the fabric in a step.
    host_s : float
        Communication time of a step if only the hosts' own cables bounded, in seconds.
    alone_s, shared_s : float
        The same on these routes, alone and beside all the others.
    binding : Binding, optional
        None for a job that sends nothing over the fabric.
    """

    name: str
    n_hosts: int
    ranks_per_host: int
    fabric_bytes: float
    host_s: float
    alone_s: float
    shared_s: float
    binding: Binding | None

    @property
    def slowdown(self) -> float:
        """`shared_s` over `alone_s`; 1 for a job that sends nothing."""
        return self.shared_s / self.alone_s if self.alone_s > 0 else 1.0

    @property
    def gb_s_per_host(self) -> float:
        """Effective bandwidth beside the others: bytes on the fabric per host and time, in 1e9 bytes per second."""
        return self.fabric_bytes / self.n_hosts / self.shared_s / 1e9 if self.shared_s > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Interference:
    """Several jobs on one set of routes.

    Parameters
    ----------
    routes : str
        Engine or tables file.
    jobs : tuple of JobSlowdown
    matrix : float64 array of shape (n_jobs, n_jobs)
        Entry ``[j, k]``: slowdown of job `j` beside job `k` alone; 1 on the diagonal.
    """

    routes: str
    jobs: tuple[JobSlowdown, ...]
    matrix: NDArray[np.float64]

    @property
    def worst_pair(self) -> tuple[int, int] | None:
        """The job that suffers most from a single other, and that one; None where no job touches another."""
        if not np.any(self.matrix > 1 + 1e-9):
            return None
        victim, culprit = np.unravel_index(int(np.argmax(self.matrix)), self.matrix.shape)
        return int(victim), int(culprit)
