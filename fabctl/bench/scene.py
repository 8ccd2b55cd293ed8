"""`Scene`: all that is the same for every collective of a table, and how each of them is priced there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from fabctl.bench.adaptive import adaptive_reasons
from fabctl.bench.cost import Cost
from fabctl.bench.known_hosts import KnownHosts, known_hosts, misfit
from fabctl.bench.nccl.ring import Ranks
from fabctl.bench.pricing import ON_FABRIC, FixedPricer, NcclPricer, Pricer, fabric_limit
from fabctl.bench.sharp import SharpPlan, collnet_plan
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.walked import PAIRS, PATTERN, Traffic, Walked
from fabctl.errors import InputError, UsageError
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Collective, Steps
from fabctl.traffic.collectives import ALGORITHMS
from fabctl.traffic.job import JobSpec

ASKED = {
    "ring": ("Ring",),
    "tree": ("Tree",),
    "nvls-tree": ("NVLSTree",),
    "sharp": ("CollNetDirect", "CollNetChain", "NVLS"),
}
"""NCCL's algorithms for what a job file may ask for."""
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
    required : tuple of str
        Names of offloads that were asked for: refused where the hosts lack them, like those that are on by default are not.
    algorithm : str
        fabctl's name of the only algorithm to consider (``NCCL_ALGO``); empty: NCCL chooses.
    channels, cross_nic : int
        NCCL's, of rings and trees (`fabctl.traffic.shape.Shape`).
    """

    node: NodeGraph | None = None
    offloads: Offloads = field(default_factory=Offloads)
    required: tuple[str, ...] = ()
    algorithm: str = ""
    channels: int = 0
    cross_nic: int = 0


def setup_of(
    spec: JobSpec, node: NodeGraph | None = None, offloads: Offloads | None = None, required: tuple[str, ...] = ()
) -> Setup:
    """Return the setup of a job: what its file says of NCCL, on hosts of some type.

    Raises
    ------
    InputError
        If it asks for an algorithm that NCCL has not, or for one that depends on hosts that are unknown.
    """
    if spec.algorithm and spec.algorithm not in (*ASKED, *PAIRS):
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
    return Setup(node, asked, required, spec.algorithm, spec.channels, spec.cross_nic)


def with_ranks(spec: JobSpec, node: NodeGraph | None) -> JobSpec:
    """Return a job that does not say how many ranks a host has with one for each GPU, where the hosts are known."""
    if node is None or not node.gpus or spec.ranks_per_host is not None:
        return spec
    note = f"ranks_per_host is not given: one rank per GPU of {node.name}, {len(node.gpus)} per host"
    return replace(spec, ranks_per_host=len(node.gpus), notes=(*spec.notes, note))


@dataclass(frozen=True, eq=False)
class Scene:
    """Ranks on hosts of one type, on a fabric or within one host.

    Parameters
    ----------
    setup : Setup
    ranks : Ranks
    walked : Walked, optional
        None within one host.
    hosts : KnownHosts, optional
        None: unknown.
    """

    setup: Setup
    ranks: Ranks
    walked: Walked | None
    hosts: KnownHosts | None

    @classmethod
    def of(cls, setup: Setup, ranks: Ranks, walked: Walked | None = None) -> Scene:
        """Return a scene.

        Raises
        ------
        RefusedError
            If an offload cannot work here.
        UsageError
            If the node type has fewer GPUs or HCAs than are used, or an offload needs hosts that are known.
        """
        if setup.node is None:
            changed = set(setup.offloads.names) ^ set(Offloads().names)
            for name in sorted(changed - OF_FABRIC):
                raise UsageError(
                    f"what '{name}' is worth depends on the hosts, and what they are is unknown", hint="say so: --node NODE"
                )
            return cls(setup, ranks, walked, None)
        job, rates = (walked.job, walked.rates) if walked else (None, None)
        hosts = known_hosts(setup.node, ranks, setup.offloads, job, rates)
        hosts.require(setup.required)
        return cls(setup, ranks, walked, hosts)

    @cached_property
    def plan(self) -> SharpPlan | None:
        """What SHARP does for NCCL, if it is on."""
        return collnet_plan(self.walked.job, gdr=self.setup.offloads.gdr) if self.walked and self.setup.offloads.sharp else None

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of the offloads that are counted on."""
        return self.hosts.working if self.hosts else tuple(name for name in self.setup.offloads.names if name in OF_FABRIC)

    @property
    def pxn(self) -> bool:
        """Whether all-to-all changes to the destination's rail inside the sending host."""
        return self.setup.offloads.pxn or (self.walked is not None and self.walked.job.pxn)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the models of the offloads assume here, for people."""
        hop = self.hosts.hop.reasons if self.hosts and self.hosts.hop else ()
        return (*hop, *(self.plan.reasons if self.plan else ()), *self.adaptive_reasons)

    @property
    def adaptive_reasons(self) -> tuple[str, ...]:
        """What adaptive routing assumes of switches and HCAs, if it is on."""
        return adaptive_reasons(self.walked.job) if self.walked and self.setup.offloads.adaptive else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying of the hosts."""
        node = self.setup.node
        if node is None:
            return ()
        return (*(misfit(node, self.walked.job) if self.walked else ()), *node.notes)

    def pricer(self, collective: Collective, tables: RoutingTables | None) -> Pricer:
        """Return the prices of a collective on some routes; None: within one host."""
        hosts, fixed = self.hosts, self._fixed_algorithm(collective)
        extra = hosts.hop.extra_us if hosts and hosts.hop else 0.0
        if hosts and not fixed:
            fabric = None if tables is None else partial(self._on_fabric, collective, tables)
            inside = partial(hosts.inside, collective.name)
            return NcclPricer(collective.name, hosts.tuner, inside, fabric, extra, self._only(collective))
        limits = list(hosts.inside(collective.name, fixed)) if hosts and fixed in PAIRS else []
        if tables is None or self.walked is None:
            steps = Steps(intra=1, inter=0, posts=self.ranks.total - 2)
        else:
            steps = collective.steps(replace(self.walked.job, pxn=fixed == "pxn"))
            limits.append(fabric_limit(self.cost(collective, tables, fixed)))
        return FixedPricer(collective, "Ring" if fixed == "ring" else fixed, steps, self.ranks, tuple(limits), extra)

    def cost(self, collective: Collective, tables: RoutingTables, algorithm: str) -> Cost:
        """Return what one of fabctl's algorithms costs on the fabric; Bruck's reduce-scatter as its all-gather."""
        if self.walked is None:
            raise ValueError("one host has no fabric")
        operation = "all_gather" if algorithm == "bruck" else collective.name
        by_channels = algorithm in ("ring", "tree")
        channels, cross_nic = (self.setup.channels, self.setup.cross_nic) if by_channels else (0, 0)
        adaptive = self.setup.offloads.adaptive and algorithm != "sharp"
        return self.walked.cost(tables, collective, Traffic(operation, algorithm, channels, cross_nic, adaptive))

    def _on_fabric(self, collective: Collective, tables: RoutingTables, algorithm: str) -> Limit:
        if self.plan and self.walked and ON_FABRIC[algorithm] == "sharp":
            return streaming_limit(self.plan, self.walked.rates)
        return fabric_limit(self.cost(collective, tables, ON_FABRIC[algorithm]))

    def _fixed_algorithm(self, collective: Collective) -> str:
        """Return fabctl's name of the one algorithm that there is; empty where NCCL chooses."""
        if collective.algorithm == PATTERN:
            return PATTERN
        if collective.name == "alltoall":
            return "pxn" if self.pxn else "pairwise"
        return "" if self.hosts else "ring"

    def _only(self, collective: Collective) -> tuple[str, ...]:
        """Return the algorithms of NCCL that the job asks for; none: all."""
        asked = self.setup.algorithm
        if not asked or collective.name not in ALGORITHMS.load(asked).operations:
            return ()
        return ASKED.get(asked, ())
