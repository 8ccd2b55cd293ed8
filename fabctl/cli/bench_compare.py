"""``fabctl bench compare``: engines, offloads and placements side by side, for a job or for a reference deployment."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.collectives import chosen_collectives, collective_option
from fabctl.cli.common import (
    check_report,
    input_entry,
    load_source,
    output_options,
    refuse_two_stdins,
    source_options,
    topology_folders,
    write_report,
)
from fabctl.cli.computing import compute_options
from fabctl.cli.hardware import chosen_node, node_inputs, node_options
from fabctl.cli.job_files import read_one_job
from fabctl.cli.routes import engine_tables, for_jobs, named_engines, route_remarks, routes_options, split_names
from fabctl.errors import InputError, UsageError
from fabctl.units import parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from fabctl.bench.scenario import Scenario
    from fabctl.model.step_view import Compute
    from fabctl.model.tables import RoutingTables
    from fabctl.sources.reading import LoadedFabric
    from fabctl.traffic.collective import Collective
    from fabctl.traffic.job import JobSpec

SIZES = "1K,1M,1G"
FOLDER = "scenarios"
"""Folder of the scenarios in each of `topology_folders`."""


def _complete_scenarios(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in _scenario_paths() if name.startswith(incomplete)]


@click.command()
@source_options
@click.option("--job", "job_path", metavar="FILE", help="Job file (fabctl help job); without one, all compute hosts.")
@click.option(
    "--scenario", metavar="NAME", shell_complete=_complete_scenarios, help="A reference deployment, in place of SOURCE."
)
@click.option("--list-scenarios", is_flag=True, help="List the reference deployments that ship.")
@node_options
@click.option(
    "--offloads",
    "offload_sets",
    metavar="A,B+C",
    help="Sets of offloads, the first the baseline: cpu for none, default for what NCCL uses unasked, gdr, gdr+sharp ..."
    "  [default: one added after the other]",
)
@click.option(
    "--placements", metavar="A,B", help="Where the job runs: given, packed, spread, random:SEED, rail.  [default: given]"
)
@collective_option
@click.option("--sizes", "size_list", metavar="A,B", help=f"Messages, in place of the job's.  [default: {SIZES}]")
@compute_options
@routes_options
@output_options()
def compare(
    source: str | None,
    source_format: str | None,
    strict: bool,
    job_path: str | None,
    scenario: str | None,
    list_scenarios: bool,
    node_name: str | None,
    offload_sets: str | None,
    placements: str | None,
    collective_names: str | None,
    size_list: str | None,
    compute: Compute | None,
    engine_names: str | None,
    tables_paths: tuple[str, ...],
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Compare engines, offloads and placements in one table.

    The first row is the baseline: by default everything through host memory and by the CPU. What the hardware lacks is a row that
    says why.

    \b
    Examples:
      fabctl bench compare dgx1-16 --job topologies/jobs/dgx1-16.yaml
      fabctl bench compare fabric.txt --job job.yaml --node dgx-a100 --engine ftree,minhop --offloads gdr,gdr+sharp
      fabctl bench compare fabric.txt --job job.yaml --placements given,packed,random:1
      fabctl bench compare --scenario saturnv
    """
    from fabctl.bench.compare import GIVEN, Contest
    from fabctl.bench.compare import compare as library
    from fabctl.bench.ladder import default_ladder, read_ladder
    from fabctl.bench.scene import with_ranks
    from fabctl.model.rates import parse_speed
    from fabctl.model.step_view import Compute
    from fabctl.nodes.fitting import fitting_nodes
    from fabctl.report.bench_compare import compare_report
    from fabctl.routing.options import DEFAULTS
    from fabctl.sources.reading import load_tables
    from fabctl.traffic.job import split_placement

    if list_scenarios:
        _list_scenarios(output)
        return
    chosen = _scenario(scenario, source, job_path) if scenario is not None else None
    engines = named_engines(engine_names, tables_paths)
    where = split_names(placements, "--placements") if placements else (GIVEN,)
    ladder = read_ladder(offload_sets) if offload_sets else None
    assumed = parse_speed(assume_speed) if assume_speed else None
    refuse_two_stdins(source, [job_path or ""])
    spec, inputs = (chosen.job, []) if chosen else _job(job_path, collective_names)
    for placement in where:
        split_placement(placement)
    collectives, sizes = _operations(spec, collective_names, size_list)
    if compute and spec.training is None:
        raise UsageError("--efficiency and --compute-ms are of trainings, and this job is none")
    loaded = _scenario_fabric(chosen) if chosen else load_source(source, source_format, strict=strict)
    fabric = loaded.fabric
    node = chosen_node(node_name, spec, loaded.report)
    spec = with_ranks(spec, node)

    def route(name: str, spec: JobSpec) -> RoutingTables:
        if name in tables_paths:
            return load_tables(name, fabric)
        return engine_tables(fabric, name, for_jobs(DEFAULTS, name, [spec], fabric))

    contest = Contest(
        spec=spec,
        fabric=fabric,
        node=node,
        collectives=collectives,
        sizes=sizes,
        compute=compute or (chosen.compute if chosen else Compute()),
        assumed=assumed,
        route=route,
    )
    facts = chosen.facts if chosen else None
    found = library(contest, [*dict.fromkeys(tables_paths), *engines], ladder or default_ladder(node), where, facts)
    remarks = route_remarks([], by_default=engine_names is None and not tables_paths, assume_speed=assume_speed)
    fitting = () if node else fitting_nodes(fabric)
    write_report(
        compare_report(
            found, inputs=[input_entry(loaded), *inputs, *node_inputs(node_name, spec)], remarks=remarks, fitting=fitting
        ),
        output,
    )


