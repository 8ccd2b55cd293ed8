"""``fabctl bench step``: how long a training's step takes, and what it waits for."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, refuse_two_stdins, source_options, write_report
from fabctl.cli.computing import compute_options
from fabctl.cli.hardware import chosen_node, chosen_offloads, node_inputs, node_options, offload_options
from fabctl.cli.job_files import read_one_job
from fabctl.cli.routes import chosen_tables, for_jobs, given_options, refuse_both, route_options, route_remarks
from fabctl.errors import UsageError

if TYPE_CHECKING:
    from fabctl.model.step_view import Compute


@click.command()
@source_options
@click.option("--job", "job_path", metavar="FILE", help="Job file of a training (fabctl help job).")
@node_options
@offload_options
@route_options()
@compute_options
@click.option("--scale", is_flag=True, help="Weak scaling as well: 1, 2, 4 ... replicas, each with as many sequences.")
@output_options()
def step(
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    node_name: str | None,
    switched: tuple[tuple[str, ...], tuple[str, ...]],
    engine: str | None,
    tables_path: str | None,
    compute: Compute | None,
    scale: bool,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Predict a training's step: time, what it waits for, how it scales.

    Communication is timed on these routes and inside the hosts, and laid over computing: what hides, what waits, the pipeline's
    bubble. How fast the GPUs compute only you know: --efficiency or --compute-ms says it; without either, communication stands
    alone.

    \b
    Examples:
      fabctl bench step fabric.txt --job train.yaml --node dgx-h100 --efficiency 0.6
      fabctl bench step fabric.txt --job train.yaml --tables lfts.txt --compute-ms 5400 --scale
      fabctl bench step fabric.txt --job train.yaml --node dgx-a100 --without gdr -o json
    """
    from fabctl.bench.scene import with_ranks
    from fabctl.bench.step import predict_step
    from fabctl.bench.step_scale import scale_step
    from fabctl.model.rates import data_rates, parse_speed
    from fabctl.nodes.fitting import fitting_nodes
    from fabctl.report.step import step_report
    from fabctl.routing.options import DEFAULTS
    from fabctl.traffic.placement import place

    if job_path is None:
        raise UsageError("no --job FILE", hint="a training's job file: fabctl help job")
    refuse_both(engine, tables_path)
    refuse_two_stdins(source, [job_path])
    assumed = parse_speed(assume_speed) if assume_speed else None
    spec, job_inputs = read_one_job(job_path)
    loaded = load_source(source, source_format, strict=strict)
    fabric = loaded.fabric
    node = chosen_node(node_name, spec, loaded.report)
    spec = with_ranks(spec, node)
    offloads = chosen_offloads(switched, spec)
    job = place(spec, fabric)
    tables = chosen_tables(fabric, engine, tables_path, for_jobs(DEFAULTS, engine, [spec], fabric))
    asked = (spec, job, tables, data_rates(fabric, assumed), node, offloads, compute)
    again = given_options(
        {
            "--from": source_format,
            "--job": job_path,
            "--node": node_name,
            "--engine": engine,
            "--tables": tables_path,
            "--assume-speed": assume_speed,
            "--efficiency": f"{compute.efficiency:g}" if compute and compute.efficiency else None,
            "--compute-ms": f"{compute.ms:g}" if compute and compute.ms else None,
        }
    )
    report = step_report(
        predict_step(*asked, switched[0]),
        scale=scale_step(*asked) if scale else (),
        inputs=[input_entry(loaded), *job_inputs, *node_inputs(node_name, spec)],
        remarks=route_remarks([tables], by_default=not (engine or tables_path), assume_speed=assume_speed),
        fitting=() if node else fitting_nodes(fabric),
        next_step="" if "-" in (source, job_path) else shlex.join(["fabctl", "bench", "compare", str(source), *again]),
    )
    write_report(report, output)
