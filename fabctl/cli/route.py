"""``fabctl route``: compute or read routes; prove them safe; score them; hand them to OpenSM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.adaptive_options import adaptive_options, with_adaptive
from fabctl.cli.common import exit_code, input_entry, load_source, output_options, source_options, write_report, write_text
from fabctl.cli.completion import complete_names
from fabctl.cli.engine_options import engine_options, read_options, refuse_options
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import DEFAULT_ENGINE, OPENSM, engine_rows, engine_tables, for_jobs, refuse_unknown_engine
from fabctl.cli.subcommands import CommandWithSubcommands
from fabctl.errors import ExitCode, UsageError
from fabctl.registry import Entry, Registry
from fabctl.routing import ENGINES
from fabctl.routing.cases import CASES
from fabctl.routing.exports import EXPORTS
from fabctl.traffic import PATTERNS

if TYPE_CHECKING:
    from fabctl.model.changes import Change
    from fabctl.model.tables import RoutingTables
    from fabctl.routing.options import Options
    from fabctl.sources.reading import LoadedFabric
    from fabctl.traffic.job import JobSpec

SUBCOMMANDS = Registry(
    "subcommand",
    {
        "compare": Entry("fabctl.cli.route_compare:compare", "Score engines side by side, and bound all routings."),
        "install": Entry(
            "fabctl.cli.route_install:install", "Install exported routes in the running OpenSM; read every table back."
        ),
    },
)


@click.command(cls=CommandWithSubcommands, subcommands=SUBCOMMANDS)
@source_options
@click.option("--live", is_flag=True, help="Read fabric and tables from the live subnet (ibnetdiscover, dump_fts).")
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=complete_names(ENGINES),
    help=f"Compute routes: {', '.join(ENGINES.names())}; {OPENSM}NAME asks the real OpenSM.  [default: {DEFAULT_ENGINE}]",
)
@click.option("--list-engines", is_flag=True, help="List the engines, what they promise and which options they honour.")
@engine_options
@click.option(
    "--tables", "tables_path", metavar="FILE", help="Judge real tables: dump_fts, dump_lfts, opensm-lfts.dump, opensm.fdbs."
)
@click.option(
    "--previous",
    "previous_path",
    metavar="FILE",
    help="Tables of before a fault: change only what must change; with --tables, show what did.",
)
@click.option("--job", "job_path", metavar="FILE", help="Score for a job's hosts, and show its hottest cables; see engine jobs.")
@click.option("--hosts", metavar="NODESET", help="Score for these hosts only, like node[001-016].")
@click.option("--pattern", metavar="NAME", help=f"Show the hottest cables of {', '.join(PATTERNS.names())} (shift:K).")
@adaptive_options
@click.option("--bisections", type=click.IntRange(min=2), default=1000, show_default=True, help="Random bisections for eBB.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the random patterns.")
@click.option("--top", type=click.IntRange(min=0), default=5, show_default=True, help="Hottest cables, and moved LIDs, to name.")
@click.option("--export", nargs=2, metavar="FORMAT DIR", help=f"Write DIR with the routes: {', '.join(EXPORTS.names())}.")
@click.option("--assume-speed", metavar="4xHDR", help=f"For -o {', '.join(CASES.names())}: speed of cables whose own is unknown.")
@output_options(*CASES.names())
def route(
    source: str | None,
    source_format: str | None,
    strict: bool,
    live: bool,
    engine: str | None,
    list_engines: bool,
    asked: dict[str, Any],
    tables_path: str | None,
    previous_path: str | None,
    job_path: str | None,
    hosts: str | None,
    pattern: str | None,
    adaptive: dict[str, Any],
    bisections: int,
    seed: int,
    top: int,
    export: tuple[str, str] | None,
    assume_speed: str | None,
    output: dict[str, Any],
) -> ExitCode:
    """Compute or read routes; prove them safe; score them.

    Names the hottest cables as well, and exports the routes for OpenSM.

    \b
    Examples:
      fabctl route fabric.txt --engine ftree
      fabctl route fabric.txt --tables lfts.txt --job job.yaml
      fabctl route fabric.txt --engine updn --adaptive tree
      fabctl route fabric.txt --engine updn --export opensm routes/
      fabctl route now.txt --engine updn --previous before-lfts.txt
      fabctl route fabric.txt --engine jobs --job jobs.yaml --export opensm routes/
      fabctl route fabric.txt --engine ftree --job job.yaml -o simgrid --out case.py
      fabctl route compare fabric.txt --engine all

    Exit code 1 means: HCAs are lost, traffic loops, or a credit loop is possible. Such routes are not exported (exit code 6).
    """
    from fabctl.report.route import route_report
    from fabctl.routing.compute import assess
    from fabctl.traffic.scope import scope

    if list_engines:
        return _list_engines(source, output)
    if tables_path and (engine or live):
        raise UsageError("--tables excludes --engine and --live")
    computed = not tables_path and not (live and engine is None)
    if not computed:
        refuse_options(asked, "these tables are read, not computed")
    if previous_path == source == "-":
        raise UsageError("SOURCE and --previous cannot both be stdin")
    if job_path and (hosts or pattern):
        raise UsageError("--job excludes --hosts and --pattern: they are keys of the job file")
    write = EXPORTS.load(export[0]) if export else None
    case = output["output_format"] if output["output_format"] in CASES.entries else None
    _check_case(case, job_path, export, assume_speed, adaptive)
    if engine:
        refuse_unknown_engine(engine)
    specs = _specs(job_path, hosts, pattern, seed)
    loaded = _fabric(source, source_format, strict, live)
    options = for_jobs(read_options(loaded.fabric, asked), engine, specs, loaded.fabric)
    tables = _tables(loaded, live, engine, options, tables_path)
    changed = _changed(tables, previous_path, options if computed else None) if previous_path else None
    tables = changed.tables if changed else tables
    if case and specs:
        _write_case(case, tables, specs, assume_speed, output)
        return ExitCode.DONE
    judged = scope(specs, tables.fabric)
    assessment = assess(tables, judged.ports, judged.flows, bisections=bisections, seed=seed, top=top)
    inputs = [input_entry(loaded)]
    report = route_report(assessment, inputs=inputs, traffic=judged.title, computed=computed, change=changed, top=top)
    report = with_adaptive(report, adaptive, assessment, (judged.flows, judged.title), bisections=bisections, seed=seed)
    write_report(report, output)
    if export and write:
        write(assessment, export[1], options)
    return exit_code(report)


def _check_case(
    case: str | None,
    job_path: str | None,
    export: tuple[str, str] | None,
    assume_speed: str | None,
    adaptive: dict[str, Any],
) -> None:
    if case is None:
        if assume_speed:
            raise UsageError(
                f"--assume-speed is for -o {', '.join(CASES.names())}; routes are scored at the speeds that are known"
            )
    elif job_path is None:
        raise UsageError(f"-o {case} writes a job's flows: it needs --job FILE", hint="fabctl help job")
    elif export:
        raise UsageError(f"-o {case} writes a case, --export a folder of routes", hint="leave one of them out")
    elif adaptive:
        raise UsageError(f"-o {case} writes one path for each flow", hint="leave --adaptive and --hash out")


def _write_case(
    case: str, tables: RoutingTables, specs: tuple[JobSpec, ...], assume_speed: str | None, output: dict[str, Any]
) -> None:
    """Write fabric, routes and a job's flows for another program."""
    from fabctl.model.rates import parse_speed
    from fabctl.routing.cases.case import make_case
    from fabctl.traffic.phases import jobs_traffic

    jobs = jobs_traffic(specs, tables.fabric)
    assumed = parse_speed(assume_speed) if assume_speed else None
    write_text(CASES.load(case)(make_case(tables, jobs, assumed)), output["out"])


