"""What both forms of Slurm's job records become: hosts, ranks, and an all-reduce of all of them, for want of more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fabctl.errors import InputError
from fabctl.nodeset import NodesetError, expand
from fabctl.traffic.job import JobSpec, Placed

RUNNING = "RUNNING"

_GPUS = re.compile(r"(?:^|,)gres/gpu(:[^=,]+)?=(\d{1,9})(?=,|$)")


@dataclass(frozen=True)
class SlurmJob:
    """One job's record.

    Parameters
    ----------
    job_id, name, state : str
    nodes : str
        Host list; empty while the job has none.
    n_nodes, n_tasks : int
        0 where the record does not say.
    tres : str
        Allocated trackable resources: ``cpu=12,node=1,gres/gpu=8``.
    where : str
        Place of the record.
    nodes_where : str
        Place of the host list.
    """

    job_id: str
    name: str
    state: str
    nodes: str
    n_nodes: int
    n_tasks: int
    tres: str
    where: str
    nodes_where: str


def job_specs(records: Sequence[SlurmJob], path: str) -> tuple[JobSpec, ...]:
    """Return the jobs that run on several hosts; the others are told in the notes of the first.

    A single record counts in any state as long as it has hosts.

    Raises
    ------
    InputError
        If a host list cannot be read or contradicts the record, or no job is left.
    """
    notes: list[str] = []
    with_hosts = []
    for record in records:
        if not record.nodes:
            notes.append(f"job {record.job_id} is {record.state} and has no hosts")
        elif record.state != RUNNING and len(records) > 1:
            notes.append(f"job {record.job_id} is {record.state}, not {RUNNING}")
        else:
            with_hosts.append((record, _hosts(record)))
    single = [record.job_id for record, hosts in with_hosts if len(hosts) < 2]
    if single:
        more = f" and {len(single) - 3} more" if len(single) > 3 else ""
        notes.append(f"on one host, so not on the fabric: job {', '.join(single[:3])}{more}")
    chosen = [(record, hosts) for record, hosts in with_hosts if len(hosts) > 1]
    if not chosen:
        where = records[0].where if records else path
        raise InputError("no job here runs on several hosts", where=where, hint="; ".join(notes[:3]))
    left_out = [f"left out: {note}" for note in notes]
    return tuple(_spec(record, len(hosts), path, left_out if index == 0 else []) for index, (record, hosts) in enumerate(chosen))


def _hosts(record: SlurmJob) -> list[str]:
    try:
        hosts = expand(record.nodes)
    except NodesetError as error:
        raise InputError(f"job {record.job_id}: {error.message}", where=record.nodes_where, hint=error.hint) from error
    if record.n_nodes and record.n_nodes != len(hosts):
        raise InputError(
            f"job {record.job_id}: its host list has {len(hosts)} hosts, its number of nodes is {record.n_nodes}",
            where=record.nodes_where,
            hint="was the text cut or edited?",
        )
    return hosts


def _spec(record: SlurmJob, n_hosts: int, path: str, notes: list[str]) -> JobSpec:
    counts = [(bool(model), int(count)) for model, count in _GPUS.findall(record.tres)]
    gpus = next((count for typed, count in counts if not typed), sum(count for _, count in counts))
    per_host, what = 0, ""
    if gpus and gpus % n_hosts == 0:
        per_host, what = gpus // n_hosts, "one rank per GPU"
    elif record.n_tasks > n_hosts and record.n_tasks % n_hosts == 0:
        per_host, what = record.n_tasks // n_hosts, "one rank per task"
    name = f"{record.name} ({record.job_id})" if record.name else record.job_id
    decided = [f"{name}: Slurm does not know what a job sends: an all_reduce of all ranks stands for it"]
    if per_host:
        decided.append(f"{name}: {what}, {per_host} per host")
    if gpus % n_hosts:
        decided.append(f"{name}: its {gpus} GPUs do not divide by {n_hosts} hosts")
    if record.state != RUNNING:
        decided.append(f"{name} is {record.state}")
    return JobSpec(
        path=path,
        name=name,
        hosts=(Placed(record.nodes, record.nodes_where),),
        ranks_per_host=per_host or None,
        ranks_where=record.where if per_host else "",
        collectives=("all_reduce",),
        notes=(*decided, *notes),
    )
