"""``fabctl bench sweep``: a grid of predictions, as JSON lines that an interrupted run goes on with."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabctl import __version__
from fabctl.cli.charts import wants_chart, write_chart
from fabctl.cli.collectives import collective_option, named_collectives
from fabctl.cli.common import input_entry, load_source, output_options, refuse_two_stdins, source_options, write_report
from fabctl.cli.hardware import chosen_node, node_inputs, node_options
from fabctl.cli.job_files import read_one_job
from fabctl.cli.progress import progress
from fabctl.cli.routes import engine_tables, for_jobs, named_engines, route_remarks, routes_options, split_names
from fabctl.errors import InputError, UsageError
from fabctl.report.charts import CHARTS
from fabctl.units import parse_size

if TYPE_CHECKING:
    from fabctl.model.tables import RoutingTables

BEGIN, END, FACTOR = "1K", "1G", 4


@click.command()
@source_options
@click.option("--job", "job_path", metavar="FILE", help="Job file (fabctl help job); without one, all compute hosts.")
@click.option("--results", type=click.Path(dir_okay=False), required=True, help="JSON lines; what is there already is kept.")
@click.option("--scales", metavar="A,B", help="Numbers of hosts, the first of the job's.  [default: 2,4,8 ... all]")
@click.option(
    "--offloads",
    "offload_sets",
    metavar="A,B",
    default="default",
    show_default=True,
    help="Sets of offloads: cpu for none, default for what NCCL uses unasked, gdr, gdr+sharp ...",
)
@collective_option
@node_options
@routes_options
@click.option("-b", "--minbytes", metavar="SIZE", default=BEGIN, show_default=True, help="Smallest message.")
@click.option("-e", "--maxbytes", metavar="SIZE", default=END, show_default=True, help="Largest message.")
@click.option("-f", "--stepfactor", type=int, default=FACTOR, show_default=True, help="Factor between sizes.")
@output_options(*CHARTS.names())
def sweep(
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    results: str,
    scales: str | None,
    offload_sets: str,
    collective_names: str | None,
    node_name: str | None,
    engine_names: str | None,
    tables_paths: tuple[str, ...],
    minbytes: str,
    maxbytes: str,
    stepfactor: int,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Predict a grid of scales, routes, offloads and sizes.

    Each point is a line of the results file. The same command goes on where it was interrupted; a file of another sweep is left
    alone. -o png, svg or html draws what large messages reach as the job grows.

    \b
    Examples:
      fabctl bench sweep fabric.txt --results sweep.jsonl --node dgx-a100 --engine minhop,ftree
      fabctl bench sweep superpod-4su --results sweep.jsonl --scales 8,32,128 --offloads cpu,gdr,gdr+sharp
      fabctl bench sweep fabric.txt --results sweep.jsonl -o png --out scaling.png
    """
    from fabctl.bench.scene import with_ranks
    from fabctl.bench.sizes import size_range
    from fabctl.bench.sweep import Case, run, scales_of
    from fabctl.bench.sweep_file import SweepFile
    from fabctl.model.offloads import offload_set
    from fabctl.model.rates import data_rates, parse_speed
    from fabctl.model.sweep import Grid
    from fabctl.nodes.fitting import fitting_nodes
    from fabctl.report.bench_sweep import sweep_chart, sweep_report
    from fabctl.routing.options import DEFAULTS
    from fabctl.sources.reading import load_tables

    chart = wants_chart(output)
    refuse_two_stdins(source, [job_path or ""])
    assumed = parse_speed(assume_speed) if assume_speed else None
    sizes = size_range(parse_size(minbytes), parse_size(maxbytes), stepfactor)
    engines = named_engines(engine_names, tables_paths)
    sets = split_names(offload_sets, "--offloads")
    for name in sets:
        offload_set(name)
    spec, job_inputs = read_one_job(job_path)
    if not (spec.collectives or collective_names):
        raise InputError("this job names no collective of all its ranks", where=spec.path, hint="--collective all_reduce")
    loaded = load_source(source, source_format, strict=strict)
    fabric, node = loaded.fabric, chosen_node(node_name, spec, loaded.report)
    case = Case(with_ranks(spec, node), fabric, data_rates(fabric, assumed), node)
    grid = Grid(
        routes=(*dict.fromkeys(tables_paths), *engines),
        scales=scales_of(case, [_scale(text) for text in split_names(scales, "--scales")] if scales else []),
        offloads=sets,
        collectives=named_collectives(spec, collective_names),
        sizes=tuple(sizes),
    )
    inputs = [input_entry(loaded), *job_inputs, *node_inputs(node_name, spec), *map(_tables_entry, dict.fromkeys(tables_paths))]
    header = {"grid": asdict(grid), "node": node.name if node else "", "assume_speed": assume_speed or "", "inputs": inputs}
    file = SweepFile(Path(results), {"fabctl_version": __version__, **header})
    kept = len(file.units)

    def route(name: str) -> RoutingTables:
        if name in tables_paths:
            return load_tables(name, fabric)
        return engine_tables(fabric, name, for_jobs(DEFAULTS, name, [spec] if job_path else [], fabric))

    with progress(grid.n_units, kept) as done:
        computed = run(case, grid, route, file, done)
    points = [point for unit in file.units for point in unit]
    if chart:
        write_chart(sweep_chart(points), output)
        return
    remarks = route_remarks([], by_default=engine_names is None and not tables_paths, assume_speed=assume_speed)
    report = sweep_report(
        points,
        results,
        computed,
        kept,
        node=node.name if node else "",
        inputs=inputs,
        remarks=remarks,
        fitting=() if node else fitting_nodes(fabric),
    )
    write_report(report, output)


def _scale(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"'{text}' is no number of hosts", hint="--scales 2,4,8")
    return int(text)


def _tables_entry(path: str) -> dict[str, Any]:
    from fabctl.sources.reading import read_bytes

    return {"path": path, "sha256": hashlib.sha256(read_bytes(path)).hexdigest(), "parser": "tables"}
