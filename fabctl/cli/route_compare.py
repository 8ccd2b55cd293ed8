"""``fabctl route compare``: engines side by side on one fabric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, source_options, write_report
from fabctl.cli.completion import complete_names
from fabctl.cli.engine_options import engine_options, read_options
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import OPENSM, for_jobs, opensm_run, refuse_unknown_engine
from fabctl.errors import UsageError
from fabctl.routing import ENGINES
from fabctl.sources import SOURCES

if TYPE_CHECKING:
    from fabctl.model.fabric import Fabric
    from fabctl.routing.compare import Routed
    from fabctl.routing.options import Options
    from fabctl.traffic.job import JobSpec

ALL = "all"
CHOOSER, FOR_JOBS = "auto", "jobs"
"""Picks among the others, so it is not one of all; routes as that one does where no job is given."""
WARM_UP = (
    "family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\nremove:\n  cables: 3\n",
    "family: torus\ndims: [4, 5]\nhosts_per_switch: 2\nspeed: EDR\n",
    "family: dragonfly-plus\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nglobal_links: 1\nspeed: EDR\n",
)
"""Small fabrics that make engines load all their kernels before they are timed: imbalance, rings and groups."""


@click.command()
@source_options
@click.option(
    "--engine",
    "engine_names",
    metavar="A,B",
    default=ALL,
    show_default=True,
    shell_complete=complete_names(ENGINES),
    help=f"Engines to compare: {ALL}, {', '.join(ENGINES.names())}, {OPENSM}NAME.",
)
@engine_options
@click.option("--tables", "tables_paths", multiple=True, metavar="FILE", help="Real tables (dump_fts, dump_lfts) beside them.")
@click.option("--job", "job_path", metavar="FILE", help="Score for jobs' hosts; engine jobs routes for them (fabctl help job).")
@click.option("--hosts", metavar="NODESET", help="Score for these hosts only, like node[001-016].")
@click.option("--bisections", type=click.IntRange(min=2), default=1000, show_default=True, help="Random bisections for eBB.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the random patterns.")
@click.option("--time/--no-time", "times", default=None, help="CPU times; they differ from run to run.  [default: in tables]")
@output_options()
def compare(
    source: str | None,
    source_format: str | None,
    strict: bool,
    engine_names: str,
    asked: dict[str, Any],
    tables_paths: tuple[str, ...],
    job_path: str | None,
    hosts: str | None,
    bisections: int,
    seed: int,
    times: bool | None,
    output: dict[str, Any],
) -> None:
    """Score engines side by side, and bound all routings.

    One row for each engine; one that refuses the fabric says why. The last row is the all-to-all fraction that no routing of this
    cabling can pass, whatever its paths.

    \b
    Examples:
      fabctl route compare fabric.txt
      fabctl route compare fabric.txt --engine all,opensm:minhop,opensm:sssp
      fabctl route compare fabric.txt --engine ftree,updn --tables lfts.txt -o json
      fabctl route compare fabric.txt --engine ftree,jobs --job jobs.yaml
    """
    from fabctl.model.lids import with_lids
    from fabctl.report.route_compare import compare_report
    from fabctl.routing import compare as library
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.scope import scope

    if job_path and hosts is not None:
        raise UsageError("--job excludes --hosts: that is a key of the job file")
    engines = _engines(engine_names, job_path)
    specs = _specs(job_path, hosts, seed)
    loaded = load_source(source, source_format, strict=strict)
    fabric, _ = with_lids(loaded.fabric)
    options = read_options(fabric, asked)
    ports = scope(specs, fabric).ports
    small = [SOURCES.load("topology").parse(spec, "warm-up")[0] for spec in WARM_UP]

    def route(name: str) -> Routed:
        if name in tables_paths:
            return library.Routed(load_tables(name, loaded.fabric))
        if name.startswith(OPENSM):
            return _ask_opensm(fabric, name, options)
        return library.timed(fabric, name, for_jobs(options, name, specs, fabric), small)

    found = library.compare(fabric, ports, [*dict.fromkeys(tables_paths), *engines], route, bisections=bisections, seed=seed)
    shown = output["output_format"] in ("table", "wide") if times is None else times
    write_report(compare_report(found, inputs=[input_entry(loaded)], times=shown), output)


def _ask_opensm(fabric: Fabric, name: str, options: Options) -> Routed:
    from fabctl.routing.compare import Routed

    run = opensm_run(fabric, name, options)
    return Routed(run.tables, run.routing_s, run.vls_needed)


def _specs(job_path: str | None, hosts: str | None, seed: int) -> tuple[JobSpec, ...]:
    from fabctl.traffic.job import JobSpec, Placed

    if job_path:
        return read_jobs([job_path])[0]
    return () if hosts is None else (JobSpec(hosts=(Placed(hosts, "--hosts"),), collectives=(), pattern="alltoall", seed=seed),)


def _engines(names: str, job_path: str | None) -> list[str]:
    every = [name for name in ENGINES.names() if name != CHOOSER and (job_path or name != FOR_JOBS)]
    chosen: list[str] = []
    for name in (name.strip() for name in names.split(",")):
        if name != ALL and name:
            refuse_unknown_engine(name)
        chosen += every if name == ALL else [name] if name else []
    if not chosen:
        raise UsageError("--engine names nothing")
    return list(dict.fromkeys(chosen))
