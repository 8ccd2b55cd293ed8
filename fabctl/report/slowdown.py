"""`Interference` to a report: each job's slowdown on each set of routes, what binds it, and who hurts whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabctl.model.interference import Binding, Interference, JobSlowdown
from fabctl.model.results import Finding
from fabctl.report.output import Column, Report, Table, exact, findings_table, rounded, short_names

ASSUMPTIONS = (
    "all flows of a phase start together and share every cable max-min fairly until the last one has ended; static routes",
    "beside others: all the job's phases, one after the other, while the busiest phase of each other job runs without end",
    "slowdown: communication time of a step beside the others over that alone on the same routes; computation is not counted",
    "the matrix: the same beside one other job alone. Hosts' cables: the step's time if no other cable bounded",
)

MAIN = (
    Column("job", "JOB"),
    Column("routes", "ROUTES"),
    Column("hosts", "HOSTS", right=True),
    Column("host_ms", "HOSTS' CABLES(ms)", right=True, digits=2, wide=True),
    Column("alone_ms", "ALONE(ms)", right=True, digits=2),
    Column("shared_ms", "SHARED(ms)", right=True, digits=2),
    Column("slowdown", "SLOWDOWN", right=True, digits=2),
    Column("gb_s_per_host", "GB/s/HOST", right=True, digits=2),
    Column("phase", "PHASE", wide=True),
    Column("cable", "BOUND BY"),
    Column("flows", "FLOWS", right=True),
    Column("others", "OTHER JOBS ON IT"),
    Column("pairs", "RANK PAIRS ON IT (THE LARGEST)", wide=True),
)
SHOWN = 3
"""How many jobs a line names."""


def slowdown_report(
    results: Sequence[Interference],
    *,
    fail_above: float | None,
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
    next_step: str = "",
) -> Report:
    """Return the report of several jobs on one or more sets of routes.

    Parameters
    ----------
    results : sequence of Interference
        The same jobs on each set of routes; the first is what the others are compared with.
    fail_above : float, optional
        A job that is slowed by more is a finding.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    notes : mapping of str to sequence of str, optional
        What was decided for each job.
    next_step : str
        Command to type next; empty where there is none.
    """
    short = short_names([result.routes for result in results])
    rows = [_row(job, result.routes) for result in results for job in result.jobs]
    findings = [finding for result in results for finding in _findings(result, short[result.routes], fail_above)]
    first = results[0]
    text: list[str | Table] = [
        f"Jobs    {len(first.jobs)} on {sum(job.n_hosts for job in first.jobs)} hosts",
        f"Routes  {', '.join(result.routes for result in results)}",
        *(f"        {remark}" for remark in remarks),
        *(_one(rows, short[first.routes]) if len(results) == 1 else _side_by_side(results, short)),
        *(_matrix(result, short[result.routes]) for result in results),
        "",
        *(_summary(result, short[result.routes], first) for result in results),
        "\nAssumptions",
        *(f"  {line}" for line in ASSUMPTIONS),
    ]
    if notes:
        text += job_notes(notes)
    if findings:
        text += [findings_table(findings)]
    if next_step:
        text += [f"\nNext: {next_step}"]
    return Report(
        kind="JobSlowdowns",
        data={"assumptions": list(ASSUMPTIONS), "routes": [_data(result) for result in results], "next": next_step or None},
        text=text,
        main=Table("", MAIN, rows),
        inputs=inputs,
        findings=findings,
    )


def job_notes(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what was decided for jobs as lines for people; what is true of several is said once."""
    jobs: dict[str, list[str]] = {}
    for job, lines in notes.items():
        for line in lines:
            jobs.setdefault(line.removeprefix(f"{job}: "), []).append(job)
    return ["\nNotes", *(f"  {_listed(names)}: {line}" for line, names in jobs.items())] if jobs else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _one(rows: Sequence[Mapping[str, Any]], routes: str) -> Iterator[Table]:
    columns = tuple(column for column in MAIN if column.key != "routes")
    yield Table(f"Each job beside all the others, {routes}", columns, [_for_people(row) for row in rows])


def _side_by_side(results: Sequence[Interference], short: Mapping[str, str]) -> Iterator[Table]:
    columns = [
        Column("job", "JOB"),
        Column("hosts", "HOSTS", right=True),
        Column("host_ms", "HOSTS' CABLES(ms)", right=True, digits=2),
    ]
    for number, result in enumerate(results):
        columns.append(Column(f"slowdown_{number}", f"{short[result.routes]} SLOWDOWN", right=True, digits=2))
        columns.append(Column(f"shared_{number}", "SHARED(ms)", right=True, digits=2))
    rows: list[dict[str, Any]] = []
    for at, job in enumerate(results[0].jobs):
        row = {"job": job.name, "hosts": job.n_hosts, "host_ms": job.host_s * 1e3}
        for number, result in enumerate(results):
            row |= {f"slowdown_{number}": result.jobs[at].slowdown, f"shared_{number}": result.jobs[at].shared_s * 1e3}
        rows.append(row)
    yield Table("Each job beside all the others", tuple(columns), rows)
    for result in results:
        keys = ("job", "gb_s_per_host", "cable", "flows", "others")
        bound = tuple(column for column in MAIN if column.key in keys)
        lines = [_for_people(_row(job, result.routes)) for job in result.jobs]
        yield Table(f"What binds, {short[result.routes]}", bound, lines)