def _list_engines(source: str | None, output: dict[str, Any]) -> ExitCode:
    from fabctl.report.engines import engines_report

    if source is not None:
        raise UsageError("--list-engines takes no SOURCE")
    write_report(engines_report(engine_rows()), output)
    return ExitCode.DONE


def _fabric(source: str | None, source_format: str | None, strict: bool, live: bool) -> LoadedFabric:
    if not live:
        return load_source(source, source_format, strict=strict)
    if source is not None:
        raise UsageError("--live takes no SOURCE")
    from fabctl.sources.live import discover_live

    return discover_live()


def _tables(loaded: LoadedFabric, live: bool, engine: str | None, options: Options, tables_path: str | None) -> RoutingTables:
    if tables_path:
        from fabctl.sources.reading import load_tables

        return load_tables(tables_path, loaded.fabric)
    if live and engine is None:
        from fabctl.sources.live import read_live_tables

        return read_live_tables(loaded.fabric)
    return engine_tables(loaded.fabric, engine or DEFAULT_ENGINE, options)


def _changed(tables: RoutingTables, path: str, options: Options | None) -> Change:
    """Return the change to an engine's routes, given its options, or to tables that were read."""
    from fabctl.routing.incremental import change, difference
    from fabctl.sources.reading import load_tables

    previous = load_tables(path, tables.fabric, lenient=True)
    return difference(previous, tables) if options is None else change(previous, tables, options)


def _specs(job_path: str | None, hosts: str | None, pattern: str | None, seed: int) -> tuple[JobSpec, ...]:
    from fabctl.traffic.job import JobSpec, Placed

    if job_path:
        return read_jobs([job_path])[0]
    if hosts is None and pattern is None:
        return ()
    name, _, distance = (pattern or "alltoall").partition(":")
    PATTERNS.load(name)
    if distance and (name != "shift" or not distance.isdigit()):
        raise UsageError(f"'{pattern}' is no pattern", hint="only shift takes a number: shift:8")
    where = (Placed(hosts, "--hosts"),) if hosts is not None else (Placed("all", ""),)
    return (JobSpec(hosts=where, collectives=(), pattern=name, shift=int(distance or 1), seed=seed),)
