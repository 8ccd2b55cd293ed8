"""``fabctl job show``: the phases of jobs, their groups and bytes, and on routes their times."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import fabric_options, input_entry, load_source, output_options, refuse_two_stdins, write_report
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import chosen_tables, refuse_both, route_options
from fabctl.errors import UsageError


@click.command()
@click.argument("jobs", nargs=-1, metavar="JOB...", type=click.Path())
@fabric_options(required=False)
@route_options(default="no routes, and no times")
@output_options()
def show(
    jobs: tuple[str, ...],
    source: str | None,
    source_format: str | None,
    strict: bool,
    engine: str | None,
    tables_path: str | None,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Show what jobs send: phases, groups, bytes and, on routes, times.

    JOB is a job file (fabctl help job), a list of flows, a Slurm job or a trace. Without --fabric the ranks alone are known.
    Times are those of each phase alone on the fabric.

    \b
    Examples:
      fabctl job show job.yaml
      fabctl job show job.yaml --fabric fabric.txt --engine ftree
      fabctl job show one.yaml two.yaml --fabric fabric.txt --tables lfts.txt -o json
    """
    from fabctl.bench.job_show import show_jobs
    from fabctl.model.rates import parse_speed, payload_rates
    from fabctl.report.job import job_report
    from fabctl.routing.options import Options
    from fabctl.traffic.phases import jobs_traffic

    if not jobs:
        raise UsageError("no JOB", hint="give a job file (fabctl help job)")
    if (engine or tables_path or assume_speed or source_format or strict) and source is None:
        raise UsageError("routes and their options need --fabric SOURCE")
    refuse_both(engine, tables_path)
    refuse_two_stdins(source, jobs)
    assumed = parse_speed(assume_speed) if assume_speed else None
    specs, inputs = read_jobs(jobs)
    if source is None:
        write_report(job_report(show_jobs(specs), inputs=inputs), output)
        return
    loaded = load_source(source, source_format, strict=strict)
    fabric = loaded.fabric
    routed = bool(engine or tables_path)
    traffic = jobs_traffic(specs, fabric) if engine else ()
    tables = chosen_tables(fabric, engine, tables_path, Options(traffic=traffic)) if routed else None
    views = show_jobs(specs, tables.fabric if tables else fabric, tables, payload_rates(fabric, assumed))
    remarks = list(tables.notes) if tables else []
    if assume_speed:
        remarks.append(f"cables of unknown rate count as {assume_speed}")
    routes = tables.origin if tables else ""
    inputs = [input_entry(loaded), *inputs]
    write_report(job_report(views, fabric=loaded.report.path, routes=routes, inputs=inputs, remarks=remarks), output)
