"""`JobView`s to a report: each job's hosts, model and parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fabctl.model.job_view import JobView, PartView
from fabctl.report.output import Column, Report, Table, counted, rounded

COLUMNS = (
    Column("job", "JOB"),
    Column("kind", "KIND", wide=True),
    Column("name", "WHAT"),
    Column("operation", "COLLECTIVE"),
    Column("algorithm", "ALGORITHM"),
    Column("groups", "GROUPS", right=True),
    Column("group_size", "RANKS", right=True),
    Column("message_bytes", "MESSAGE", right=True),
    Column("sent_bytes", "SENT/RANK", right=True, wide=True),
    Column("times", "TIMES", right=True),
    Column("overlapped", "HIDDEN", wide=True),
    Column("flows", "FLOWS", right=True, wide=True),
    Column("host_bytes", "FABRIC/HOST", right=True),
    Column("seconds", "TIME(s)", right=True, wide=True),
    Column("step_seconds", "STEP(s)", right=True),
    Column("bottleneck", "BOUND BY"),
)
ON_FABRIC = ("flows", "host_bytes")
ON_ROUTES = ("seconds", "step_seconds", "bottleneck")


def job_report(
    jobs: Sequence[JobView],
    *,
    fabric: str = "",
    routes: str = "",
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
) -> Report:
    """Return what jobs send as a report.

    Parameters
    ----------
    fabric, routes : str
        The source and what routes it; empty without.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    """
    text: list[str | Table] = []
    for number, job in enumerate(jobs):
        text += [
            *([""] if number else []),
            *_head(job),
            _table(job, fabric=bool(fabric), routes=bool(routes)),
            *_foot(job, routes),
        ]
    if remarks:
        text += ["\nRoutes", *(f"  {line}" for line in remarks)]
    return Report(
        kind="JobReport",
        data={"fabric": fabric, "routes": routes, "jobs": [_data(job) for job in jobs]},
        text=text,
        main=Table("", COLUMNS, [_row(job, part) for job in jobs for part in job.parts]),
        inputs=inputs,
    )


def _head(job: JobView) -> Iterator[str]:
    per_host = counted(job.ranks_per_host, "rank") if job.ranks_per_host else "an unknown number of ranks"
    hosts = f"{counted(job.n_hosts, 'host')} x {per_host} = {job.n_ranks} ranks" if job.n_hosts else f"{job.n_ranks} ranks"
    names = f": {job.hosts if len(job.hosts) <= 80 else f'{job.hosts[:77]}...'}" if job.hosts else ""
    yield f"Job     {job.name}, {hosts}{names}"
    if job.rails:
        yield f"HCAs    {len(job.rails)} per host, rails {','.join(str(rail) for rail in job.rails)}"
    if job.model:
        yield f"Model   {job.model.title}: {job.model.parameters:,} parameters, {job.model.rank_parameters:,} on the fullest rank"
        yield f"Cut     {', '.join(f'{key} {value}' for key, value in job.model.parallelism.items())}"


def _table(job: JobView, *, fabric: bool, routes: bool) -> Table:
    hidden = {"job"} | (set() if fabric else set(ON_FABRIC)) | (set() if routes else set(ON_ROUTES))
    columns = tuple(column for column in COLUMNS if column.key not in hidden)
    rows = []
    for part in job.parts:
        row = _row(job, part)
        cells = {key: readable_bytes(getattr(part, key)) for key in ("message_bytes", "sent_bytes", "host_bytes")}
        cells |= {key: _seconds(row[key]) for key in ("seconds", "step_seconds")}
        cells |= {key: row[key] or "-" for key in ("operation", "algorithm", "groups", "group_size")}
        if part.inside:
            cells |= {"flows": "-", "host_bytes": "inside hosts", "seconds": "-", "step_seconds": "-", "bottleneck": "-"}
        rows.append({**row, **cells})
    return Table("", columns, rows)


def _foot(job: JobView, routes: str) -> Iterator[str]:
    exposed, hidden = job.seconds(overlapped=False), job.seconds(overlapped=True)
    if routes and exposed is not None and hidden is not None:
        behind = f"; {_seconds(hidden)} s are meant to hide behind compute" if hidden else ""
        yield f"A step waits {_seconds(exposed)} s for the fabric{behind} ({routes}; this job alone)"
    for note in job.notes:
        yield f"  {note}"


def _row(job: JobView, part: PartView) -> dict[str, Any]:
    row = {"job": job.name, **asdict(part)}
    row |= {key: round(row[key]) for key in ("message_bytes", "sent_bytes", "host_bytes") if row[key] is not None}
    step = None if part.seconds is None else part.seconds * part.times
    return row | {"seconds": _rounded(part.seconds), "step_seconds": _rounded(step)}


def _data(job: JobView) -> dict[str, Any]:
    said = ("name", "path", "hosts", "n_hosts", "ranks_per_host", "n_ranks")
    return {
        **{key: getattr(job, key) for key in said},
        "rails": list(job.rails),
        "model": asdict(job.model) if job.model else None,
        "exposed_seconds": _rounded(job.seconds(overlapped=False)),
        "overlapped_seconds": _rounded(job.seconds(overlapped=True)),
        "parts": [{key: value for key, value in _row(job, part).items() if key != "job"} for part in job.parts],
        "notes": list(job.notes),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def readable_bytes(value: float | None) -> str:
    """Return a size with three significant digits: ``1.07 GB``; units are powers of 1000."""
    if value is None:
        return "-"
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if value >= 0.9995 * 10**power:
            scaled = value / 10**power
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"
    return f"{value:.0f} B" if value >= 1 or value == 0 else f"{value:.3g} B"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
