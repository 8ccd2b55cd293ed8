"""``fabctl explain``: why a pair of hosts is as fast as it is, and what to change first."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import exit_code, fabric_options, input_entry, load_source, output_options, refuse_two_stdins, write_report
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import chosen_tables, refuse_both, route_options, route_remarks, same_fabric
from fabctl.errors import ExitCode

if TYPE_CHECKING:
    from fabctl.model.tables import RoutingTables

JOBS_ENGINE = "jobs"
"""The engine that routes for given jobs."""


@click.command()
@click.argument("first", metavar="HOST-A")
@click.argument("second", metavar="HOST-B")
@fabric_options()
@click.option("--job", "job_paths", multiple=True, metavar="FILE", help="Job file (fabctl help job); several run at once.")
@route_options()
@click.option("--top", type=click.IntRange(min=1), default=8, show_default=True, help="Competing flows to name.")
@output_options()
def explain(
    first: str,
    second: str,
    source: str,
    job_paths: tuple[str, ...],
    tables_path: str | None,
    engine: str | None,
    assume_speed: str | None,
    top: int,
    strict: bool,
    source_format: str | None,
    output: dict[str, Any],
) -> ExitCode:
    """Name the cable that binds two hosts, who is on it, and what helps.

    HOST-A and HOST-B are hosts, HOST/DEVICE, HCAs or ports by name or GUID, or LIDs. All rails count, there and back. Without
    --job the traffic is an all-to-all of all compute hosts. Each change that is named was tried on the same traffic.

    \b
    Examples:
      fabctl explain luna-0001 luna-0042 --fabric fabric.txt --tables lfts.txt --job job.yaml
      fabctl explain node-0001 node-0300 --fabric leaf-spine-648 --engine ftree
      fabctl explain dgx1-0001/mlx5_0 dgx1-0009/mlx5_0 --fabric dgx1-16 --job topologies/jobs/dgx1-16.yaml

    Exit code 1 means: the tables do not lead from one to the other.
    """
    from fabctl.congestion.pair import Question, explain_pair
    from fabctl.model.ends import find_end, rail_pairs
    from fabctl.model.lids import with_lids
    from fabctl.model.rates import parse_speed, payload_rates
    from fabctl.report.explain import explain_report
    from fabctl.routing.options import Options
    from fabctl.traffic.phases import jobs_traffic

    refuse_both(engine, tables_path)
    assumed = parse_speed(assume_speed) if assume_speed else None
    refuse_two_stdins(source, job_paths)
    specs, job_inputs = read_jobs(job_paths)
    loaded = load_source(source, source_format, strict=strict)
    fabric = loaded.fabric if tables_path else with_lids(loaded.fabric)[0]
    ends = find_end(fabric, first, "HOST-A"), find_end(fabric, second, "HOST-B")
    pairs, jobs = rail_pairs(fabric, *ends), jobs_traffic(specs, fabric)
    tables = chosen_tables(fabric, engine, tables_path, Options(traffic=jobs))
    command = _next_command((first, second), source, same_fabric(source, source_format, assume_speed), engine, job_paths)
    question = Question(pairs, jobs, _keeps_deadlock_free(tables), command, top)
    found = explain_pair(tables, payload_rates(tables.fabric, assumed), question)
    report = explain_report(
        found,
        inputs=[input_entry(loaded), *job_inputs],
        remarks=route_remarks([tables], by_default=not (engine or tables_path), assume_speed=assume_speed),
        notes={job.name: job.notes for job in jobs},
    )
    write_report(report, output)
    return exit_code(report)


def _keeps_deadlock_free(tables: RoutingTables) -> Callable[[RoutingTables], bool]:
    """Return a check that changed tables have no credit loop that these did not have."""
    from fabctl.routing.verify import verify

    return lambda changed: not verify(changed).credit_loop or bool(verify(tables).credit_loop)


def _next_command(ends: tuple[str, str], source: str, fabric: list[str], engine: str | None, job_paths: tuple[str, ...]) -> str:
    """Return what to type next: the same with tables made for these jobs, or all engines side by side."""
    if not job_paths or engine == JOBS_ENGINE:
        return shlex.join(["fabctl", "route", "compare", source])
    jobs = [word for path in job_paths for word in ("--job", path)]
    return shlex.join(["fabctl", "explain", *ends, *fabric, *jobs, "--engine", JOBS_ENGINE])
