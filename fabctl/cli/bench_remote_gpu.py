"""``fabctl bench remote-gpu``: which GPUs hosts without any should drive over the fabric, and what that costs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, refuse_two_stdins, source_options, write_report
from fabctl.cli.hardware import chosen_node, node_inputs, node_options
from fabctl.cli.routes import chosen_tables, for_jobs, refuse_both, route_options, route_remarks, same_fabric
from fabctl.errors import UsageError

if TYPE_CHECKING:
    from fabctl.model.fabric import Fabric
    from fabctl.model.remote_gpus import RemoteGpuPlan


@click.command()
@source_options
@click.option("--clients", metavar="NODESET", required=True, help="Hosts that want GPUs.")
@click.option("--servers", metavar="NODESET", help="Hosts that lend them.  [default: the compute hosts]")
@click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs for each client.")
@node_options
@click.option("--job", "job_paths", multiple=True, metavar="JOB", help="Job that runs; its hosts lend nothing; repeatable.")
@route_options()
@output_options()
def remote_gpu(
    source: str | None,
    source_format: str | None,
    strict: bool,
    clients: str,
    servers: str | None,
    gpus: int,
    node_name: str | None,
    job_paths: tuple[str, ...],
    engine: str | None,
    tables_path: str | None,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Choose GPUs that hosts without any drive over the fabric.

    For rCUDA and its like: the free GPUs that are nearest in hops and whose way has capacity to spare beside the jobs that run,
    how fast copies to them are against local ones, and what the jobs lose.

    \b
    Examples:
      fabctl bench remote-gpu fabric.txt --clients login-[1-2] --node dgx-a100 --gpus 2
      fabctl bench remote-gpu fabric.txt --clients cpu-[01-16] --node dgx-1-v100 --job train.yaml --tables lfts.txt
    """
    from fabctl.bench.remote_gpu import plan_remote_gpus
    from fabctl.cli.job_files import read_jobs
    from fabctl.model.rates import parse_speed, payload_rates
    from fabctl.report.remote_gpu import remote_gpu_report
    from fabctl.routing.options import DEFAULTS
    from fabctl.traffic.phases import jobs_traffic
    from fabctl.traffic.roster import usual_hosts

    refuse_both(engine, tables_path)
    assumed = parse_speed(assume_speed) if assume_speed else None
    refuse_two_stdins(source, job_paths)
    specs, job_inputs = read_jobs(job_paths)
    loaded = load_source(source, source_format, strict=strict)
    fabric = loaded.fabric
    graph = chosen_node(node_name, report=loaded.report)
    if graph is None:
        raise UsageError("what the servers are is not known", hint="--node dgx-a100: fabctl help nodes")
    wanting = _hosts(clients, fabric, "--clients")
    lending = _hosts(servers, fabric, "--servers") if servers else usual_hosts(fabric)[0]
    tables = chosen_tables(fabric, engine, tables_path, for_jobs(DEFAULTS, engine, specs, fabric))
    jobs = jobs_traffic(specs, fabric)
    plan = plan_remote_gpus(tables, payload_rates(fabric, assumed), graph, wanting, lending, gpus_per_client=gpus, jobs=jobs)
    where = same_fabric(str(source), source_format, assume_speed)
    routes = ["--tables", tables_path] if tables_path else ["--engine", engine] if engine else []
    report = remote_gpu_report(
        plan,
        inputs=[input_entry(loaded), *job_inputs, *node_inputs(node_name)],
        remarks=route_remarks([tables], by_default=engine is None and tables_path is None, assume_speed=assume_speed),
        next_step=_next_step(plan, [*where, *(part for path in job_paths for part in ("--job", path)), *routes]),
    )
    write_report(report, output)


def _hosts(text: str, fabric: Fabric, option: str) -> list[str]:
    """Return the hosts of a node set, each of which the fabric has."""
    from fabctl.nodeset import expand
    from fabctl.traffic.roster import nearest

    names = list(dict.fromkeys(expand(text)))
    for name in names:
        if name not in fabric.hosts.name:
            near = " or ".join(nearest(name, fabric.hosts.name))
            raise UsageError(f"{option}: the fabric has no host '{name}'", hint=f"did you mean {near}?" if near else "")
    return names


def _next_step(plan: RemoteGpuPlan, options: list[str]) -> str:
    """Return the command that explains the copy which loses most to others; empty where none does."""
    worst = min(plan.chosen, key=lambda one: one.kept)
    if worst.kept >= 1:
        return ""
    return shlex.join(["fabctl", "explain", worst.client, worst.server, *options])