def _job(path: str | None, collective_names: str | None) -> tuple[JobSpec, list[dict[str, Any]]]:
    """Return the one job to compare: collectives, or a training."""
    spec, inputs = read_one_job(path)
    if not (spec.collectives or spec.training or spec.pattern or collective_names):
        raise InputError("this job names neither collectives nor a training", where=str(path), hint="give --collective")
    return spec, inputs


def _operations(spec: JobSpec, names: str | None, sizes: str | None) -> tuple[list[Collective], list[int]]:
    """Return the collectives and messages to compare; none of a training."""
    if spec.training:
        if names or sizes:
            raise UsageError("--sizes and --collective are of collectives, and this job is a training")
        return [], []
    collectives = chosen_collectives(spec, names)
    if sizes is None and spec.sizes:
        return collectives, list(spec.sizes)
    wanted = sorted({parse_size(size) for size in split_names(sizes or SIZES, "--sizes")})
    if wanted[0] < 1:
        raise UsageError("a message of size 0 moves nothing", hint="the smallest message is 1 byte")
    return collectives, wanted


def _scenario_paths() -> dict[str, Path]:
    """Return the scenarios by name; those of sites come before those that ship."""
    folders = [folder / FOLDER for folder in reversed(topology_folders())]
    found = {path.stem: path for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def _scenario(name: str, source: str | None, job_path: str | None) -> Scenario:
    from fabctl.bench.scenario import parse_scenario
    from fabctl.sources.reading import decode, read_bytes
    from fabctl.yamlspec import suggestion

    if source or job_path:
        raise UsageError("--scenario brings its own fabric and job", hint="leave SOURCE and --job out")
    known = _scenario_paths()
    path = str(known.get(name, name))
    if name not in known and not Path(path).is_file():
        raise UsageError(f"unknown scenario '{name}'", hint=suggestion(name, known))
    return parse_scenario(decode(read_bytes(path), path), path)


def _scenario_fabric(scenario: Scenario) -> LoadedFabric:
    """Return the fabric that a scenario describes or names; a relative path begins at its folder."""
    from fabctl.generate.spec import draw
    from fabctl.sources.reading import LoadedFabric

    node = scenario.fabric
    if node.is_mapping:
        fabric, report = draw(node)
        loaded = LoadedFabric(fabric, report, hashlib.sha256(Path(node.path).read_bytes()).hexdigest())
        check_report(loaded, strict=False)
        return loaded
    name = node.text()
    beside = Path(node.path).parent / name
    return load_source(str(beside) if beside.is_file() else name, None)


def _list_scenarios(output: dict[str, Any]) -> None:
    from fabctl.bench.scenario import parse_scenario
    from fabctl.report.bench_compare import scenarios_report

    every = [parse_scenario(path.read_text(encoding="utf-8"), str(path)).facts for path in _scenario_paths().values()]
    write_report(scenarios_report(every), output)
