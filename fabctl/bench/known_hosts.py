"""`KnownHosts`: hosts of a known type as a job uses them: NCCL's tuner, the cost of a hop, the limits of their links."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fabctl.bench.gpudirect import Hop, network_hop
from fabctl.bench.inside import inside_limits
from fabctl.bench.inside_host import host_of
from fabctl.bench.nccl.ring import Ranks
from fabctl.bench.nccl.tuner import Tuner
from fabctl.errors import RefusedError, UsageError
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit
from fabctl.model.rates import Float64
from fabctl.nodes.fitting import common_hca
from fabctl.traffic.placement import Job

GDR_LEVEL = "P2C"
"""NCCL's default of ``NCCL_NET_GDR_LEVEL``."""
INSIDE = {"nvls"}
"""Offloads that mean something within one host."""


@dataclass(frozen=True, eq=False)
class KnownHosts:
    """Hosts of one type.

    Parameters
    ----------
    node : NodeGraph
    ranks : Ranks
    hcas : tuple of str
        Those of `node` that the ranks use, in rail order.
    offloads : Offloads
    port_gb_s : float
        Rate of the slowest port in use, GB/s; 0: what its model does.
    """

    node: NodeGraph
    ranks: Ranks
    hcas: tuple[str, ...]
    offloads: Offloads
    port_gb_s: float = 0.0

    @cached_property
    def tuner(self) -> Tuner:
        """NCCL's choice among algorithms."""
        n_hosts, per_host = self.ranks.n_hosts, self.ranks.per_host
        return Tuner(self.node, n_hosts, per_host, self.offloads, hcas=self.hcas, port_gb_s=self.port_gb_s)

    @cached_property
    def hop(self) -> Hop | None:
        """What a hop over the network costs besides NCCL's constants; None on one host."""
        if self.ranks.n_hosts == 1:
            return None
        used = host_of(self.node, self.ranks.per_host, self.hcas, self.offloads, GDR_LEVEL, alone=False).node
        return network_hop(used, self.offloads, GDR_LEVEL)

    @property
    def working(self) -> tuple[str, ...]:
        """Names of the offloads that are on, without those of NCCL's defaults that these hosts lack."""
        alone = self.ranks.n_hosts == 1
        return tuple(name for name in self.offloads.names if name not in self._lacking and (name in INSIDE or not alone))

    def require(self, names: tuple[str, ...]) -> None:
        """Raise `RefusedError` for an offload that is on and that these hosts lack, or that one host has no use for."""
        for name in names:
            if self.ranks.n_hosts == 1 and name not in INSIDE:
                raise RefusedError(f"'{name}' works between hosts, and this is one", hint=f"leave {name} out")
            if name in self._lacking:
                raise RefusedError(f"'{name}' does not work here: {self._lacking[name]}", hint=f"leave {name} out")

    @cached_property
    def _lacking(self) -> dict[str, str]:
        """What of NCCL's defaults does not work on these hosts, and why."""
        lacking = {}
        if not self.tuner.nvls.channels:
            lacking["nvls"] = f"NVLink SHARP takes NVSwitches and GPUs from Hopper on, which a {self.node.name} has not"
        if self.hop and not (self.hop.gdr_send or self.hop.gdr_receive):
            lacking["gdr"] = "; ".join(self.hop.reasons)
        return lacking

    def inside(self, operation: str, algorithm: str) -> tuple[Limit, ...]:
        """Return what the links in a host allow an algorithm."""
        n_hosts, n_ranks = self.ranks.n_hosts, self.ranks.total
        return inside_limits(self.node, operation, algorithm, n_hosts, n_ranks, self.hcas, self.offloads, GDR_LEVEL)


def known_hosts(node: NodeGraph, ranks: Ranks, offloads: Offloads, job: Job | None, rates: Float64 | None) -> KnownHosts:
    """Return the hosts of a job, or one host alone.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,), optional
        Data rate of each channel of the job's fabric, Gb/s.

    Raises
    ------
    RefusedError
        If it is unknown what the GPUs are.
    UsageError
        If the node has fewer GPUs or HCAs than the job uses.
    """
    if not node.gpu_model:
        raise RefusedError(
            f"{node.name} does not say what its GPUs are, and NCCL's choice depends on it",
            hint="(nvidia-smi -L; nvidia-smi topo -m) > FILE says it",
        )
    if ranks.per_host > len(node.gpus):
        raise UsageError(
            f"{ranks.per_host} ranks per host, and a {node.name} has {len(node.gpus)} GPUs",
            hint=f"ranks_per_host: {len(node.gpus)} in the job, or another --node",
        )
    if job is None or rates is None:
        return KnownHosts(node, ranks, node.hcas, offloads)
    ports = rates[job.fabric.channel_of_port[job.ports]]
    known = ports[ports > 0]
    return KnownHosts(node, ranks, used_hcas(node, job), offloads, float(known.min()) / 8 if known.size else 0.0)


def used_hcas(node: NodeGraph, job: Job) -> tuple[str, ...]:
    """Return the HCAs of a node that a job uses, by its rails.

    Raises
    ------
    UsageError
        If the node has fewer.
    """
    beyond = max(job.rails)
    if beyond >= len(node.hcas):
        raise UsageError(
            f"the job uses rail {beyond}, and the HCAs of a {node.name} are numbered from 0 to {len(node.hcas) - 1}",
            hint="another --node, or rails: [...] in the job",
        )
    return tuple(node.hcas[rail] for rail in sorted(set(job.rails)))


def misfit(node: NodeGraph, job: Job) -> tuple[str, ...]:
    """Return lines if a fabric's hosts have other HCAs than a node: it may be the wrong one."""
    count, model = job.fabric.hosts.common_hca_count, common_hca(job.fabric)
    lines = []
    if model and node.hca_model and model.name != node.hca_model:
        lines.append(f"these hosts' HCAs are {model.name}, those of a {node.name} {node.hca_model}: is it the right node?")
    if count != len(node.hcas):
        lines.append(f"these hosts have {count} HCAs each, a {node.name} has {len(node.hcas)}: rail r is taken for its HCA r")
    return tuple(lines)
