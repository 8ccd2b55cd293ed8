"""The collectives of a job's step: those of a training, of a trace, or that the job file names, one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fabctl.errors import InputError
from fabctl.traffic.call import Call
from fabctl.traffic.collectives import ALGORITHMS, DEFAULT_ALGORITHM
from fabctl.traffic.job import ALL, LARGEST_BYTES, JobSpec
from fabctl.traffic.parallelism import grid
from fabctl.traffic.roster import named_hosts
from fabctl.traffic.training import training_calls
from fabctl.traffic.training_spec import MAX_RANKS

SENDRECV = "sendrecv"
DEFAULT_BYTES = 1 << 30
"""Message of a collective whose job file names no size."""


def job_calls(spec: JobSpec, n_ranks: int) -> list[Call]:
    """Return the collectives of one step of a job of `n_ranks` ranks; none for a pattern or a list of flows.

    Raises
    ------
    InputError
        If the ranks do not divide as the training is cut, are not those of the traces, or a message is past 2^63 bytes.
    """
    if spec.training is not None:
        cut = spec.training.parallelism
        calls = training_calls(spec.training, grid(cut, n_ranks))
        largest = max((float(call.size_bytes.max()) for call in calls), default=0.0)
        if largest > LARGEST_BYTES:
            raise InputError(f"a message of {largest:.3g} bytes is past 2^63", where=cut.where("micro_batch_size", "model"))
        return [_with_algorithm(spec, call) for call in calls]
    if spec.operations:
        return [_with_algorithm(spec, call) for call in _traced(spec, n_ranks)]
    size_bytes = float(spec.sizes[-1] if spec.sizes else DEFAULT_BYTES)
    everyone = np.arange(n_ranks, dtype=np.int32)[None, :]
    calls = [Call("all", "all ranks", name, everyone, np.array([size_bytes])) for name in spec.collectives]
    return [_with_algorithm(spec, call) for call in calls]


def _traced(spec: JobSpec, n_ranks: int) -> list[Call]:
    """Return the collectives of a trace: equal ones of groups that share no rank run at once, as do all equal sends."""
    if spec.n_ranks and spec.n_ranks != n_ranks:
        text = f"the traces are of {spec.n_ranks} ranks, the job has {n_ranks}"
        raise InputError(text, where=spec.trace.where if spec.trace else spec.path)
    families: dict[tuple[str, int, int, int], list[tuple[set[int], list[tuple[int, ...]]]]] = {}
    for operation in spec.operations:
        beyond = next((rank for rank in operation.ranks if rank >= n_ranks), None)
        if beyond is not None:
            raise InputError(f"the job has {n_ranks} ranks, and rank {beyond} is not among them", where=operation.where)
        key = operation.collective, len(operation.ranks), operation.size_bytes, operation.times
        for busy, groups in families.setdefault(key, []):
            if operation.collective == SENDRECV or busy.isdisjoint(operation.ranks):
                busy.update(operation.ranks)
                groups.append(operation.ranks)
                break
        else:
            families[key].append((set(operation.ranks), [operation.ranks]))
    return [
        Call("trace", "trace", collective, np.array(groups, dtype=np.int32), np.full(len(groups), float(size_bytes)), times)
        for (collective, _, size_bytes, times), found in families.items()
        for _, groups in found
    ]


def ranks_without_fabric(spec: JobSpec) -> int:
    """Return the number of ranks of a job that has not met its fabric.

    Raises
    ------
    InputError
        If the file alone does not say it, names a host twice, or makes more than `MAX_RANKS`.
    """
    if spec.pattern or spec.transfers:
        what = "a pattern" if spec.pattern else "a list of flows"
        raise InputError(f"{what} is between HCAs, which the fabric has", where=spec.hosts[0].where, hint="--fabric SOURCE")
    n_ranks = _ranks_alone(spec)
    if n_ranks > MAX_RANKS:
        raise InputError(f"{n_ranks:,} ranks are more than {MAX_RANKS:,}", where=spec.hosts[0].where)
    return n_ranks


def _ranks_alone(spec: JobSpec) -> int:
    if spec.count:
        hosts = spec.count
    elif any(entry.text == ALL for entry in spec.hosts):
        return _ranks_of_cut(spec, "'hosts: all' depends on the fabric")
    else:
        hosts = len(named_hosts(spec))
    if spec.ranks_per_host is None:
        return _ranks_of_cut(spec, "'ranks_per_host' is not given")
    return hosts * spec.ranks_per_host


def _ranks_of_cut(spec: JobSpec, why: str) -> int:
    if spec.n_ranks:
        return spec.n_ranks
    cut = spec.training.parallelism if spec.training else None
    if cut is None or not cut.dp:
        hint = f"--fabric SOURCE tells it{'; or give dp' if cut else ''}"
        raise InputError(f"the number of ranks is not known: {why}", where=spec.hosts[0].where, hint=hint)
    return cut.inner * cut.dp


def _with_algorithm(spec: JobSpec, call: Call) -> Call:
    """Return a call with the job's algorithm where that does its operation, and PXN for an all-to-all that asks for it."""
    if call.algorithm:
        return call
    if spec.pxn and call.operation == "alltoall":
        return replace(call, algorithm="pxn")
    if spec.algorithm and call.operation in ALGORITHMS.load(spec.algorithm).operations:
        return replace(call, algorithm=spec.algorithm)
    return replace(call, algorithm=DEFAULT_ALGORITHM[call.operation])
