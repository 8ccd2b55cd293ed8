"""One measurement per call, in a process of its own: python benchmarks/cases.py NAME ARGUMENT... prints one JSON line."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the case named on the command line and print its CPU seconds, the process's, and its peak memory."""
    name, *arguments = sys.argv[1:]
    result = CASES[name](*arguments)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result["process_cpu_s"] = usage.ru_utime + usage.ru_stime
    result["peak_rss_mb"] = usage.ru_maxrss / 1024
    print(json.dumps(result))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, all threads, and its value."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def parse(path: str) -> dict[str, Any]:
    """Read a fabric from a file."""
    from fabctl.sources.reading import load_fabric

    seconds, loaded = timed(lambda: load_fabric(path))
    return {"cpu_s": seconds, "lines": loaded.report.lines}


def prepared(path: str) -> Any:
    """Return a fabric with what a sweep finds out: hosts, tiers, LIDs."""
    from fabctl.sources.reading import load_fabric

    fabric = load_fabric(path).fabric
    _ = fabric.compute_endpoints, fabric.tiers, fabric.channel_at, fabric.port_of_lid
    return fabric


def route(path: str, engine: str) -> dict[str, Any]:
    """Compute an engine's tables on a fabric in memory, as OpenSM does after its sweep; its code is loaded before."""
    from fabctl.routing import ENGINES
    from fabctl.routing.compute import compute_tables

    fabric = prepared(path)
    ENGINES.load(engine)
    seconds, _ = timed(lambda: compute_tables(fabric, engine))
    return {"cpu_s": seconds}


def route_warm(path: str, engine: str) -> dict[str, Any]:
    """Compute an engine's tables after its kernel has been loaded."""
    from fabctl.routing.compute import compute_tables

    fabric = prepared(path)
    compute_tables(fabric, engine)
    seconds, _ = timed(lambda: compute_tables(fabric, engine))
    return {"cpu_s": seconds}


def alltoall(path: str) -> dict[str, Any]:
    """Compute exact all-to-all loads."""
    from fabctl.congestion.load import alltoall_loads
    from fabctl.routing.compute import compute_tables

    tables = compute_tables(prepared(path), "ftree")
    seconds, loads = timed(lambda: alltoall_loads(tables, tables.fabric.compute_endpoints))
    return {"cpu_s": seconds, "max_load": int(loads.max())}


def bisections(path: str, samples: str) -> dict[str, Any]:
    """Estimate eBB."""
    from fabctl.congestion.quality import effective_bisection
    from fabctl.routing.compute import compute_tables

    tables = compute_tables(prepared(path), "ftree")
    ports = tables.fabric.compute_endpoints
    seconds, ebb = timed(lambda: effective_bisection(tables, ports, samples=int(samples)))
    return {"cpu_s": seconds, "ebb": ebb.mean}


def quality(path: str, engine: str) -> dict[str, Any]:
    """Score an engine's tables."""
    from fabctl.congestion.quality import score
    from fabctl.routing.compute import compute_tables

    tables = compute_tables(prepared(path), engine)
    found = score(tables, tables.fabric.compute_endpoints)
    return {
        "alltoall": found.alltoall_fraction,
        "worst_shift": found.shifts.worst,
        "mean_shift": found.shifts.mean,
        "ebb": found.ebb.mean,
    }


