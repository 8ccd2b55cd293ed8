"""fabctl's own job file: what no other source claims is read as one."""

from __future__ import annotations

from fabctl.traffic.inputs.source import JobSource, text_of
from fabctl.traffic.job import JobSpec, parse_job


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read a job file."""
    return (parse_job(text_of(data, path), path),)


def _recognises(head: bytes, path: str) -> bool:
    return b"\x00" not in head


SOURCE = JobSource(_recognises, parse)
