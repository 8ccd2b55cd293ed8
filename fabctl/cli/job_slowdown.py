"""``fabctl job slowdown``: how much jobs that run side by side slow each other down."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.adaptive_options import MODES
from fabctl.cli.common import exit_code, fabric_options, input_entry, load_source, output_options, refuse_two_stdins, write_report
from fabctl.cli.routes import engine_tables, named_engines, route_remarks, routes_options, same_fabric
from fabctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabctl.model.interference import Interference

TOUCHED = 1.0 + 1e-9
"""Slowdown from which on a job counts as slowed."""


@click.command()
@click.argument("job_paths", metavar="JOB...", nargs=-1, required=True, type=click.Path())
@fabric_options()
@routes_options
@click.option("--adaptive", type=click.Choice(MODES), help="Adaptive routing beside each set of routes, by groups of this kind.")
@click.option("--fail-above", type=click.FloatRange(min=1.0), metavar="FACTOR", help="A job slowed by more is an error (exit 1).")
@output_options()
def slowdown(
    job_paths: tuple[str, ...],
    source: str,
    source_format: str | None,
    strict: bool,
    engine_names: str | None,
    tables_paths: tuple[str, ...],
    adaptive: str | None,
    assume_speed: str | None,
    fail_above: float | None,
    output: dict[str, Any],
) -> ExitCode:
    """Show how much jobs slow each other down.

    Each job's communication time beside all the others against that alone, the cable that bounds it, and the other jobs on that
    cable; -o wide adds who hurts whom. Several sets of routes stand side by side, the first being what the others are compared
    with. The engine `jobs` routes for these jobs.

    \b
    Examples:
      fabctl job slowdown jobs.yaml --fabric fabric.txt --tables lfts.txt
      fabctl job slowdown train.yaml moe.yaml --fabric fabric.txt --engine opensm:minhop,ftree,jobs
      fabctl job slowdown jobs.yaml --fabric fabric.txt --fail-above 1.2 -o json

    Exit code 1 means: a job is slowed by more than --fail-above.
    """
    from fabctl.cli.job_files import read_jobs
    from fabctl.congestion.slowdown import adaptively, interference
    from fabctl.model.rates import parse_speed, payload_rates
    from fabctl.report.slowdown import slowdown_report
    from fabctl.routing.options import Options
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.phases import jobs_traffic

    if fail_above is not None and not math.isfinite(fail_above):
        raise UsageError(f"--fail-above {fail_above} is no factor", hint="1.2 allows a job to be slowed by a fifth")
    assumed = parse_speed(assume_speed) if assume_speed else None
    engines = named_engines(engine_names, tables_paths)
    refuse_two_stdins(source, job_paths)
    specs, job_inputs = read_jobs(job_paths)
    loaded = load_source(source, source_format, strict=strict)
    jobs = jobs_traffic(specs, loaded.fabric)
    routes = [load_tables(path, loaded.fabric) for path in dict.fromkeys(tables_paths)]
    routes += [engine_tables(loaded.fabric, engine, Options(traffic=jobs)) for engine in engines]
    rates = payload_rates(loaded.fabric, assumed)
    results = []
    for tables in routes:
        results.append(interference(tables, jobs, rates))
        if adaptive:
            spread = adaptively(tables, jobs, adaptive)
            results.append(interference(tables, jobs, rates, spread, f"{tables.origin}, adaptive ({adaptive})"))
    by_default = engine_names is None and not tables_paths
    remarks = route_remarks(routes, by_default=by_default, assume_speed=assume_speed)
    if adaptive:
        remarks.append("adaptive: each phase is balanced over its groups of ports by itself, not against other jobs")
    report = slowdown_report(
        results,
        fail_above=fail_above,
        inputs=[input_entry(loaded), *job_inputs],
        remarks=remarks,
        notes={job.name: job.notes for job in jobs},
        next_step=_next_step(results, job_paths, same_fabric(source, source_format, assume_speed), tables_paths, engines),
    )
    write_report(report, output)
    return exit_code(report)


def _next_step(
    results: Sequence[Interference],
    job_paths: Sequence[str],
    fabric: Sequence[str],
    tables_paths: Sequence[str],
    engines: Sequence[str],
) -> str:
    """Return the command that explains the worst job on the first routes; empty where no job is slowed."""
    slowed = [job for job in results[0].jobs if job.binding and job.slowdown > TOUCHED]
    if not slowed:
        return ""
    worst = max(slowed, key=lambda job: job.slowdown)
    hosts = worst.binding.hosts if worst.binding else ()
    routes = ["--tables", tables_paths[0]] if tables_paths else ["--engine", engines[0]]
    jobs = [part for path in job_paths for part in ("--job", path)]
    return shlex.join(["fabctl", "explain", *hosts, *fabric, *jobs, *routes])
