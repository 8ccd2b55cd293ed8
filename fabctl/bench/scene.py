"""`Scene`: all that is the same for every collective of a table, and how each of them is priced there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from fabctl.bench.cost import Cost
from fabctl.bench.gpudirect import Hop, network_hop
from fabctl.bench.inside import inside_limits
from fabctl.bench.inside_host import host_of
from fabctl.bench.nccl.ring import Ranks
from fabctl.bench.nccl.tuner import Tuner
from fabctl.bench.pricing import ON_FABRIC, FixedPricer, NcclPricer, Pricer, fabric_limit
from fabctl.bench.sharp import SharpPlan, collnet_plan
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.walked import PAIRS, PATTERN, Traffic, Walked
from fabctl.errors import InputError, UsageError
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit
from fabctl.model.rates import Float64
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Collective, Steps
from fabctl.traffic.collectives import ALGORITHMS
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import Job

GDR_LEVEL = "P2C"
"""NCCL's default of ``NCCL_NET_GDR_LEVEL``."""
OF_FABRIC = {"pxn", "ar"}
"""Offloads that mean something where the hosts are unknown."""


@dataclass(frozen=True)
class Setup:
    """What the hosts are, and what is switched on.

    Parameters
    ----------
    node : NodeGraph, optional
        None: unknown; then only the fabric is predicted, by rings.
    offloads : Offloads
    algorithm : str
        fabctl's name of the only algorithm to consider (``NCCL_ALGO``); empty: NCCL chooses.
    channels, cross_nic : int
        NCCL's, of rings and trees (`fabctl.traffic.shape.Shape`).
    """

    node: NodeGraph | None = None
    offloads: Offloads = field(default_factory=Offloads)
    algorithm: str = ""
    channels: int = 0
    cross_nic: int = 0


def setup_of(spec: JobSpec, node: NodeGraph | None = None, offloads: Offloads | None = None) -> Setup:
    """Return the setup of a job: what its file says of NCCL, on hosts of some type.

    Raises
    ------
    InputError
        If it asks for an algorithm that NCCL has not, or for one that depends on hosts that are unknown.
    """
    if spec.algorithm and spec.algorithm not in (*ON_FABRIC.values(), *PAIRS):
        raise InputError(
            f"bench predicts NCCL's algorithms, and this job asks for '{spec.algorithm}'",
            where=spec.path,
            hint=f"fabctl job show {spec.path or 'JOB'} --fabric SOURCE --engine NAME times it",
        )
    if spec.algorithm not in ("", "ring", *PAIRS) and node is None:
        raise InputError(
            f"how long '{spec.algorithm}' takes depends on the hosts, and what they are is unknown",
            where=spec.path,
            hint="say so: --node NODE",
        )
    offloads = offloads or Offloads(pxn=spec.pxn)
    asked = replace(offloads, sharp=offloads.sharp or spec.algorithm == "sharp", pxn=offloads.pxn or spec.algorithm == "pxn")
    return Setup(node, asked, spec.algorithm, spec.channels, spec.cross_nic)


def with_ranks(spec: JobSpec, node: NodeGraph | None) -> JobSpec:
    """Return a job that does not say how many ranks a host has with one for each GPU, where the hosts are known."""
    if node is None or not node.gpus or spec.ranks_per_host is not None:
        return spec
    note = f"ranks_per_host is not given: one rank per GPU of a {node.name}, {len(node.gpus)} per host"
    return replace(spec, ranks_per_host=len(node.gpus), notes=(*spec.notes, note))


