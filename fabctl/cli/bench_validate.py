"""``fabctl bench validate``: a benchmark's log beside what it should have reached."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import exit_code, fabric_options, input_entry, load_source, output_options, refuse_two_stdins, write_report
from fabctl.cli.hardware import chosen_node, chosen_offloads, node_inputs, node_options, offload_options
from fabctl.cli.job_files import read_one_job
from fabctl.cli.routes import chosen_tables, for_jobs, given_options, refuse_both, route_options, route_remarks, same_fabric
from fabctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fabctl.bench.validation.ground import Ground
    from fabctl.model.node_graph import NodeGraph
    from fabctl.model.validation import Run
    from fabctl.sources.reading import LoadedFabric
    from fabctl.traffic.job import JobSpec

THRESHOLD = "20%"


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path())
@fabric_options(required=False)
@click.option("--job", "job_path", metavar="FILE", help="Hosts and ranks of the runs; by default those that the logs name.")
@node_options
@offload_options
@route_options()
@click.option(
    "--threshold", default=THRESHOLD, show_default=True, metavar="SHARE", help="A size that is slower by more is an error."
)
@output_options()
def bench_validate(
    logs: tuple[str, ...],
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    node_name: str | None,
    switched: tuple[tuple[str, ...], tuple[str, ...]],
    engine: str | None,
    tables_path: str | None,
    assume_speed: str | None,
    threshold: str,
    output: dict[str, Any],
) -> ExitCode:
    """Lay a benchmark's log beside what it should have reached.

    Reads logs of nccl-tests, OSU micro-benchmarks and perftest; flags sizes that are off, and ranks what may explain it, with the
    next thing to type. A log of one host needs --node alone. Several logs of pairs of hosts tell the slow host.

    \b
    Examples:
      fabctl bench validate allreduce.log --fabric fabric.txt --node dgx-a100 --tables lfts.txt
      fabctl bench validate allreduce.log --node dgx-h100
      fabctl bench validate pair-*.log --fabric fabric.txt --job job.yaml --threshold 10%
      fabctl bench validate ib_write_bw.log --fabric fabric.txt -o json

    Exit code 1 means: sizes are slower than predicted, results are wrong, or nothing crossed the network.
    """
    from dataclasses import replace

    from fabctl.bench.validation.ground import parse_threshold
    from fabctl.bench.validation.verdict import validate
    from fabctl.nodes.fitting import fitting_nodes
    from fabctl.report.validate import validate_report

    refuse_two_stdins(source, [*logs, *([job_path] if job_path else [])])
    refuse_both(engine, tables_path)
    share = parse_threshold(threshold)
    if source is None:
        needing = {"--job": job_path, "--engine": engine, "--tables": tables_path, "--assume-speed": assume_speed}
        for option in (option for option, value in needing.items() if value):
            raise UsageError(f"{option} needs --fabric SOURCE")
    runs, inputs = _runs(logs)
    spec, job_inputs = read_one_job(job_path) if job_path else (None, [])
    loaded = load_source(source, source_format, strict=strict) if source else None
    ground = _ground(
        loaded, spec, chosen_node(node_name, spec, loaded.report if loaded else None), engine, tables_path, assume_speed
    )
    words = same_fabric(source, source_format, assume_speed) if source else []
    typed = given_options(
        {
            "--job": job_path,
            "--node": node_name,
            "--without": ",".join(switched[1]),
            "--threshold": threshold if threshold != THRESHOLD else None,
        }
    )
    ground = replace(
        ground,
        offloads=chosen_offloads(switched, spec),
        required=switched[0],
        routes=shlex.join(given_options({"--engine": engine, "--tables": tables_path})),
        command=shlex.join(["fabctl", "bench", "validate", *logs, *words, *typed]),
        source=shlex.join(words),
    )
    report = validate_report(
        validate(runs, ground, share),
        inputs=[*inputs, *([input_entry(loaded)] if loaded else []), *job_inputs, *node_inputs(node_name, spec)],
        remarks=route_remarks(
            [ground.tables] if ground.tables else [], by_default=not (engine or tables_path), assume_speed=assume_speed
        ),
        fitting=fitting_nodes(loaded.fabric) if loaded and ground.node is None else (),
    )
    write_report(report, output)
    return exit_code(report)


def _runs(paths: tuple[str, ...]) -> tuple[list[Run], list[dict[str, Any]]]:
    import hashlib

    from fabctl.bench.logs.reading import read_log
    from fabctl.model.loading import decode
    from fabctl.sources.reading import read_bytes

    runs: list[Run] = []
    inputs = []
    for path in dict.fromkeys(paths):
        data = read_bytes(path)
        found = read_log(decode(data, path), path)
        runs += found
        inputs.append({"path": path, "sha256": hashlib.sha256(data).hexdigest(), "parser": found[0].tool})
    return runs, inputs


def _ground(
    loaded: LoadedFabric | None,
    spec: JobSpec | None,
    node: NodeGraph | None,
    engine: str | None,
    tables_path: str | None,
    assume_speed: str | None,
) -> Ground:
    from fabctl.bench.validation.ground import Ground
    from fabctl.model.rates import data_rates, parse_speed
    from fabctl.routing.options import DEFAULTS

    if loaded is None:
        return Ground(node, spec=spec)
    options = for_jobs(DEFAULTS, engine, [spec] if spec else [], loaded.fabric)
    tables = chosen_tables(loaded.fabric, engine, tables_path, options)
    rates = data_rates(loaded.fabric, parse_speed(assume_speed) if assume_speed else None)
    return Ground(node, tables=tables, rates=rates, spec=spec, read=tables_path is not None)