def ends(path: str, pattern: str, sizes: str, program: str = "") -> dict[str, Any]:
    """Walk the routes of flows and find when each ends, after the kernel has been loaded; write SimGrid's program if asked to.

    `pattern` is ``permutation`` or ``alltoall`` of all hosts, `sizes` ``equal`` (1 GB) or ``mixed`` (0.1 to 1 GB at random).
    """
    import numpy as np

    from fabctl.congestion.maxmin import complete
    from fabctl.congestion.phases import phase_channels
    from fabctl.model.flows import Flows
    from fabctl.model.phases import JobTraffic, Phase
    from fabctl.model.rates import payload_rates
    from fabctl.routing.cases.case import Case
    from fabctl.routing.cases.simgrid import simgrid
    from fabctl.routing.compute import compute_tables
    from fabctl.traffic.patterns import alltoall as all_pairs

    tables = compute_tables(prepared(path), "ftree")
    ports, rng = tables.fabric.compute_endpoints, np.random.default_rng(1)
    if pattern == "alltoall":
        flows = all_pairs(ports)
    else:
        target = rng.permutation(ports)
        flows = Flows(ports[ports != target], target[ports != target], np.empty(0))
    size = np.full(len(flows), 1e9) if sizes == "equal" else rng.integers(10**8, 10**9, len(flows)).astype(float)
    flows, rates = Flows(flows.src, flows.dst, size), payload_rates(tables.fabric)
    nobody = np.zeros(len(flows), dtype=np.int32)
    phase = Phase(pattern, flows, nobody, nobody)
    few = Phase(pattern, Flows(flows.src[:2], flows.dst[:2], size[:2]), nobody[:2], nobody[:2])
    complete(phase_channels(tables, few), size[:2], rates)
    seconds, found = timed(lambda: complete(phase_channels(tables, phase), size, rates))
    if program:
        Path(program).write_text(simgrid(Case(tables, (JobTraffic(pattern, (), 1, (phase,)),), rates)))
        np.save(f"{program}.npy", found.seconds)
    return {"cpu_s": seconds, "flows": len(flows), "solves": found.solves}


def report(path: str) -> dict[str, Any]:
    """Score an engine's tables: the metrics of ORCS, and more."""
    from fabctl.congestion.quality import score
    from fabctl.routing.compute import compute_tables

    tables = compute_tables(prepared(path), "ftree")
    seconds, _ = timed(lambda: score(tables, tables.fabric.compute_endpoints))
    return {"cpu_s": seconds}


def step(path: str, job_path: str) -> dict[str, Any]:
    """Route a fabric, derive the phases of a training's step, walk them and find when each ends, kernels loaded on the way."""
    from fabctl.congestion.maxmin import complete
    from fabctl.congestion.phases import phase_channels
    from fabctl.model.rates import payload_rates
    from fabctl.routing.compute import compute_tables
    from fabctl.traffic.job import parse_job
    from fabctl.traffic.phases import job_traffic

    fabric = prepared(path)
    spec = parse_job(Path(job_path).read_text(), job_path)

    def run() -> int:
        tables, flows = compute_tables(fabric, "ftree"), 0
        rates = payload_rates(tables.fabric)
        for phase in job_traffic(spec, fabric).phases:
            complete(phase_channels(tables, phase), phase.flows.weight, rates)
            flows += len(phase.flows)
        return flows

    seconds, flows = timed(run)
    return {"cpu_s": seconds, "flows": flows}


def jobs(path: str, n_jobs: str, n_hosts: str) -> dict[str, Any]:
    """Compute the tables of engine `jobs` for jobs on random hosts, half of them all-reduce rings and half all-to-alls."""
    from fabctl.routing.compute import compute_tables
    from fabctl.routing.options import Options
    from fabctl.traffic.job import parse_jobs
    from fabctl.traffic.phases import jobs_traffic

    fabric = prepared(path)
    operations = ("collective: all_reduce", "collective: alltoall, pxn: true")
    lines = [
        f'  - {{name: job-{number}, hosts: {n_hosts}, placement: "random:{number}", {operations[number % 2]}, size: 1G}}'
        for number in range(int(n_jobs))
    ]
    traffic = jobs_traffic(parse_jobs("\n".join(["jobs:", *lines]), "jobs.yaml"), fabric)
    seconds, _ = timed(lambda: compute_tables(fabric, "jobs", Options(traffic=traffic)))
    return {"cpu_s": seconds}


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "parse": parse,
    "route": route,
    "route_warm": route_warm,
    "alltoall": alltoall,
    "bisections": bisections,
    "quality": quality,
    "ends": ends,
    "report": report,
    "step": step,
    "jobs": jobs,
}

if __name__ == "__main__":
    main()
