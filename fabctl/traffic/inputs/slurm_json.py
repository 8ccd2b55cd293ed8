"""``squeue --json`` and ``scontrol show job --json``: a list of jobs whose fields moved between Slurm's versions."""

from __future__ import annotations

import json
import re
from typing import Any

from fabctl.errors import InputError
from fabctl.traffic.inputs.slurm_job import SlurmJob, job_specs
from fabctl.traffic.inputs.source import JobSource, line_at, text_of
from fabctl.traffic.job import JobSpec


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read a list of jobs.

    Raises
    ------
    InputError
        With ``file:line``: the text is no JSON, a job has no number or state, a host list cannot be read or contradicts the
        record, or no job runs on several hosts.
    """
    text = text_of(data, path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"this is no JSON: {error.msg}", where=f"{path}:{error.lineno}:{error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise InputError("this is no JSON that Slurm writes: numbers or nesting without end", where=path) from error
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise InputError("there is no list of jobs", where=path, hint="run squeue --json or scontrol show job --json")
    if not jobs:
        raise InputError("the list of jobs is empty", where=path)
    return job_specs([_record(job, text, path) for job in jobs], path)


def _record(job: Any, text: str, path: str) -> SlurmJob:
    if not isinstance(job, dict) or not isinstance(job.get("job_id"), (int, str)):
        raise InputError("a job without job_id", where=path)
    number = str(job["job_id"])
    where = f"{path}:{_line(text, number)}"
    state = job.get("job_state")
    state = state[0] if isinstance(state, list) and state else state
    if not isinstance(state, str):
        raise InputError(f"job {number} has no job_state", where=where)
    return SlurmJob(
        job_id=number,
        name="".join(letter for letter in str(job.get("name") or "") if letter.isprintable()),
        state=state,
        nodes=_nodes(job, where),
        n_nodes=_number(job.get("node_count")),
        n_tasks=_number(job.get("tasks")),
        tres=str(job.get("tres_alloc_str") or ""),
        where=where,
        nodes_where=where,
    )


def _nodes(job: dict[str, Any], where: str) -> str:
    """Return the host list: ``nodes``, or ``job_resources.nodes``, a text or (Slurm 24 and later) an object with it."""
    resources = job.get("job_resources")
    inner = resources.get("nodes") if isinstance(resources, dict) else None
    if isinstance(inner, dict):
        inner = inner.get("list")
    found = job.get("nodes") or inner or ""
    if not isinstance(found, str):
        raise InputError(f"the host list of job {job['job_id']} is no text: {str(found)[:40]}", where=where)
    return "" if found == "(null)" else found


def _number(value: Any) -> int:
    """Return a plain number, or that of ``{"set": true, "infinite": false, "number": 4}``; 0 where there is none."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set", True) and not value.get("infinite") else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _line(text: str, number: str) -> int:
    match = re.search(rf'"job_id"\s*:\s*"?{re.escape(number)}\b', text)
    return line_at(text, match.start()) if match else 1


def _recognises(head: bytes, _: str) -> bool:
    named = re.search(rb'"(?:job_id|job_state)"\s*:', head) or (b'"jobs"' in head and b'"hosts"' not in head)
    return head.lstrip()[:1] == b"{" and bool(named)


SOURCE = JobSource(_recognises, parse)
