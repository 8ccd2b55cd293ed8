"""Collectives of groups as phases of flows: an `Algorithm` says who sends which share of a message, for all groups of a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels, Phase
from fabctl.traffic.collective import refuse_flows
from fabctl.traffic.collectives import ALGORITHMS, DEFAULT_ALGORITHM
from fabctl.traffic.group import Group
from fabctl.traffic.schedule import Schedule
from fabctl.traffic.shape import Batch, Shape, batches

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Round:
    """Transfers of a group that share the fabric at the same time.

    Parameters
    ----------
    src, dst : int64 array of shape (m,)
        Members whose HCAs send and receive. Both may be on one node: such a transfer goes over NVLink.
    share : float64 array of shape (m,)
        Bytes per byte of message.
    name : str
        Which step it is; empty for the only one.
    times : int
        How often it runs, one after the other.
    """

    src: Int
    dst: Int
    share: NDArray[np.float64]
    name: str = ""
    times: int = 1


TreeFlows = Callable[[Fabric, Batch, str], tuple[Round, Channels]]


@dataclass(frozen=True)
class Algorithm:
    """How a collective is done.

    Parameters
    ----------
    name : str
    operations : tuple of str
        What it does: names of nccl-tests.
    schedule : callable
        `Shape` and operation to `Schedule`: the algorithm itself.
    rounds : callable
        `Shape` and operation to `Round`s: what it sends, in closed form.
    trees : callable, optional
        For algorithms in the switches: fabric, batch on several nodes and operation to one round over all groups of the batch
        (members numbered ``group * n + member``) and the channels of its flows.
    """

    name: str
    operations: tuple[str, ...]
    schedule: Callable[[Shape, str], Schedule]
    rounds: Callable[[Shape, str], Sequence[Round]]
    trees: TreeFlows | None = None


def round_of(src: object, dst: object, share: object, name: str = "", times: int = 1) -> Round:
    """Return a round from numbers and arrays that broadcast to one shape."""
    columns = np.broadcast_arrays(
        np.asarray(src, dtype=np.int64), np.asarray(dst, dtype=np.int64), np.asarray(share, dtype=np.float64)
    )
    return Round(columns[0].ravel(), columns[1].ravel(), columns[2].ravel(), name, times)


def load_algorithm(operation: str, name: str = "") -> Algorithm:
    """Return an operation's algorithm by name, or its default one.

    Raises
    ------
    UsageError
        If there is no such algorithm, or it does not do the operation; the message names what does.
    """
    if operation not in DEFAULT_ALGORITHM:
        raise UsageError(f"unknown operation '{operation}'", hint=f"known: {', '.join(DEFAULT_ALGORITHM)}")
    algorithm: Algorithm = ALGORITHMS.load(name or DEFAULT_ALGORITHM[operation])
    if operation not in algorithm.operations:
        others = [other for other in ALGORITHMS.names() if operation in ALGORITHMS.load(other).operations]
        raise UsageError(f"algorithm '{name}' does no {operation}", hint=f"these do: {', '.join(others)}")
    return algorithm


def collective_phases(
    operation: str,
    algorithm: str,
    groups: Sequence[Group],
    size_bytes: float | NDArray[np.float64],
    *,
    fabric: Fabric | None = None,
    channels: int = 0,
    cross_nic: int = 0,
    name: str = "",
) -> list[Phase]:
    """Return what groups send that do a collective at the same time.

    Parameters
    ----------
    operation, algorithm : str
        See `load_algorithm`.
    groups : sequence of Group
    size_bytes : float or float64 array of shape (n_groups,)
        nccl-tests' message, one for all or each group's: what each rank gives to an all-reduce, a reduce-scatter or an
        all-to-all (1/n to each), the whole result of an all-gather.
    fabric : Fabric, optional
        Needed by algorithms in the switches, whose trees follow from it.
    channels, cross_nic : int
        See `Shape`.
    name : str
        Put before the names of the phases.

    Returns
    -------
    list of Phase
        One after the other. Steps that send nothing over the fabric are left out.

    Raises
    ------
    UsageError
        If the algorithm is unknown or does not do the operation, or there is no fabric for it.
    RefusedError
        If the fabric has no tree for a group, or there are too many flows to write down.
    """
    chosen = load_algorithm(operation, algorithm)
    title = f"{name}: {operation}, {chosen.name}" if name else f"{operation}, {chosen.name}"
    sizes = np.broadcast_to(np.asarray(size_bytes, dtype=np.float64), len(groups))
    sorted_groups = list(batches(groups, channels, cross_nic))
    if chosen.trees is not None:
        if fabric is None:
            raise UsageError(f"the trees of '{chosen.name}' follow from the fabric, and there is none", hint="--fabric SOURCE")
        over_fabric = [batch for batch in sorted_groups if batch.shape.n_nodes > 1]
        parts = [_tree_phase(batch, *chosen.trees(fabric, batch, operation), title, sizes[batch.which]) for batch in over_fabric]
        phases = [_merged(parts)] if parts else []
    else:
        rounds = [
            [_phase(batch, one, title, sizes[batch.which]) for one in chosen.rounds(batch.shape, operation)]
            for batch in sorted_groups
        ]
        phases = [phase for parts in zip_longest(*rounds) for phase in _by_times([part for part in parts if part])]
    return [phase for phase in phases if len(phase.flows)]


def _phase(batch: Batch, one: Round, title: str, size_bytes: NDArray[np.float64]) -> Phase:
    away = batch.shape.node[one.src] != batch.shape.node[one.dst]
    src, dst = one.src[away], one.dst[away]
    refuse_flows(len(src) * len(batch.port), title)
    weight = np.outer(size_bytes, one.share[away])
    flows = Flows(batch.port[:, src].ravel(), batch.port[:, dst].ravel(), weight.ravel())
    phase = Phase(_named(title, one.name), flows, batch.rank[:, src].ravel(), batch.rank[:, dst].ravel(), one.times)
    return _same_ports_together(phase)


def _tree_phase(batch: Batch, one: Round, channels: Channels, title: str, size_bytes: NDArray[np.float64]) -> Phase:
    port, rank = batch.port.ravel(), batch.rank.ravel()
    flows = Flows(port[one.src], port[one.dst], one.share * size_bytes[one.src // len(batch.shape)])
    return Phase(_named(title, one.name), flows, rank[one.src], rank[one.dst], one.times, channels)


def _named(title: str, step: str) -> str:
    return f"{title}, {step}" if step else title


def _same_ports_together(phase: Phase) -> Phase:
    """Return one flow for each pair of ports, in the order of their first."""
    flows = phase.flows
    key = flows.src.astype(np.int64) * (int(flows.dst.max(initial=0)) + 1) + flows.dst
    in_order = np.sort(key)
    if not np.any(in_order[1:] == in_order[:-1]):
        return phase
    unique, first, which = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    weight = np.zeros(len(unique))
    np.add.at(weight, which, flows.weight)
    together = Flows(flows.src[first[order]], flows.dst[first[order]], weight[order])
    lowest = np.full((2, len(unique)), np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(lowest[0], which, phase.src_rank)
    np.minimum.at(lowest[1], which, phase.dst_rank)
    return Phase(phase.name, together, lowest[0, order], lowest[1, order], phase.times)


def _by_times(parts: list[Phase]) -> list[Phase]:
    """Return what groups of different shapes send in the same step, apart where it is repeated differently."""
    return [_merged([part for part in parts if part.times == times]) for times in sorted({part.times for part in parts})]


def _merged(phases: list[Phase]) -> Phase:
    if len(phases) == 1:
        return phases[0]
    flows = [phase.flows for phase in phases]
    src, dst = (np.concatenate([getattr(one, column) for one in flows]) for column in ("src", "dst"))
    together = Flows(src, dst, np.concatenate([one.weight for one in flows]))
    src_rank, dst_rank = (np.concatenate([getattr(phase, column) for phase in phases]) for column in ("src_rank", "dst_rank"))
    fixed = _joined([phase.fixed for phase in phases if phase.fixed is not None])
    phase = Phase(phases[0].name, together, src_rank, dst_rank, phases[0].times, fixed)
    return phase if fixed else _same_ports_together(phase)


def _joined(channels: list[Channels]) -> Channels | None:
    if not channels:
        return None
    length = np.concatenate([np.diff(one.ptr) for one in channels])
    return Channels(np.concatenate([[0], np.cumsum(length)]), np.concatenate([one.index for one in channels]))
