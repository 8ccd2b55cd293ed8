"""SHARP: what the switches and HCAs of a job can reduce, on the trees that its rails get.

Capabilities come from the catalogue, by device id; what it does not list is unknown, and refused. Versions: SHARP 1 (Switch-IB 2)
reduces small messages on low-latency trees; 2 (Quantum) and later also stream large ones, if the HCAs do (ConnectX-6 and later);
NVIDIA SHARP 3.13, General Information. Trees are those of `fabctl.traffic.switch_trees`, one per rail; a real aggregation manager
chooses its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fabctl.bench.sharp_time import HCOLL_BYTES, host_based_us, low_latency_us
from fabctl.errors import RefusedError
from fabctl.model.catalog import Hca, SwitchAsic, hca, switch_asic, switch_asics
from fabctl.model.fabric import Fabric
from fabctl.traffic.placement import Job
from fabctl.traffic.switch_trees import Tree, TreeMaker


@dataclass(frozen=True, eq=False)
class SharpPlan:
    """What SHARP does for a job.

    Parameters
    ----------
    fabric : Fabric
    trees : tuple of Tree
        One per rail of the job.
    asics : tuple of SwitchAsic
        Models of the switches on the trees.
    not_streaming : str
        What keeps large messages from being aggregated, as a sentence; empty: nothing.
    reasons : tuple of str
        What was found and assumed, for people.
    """

    fabric: Fabric
    trees: tuple[Tree, ...]
    asics: tuple[SwitchAsic, ...]
    not_streaming: str
    reasons: tuple[str, ...]

    @property
    def version(self) -> int:
        """Version of SHARP: the lowest of the switches on the trees."""
        return min(asic.sharp for asic in self.asics)

    @property
    def streaming(self) -> bool:
        """Whether large messages are aggregated (streaming trees), or only small ones (low-latency trees)."""
        return not self.not_streaming

    @property
    def payload_bytes(self) -> int:
        """Payload of one low-latency operation; 0: unknown."""
        return min(asic.sharp_payload_bytes for asic in self.asics)

    @property
    def depth(self) -> int:
        """Cables between the farthest leaf switch and the root."""
        return max(tree.depth for tree in self.trees)


def sharp_plan(job: Job) -> SharpPlan:
    """Return what SHARP can do for a job, all hosts in one group.

    Raises
    ------
    RefusedError
        If a switch on a tree has no SHARP or is unknown, naming it and the nearest thing that works; if no tree of switches joins
        the hosts.

    Complexity
    ----------
    As `fabctl.traffic.switch_trees.TreeMaker.tree`, per rail.
    """
    fabric, maker = job.fabric, TreeMaker(job.fabric)
    trees = tuple(maker.tree(ports) for ports in job.ports.T)
    switches = np.unique(fabric.channel_dst[np.concatenate([tree.up for tree in trees])]).tolist()
    asics = _by_model((_asic(fabric, switch), switch) for switch in switches)
    not_streaming = _not_streaming(fabric, asics, np.unique(fabric.port_node[job.ports]).tolist())
    found = ", ".join(f"{len(where)} {asic.name} (SHARP {asic.sharp})" for asic, where in asics.items())
    each = f"{len(trees)} trees, one per rail" if len(trees) > 1 else "one tree"
    reasons = (
        f"SHARP: {each}, over {found}",
        *_unpublished(asics),
        *_aggregation_nodes(fabric, switches),
        *_subnet_manager(job),
    )
    return SharpPlan(fabric, trees, tuple(asics), not_streaming, reasons)


def collnet_plan(job: Job, *, gdr: bool = True) -> SharpPlan:
    """Return what SHARP can do for NCCL, whose CollNet and multi-node NVLS use streaming aggregation.

    NVIDIA SHARP 3.9.1, Using NVIDIA SHARP with NVIDIA NCCL: ConnectX-6 HDR and above, Quantum HDR and above, GPUDirect RDMA.

    Parameters
    ----------
    gdr : bool
        Whether GPUDirect RDMA is on.

    Raises
    ------
    RefusedError
        As `sharp_plan`; if a switch or an HCA does not stream, the hint saying what MPI could still do; without GPUDirect RDMA.
    """
    plan = sharp_plan(job)
    if plan.not_streaming:
        raise RefusedError(
            f"NCCL uses SHARP for streaming aggregation only, and {plan.not_streaming}", hint=f"{NEAREST}. {_mpi(job, plan)}"
        )
    if not gdr:
        raise RefusedError("SHARP with NCCL needs GPUDirect RDMA, and it is off", hint=f"leave gdr on; {NEAREST}")
    return plan


NEAREST = "without sharp NCCL takes rings and trees"
"""The nearest thing that works."""


def _asic(fabric: Fabric, switch: int) -> SwitchAsic:
    device_id = int(fabric.device_id[switch])
    asic = switch_asic(device_id)
    if asic is not None and asic.sharp:
        return asic
    able = ", ".join(one.name for one in switch_asics() if one.sharp)
    what = (
        f"{asic.name} switches have no SHARP"
        if asic
        else f"it is unknown whether switches of device id {device_id:#06x} have SHARP"
    )
    raise RefusedError(
        f"{what}: {fabric.labels[switch]} is one", hint=f"known to have it: {able}; without sharp the hosts reduce"
    )


def _by_model(found: Iterable[tuple[SwitchAsic, int]]) -> dict[SwitchAsic, list[int]]:
    models: dict[SwitchAsic, list[int]] = {}
    for asic, switch in found:
        models.setdefault(asic, []).append(switch)
    return models


def _not_streaming(fabric: Fabric, asics: dict[SwitchAsic, list[int]], hca_nodes: list[int]) -> str:
    for asic, where in asics.items():
        if asic.sharp < 2:
            return f"{asic.name} switches do not stream ({fabric.labels[where[0]]} is one)"
    models: dict[int, Hca | None] = {}
    for node in hca_nodes:
        device_id = int(fabric.device_id[node])
        model = models.setdefault(device_id, hca(device_id))
        if model is None:
            return f"it is unknown whether HCAs of device id {device_id:#06x} stream ({fabric.labels[node]} is one)"
        if not model.streaming:
            return f"{model.name} HCAs do not stream ({fabric.labels[node]} is one; ConnectX-6 and later do)"
    return ""


def _unpublished(asics: dict[SwitchAsic, list[int]]) -> list[str]:
    return [
        f"how many streaming trees a {asic.name} has at a time is not published: counted as one per port, as on Quantum-2"
        for asic in asics
        if not asic.streaming_trees
    ]


def _aggregation_nodes(fabric: Fabric, switches: list[int]) -> list[str]:
    """Say whether the source shows the aggregation nodes without which a switch does not reduce."""
    from_node = fabric.is_aggregation[fabric.channel_src]
    has_one = set(fabric.channel_dst[from_node].tolist())
    without = [switch for switch in switches if switch not in has_one]
    if not has_one:
        return [
            "the source shows no aggregation nodes: SHARP is counted as if it were switched on (sharp_enabled 2 in opensm.conf)"
        ]
    if not without:
        return []
    first = fabric.labels[without[0]]
    return [
        f"{len(without)} of {len(switches)} switches on SHARP's trees show no aggregation node ({first}): it may be off there"
    ]


def _subnet_manager(job: Job) -> list[str]:
    """Say if the subnet manager sits on an HCA of the job: SHARP's library then refuses the port (NVIDIA/nccl issue 1219)."""
    ports = job.ports.ravel()
    taken = ports[job.fabric.port_lid[ports] == job.fabric.sm_lid] if job.fabric.sm_lid else ports[:0]
    return [
        f"{job.fabric.port_label(int(port))} is the subnet manager's own port: SHARP will not start on its host" for port in taken
    ]


def _mpi(job: Job, plan: SharpPlan) -> str:
    """Return what low-latency trees would do for MPI on this job's hosts."""
    if not plan.payload_bytes:
        return "MPI can use low-latency trees"
    with_it, before = low_latency_us(plan.depth, plan.payload_bytes, 8), host_based_us(job.n_hosts, 8, math.inf)
    return (
        f"MPI all-reduces of host memory up to {HCOLL_BYTES} bytes can use low-latency trees (HCOLL_ENABLE_SHARP=2): "
        f"8 bytes over {job.n_hosts} hosts in {with_it:.1f} us instead of {before:.1f}"
    )
