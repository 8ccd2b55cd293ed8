"""fabctl's own job file: what no other source claims is read as one, with the traces that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fabctl.errors import InputError
from fabctl.traffic.inputs.source import JobSource, text_of
from fabctl.traffic.job import JobSpec, parse_jobs


def parse(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read a file of one or several jobs.

    Raises
    ------
    InputError
        As `parse_jobs` does, and if a trace that the file names cannot be read.
    """
    return tuple(_with_trace(spec, path) for spec in parse_jobs(text_of(data, path), path))


def _with_trace(spec: JobSpec, path: str) -> JobSpec:
    if spec.trace is None:
        return spec
    from fabctl.traffic.inputs.chakra import parse_traces
    from fabctl.traffic.inputs.reading import job_paths

    named = str(Path(path).parent / spec.trace.text)
    try:
        parts = [(name, Path(name).read_bytes()) for name in job_paths(named)]
    except InputError as error:
        raise InputError(f"'{spec.trace.text}': {error.message}", where=spec.trace.where) from error
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read '{spec.trace.text}': {said}", where=spec.trace.where) from error
    read = parse_traces(parts, named)
    return replace(spec, operations=read.operations, n_ranks=read.n_ranks, notes=(*spec.notes, *read.notes))


def _recognises(head: bytes, _: str) -> bool:
    return b"\x00" not in head


SOURCE = JobSource(_recognises, parse)
