"""From a file, or the traces of all ranks, to job specs."""

from __future__ import annotations

import re
from pathlib import Path

from fabctl.errors import InputError
from fabctl.model.naming import natural_key
from fabctl.traffic.inputs import JOB_SOURCES
from fabctl.traffic.inputs.source import HEAD_BYTES, JobSource
from fabctl.traffic.job import JobSpec

_TRACE_SUFFIXES = (".et", ".et.gz")


def job_paths(path: str) -> list[str]:
    """Return the files that a JOB argument stands for, in natural order.

    A file stands for itself, as does ``-``. A folder stands for its traces (``*.et`` and ``*.json``), a file name with ``*``,
    ``?`` or ``[]`` for the files that match it, and ``NAME`` for ``NAME.*.et``, as ASTRA-sim has it.

    Raises
    ------
    InputError
        If a folder holds no trace, or nothing matches a pattern.
    """
    if path == "-" or Path(path).is_file():
        return [path]
    if Path(path).is_dir():
        files = sorted((str(entry) for entry in Path(path).iterdir() if entry.is_file()), key=natural_key)
        traces = [name for name in files if name.endswith((*_TRACE_SUFFIXES, ".json"))]
        if not traces:
            raise InputError("this folder holds no traces (*.et, *.json)", where=path)
        return traces
    pattern = bool(re.search(r"[*?\[]", Path(path).name))
    matches = _matches(path if pattern else f"{path}.*.et")
    if pattern and not matches:
        raise InputError("no file matches this pattern", where=path)
    return matches or [path]


def _matches(pattern: str) -> list[str]:
    folder, name = Path(pattern).parent, Path(pattern).name
    return sorted((str(entry) for entry in folder.glob(name) if entry.is_file()), key=natural_key)


def load_jobs(data: bytes, path: str) -> tuple[JobSpec, ...]:
    """Read the jobs of one file; its format is found by content.

    Parameters
    ----------
    data : bytes
    path : str
        File name, for messages.

    Returns
    -------
    tuple of JobSpec
        At least one.

    Raises
    ------
    InputError
        If the file cannot be understood, with ``file:line`` where there are lines.
    """
    head = data[:HEAD_BYTES]
    for name in JOB_SOURCES.names():
        source: JobSource = JOB_SOURCES.load(name)
        if source.recognises(head, path):
            return source.parse(data, path)
    raise InputError("no known job format", where=path, hint=f"known: {', '.join(JOB_SOURCES.names())}")
