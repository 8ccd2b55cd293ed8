"""`Call`: one collective of a job's step, in all the groups that run it at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Call:
    """A collective that several groups of ranks run side by side.

    Parameters
    ----------
    kind : str
        What cuts the job into these groups: ``dp``, ``tp``, ``cp``, ``ep``, ``pp``, ``embedding``; a ``trace``; ``all`` for all.
    name : str
        What is sent, for people: ``dp gradients``.
    operation : str
        nccl-tests' name, or ``sendrecv``: each member to the next.
    ranks : int32 array of shape (n_groups, n)
        Ranks of the job, in the order of their communicator.
    size_bytes : float64 array of shape (n_groups,)
        Message of each group, as nccl-tests counts it (`fabctl.traffic.algorithm.collective_phases`).
    times : int
        How often it runs in a step.
    algorithm : str
        Registered name; empty: the operation's default.
    overlapped : bool
        Whether it hides behind compute.
    extent : (int, int), optional
        Number and size of the groups that people know these by: the links of pipelines are their pairs.
    """

    kind: str
    name: str
    operation: str
    ranks: NDArray[np.int32]
    size_bytes: Float64
    times: int = 1
    algorithm: str = ""
    overlapped: bool = False
    extent: tuple[int, int] | None = None

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.extent[0] if self.extent else len(self.ranks)

    @property
    def group_size(self) -> int:
        """Ranks of a group."""
        return self.extent[1] if self.extent else self.ranks.shape[1]

    @property
    def sent_bytes(self) -> Float64:
        """Bytes that a rank of each group sends in one run, NVLink included, shape (n_groups,)."""
        return self.size_bytes * sent_share(self.operation, self.ranks.shape[1], self.algorithm)


def sent_share(operation: str, n: int, algorithm: str = "") -> float:
    """Return the bytes that a rank of n sends per byte of message, on average.

    2 (n - 1) / n for an all-reduce, (n - 1) / n for its halves and an all-to-all (nccl-tests, doc/PERFORMANCE.md), whatever
    the algorithm, except that SHARP reduces and multicast copies in the switches, and that Bruck's all-to-all moves a block once
    for every bit in its way. A broadcast's chain sends the message n - 1 times; of a point-to-point transfer it is what its
    sender sends.
    """
    share = (n - 1) / n
    if algorithm == "bruck" and operation == "alltoall":
        return sum(block.bit_count() for block in range(n)) / n
    if algorithm == "multicast":
        return 1 / n
    if algorithm == "sharp" or operation == "sendrecv":
        return 1.0
    return 2 * share if operation == "all_reduce" else share
