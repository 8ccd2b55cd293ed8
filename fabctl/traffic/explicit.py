"""What a job file need not say in words: transfers and collective operations one by one, as flow lists and traces hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """Bytes from one HCA to another.

    Parameters
    ----------
    src, dst : str
        Host (the bytes are spread over its HCAs), ``host:mlx5_0``, or an HCA or port as fabctl prints them.
    size_bytes : int
    where : str
        Place in the input.
    phase : str
        Transfers of one phase run at once, phases one after the other in the order of their first transfers.
    """

    src: str
    dst: str
    size_bytes: int
    where: str
    phase: str = ""


@dataclass(frozen=True)
class Operation:
    """One collective among some ranks of a job.

    Parameters
    ----------
    collective : str
        Registered name, or ``sendrecv``: the first rank sends to the second.
    ranks : tuple of int
        Ranks of the job, in the order of their communicator.
    size_bytes : int
        Message, as nccl-tests counts it.
    where : str
        Place in the input.
    times : int
        How often it runs, one after the other.
    """

    collective: str
    ranks: tuple[int, ...]
    size_bytes: int
    where: str
    times: int = 1
