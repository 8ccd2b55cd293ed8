"""What a job file need not say in words: transfers and collective operations one by one, as flow lists and traces hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """Bytes from one HCA to another.

    Parameters
    ----------
    src, dst : str
        Host (its first HCA of the job is meant) or HCA, as fabctl prints them.
    size_bytes : int
    where : str
        Place in the input.
    """

    src: str
    dst: str
    size_bytes: int
    where: str


@dataclass(frozen=True)
class Operation:
    """One collective among some ranks of a job.

    Parameters
    ----------
    collective : str
        Registered name.
    ranks : tuple of int
        Ranks of the job, in the order of their communicator.
    size_bytes : int
        Message, as nccl-tests counts it.
    where : str
        Place in the input.
    """

    collective: str
    ranks: tuple[int, ...]
    size_bytes: int
    where: str
