"""`MpiScene`: hosts without GPUs, whose memory MPI reduces; the place that `fabctl.bench.scene.Scene` has for NCCL."""

from __future__ import annotations

from functools import cached_property

from fabctl.bench.known_hosts import KnownHosts, used_hcas
from fabctl.bench.mpi import MpiPricer
from fabctl.bench.nccl.ring import Ranks
from fabctl.bench.pricing import Pricer, fabric_limit
from fabctl.bench.scene import Scene, Setup
from fabctl.bench.sharp import SharpPlan, sharp_plan
from fabctl.bench.sharp_limit import streaming_limit
from fabctl.bench.walked import Walked
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import SMP
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Collective

OF_MPI = ("sharp", "ar")
"""Offloads that mean something without GPUs."""


class MpiScene(Scene):
    """Ranks on hosts without GPUs, on a fabric."""

    @classmethod
    def of(cls, setup: Setup, ranks: Ranks, walked: Walked | None = None) -> MpiScene:
        """Return a scene.

        Raises
        ------
        RefusedError
            For offloads of GPUs; if SHARP is asked for, and a switch has none or is unknown.
        UsageError
            If there is one host alone, or its node has fewer HCAs than the job uses.
        """
        if setup.node is None or walked is None:
            raise UsageError("a host without GPUs has no collectives of its own", hint="another --node, or a SOURCE")
        changed = set(setup.offloads.names) - set(Offloads().names)
        for name in sorted((changed | set(setup.required)) - set(OF_MPI)):
            raise RefusedError(f"'{name}' is for GPUs, and a {setup.node.name} has none", hint=f"what works: {', '.join(OF_MPI)}")
        hcas = used_hcas(setup.node, walked.job)
        return cls(setup, ranks, walked, KnownHosts(setup.node, ranks, hcas, setup.offloads))

    @cached_property
    def plan(self) -> SharpPlan | None:
        """What SHARP does for MPI, if it is on."""
        return sharp_plan(self.walked.job) if self.walked and self.setup.offloads.sharp else None

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of the offloads that are on."""
        return tuple(name for name in self.setup.offloads.names if name in OF_MPI)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the models of SHARP and of adaptive routing assume here."""
        return (*(self.plan.reasons if self.plan else ()), *self.adaptive_reasons)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying of the hosts."""
        sharing = f"{self.ranks.per_host} ranks share each host: what they do among themselves is not counted"
        return (*([sharing] if self.ranks.per_host > 1 else []), *super().notes)

    def pricer(self, collective: Collective, tables: RoutingTables | None) -> Pricer:
        """Return the prices of MPI's all-reduce on some routes."""
        if collective.name != "all_reduce" or tables is None or self.walked is None:
            raise RefusedError(
                f"of MPI's collectives between hosts without GPUs all_reduce alone is known, not {collective.name}",
                hint="--collective all_reduce",
            )
        pairs = (*self._at_the_hca("Ring"), fabric_limit(self.cost(collective, tables, "halving-doubling")))
        trees = (*self._at_the_hca("CollNetChain"), streaming_limit(self.plan, self.walked.rates)) if self.plan else ()
        return MpiPricer(self.ranks.n_hosts, pairs, trees, self.plan)

    def _at_the_hca(self, algorithm: str) -> list[Limit]:
        """Return what the inside of a host allows a rank on the socket of its HCA."""
        limits = self.hosts.inside("all_reduce", algorithm) if self.hosts else ()
        return [limit for limit in limits if limit.kind != SMP]


def scene_of(setup: Setup, ranks: Ranks, walked: Walked | None = None) -> Scene:
    """Return the scene of some hosts: MPI's where they have no GPUs."""
    kind = MpiScene if setup.node is not None and not setup.node.gpus else Scene
    return kind.of(setup, ranks, walked)
