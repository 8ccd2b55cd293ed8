"""``fabctl bench``: what a job's collectives will reach on these routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.charts import wants_chart, write_chart
from fabctl.cli.collectives import chosen_collectives, collective_option
from fabctl.cli.common import input_entry, load_source, output_options, refuse_two_stdins, source_options, write_report
from fabctl.cli.hardware import chosen_node, chosen_offloads, node_inputs, node_options, offload_options
from fabctl.cli.job_files import read_one_job
from fabctl.cli.routes import engine_tables, for_jobs, named_engines, route_remarks, routes_options
from fabctl.cli.subcommands import CommandWithSubcommands
from fabctl.errors import InputError
from fabctl.registry import Entry, Registry
from fabctl.report.charts import CHARTS
from fabctl.units import parse_size

if TYPE_CHECKING:
    from fabctl.model.predictions import BenchTable
    from fabctl.traffic.collective import Collective
    from fabctl.traffic.job import JobSpec

BEGIN, END, FACTOR = "8", "16G", 2
SUBCOMMANDS = Registry(
    "subcommand",
    {
        "step": Entry("fabctl.cli.bench_step:step", "Predict a training's step: time, what it waits for, how it scales."),
        "compare": Entry("fabctl.cli.bench_compare:compare", "Compare engines, offloads and placements in one table."),
        "node": Entry("fabctl.cli.bench_node:bench_node", "Show what is inside a host: its matrix, HCAs of its GPUs, its links."),
        "validate": Entry(
            "fabctl.cli.bench_validate:bench_validate", "Lay a benchmark's log beside what it should have reached."
        ),
        "sweep": Entry("fabctl.cli.bench_sweep:sweep", "Predict a grid of scales, routes, offloads and sizes."),
        "remote-gpu": Entry(
            "fabctl.cli.bench_remote_gpu:remote_gpu", "Choose GPUs that hosts without any drive over the fabric."
        ),
    },
)


@click.command(cls=CommandWithSubcommands, subcommands=SUBCOMMANDS)
@source_options
@click.option("--job", "job_path", metavar="FILE", help="Job file (fabctl help job); without one, all compute hosts.")
@collective_option
@node_options
@offload_options
@routes_options
@click.option("-b", "--minbytes", metavar="SIZE", help=f"Smallest message.  [default: {BEGIN}]")
@click.option("-e", "--maxbytes", metavar="SIZE", help=f"Largest message.  [default: {END}]")
@click.option("-f", "--stepfactor", type=int, help=f"Factor between sizes.  [default: {FACTOR}]")
@output_options(*CHARTS.names())
def bench(
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    collective_names: str | None,
    node_name: str | None,
    switched: tuple[tuple[str, ...], tuple[str, ...]],
    engine_names: str | None,
    tables_paths: tuple[str, ...],
    minbytes: str | None,
    maxbytes: str | None,
    stepfactor: int | None,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Predict what a job's collectives will reach on these routes.

    Times, algbw and busbw come in nccl-tests' columns, GB being 1e9 bytes, with the algorithm and protocol that NCCL will take
    and what binds. What the hosts are comes from --node, the job or the topology; where nothing says it, only the fabric is
    predicted, by rings. Without SOURCE, --node alone predicts the GPUs of one host.

    \b
    Examples:
      fabctl bench --node dgx-h100
      fabctl bench fabric.txt --job job.yaml --node dgx-a100
      fabctl bench fabric.txt --job job.yaml --tables lfts.txt --engine ftree
      fabctl bench fabric.txt --node nvidia-smi-topo.txt --without gdr
      fabctl bench fabric.txt --collective alltoall -b 1M -e 1G -o csv
    """
    from fabctl.bench.predict import predict
    from fabctl.bench.scene import setup_of, with_ranks
    from fabctl.model.rates import data_rates, parse_speed
    from fabctl.nodes.fitting import fitting_nodes
    from fabctl.report.bench import bench_report
    from fabctl.report.bench_chart import bench_chart
    from fabctl.routing.options import DEFAULTS
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.placement import place

    refuse_two_stdins(source, [job_path or ""])
    chart = wants_chart(output)
    assumed = parse_speed(assume_speed) if assume_speed else None
    sizes = _sizes(minbytes, maxbytes, stepfactor)
    engines = named_engines(engine_names, tables_paths)
    spec, job_inputs = _job(job_path, collective_names)
    if spec.sizes and (minbytes, maxbytes, stepfactor) == (None, None, None):
        sizes = list(spec.sizes)
    collectives = chosen_collectives(spec, collective_names)
    if source is None and node_name and not (job_path or engine_names or tables_paths or assume_speed):
        table = _one_host(node_name, collectives, sizes, switched)
        write_chart(bench_chart(table), output) if chart else write_report(
            bench_report(table, inputs=node_inputs(node_name)), output
        )
        return
    loaded = load_source(source, source_format, strict=strict)
    node = chosen_node(node_name, spec, loaded.report)
    spec = with_ranks(spec, node)
    setup = setup_of(spec, node, chosen_offloads(switched, spec), required=switched[0])
    job = place(spec, loaded.fabric)
    routes = [load_tables(path, loaded.fabric) for path in dict.fromkeys(tables_paths)]
    given = [spec] if job_path else []
    routes += [engine_tables(loaded.fabric, engine, for_jobs(DEFAULTS, engine, given, loaded.fabric)) for engine in engines]
    table = predict(job, routes, collectives, sizes, data_rates(loaded.fabric, assumed), setup)
    if chart:
        write_chart(bench_chart(table), output)
        return
    by_default = engine_names is None and not tables_paths
    remarks = route_remarks(routes, by_default=by_default, assume_speed=assume_speed)
    fitting = () if node else fitting_nodes(loaded.fabric)
    inputs = [input_entry(loaded), *job_inputs, *node_inputs(node_name, spec)]
    write_report(bench_report(table, inputs=inputs, remarks=remarks, fitting=fitting), output)


def _one_host(
    node_name: str, collectives: list[Collective], sizes: list[int], switched: tuple[tuple[str, ...], tuple[str, ...]]
) -> BenchTable:
    """Predict collectives of all GPUs of one host."""
    from fabctl.bench.predict import predict_inside
    from fabctl.nodes.reading import load_node

    node = load_node(node_name)
    return predict_inside(node, len(node.gpus), collectives, sizes, chosen_offloads(switched), required=switched[0])


def _job(path: str | None, collective_names: str | None) -> tuple[JobSpec, list[dict[str, Any]]]:
    """Return the one job to predict; a training, a flow list or a trace needs ``--collective``."""
    spec, inputs = read_one_job(path)
    if not (spec.collectives or spec.pattern or collective_names):
        raise InputError(
            "this job names no collective of all its ranks to predict",
            where=str(path),
            hint=f"fabctl bench step SOURCE --job {path} predicts a training's step, fabctl job show {path} its phases alone;"
            " or give --collective",
        )
    return spec, inputs


def _sizes(minbytes: str | None, maxbytes: str | None, stepfactor: int | None) -> list[int]:
    from fabctl.bench.sizes import size_range

    return size_range(parse_size(minbytes or BEGIN), parse_size(maxbytes or END), FACTOR if stepfactor is None else stepfactor)
