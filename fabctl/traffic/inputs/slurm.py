"""``scontrol show job``: one or several records of ``Key=Value`` words, on one line each with ``-o``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fabctl.errors import InputError
from fabctl.traffic.inputs.slurm_job import SlurmJob, job_specs
from fabctl.traffic.inputs.source import JobSource, line_at, text_of
from fabctl.traffic.job import JobSpec

_RECORD = re.compile(r"^[ \t]*JobId=(\S+)", re.MULTILINE)
_NAME = re.compile(r"[ \t](?:Job)?Name=(.*?)(?=[ \t]+UserId=|[ \t]*$)", re.MULTILINE)


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read the records of ``scontrol show job``.

    Raises
    ------
    InputError
        With ``file:line``: a record lacks its state or its host list, a host list cannot be read or contradicts the
        record, or no job runs on several hosts.
    """
    text = text_of(data, path)
    return job_specs(list(_records(text, path)), path)


def _records(text: str, path: str) -> Iterator[SlurmJob]:
    starts = list(_RECORD.finditer(text))
    if not starts:
        hint = "scontrol show job, or squeue --json, says what fabctl needs"
        raise InputError("no record begins with JobId=", where=f"{path}:1", hint=hint)
    for match, after in zip(starts, [*starts[1:], None], strict=True):
        end = after.start() if after else len(text)
        name = _NAME.search(text, match.end(), end)
        begin = name.end() if name else match.end()
        where = f"{path}:{line_at(text, match.start())}"
        state = _value(text, "JobState", begin, end)
        nodes = _value(text, "NodeList", begin, end)
        if state is None or nodes is None:
            lacking = "JobState" if state is None else "NodeList"
            raise InputError(f"the record of job {match[1]} has no {lacking}", where=where, hint="was the text cut?")
        tres = _value(text, "AllocTRES", begin, end) or _value(text, "TRES", begin, end)
        yield SlurmJob(
            job_id=match[1],
            name=name[1].strip() if name else "",
            state=state[1],
            nodes="" if nodes[1] == "(null)" else nodes[1],
            n_nodes=_number(_value(text, "NumNodes", begin, end)),
            n_tasks=_number(_value(text, "NumTasks", begin, end)),
            tres=tres[1] if tres else "",
            where=where,
            nodes_where=f"{path}:{line_at(text, nodes.start(1))}",
        )


def _value(text: str, key: str, begin: int, end: int) -> re.Match[str] | None:
    return re.compile(rf"(?<!\S){key}=(\S*)").search(text, begin, end)


def _number(match: re.Match[str] | None) -> int:
    return int(match[1]) if match and match[1].isascii() and match[1].isdecimal() and len(match[1]) < 10 else 0


def _recognises(head: bytes, _: str) -> bool:
    """Tell scontrol's records; and squeue's table, to be told what to do instead."""
    return b"\x00" not in head and bool(re.match(rb"(?:\xef\xbb\xbf)?\s*(?:JobId=\S|JOBID +[A-Z])", head))


SOURCE = JobSource(_recognises, parse)
