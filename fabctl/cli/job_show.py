"""``fabctl job show``: the phases of jobs, their groups and bytes, and on routes their times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, write_report
from fabctl.cli.completion import complete_names, complete_source
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import OPENSM, engine_tables, refuse_unknown_engine
from fabctl.errors import UsageError
from fabctl.routing import ENGINES
from fabctl.sources import SOURCES

if TYPE_CHECKING:
    from fabctl.model.fabric import Fabric
    from fabctl.model.tables import RoutingTables
    from fabctl.traffic.job import JobSpec


@click.command()
@click.argument("jobs", nargs=-1, metavar="JOB...", type=click.Path())
@click.option(
    "--fabric", "source", metavar="SOURCE", shell_complete=complete_source, help="Place the jobs on this fabric or topology."
)
@click.option(
    "--from",
    "source_format",
    metavar="NAME",
    help="Format of the fabric; found by content by default.",
    shell_complete=complete_names(SOURCES),
)
@click.option("--strict", is_flag=True, help="Lines of the fabric not understood and contradictions are errors (exit 3).")
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=complete_names(ENGINES),
    help=f"Time the phases on an engine's routes: {', '.join(ENGINES.names())}, {OPENSM}NAME.",
)
@click.option("--tables", "tables_path", metavar="FILE", help="Time them on real tables (dump_fts, dump_lfts).")
@click.option("--assume-speed", metavar="4xHDR", help="Link speed of cables whose own is unknown.")
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

    if not jobs:
        raise UsageError("no JOB", hint="give a job file (fabctl help job)")
    if (engine or tables_path or assume_speed or source_format or strict) and source is None:
        raise UsageError("routes and their options need --fabric SOURCE")
    if engine and tables_path:
        raise UsageError("--tables excludes --engine")
    if source == "-" and "-" in jobs:
        raise UsageError("JOB and --fabric cannot both be stdin")
    if engine:
        refuse_unknown_engine(engine)
    assumed = parse_speed(assume_speed) if assume_speed else None
    specs, inputs = read_jobs(jobs)
    if source is None:
        write_report(job_report(show_jobs(specs), inputs=inputs), output)
        return
    loaded = load_source(source, source_format, strict=strict)
    fabric = loaded.fabric
    tables = _tables(fabric, specs, engine, tables_path)
    views = show_jobs(specs, tables.fabric if tables else fabric, tables, payload_rates(fabric, assumed))
    remarks = list(tables.notes) if tables else []
    if assume_speed:
        remarks.append(f"cables of unknown rate count as {assume_speed}")
    routes = tables.origin if tables else ""
    inputs = [input_entry(loaded), *inputs]
    write_report(job_report(views, fabric=loaded.report.path, routes=routes, inputs=inputs, remarks=remarks), output)


def _tables(fabric: Fabric, specs: tuple[JobSpec, ...], engine: str | None, tables_path: str | None) -> RoutingTables | None:
    from fabctl.routing.options import Options
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.phases import jobs_traffic

    if tables_path:
        return load_tables(tables_path, fabric)
    return engine_tables(fabric, engine, Options(traffic=jobs_traffic(specs, fabric))) if engine else None