def _matrix(result: Interference, routes: str) -> Table:
    names = [job.name for job in result.jobs]
    columns = (Column("job", "JOB"), *(Column(f"beside_{at}", name, right=True, digits=2) for at, name in enumerate(names)))
    rows = [
        {"job": name, **{f"beside_{at}": float(value) for at, value in enumerate(line)}}
        for name, line in zip(names, result.matrix, strict=True)
    ]
    return Table(f"Who hurts whom, {routes}: slowdown of each job beside one other", columns, rows, wide=True)


def _summary(result: Interference, routes: str, baseline: Interference) -> str:
    slowdowns = [job.slowdown for job in result.jobs]
    worst = max(result.jobs, key=lambda job: job.slowdown)
    text = f"{routes}: mean slowdown {sum(slowdowns) / len(slowdowns):.2f}, worst {worst.slowdown:.2f} ({worst.name})"
    pair = result.worst_pair
    if pair is not None:
        victim, culprit = (result.jobs[number].name for number in pair)
        text += f"; of two alone, {culprit} slows {victim} most ({result.matrix[pair]:.2f})"
    if result is not baseline:
        ratios = [old.shared_s / new.shared_s for old, new in zip(baseline.jobs, result.jobs, strict=True) if new.shared_s > 0]
        text += f"; steps {sum(ratios) / len(ratios) if ratios else 1.0:.2f} times as fast as on the first"
    return text


def _findings(result: Interference, routes: str, fail_above: float | None) -> Iterator[Finding]:
    for job in result.jobs:
        if fail_above is not None and job.slowdown > fail_above:
            where = f" by {job.binding.cable.label}" if job.binding else ""
            message = f"slowed {job.slowdown:.2f} times beside the others on {routes}{where}; allowed: {fail_above:g}"
            yield Finding(
                "JOB401", "error", job.name, message, tuple(name for name, _ in job.binding.others) if job.binding else ()
            )


def _row(job: JobSlowdown, routes: str) -> dict[str, Any]:
    binding = job.binding
    return {
        "job": job.name,
        "routes": routes,
        "hosts": job.n_hosts,
        "host_ms": rounded(job.host_s * 1e3),
        "alone_ms": rounded(job.alone_s * 1e3),
        "shared_ms": rounded(job.shared_s * 1e3),
        "slowdown": rounded(job.slowdown),
        "gb_s_per_host": rounded(job.gb_s_per_host),
        "phase": binding.phase if binding else None,
        "cable": binding.cable.label if binding else None,
        "flows": binding.flows if binding else None,
        "others": [name for name, _ in binding.others] if binding else [],
        "pairs": [f"{job}: {source} > {target}" for job, source, target in binding.pairs] if binding else [],
    }


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "others": _listed(row["others"]) or "-"}


def _data(result: Interference) -> dict[str, Any]:
    return {
        "routes": result.routes,
        "jobs": [
            {
                "name": job.name,
                "n_hosts": job.n_hosts,
                "ranks_per_host": job.ranks_per_host,
                "fabric_bytes": exact(job.fabric_bytes),
                "host_ms": rounded(job.host_s * 1e3),
                "alone_ms": rounded(job.alone_s * 1e3),
                "shared_ms": rounded(job.shared_s * 1e3),
                "slowdown": rounded(job.slowdown),
                "gb_s_per_host": rounded(job.gb_s_per_host),
                "binding": _binding(job.binding) if job.binding else None,
            }
            for job in result.jobs
        ],
        "matrix": [[rounded(float(value)) for value in line] for line in result.matrix],
    }


def _binding(binding: Binding) -> dict[str, Any]:
    cable = binding.cable
    return {
        "phase": binding.phase,
        "source": {"node": cable.source[0], "port": cable.source[1]},
        "target": {"node": cable.target[0], "port": cable.target[1]},
        "speed": cable.speed,
        "data_gbps": rounded(cable.data_gbps),
        "at_host": cable.at_host,
        "hosts": list(binding.hosts),
        "flows": binding.flows,
        "others": [{"job": name, "flows": flows} for name, flows in binding.others],
        "pairs": [{"job": job, "source": source, "target": target} for job, source, target in binding.pairs],
    }
