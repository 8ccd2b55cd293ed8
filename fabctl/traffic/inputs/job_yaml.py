"""fabctl's own job file: what no other source claims is read as one."""

from __future__ import annotations

from fabctl.traffic.inputs.source import JobSource, text_of
from fabctl.traffic.job import JobSpec, parse_jobs


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read a file of one or several jobs."""
    return parse_jobs(text_of(data, path), path)


def _recognises(head: bytes, _: str) -> bool:
    return b"\x00" not in head


SOURCE = JobSource(_recognises, parse)
