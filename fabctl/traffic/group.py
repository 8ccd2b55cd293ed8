"""`Group`: the ranks of a job that take part in one collective, and where each touches the fabric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.placement import Job


@dataclass(frozen=True, eq=False)
class Group:
    """Ranks in the order of their communicator.

    Parameters
    ----------
    rank : int32 array of shape (n,)
        Number of each member in the job.
    host : int32 array of shape (n,)
        Row of each member's host in the job. Members of one host talk over NVLink and not over the fabric.
    port : int32 array of shape (n,)
        HCA port through which each member sends and receives.
    """

    rank: NDArray[np.int32]
    host: NDArray[np.int32]
    port: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rank)


def groups(job: Job, ranks: NDArray[np.integer]) -> list[Group]:
    """Return the groups of some ranks of a job: one for each row of `ranks`, in the order given."""
    host, local = np.divmod(ranks.astype(np.int32), job.ranks_per_host)
    port = job.ports[host, local // job.ranks_per_port]
    return [Group(*columns) for columns in zip(ranks.astype(np.int32), host, port, strict=True)]


def world(job: Job) -> Group:
    """Return the group of all ranks of a job."""
    return groups(job, np.arange(job.n_ranks)[None])[0]
