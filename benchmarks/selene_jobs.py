"""Eight jobs of 32 hosts on Selene: how much they slow each other down, by routes and by placement.

    python benchmarks/selene_jobs.py [FABRIC] [--engine opensm:minhop,auto,jobs] [--jobs topologies/jobs/selene-8.yaml]

Without FABRIC, Selene's dump of 2021 beside the checkout; else any source that has enough hosts. Each engine has a column with
the random hosts of the job file, and, `jobs` apart, one after `fabctl job place` on its routes. A cell is the slowdown against
running alone, and the step's communication time in ms.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fabctl.bench.place import at_hosts, propose
from fabctl.cli.common import load_source
from fabctl.cli.job_files import read_jobs
from fabctl.cli.routes import engine_tables
from fabctl.congestion.slowdown import interference
from fabctl.model.interference import Interference
from fabctl.model.rates import payload_rates
from fabctl.routing.options import Options
from fabctl.traffic.phases import placed_traffic
from fabctl.traffic.placement import place, place_jobs

PROJECT = Path(__file__).resolve().parent.parent
SELENE = PROJECT.parent / "shared/fixtures/ibnetdiscover/selene-compute-2021.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fabric", nargs="?", default=str(SELENE))
    parser.add_argument("--engine", default="opensm:minhop,auto,jobs")
    parser.add_argument("--jobs", default=str(PROJECT / "topologies/jobs/selene-8.yaml"))
    chosen = parser.parse_args()
    fabric = load_source(chosen.fabric, None).fabric
    specs, _ = read_jobs([chosen.jobs])
    given = place_jobs(specs, fabric)
    traffic = tuple(placed_traffic(spec, job) for spec, job in zip(specs, given, strict=True))
    rates = payload_rates(fabric)
    columns: list[tuple[str, Interference]] = []
    placed: list[tuple[str, Interference]] = []
    for engine in chosen.engine.split(","):
        start = time.process_time()
        tables = engine_tables(fabric, engine, Options(traffic=traffic))
        routed = time.process_time()
        columns.append((engine, interference(tables, traffic, rates)))
        judged = time.process_time()
        print(f"{engine}: routes {routed - start:.2f} s, slowdowns {judged - routed:.2f} s CPU of this process", flush=True)
        if engine == "jobs":
            continue
        found = propose(tables, list(zip(specs, given, strict=True)), rates)
        moved = [
            placed_traffic(spec, place(at_hosts(spec, proposal.hosts), fabric))
            for spec, proposal in zip(specs, found.jobs, strict=True)
        ]
        placed.append((f"{engine}, placed", interference(tables, moved, rates)))
        print(f"{engine}: place {time.process_time() - judged:.2f} s CPU")
    show([*columns, *placed])


def show(columns: list[tuple[str, Interference]]) -> None:
    names = [job.name for job in columns[0][1].jobs]
    lines = [["job", "hosts' cables ms", *(title for title, _ in columns)]]
    for row, name in enumerate(names):
        jobs = [found.jobs[row] for _, found in columns]
        cells = [f"{job.slowdown:.2f} ({job.shared_s * 1e3:.1f} ms)" for job in jobs]
        lines.append([name, f"{jobs[0].host_s * 1e3:.1f}", *cells])
    means = [sum(job.slowdown for job in found.jobs) / len(names) for _, found in columns]
    lines.append(["mean", "", *(f"{mean:.2f}" for mean in means)])
    print("\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]]))
    for title, found in columns:
        job = max(found.jobs, key=lambda job: job.slowdown)
        if job.binding and job.slowdown > 1 + 1e-9:
            others = ", ".join(f"{name} ({flows})" for name, flows in job.binding.others) or "no other job"
            print(f"{title}: {job.name} is bound by {job.binding.cable.label}, with {others}")
            print(f"    fabctl explain {' '.join(job.binding.hosts)}")


if __name__ == "__main__":
    main()
