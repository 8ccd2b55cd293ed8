"""The time of one collective of a step, all its groups side by side: NCCL's latency, and its bytes over whatever is slowest.

Prices are those of `fabctl.bench.pricing`; what differs is that several groups share a host's links and the fabric. SHARP serves
groups that span all hosts on HCAs, and so by trees, of their own: NCCL's plug-in serves one communicator of a process
(``NCCL_SHARP_MAX_COMMS``). So a group of all ranks, and data parallel groups beside tensor parallel ones within hosts, for which
Megatron-LM takes it (``use_sharp`` of ``initialize_model_parallel``, ``megatron/core/parallel_state.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fabctl.bench.cost import one_after_the_other
from fabctl.bench.nccl import ring
from fabctl.bench.nccl.ring import WIRE_SHARE, Ranks
from fabctl.bench.pricing import NCCL, ON_FABRIC, Priced, fabric_limit, tightest
from fabctl.bench.scene import Scene, Setup
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.step_hosts import Hosts, Local, groups_on_busiest
from fabctl.bench.walked import Walked
from fabctl.model.predictions import Limit
from fabctl.model.rates import Float64
from fabctl.model.tables import RoutingTables
from fabctl.traffic.call import Call
from fabctl.traffic.collective import Steps
from fabctl.traffic.job import JobSpec
from fabctl.traffic.phases import call_phases
from fabctl.traffic.placement import Job

SENDRECV, ALLTOALL = "sendrecv", "alltoall"


class CallTimer:
    """Times the collectives of one job on one set of routes.

    Parameters
    ----------
    spec : JobSpec
    job : Job
    tables : RoutingTables
    rates : float64 array of shape (n_channels,)
        Data rate of each channel in Gb/s.
    setup : Setup
        Where hosts are unknown, groups within one have no time, and others that of rings over the fabric.

    Raises
    ------
    UsageError
        If the job has more ranks or HCAs per host than the node has GPUs or HCAs, or an offload needs hosts that are known.
    RefusedError
        If an offload cannot work here.
    """

    def __init__(self, spec: JobSpec, job: Job, tables: RoutingTables, rates: Float64, setup: Setup) -> None:
        self.spec, self.job, self.tables, self.rates = spec, job, tables, rates
        ranks = Ranks(job.n_hosts, job.ranks_per_host, job.ports.shape[1])
        self.walked = Walked(job, rates)
        self.scene = Scene.of(setup, ranks, self.walked)
        self.hosts = Hosts(self.scene.hosts, job) if self.scene.hosts else None
        hop = self.scene.hosts.hop if self.scene.hosts else None
        self.hop_us = hop.extra_us if hop else 0.0

    def inside(self, call: Call) -> bool:
        """Tell whether every group of a call sits in one host."""
        return bool((np.ptp(call.ranks // self.job.ranks_per_host, axis=1) == 0).all())

    def time(self, call: Call) -> Priced | None:
        """Return the time of one run of a call; None within hosts that are unknown.

        Raises
        ------
        InputError
            If a flow has no route or loops.
        RefusedError
            If a used cable's rate is unknown.
        """
        if self.hosts is None and self.inside(call):
            return None
        if self.hosts is None or call.operation in (SENDRECV, ALLTOALL):
            return self._fixed(call, self.hosts)
        return self._chosen(call, self.hosts)

    def _chosen(self, call: Call, hosts: Hosts) -> Priced:
        """Return what NCCL chooses, priced with what hosts and fabric allow when all groups run side by side."""
        size_bytes, groups = int(call.size_bytes.max()), groups_on_busiest(call, self.job)
        choices = hosts.choices(groups[0], call.operation, size_bytes, sharp=self._own_trees(call, groups))
        asked = (choice for choice in choices if ON_FABRIC[choice.algorithm] == self.spec.algorithm)
        choice = next(asked, choices[0])
        limits = list(hosts.limits(groups, call.operation, choice.algorithm))
        latency_us = choice.latency_us
        if not self.inside(call):
            limits.append(self._fabric_limit(replace(call, algorithm=ON_FABRIC[choice.algorithm])))
            latency_us += self.hop_us * choice.inter_steps
        own = Limit(NCCL, f"{choice.algorithm}, {choice.protocol}", choice.bandwidth_gb_s)
        shared = _shared(limits, WIRE_SHARE[choice.protocol])
        return Priced(choice.algorithm, choice.protocol, size_bytes, latency_us, tightest([*shared, own]))

    def _own_trees(self, call: Call, groups: Sequence[Local]) -> bool:
        """Tell whether each group can have SHARP trees of its own: it spans all hosts, on HCAs that no other group uses."""
        hcas = [{rank // self.job.ranks_per_port for rank in local.ranks} for local in groups]
        spanning = len(groups) == len(call.ranks) and all(local.n_nodes == self.job.n_hosts for local in groups)
        return spanning and sum(map(len, hcas)) == len(set().union(*hcas))

    def _fixed(self, call: Call, hosts: Hosts | None) -> Priced:
        """Return a transfer or an all-to-all, which NCCL does not price; on unknown hosts any operation, by its one algorithm."""
        size_bytes, groups = int(call.size_bytes.max()), groups_on_busiest(call, self.job)
        limits = [] if self.inside(call) else [self._fabric_limit(call)]
        if hosts and call.operation == SENDRECV:
            limits += hosts.transfer_limits(call)
        elif hosts:
            limits += hosts.limits(groups, call.operation, "pxn" if call.algorithm == "pxn" else "pairwise")
        steps, ranks = _steps(call, groups[0]), Ranks(groups[0].n_nodes, len(groups[0].ranks), 1)

        def priced(protocol: str) -> Priced:
            latency_us = ring.latency_us(call.operation, steps, ranks, protocol, size_bytes) + self.hop_us * steps.inter
            shared = _shared(limits, ring.WIRE_SHARE[protocol])
            return Priced(call.algorithm, protocol, size_bytes, latency_us, tightest(shared))

        protocols = ("LL", "Simple") if call.operation in (SENDRECV, ALLTOALL) else tuple(ring.WIRE_SHARE)
        return min((priced(protocol) for protocol in protocols), key=lambda way: way.time_us)

    def _fabric_limit(self, call: Call) -> Limit:
        """Return what the fabric allows the largest message, the call's others beside it."""
        if self.scene.plan and call.algorithm == "sharp":
            together = streaming_limit(self.scene.plan, self.rates)
            return replace(together, algbw_gb_s=together.algbw_gb_s / len(call.ranks))
        shares = replace(call, size_bytes=call.size_bytes / call.size_bytes.max(), times=1)
        adaptive, phases = self.scene.setup.offloads.adaptive, call_phases(shares, self.spec, self.job)
        costs = [self.walked.phase_cost(self.tables, phase, adaptive=adaptive) for phase in phases]
        return fabric_limit(one_after_the_other(costs))


def _shared(limits: list[Limit], share: float) -> list[Limit]:
    return [Limit(limit.kind, limit.name, limit.algbw_gb_s * share) for limit in limits]


def _steps(call: Call, local: Local) -> Steps:
    """Return what follows one after the other, as `fabctl.traffic.operations` has it."""
    inside = local.n_nodes == 1
    if call.operation == SENDRECV:
        return Steps(intra=int(inside), inter=int(not inside))
    if call.operation == ALLTOALL:
        hop = Steps(intra=1, inter=0) if inside else Steps(intra=int(call.algorithm == "pxn"), inter=1)
        return replace(hop, posts=local.n - (1 if inside else len(local.ranks)) - 1)
    rounds = 2 if call.operation == "all_reduce" else 1
    inter = rounds * (local.n_nodes - 1)
    return Steps(intra=rounds * (local.n - 1) - inter, inter=inter)
