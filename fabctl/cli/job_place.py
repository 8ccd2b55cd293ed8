"""``fabctl job place``: which hosts a job should run on, and in which rank order."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import (
    fabric_options,
    input_entry,
    load_source,
    output_options,
    refuse_two_stdins,
    write_report,
    write_text,
)
from fabctl.cli.routes import DEFAULT_ENGINE, chosen_tables, refuse_both, route_options, route_remarks, same_fabric
from fabctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabctl.model.phases import JobTraffic
    from fabctl.model.proposals import Proposals

SEED = 1
LISTS = ("job", "hostfile", "slurm")


@click.command()
@click.argument("job_path", metavar="JOB", type=click.Path())
@fabric_options()
@route_options()
@click.option("--with", "other_paths", multiple=True, metavar="JOB", help="Job that runs already and stays; repeatable.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Of the random placements and moves.")
@output_options(*LISTS)
def place(
    job_path: str,
    source: str,
    source_format: str | None,
    strict: bool,
    engine: str | None,
    tables_path: str | None,
    other_paths: tuple[str, ...],
    seed: int,
    assume_speed: str | None,
    output: dict[str, Any],
) -> None:
    """Choose a job's hosts and their order.

    Hosts that are named keep their job and change places in the rank order; a number of hosts (hosts: 32) is chosen among all
    complete compute hosts that no other job has. What is proposed is never slower than what is given. Several jobs in one file
    are placed together, the one with the most hosts first; they do not get slower on average.

    -o name prints the hosts, one per line; -o job writes a job file with them, for the other commands; -o hostfile and -o slurm
    are for mpirun --hostfile and SLURM_HOSTFILE (--distribution=arbitrary).

    \b
    Examples:
      fabctl job place job.yaml --fabric fabric.txt --tables lfts.txt
      fabctl job place new.yaml --fabric fabric.txt --engine ftree --with running.yaml -o name
      fabctl job place jobs.yaml --fabric fabric.txt -o job --out placed.yaml
    """
    from fabctl.bench.place import propose
    from fabctl.cli.job_files import read_jobs
    from fabctl.model.rates import parse_speed, payload_rates
    from fabctl.report.placement import placement_report
    from fabctl.routing.options import Options
    from fabctl.traffic.placement import place_jobs

    refuse_both(engine, tables_path)
    assumed = parse_speed(assume_speed) if assume_speed else None
    refuse_two_stdins(source, (job_path, *other_paths))
    specs, job_inputs = read_jobs((job_path,))
    other_specs, other_inputs = read_jobs(other_paths) if other_paths else ((), [])
    wanted_list = output["output_format"] if output["output_format"] in LISTS else ""
    if wanted_list in ("hostfile", "slurm") and len(specs) > 1:
        raise UsageError(f"-o {wanted_list} is for one job, and {job_path} holds {len(specs)}", hint="-o job writes them all")
    if wanted_list == "job" and job_path == "-":
        raise UsageError("-o job rewrites the job file, and stdin cannot be read twice", hint="give the file's name")
    loaded = load_source(source, source_format, strict=strict)
    jobs = place_jobs((*other_specs, *specs), loaded.fabric)
    requests = list(zip(specs, jobs[len(other_specs) :], strict=True))
    others = _traffic(other_specs, jobs)
    traffic = (*others, *_traffic(specs, jobs[len(other_specs) :]))
    tables = chosen_tables(loaded.fabric, engine, tables_path, Options(traffic=traffic))
    found = propose(tables, requests, payload_rates(loaded.fabric, assumed), others, seed=seed)
    if wanted_list:
        write_text(_list(found, wanted_list, job_path), output["out"])
        return
    again = ["fabctl", "job", "place", job_path, *same_fabric(source, source_format, assume_speed)]
    again += [part for path in other_paths for part in ("--with", path)]
    again += ["--tables", tables_path] if tables_path else ["--engine", engine or DEFAULT_ENGINE]
    again += ["--seed", str(seed)] if seed != SEED else []
    report = placement_report(
        found,
        inputs=[input_entry(loaded), *job_inputs, *other_inputs],
        remarks=route_remarks([tables], by_default=not (engine or tables_path), assume_speed=assume_speed),
        next_step=shlex.join([*again, *_kept_as(found, job_path)]) if found.gains and job_path != "-" else "",
    )
    write_report(report, output)


def _traffic(specs: Sequence[Any], jobs: Sequence[Any]) -> tuple[JobTraffic, ...]:
    from fabctl.traffic.phases import placed_traffic

    return tuple(placed_traffic(spec, job) for spec, job in zip(specs, jobs, strict=False))


def _kept_as(found: Proposals, job_path: str) -> list[str]:
    """Return the options that keep the hosts: as a job file where the job came as one."""
    try:
        _list(found, "job", job_path)
    except UsageError:
        return ["-o", "name", "--out", "hosts.txt"]
    return ["-o", "job", "--out", "placed.yaml"]


def _list(found: Proposals, kind: str, job_path: str) -> str:
    """Return a list of hosts for another program, or a job file."""
    from fabctl.report.placement import hostfile, slurm_hostfile
    from fabctl.sources.reading import decode, read_bytes
    from fabctl.traffic.rewrite import with_hosts

    if kind == "job":
        text = decode(read_bytes(job_path), job_path)
        return with_hosts(text, job_path, {proposal.name: proposal.hosts for proposal in found.jobs})
    return (hostfile if kind == "hostfile" else slurm_hostfile)(found.jobs[0])
