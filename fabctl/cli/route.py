"""``fabctl route``: compute or read routes; prove them safe; score them; hand them to OpenSM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import exit_code, input_entry, load_source, output_options, source_options, write_report
from fabctl.cli.completion import complete_names
from fabctl.errors import ExitCode, UsageError
from fabctl.routing import ENGINES
from fabctl.traffic import PATTERNS

if TYPE_CHECKING:
    from fabctl.model.tables import RoutingTables
    from fabctl.sources.reading import LoadedFabric
    from fabctl.traffic.job import JobSpec

DEFAULT_ENGINE = "minhop"


@click.command()
@source_options
@click.option("--live", is_flag=True, help="Read fabric and tables from the live subnet (ibnetdiscover, dump_fts).")
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=complete_names(ENGINES),
    help=f"Compute routes: {', '.join(ENGINES.names())}.  [default: {DEFAULT_ENGINE}]",
)
@click.option(
    "--tables", "tables_path", metavar="FILE", help="Judge real tables: dump_fts, dump_lfts, opensm-lfts.dump, opensm.fdbs."
)
@click.option("--job", "job_path", metavar="FILE", help="Score for a job's hosts, and show its hottest cables (fabctl help job).")
@click.option("--hosts", metavar="NODESET", help="Score for these hosts only, like node[001-016].")
@click.option("--pattern", metavar="NAME", help=f"Show the hottest cables of {', '.join(PATTERNS.names())} (shift:K).")
@click.option("--bisections", type=click.IntRange(min=2), default=1000, show_default=True, help="Random bisections for eBB.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the random patterns.")
@click.option("--top", type=click.IntRange(min=0), default=5, show_default=True, help="Hottest cables to name.")
@click.option("--export", nargs=2, metavar="opensm DIR", help="Write DIR with tables for opensm -R file -U.")
@output_options()
def route(
    source: str | None,
    source_format: str | None,
    strict: bool,
    live: bool,
    engine: str | None,
    tables_path: str | None,
    job_path: str | None,
    hosts: str | None,
    pattern: str | None,
    bisections: int,
    seed: int,
    top: int,
    export: tuple[str, str] | None,
    output: dict[str, Any],
) -> ExitCode:
    """Compute or read routes; prove them safe; score them.

    Names the hottest cables as well, and exports the routes for OpenSM.

    \b
    Examples:
      fabctl route fabric.txt --engine ftree
      fabctl route fabric.txt --tables lfts.txt --job job.yaml
      fabctl route fabric.txt --engine updn --export opensm routes/

    Exit code 1 means: HCAs are lost, traffic loops, or a credit loop is possible. Such routes are not exported (exit code 6).
    """
    from fabctl.report.route import route_report
    from fabctl.routing.compute import assess
    from fabctl.traffic.scope import scope

    if tables_path and (engine or live):
        raise UsageError("--tables excludes --engine and --live")
    if job_path and (hosts or pattern):
        raise UsageError("--job excludes --hosts and --pattern: they are keys of the job file")
    if export and export[0] != "opensm":
        raise UsageError(f"unknown export '{export[0]}'", hint="known: opensm")
    spec = _spec(job_path, hosts, pattern, seed)
    loaded, tables = _tables(source, source_format, strict, live, engine, tables_path)
    judged = scope(spec, tables.fabric)
    assessment = assess(tables, judged.ports, judged.flows, bisections=bisections, seed=seed, top=top)
    computed = not tables_path and not (live and engine is None)
    report = route_report(assessment, inputs=[input_entry(loaded)], traffic=judged.title, computed=computed)
    write_report(report, output)
    if export:
        from fabctl.routing.opensm_files import export_opensm

        export_opensm(assessment, export[1])
    return exit_code(report)


def _tables(
    source: str | None, source_format: str | None, strict: bool, live: bool, engine: str | None, tables_path: str | None
) -> tuple[LoadedFabric, RoutingTables]:
    from fabctl.routing.compute import compute_tables

    if live:
        if source is not None:
            raise UsageError("--live takes no SOURCE")
        from fabctl.sources.live import discover_live, read_live_tables

        loaded = discover_live()
        return loaded, compute_tables(loaded.fabric, engine) if engine else read_live_tables(loaded.fabric)
    loaded = load_source(source, source_format, strict=strict)
    if tables_path:
        from fabctl.sources.reading import load_tables

        return loaded, load_tables(tables_path, loaded.fabric)
    return loaded, compute_tables(loaded.fabric, engine or DEFAULT_ENGINE)


def _spec(job_path: str | None, hosts: str | None, pattern: str | None, seed: int) -> JobSpec | None:
    from fabctl.traffic.job import JobSpec, Placed, parse_job

    if job_path:
        from fabctl.sources.reading import decode, read_bytes

        return parse_job(decode(read_bytes(job_path), job_path), job_path)
    if hosts is None and pattern is None:
        return None
    name, _, distance = (pattern or "alltoall").partition(":")
    PATTERNS.load(name)
    if distance and (name != "shift" or not distance.isdigit()):
        raise UsageError(f"'{pattern}' is no pattern", hint="only shift takes a number: shift:8")
    where = (Placed(hosts, "--hosts"),) if hosts is not None else (Placed("all", ""),)
    return JobSpec(hosts=where, collectives=(), pattern=name, shift=int(distance or 1), seed=seed)
