"""``fabctl bench``: what a job's collectives will reach on these routes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, source_options, write_report
from fabctl.cli.completion import complete_names
from fabctl.errors import UsageError
from fabctl.routing import ENGINES
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.units import parse_size

if TYPE_CHECKING:
    from fabctl.model.fabric import Fabric
    from fabctl.model.tables import RoutingTables
    from fabctl.traffic.collective import Collective
    from fabctl.traffic.job import JobSpec

DEFAULT_ENGINE = "minhop"
BEGIN, END, FACTOR = "8", "16G", 2


@click.command()
@source_options
@click.option("--job", "job_path", metavar="FILE", help="Job file (fabctl help job); without one, all compute hosts.")
@click.option(
    "--collective",
    "collective_names",
    metavar="A,B|all",
    shell_complete=complete_names(COLLECTIVES),
    help=f"Collectives, in place of the job's: {', '.join(COLLECTIVES.names())}.",
)
@click.option(
    "--engine",
    "engine_names",
    metavar="A,B",
    shell_complete=complete_names(ENGINES),
    help=f"Engines to compute routes with, side by side: {', '.join(ENGINES.names())}.  [default: {DEFAULT_ENGINE}]",
)
@click.option(
    "--tables", "tables_paths", multiple=True, metavar="FILE", help="Real tables (dump_fts, dump_lfts), beside any --engine."
)
@click.option("-b", "--minbytes", metavar="SIZE", help=f"Smallest message.  [default: {BEGIN}]")
@click.option("-e", "--maxbytes", metavar="SIZE", help=f"Largest message.  [default: {END}]")
@click.option("-f", "--stepfactor", type=int, help=f"Factor between sizes.  [default: {FACTOR}]")
@click.option("--assume-speed", metavar="4xHDR", help="Link speed of cables whose own is unknown.")
@output_options()
def bench(
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    collective_names: str | None,
    engine_names: str | None,
    tables_paths: tuple[str, ...],
    minbytes: str | None,
    maxbytes: str | None,
    stepfactor: int | None,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    r"""Predict time, algbw and busbw of a job's collectives, in nccl-tests' columns.

    \b
    Examples:
      fabctl bench fabric.txt --job job.yaml
      fabctl bench fabric.txt --job job.yaml --tables lfts.txt --engine ftree
      fabctl bench fabric.txt --collective alltoall -b 1M -e 1G -o csv

    GB is 1e9 bytes. The prediction is an upper bound for large messages: see the assumptions it prints.
    """
    from fabctl.bench.cost import data_rates, parse_speed
    from fabctl.bench.sweep import predict
    from fabctl.report.bench import bench_report
    from fabctl.traffic.placement import place

    if source == "-" and job_path == "-":
        raise UsageError("SOURCE and --job cannot both be stdin")
    assumed = parse_speed(assume_speed) if assume_speed else None
    flags = (minbytes, maxbytes, stepfactor)
    spec, job_inputs = _job(job_path)
    sizes = spec.sizes if spec.sizes and flags == (None, None, None) else _sizes(*flags)
    collectives = _collectives(spec, collective_names)
    loaded = load_source(source, source_format, strict=strict)
    job = place(spec, loaded.fabric)
    routes, remarks = _routes(loaded.fabric, engine_names, tables_paths)
    if assume_speed:
        remarks.append(f"cables of unknown rate count as {assume_speed}")
    table = predict(job, routes, collectives, sizes, data_rates(loaded.fabric, assumed))
    write_report(bench_report(table, inputs=[input_entry(loaded), *job_inputs], remarks=remarks), output)


def _job(path: str | None) -> tuple[JobSpec, list[dict[str, Any]]]:
    from fabctl.sources.reading import decode, read_bytes
    from fabctl.traffic.job import JobSpec, parse_job

    if path is None:
        return JobSpec(), []
    data = read_bytes(path)
    entry = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "parser": "job"}
    return parse_job(decode(data, path), path), [entry]


def _sizes(minbytes: str | None, maxbytes: str | None, stepfactor: int | None) -> list[int]:
    from fabctl.bench.sweep import size_range

    return size_range(parse_size(minbytes or BEGIN), parse_size(maxbytes or END), FACTOR if stepfactor is None else stepfactor)


def _collectives(spec: JobSpec, names: str | None) -> list[Collective]:
    from fabctl.traffic.patterns import as_collective

    if names is None and spec.pattern:
        return [as_collective(spec)]
    chosen = (
        spec.collectives if names is None else tuple(COLLECTIVES.names()) if names == "all" else _split(names, "--collective")
    )
    return [COLLECTIVES.load(name) for name in chosen]


def _routes(fabric: Fabric, engine_names: str | None, tables_paths: tuple[str, ...]) -> tuple[list[RoutingTables], list[str]]:
    from fabctl.sources.reading import load_tables

    engines = _split(engine_names, "--engine") if engine_names is not None else () if tables_paths else (DEFAULT_ENGINE,)
    chosen = [ENGINES.load(name) for name in engines]
    routes = [load_tables(path, fabric) for path in dict.fromkeys(tables_paths)] + [engine(fabric) for engine in chosen]
    remarks = [f"{tables.origin}: {note}" for tables in routes for note in tables.notes]
    if engine_names is None and not tables_paths:
        remarks.insert(0, f"({DEFAULT_ENGINE} is OpenSM's default engine; --tables takes the real tables, --engine others)")
    return routes, remarks


def _split(names: str, option: str) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not parts:
        raise UsageError(f"{option} names nothing")
    return parts
