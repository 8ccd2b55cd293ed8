"""What the inside of a job's hosts allows for collectives whose groups run side by side in them, and what NCCL thinks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fabctl.bench.inside import host_limits
from fabctl.bench.inside_host import Host, host_of
from fabctl.bench.inside_loads import Loads
from fabctl.bench.inside_traffic import Group, load
from fabctl.bench.known_hosts import GDR_LEVEL, KnownHosts
from fabctl.bench.nccl.choice import Choice
from fabctl.bench.nccl.tuner import Tuner
from fabctl.model.node_graph import NodeGraph
from fabctl.model.predictions import Limit
from fabctl.traffic.call import Call
from fabctl.traffic.placement import Job


@dataclass(frozen=True)
class Local:
    """A group's members on one host.

    Parameters
    ----------
    ranks : tuple of int
        Numbers within the host, ascending.
    n_nodes, n : int
        Hosts and ranks of the whole group.
    share : float
        Its message against the call's largest.
    """

    ranks: tuple[int, ...]
    n_nodes: int
    n: int
    share: float = 1.0


def groups_on_busiest(call: Call, job: Job) -> list[Local]:
    """Return a group that spans most hosts, of several that with the largest message, and those beside it on its first host."""
    hosts, local = np.divmod(call.ranks, job.ranks_per_host)
    spanned = 1 + np.count_nonzero(np.diff(np.sort(hosts, axis=1), axis=1), axis=1)
    share = call.size_bytes / call.size_bytes.max()
    first = int(np.lexsort((-share, -spanned))[0])
    here = hosts == hosts[first, 0]
    rows = [first, *(row for row in np.flatnonzero(here.any(axis=1)).tolist() if row != first)]
    return [
        Local(tuple(sorted(local[row][here[row]].tolist())), int(spanned[row]), call.ranks.shape[1], float(share[row]))
        for row in rows
    ]


class Hosts:
    """The hosts of a job, all of one type.

    Parameters
    ----------
    known : KnownHosts
    job : Job
    """

    def __init__(self, known: KnownHosts, job: Job) -> None:
        self.known, self.job = known, job
        self.host = host_of(known.node, job.ranks_per_host, known.hcas, known.offloads, GDR_LEVEL, alone=False)
        self._parts: dict[tuple[tuple[int, ...], bool], NodeGraph] = {}
        self._tuners: dict[tuple[Local, bool], Tuner] = {}

    def choices(self, local: Local, operation: str, size_bytes: int, *, sharp: bool) -> list[Choice]:
        """Return all that NCCL considers for a group, what it takes first; `sharp` tells whether SHARP may be asked for."""
        key = replace(local, share=1.0), sharp
        if key not in self._tuners:
            offloads, rate = replace(self.known.offloads, sharp=self.known.offloads.sharp and sharp), self.known.port_gb_s
            self._tuners[key] = Tuner(self._part(local), local.n_nodes, len(local.ranks), offloads, port_gb_s=rate)
        return self._tuners[key].options(operation, size_bytes)

    def limits(self, groups: Sequence[Local], operation: str, algorithm: str) -> tuple[Limit, ...]:
        """Return what the links of a host allow for groups that run side by side, tightest first.

        Parameters
        ----------
        algorithm : str
            NCCL's, of the first group; groups within the host take rings beside one that leaves it.
        """
        whole = Loads(self.host)
        for local in groups:
            part = Loads(Host(self._part(local), self.known.offloads, GDR_LEVEL))
            alike = local.n_nodes > 1 or groups[0].n_nodes == 1 or operation == "alltoall"
            load(part, Group(local.n_nodes, local.n_nodes * len(local.ranks)), operation, algorithm if alike else "Ring")
            whole.add(part, local.share)
        return host_limits(whole)

    def transfer_limits(self, call: Call) -> tuple[Limit, ...]:
        """Return what the links of the host with the largest transfer allow for all transfers that begin or end there."""
        loads, shares = Loads(self.host), call.size_bytes / call.size_bytes.max()
        ranks = self.host.ranks
        hosts, local = np.divmod(call.ranks, self.job.ranks_per_host)
        here = hosts[int(np.argmax(shares)), 0]
        touching = np.flatnonzero((hosts == here).any(axis=1)).tolist()
        for row in touching:
            (a, b), share = local[row].tolist(), float(shares[row])
            leaves, arrives = hosts[row] == here
            if leaves and arrives:
                loads.hand(ranks[a], ranks[b], share)
            elif leaves:
                loads.send(ranks[a], self._hca(a), share)
            else:
                loads.receive(self._hca(b), ranks[b], share)
        return host_limits(loads)

    def _part(self, local: Local) -> NodeGraph:
        """Return the node with a group's GPUs only, and the HCAs that they use where the group leaves the host."""
        key = local.ranks, local.n_nodes > 1
        if key not in self._parts:
            node = self.host.node
            kept = {node.gpus[rank] for rank in local.ranks}
            kept |= {self._hca(rank) for rank in local.ranks} if local.n_nodes > 1 else set()
            gone = {*node.gpus, *node.hcas} - kept
            devices = tuple(device for device in node.devices if device.name not in gone)
            links = tuple(link for link in node.links if not {link.a, link.b} & gone)
            self._parts[key] = replace(node, devices=devices, links=links)
        return self._parts[key]

    def _hca(self, rank: int) -> str:
        """Return the HCA that a rank of a host uses."""
        rails = sorted(set(self.job.rails))
        return self.host.node.hcas[rails.index(self.job.rails[rank // self.job.ranks_per_port])]
