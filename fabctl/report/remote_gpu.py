"""`RemoteGpuPlan` to a report: which GPUs clients get, how fast their copies are, and what the jobs that run keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fabctl.model.remote_gpus import RemoteGpu, RemoteGpuPlan
from fabctl.report.bench_words import closing, entry
from fabctl.report.output import Column, Report, Table, rounded

MAIN = (
    Column("client", "CLIENT"),
    Column("client_port", "CLIENT'S PORT", wide=True),
    Column("gpu", "GPU"),
    Column("server_port", "SERVER'S PORT", wide=True),
    Column("switches", "SWITCHES", right=True),
    Column("call_us", "CALL(us)", right=True, digits=2),
    Column("local_gb_s", "LOCAL(GB/s)", right=True, digits=2),
    Column("alone_gb_s", "REMOTE", right=True, digits=2),
    Column("alone_ratio", "OF LOCAL", right=True),
    Column("shared_gb_s", "SHARED", right=True, digits=2),
    Column("shared_ratio", "OF LOCAL", right=True),
    Column("bound", "SHARED IS BOUND BY"),
)
JOBS = (
    Column("job", "JOB"),
    Column("phase", "BUSIEST PHASE"),
    Column("kept", "KEEPS", right=True),
)
WIDTH = 9
"""Of the labels in the head."""


def remote_gpu_report(
    plan: RemoteGpuPlan, *, inputs: Sequence[Mapping[str, Any]] = (), remarks: Sequence[str] = (), next_step: str = ""
) -> Report:
    """Return the report of GPUs that are driven over the fabric.

    Parameters
    ----------
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    next_step : str
        Command to type next; empty where there is none.
    """
    rows = [_row(one) for one in plan.chosen]
    servers = f"{plan.free_hosts} hosts of type {plan.node}, {plan.free_gpus} GPUs that no job and no client has"
    text: list[str | Table] = [
        *entry("Servers", servers, width=WIDTH),
        *entry("Routes", plan.routes, *remarks, width=WIDTH),
        Table("Nearest GPUs with capacity to spare on the way", MAIN, rows),
    ]
    if plan.burdens:
        kept = [{"job": one.job, "phase": one.phase, "kept": f"{one.kept:.1%}"} for one in plan.burdens]
        text.append(Table("What the jobs keep of the rate of their slowest-hit flow while all copies run", JOBS, kept))
    text += closing(plan.assumptions, plan.notes)
    if next_step:
        text.append(f"\nNext: {next_step}")
    return Report(
        kind="RemoteGpus",
        data={
            "node": plan.node,
            "routes": plan.routes,
            "free_hosts": plan.free_hosts,
            "free_gpus": plan.free_gpus,
            "chosen": [{key: _number(value) for key, value in asdict(one).items()} for one in plan.chosen],
            "jobs": [{"job": one.job, "phase": one.phase, "kept": rounded(one.kept)} for one in plan.burdens],
            "assumptions": list(plan.assumptions),
            "notes": list(plan.notes),
            "next": next_step or None,
        },
        text=text,
        main=Table("", MAIN, rows),
        inputs=inputs,
    )


def _row(one: RemoteGpu) -> dict[str, Any]:
    cells = {key: _number(value) for key, value in asdict(one).items()}
    ratios = {
        "alone_ratio": f"{one.alone_gb_s / one.local_gb_s:.1%}",
        "shared_ratio": f"{one.shared_gb_s / one.local_gb_s:.1%}",
    }
    return cells | ratios | {"gpu": f"{one.server} {one.gpu}"}


def _number(value: Any) -> Any:
    return rounded(value) if isinstance(value, float) else value
