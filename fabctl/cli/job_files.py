"""Job files on the command line: any format that describes jobs, read into specs, with their lines for the envelope."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fabctl.errors import InputError

if TYPE_CHECKING:
    from fabctl.traffic.job import JobSpec


def read_jobs(paths: Sequence[str]) -> tuple[tuple[JobSpec, ...], list[dict[str, Any]]]:
    """Return the jobs of some files, and each file's line in the envelope's ``inputs``.

    A folder or the common beginning of traces stands for one job.

    Raises
    ------
    InputError
        If a file cannot be read or is no job.
    """
    from fabctl.sources.reading import read_bytes
    from fabctl.traffic.inputs.chakra import parse_traces
    from fabctl.traffic.inputs.reading import job_paths, load_jobs

    specs: list[JobSpec] = []
    inputs: list[dict[str, Any]] = []
    for path in paths:
        files = [(name, read_bytes(name)) for name in job_paths(path)]
        one_file = len(files) == 1 and files[0][0] == path
        specs += load_jobs(files[0][1], path) if one_file else (parse_traces(files, path),)
        inputs += [{"path": name, "sha256": hashlib.sha256(data).hexdigest(), "parser": "job"} for name, data in files]
    return tuple(specs), inputs


def read_one_job(path: str | None) -> tuple[JobSpec, list[dict[str, Any]]]:
    """Return the only job of a file; without a file, that of all compute hosts and all collectives.

    Raises
    ------
    InputError
        As `read_jobs` does, and if the file holds several.
    """
    from fabctl.traffic.job import JobSpec

    if path is None:
        return JobSpec(), []
    specs, inputs = read_jobs([path])
    if len(specs) > 1:
        raise InputError(f"this file holds {len(specs)} jobs, and one is wanted", where=path, hint="put each into its own file")
    return specs[0], inputs
