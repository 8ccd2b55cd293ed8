"""Causes that a log names itself: its own lines say what went wrong."""

from __future__ import annotations

import re

from fabctl.bench.validation.ground import Expected, Ground
from fabctl.model.catalog import gpus
from fabctl.model.validation import Cause, Compared, Run
from fabctl.units import size_text

DEBUG = "run it again with NCCL_DEBUG=INFO"
LOADED = "lsmod | grep -e nvidia_peermem -e nv_peer_mem; then " + DEBUG + ": its lines must say GDRDMA"
SHOWN = 3


def separate_runs(run: Run) -> Cause | None:
    """Say that each process ran alone: what ranks and rows that come twice mean."""
    if run.copies < 2:
        return None
    return Cause(
        "VAL201",
        "nccl-tests was built without MPI: each process ran alone",
        "certain",
        (f"{run.copies} tables in one, and rank 0 is listed more than once: no byte crossed the network",),
        "make MPI=1 MPI_HOME=... in nccl-tests, then measure again",
    )


def wrong_values(run: Run) -> Cause | None:
    """Say that the results were not what they should be."""
    if not run.wrong:
        return None
    return Cause(
        "VAL202",
        "results are wrong, whatever their speed",
        "certain",
        (f"out of bounds values: {run.wrong}",),
        "the same on one host, then on each pair of hosts: a GPU, an NVLink or a driver corrupts data",
    )


def sockets(run: Run) -> Cause | None:
    """Say that TCP carried the traffic."""
    if run.nccl.network != "Socket":
        return None
    return Cause(
        "VAL203",
        "NCCL went over TCP sockets, not over InfiniBand",
        "certain",
        ("NCCL's lines name the network Socket",),
        "ibstat in each host (or container), and NCCL_IB_DISABLE, NCCL_IB_HCA; then " + DEBUG,
    )


def staged(run: Run) -> Cause | None:
    """Say that messages went through host memory, all or some."""
    facts, evidence = run.nccl, []
    for way, count in facts.staged.items():
        total = count + facts.gdr.get(way, 0)
        if facts.network != "Socket":
            evidence.append(f"{count} of {total} connections that {way} go without GDRDMA")
    level, read = facts.variables.get("NCCL_NET_GDR_LEVEL", ""), facts.variables.get("NCCL_NET_GDR_READ", "")
    if level in ("0", "LOC") and not facts.gdr:
        evidence.append(f"NCCL_NET_GDR_LEVEL={level} forbids it")
    if read == "0" and not facts.gdr.get("send"):
        evidence.append("NCCL_NET_GDR_READ=0 forbids it to senders")
    if not evidence:
        return None
    part = "" if not facts.gdr else " for some connections"
    return Cause("VAL204", f"GPUDirect RDMA is off{part}", "certain", tuple(evidence), LOADED)


def fewer_hcas(run: Run, expected: Expected) -> Cause | None:
    """Say that NCCL found fewer ports than the job has on the fabric."""
    found, job = len(run.nccl.hcas), expected.job
    if job is None or not 0 < found < job.ports.shape[1]:
        return None
    return Cause(
        "VAL205",
        f"NCCL used {found} of {job.ports.shape[1]} HCA ports of a host",
        "certain",
        (f"NET/IB : Using {', '.join(run.nccl.hcas[:SHOWN])}{' ...' if found > SHOWN else ''}",),
        "NCCL_IB_HCA in the job's environment, and ibstat in each host (or container)",
    )


def other_gpus(run: Run, ground: Ground) -> Cause | None:
    """Say that the log's GPUs are not the node type's."""
    model = ground.node.gpu_model if ground.node else ""
    words = set(re.split(r"[^A-Z0-9]+", run.gpu.upper()))
    named = [name for name in gpus() if name.upper() in words]
    if not model or not named or model in named:
        return None
    return Cause(
        "VAL206",
        f"--node has {model} GPUs, and the log's are {named[0]}",
        "certain",
        (f"the log lists {run.gpu}",),
        f"another --node than {ground.node.name if ground.node else ''}: fabctl help nodes",
    )


def other_choices(run: Run, rows: tuple[Compared, ...]) -> Cause | None:
    """Say that NCCL took another algorithm or protocol than predicted, at sizes that are off."""
    evidence = []
    for row in rows:
        taken = run.nccl.choices.get(row.sample.size_bytes)
        if row.flag and taken and row.predicted and taken != (row.predicted.algorithm, row.predicted.protocol):
            size = size_text(row.sample.size_bytes)
            evidence.append(f"{size}: {'/'.join(taken)}, predicted {row.predicted.algorithm}/{row.predicted.protocol}")
    if not evidence:
        return None
    return Cause(
        "VAL207",
        f"NCCL chose otherwise than predicted at {len(evidence)} sizes",
        "certain",
        tuple(evidence[:SHOWN]),
        "NCCL_ALGO and NCCL_PROTO unset, and no tuner plugin (NCCL_TUNER_PLUGIN); or set to what is predicted",
    )
