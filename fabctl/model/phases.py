"""`Phase` and `JobTraffic`: what a job sends, phase by phase, with the ranks behind each flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.model.flows import Flows


@dataclass(frozen=True, eq=False)
class Channels:
    """The directed channels that each flow takes, as a CSR.

    Parameters
    ----------
    ptr : int64 array of shape (n_flows + 1,)
    index : int32 array of shape (ptr[-1],)
        Flow `f` takes ``index[ptr[f]:ptr[f + 1]]``: a path, or the edges of a tree on which all moves at one pace.
    """

    ptr: NDArray[np.int64]
    index: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ptr) - 1


@dataclass(frozen=True, eq=False)
class Phase:
    """Transfers of a job that share the fabric at the same time.

    Parameters
    ----------
    name : str
        What it is, for people: ``dp all_reduce, tree``.
    flows : Flows
        Weights are bytes. Only what crosses the fabric: transfers inside a host are left out.
    src_rank, dst_rank : int32 arrays of shape (n_flows,)
        The ranks of the job behind each flow; the lowest of several that share it.
    times : int
        How often it runs in a step, one after the other.
    fixed : Channels, optional
        Channels of flows that no forwarding table routes (trees of SHARP and multicast); None: the tables decide.
    kind : str
        What cuts the job into the groups that send: ``dp``, ``tp`` ...; ``all`` for all ranks; empty if nothing does.
    groups, group_size : int
        How many groups send at the same time, and of how many ranks; 0 if there are none.
    overlapped : bool
        Whether it hides behind compute.
    """

    name: str
    flows: Flows
    src_rank: NDArray[np.int32]
    dst_rank: NDArray[np.int32]
    times: int = 1
    fixed: Channels | None = None
    kind: str = ""
    groups: int = 0
    group_size: int = 0
    overlapped: bool = False


@dataclass(frozen=True, eq=False)
class JobTraffic:
    """All that a job sends in one step.

    Parameters
    ----------
    name : str
    hosts : tuple of str
        In rank order.
    ranks_per_host : int
        Rank `r` runs on ``hosts[r // ranks_per_host]``.
    phases : tuple of Phase
        In the order in which they happen. Phases of one job do not overlap each other.
    notes : tuple of str
        What was decided for the user, worth printing.
    """

    name: str
    hosts: tuple[str, ...]
    ranks_per_host: int
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = ()

    def rank_label(self, rank: int) -> str:
        """``luna-001:3``, the host and the rank within it."""
        host, local = divmod(rank, self.ranks_per_host)
        return f"{self.hosts[host]}:{local}"