class Scene:
    """Ranks on hosts of one type, on a fabric or within one host.

    Parameters
    ----------
    setup : Setup
    ranks : Ranks
    walked : Walked, optional
        None within one host.

    Raises
    ------
    RefusedError
        If an offload cannot work here.
    UsageError
        If the node type has fewer GPUs or HCAs than are used, or an offload needs hosts that are known.
    """

    def __init__(self, setup: Setup, ranks: Ranks, walked: Walked | None) -> None:
        self.setup, self.ranks, self.walked = setup, ranks, walked
        self.hop: Hop | None = None
        self.plan: SharpPlan | None = None
        self.notes: tuple[str, ...] = ()
        if setup.node is None:
            self._refuse_host_offloads()
            return
        self.hcas = used_hcas(setup.node, walked.job if walked else None)
        self.node = setup.node
        if ranks.per_host > len(self.node.gpus):
            raise UsageError(
                f"{ranks.per_host} ranks per host, and a {setup.node.name} has {len(self.node.gpus)} GPUs",
                hint=f"ranks_per_host: {len(self.node.gpus)} in the job, or another --node",
            )
        rate = port_gb_s(walked.job, walked.rates) if walked else 0.0
        self.tuner = Tuner(self.node, ranks.n_hosts, ranks.per_host, setup.offloads, hcas=self.hcas, port_gb_s=rate)
        self.notes = (*(hca_notes(setup.node, walked.job) if walked else ()), *setup.node.notes)
        if walked:
            used = host_of(self.node, ranks.per_host, self.hcas, setup.offloads, GDR_LEVEL, alone=False).node
            self.hop = network_hop(used, setup.offloads, GDR_LEVEL)
            if setup.offloads.sharp:
                self.plan = collnet_plan(walked.job)

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of the offloads that are on, without those of NCCL's defaults that these hosts lack."""
        if self.setup.node is None:
            return tuple(name for name in self.setup.offloads.names if name in OF_FABRIC)
        lacking = set()
        if not self.tuner.nvls.channels:
            lacking.add("nvls")
        if self.hop and not (self.hop.gdr_send or self.hop.gdr_receive):
            lacking.add("gdr")
        return tuple(name for name in self.setup.offloads.names if name not in lacking)

    @property
    def pxn(self) -> bool:
        """Whether all-to-all changes to the destination's rail inside the sending host."""
        return self.setup.offloads.pxn or (self.walked is not None and self.walked.job.pxn)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the models of the offloads assume here, for people."""
        return (*(self.hop.reasons if self.hop else ()), *(self.plan.reasons if self.plan else ()))

    def pricer(self, collective: Collective, tables: RoutingTables | None) -> Pricer:
        """Return the prices of a collective on some routes; None: within one host."""
        extra = self.hop.extra_us if self.hop else 0.0
        fixed = self._fixed_algorithm(collective)
        if not fixed:
            inside = partial(self._inside, collective.name)
            fabric = None if tables is None else partial(self._on_fabric, collective, tables)
            return NcclPricer(collective.name, self.tuner, inside, fabric, extra, self._only(collective))
        limits = list(self._inside(collective.name, fixed)) if self.setup.node and fixed in PAIRS else []
        if tables is None or self.walked is None:
            steps = Steps(intra=1, inter=0, posts=self.ranks.total - 2)
        else:
            steps = collective.steps(replace(self.walked.job, pxn=fixed == "pxn"))
            limits.append(fabric_limit(self.cost(collective, tables, fixed)))
        return FixedPricer(collective, "Ring" if fixed == "ring" else fixed, steps, self.ranks, tuple(limits), extra)

    def _inside(self, operation: str, algorithm: str) -> tuple[Limit, ...]:
        n_hosts, n_ranks = self.ranks.n_hosts, self.ranks.total
        return inside_limits(self.node, operation, algorithm, n_hosts, n_ranks, self.hcas, self.setup.offloads)

    def _on_fabric(self, collective: Collective, tables: RoutingTables, algorithm: str) -> Limit:
        if self.plan and self.walked and ON_FABRIC[algorithm] == "sharp":
            return streaming_limit(self.plan, self.walked.rates)
        return fabric_limit(self.cost(collective, tables, ON_FABRIC[algorithm]))

    def cost(self, collective: Collective, tables: RoutingTables, algorithm: str) -> Cost:
        """Return what one of fabctl's algorithms costs on the fabric."""
        if self.walked is None:
            raise ValueError("one host has no fabric")
        operation = {"sharp": "all_reduce", "bruck": "all_gather"}.get(algorithm, collective.name)
        rings = algorithm in ("ring", "tree")
        channels, cross_nic = (self.setup.channels, self.setup.cross_nic) if rings else (0, 0)
        adaptive = self.setup.offloads.adaptive and algorithm != "sharp"
        return self.walked.cost(tables, collective, Traffic(operation, algorithm, channels, cross_nic, adaptive))

    def _fixed_algorithm(self, collective: Collective) -> str:
        """Return fabctl's name of the one algorithm that there is; empty where NCCL chooses."""
        if collective.algorithm == PATTERN:
            return PATTERN
        if collective.name == "alltoall":
            return "pxn" if self.pxn else "pairwise"
        return "ring" if self.setup.node is None else ""

    def _only(self, collective: Collective) -> tuple[str, ...]:
        """Return the algorithms of NCCL that the job asks for; none: all."""
        asked = self.setup.algorithm
        if not asked or collective.name not in ALGORITHMS.load(asked).operations:
            return ()
        return tuple(name for name, known in ON_FABRIC.items() if known == asked)

    def _refuse_host_offloads(self) -> None:
        changed = set(self.setup.offloads.names) ^ set(Offloads().names)
        for name in sorted(changed - OF_FABRIC):
            raise UsageError(
                f"what '{name}' is worth depends on the hosts, and what they are is unknown", hint="say so: --node NODE"
            )


def used_hcas(node: NodeGraph, job: Job | None) -> tuple[str, ...]:
    """Return the HCAs of a node that a job uses, by its rails; without a job all.

    Raises
    ------
    UsageError
        If the node has fewer.
    """
    if job is None:
        return node.hcas
    beyond = max(job.rails)
    if beyond >= len(node.hcas):
        raise UsageError(
            f"the job uses rail {beyond}, and the HCAs of a {node.name} are numbered from 0 to {len(node.hcas) - 1}",
            hint="another --node, or rails: [...] in the job",
        )
    return tuple(node.hcas[rail] for rail in sorted(set(job.rails)))


def hca_notes(node: NodeGraph, job: Job) -> tuple[str, ...]:
    """Say so if the fabric's hosts have other HCAs than the node: it may be the wrong one."""
    count = job.fabric.hosts.common_hca_count
    if count == len(node.hcas):
        return ()
    return (f"these hosts have {count} HCAs each, a {node.name} has {len(node.hcas)}: rail r is taken for its HCA r",)


def port_gb_s(job: Job, rates: Float64) -> float:
    """Return the rate of the slowest port of the job, GB/s; 0 where none is known."""
    rates = rates[job.fabric.channel_of_port[job.ports]]
    return float(rates[rates > 0].min(initial=np.inf)) / 8 if np.any(rates > 0) else 0.0
