"""Engine jobs on the command line, and its routes before the real judges: OpenSM installs them, ibdmchk finds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from judge_routes import judge
from realstack import Ibsim

from fabctl.congestion.phases import step_loads
from fabctl.errors import ExitCode
from fabctl.model.fabric import Fabric
from fabctl.model.phases import JobTraffic
from fabctl.model.rates import payload_rates
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.traffic.job import parse_jobs
from fabctl.traffic.phases import jobs_traffic
from fabctl.twin.netfile import ibsim_net

Run = Callable[..., Any]

JOBS = """\
jobs:
- {{name: one, hosts: [{one}], collective: all_reduce, size: 1G}}
- {{name: other, hosts: [{other}], collective: [all_reduce, alltoall], size: 64M}}
"""


def job_text(fabric: Fabric, seed: int = 1) -> str:
    """Two jobs whose hosts are drawn at random: half of all each."""
    names = np.random.default_rng(seed).permutation(sorted({fabric.hosts.name[host] for host in compute_hosts(fabric)})).tolist()
    half = len(names) // 2
    return JOBS.format(one=", ".join(names[:half]), other=", ".join(names[half : 2 * half]))


def compute_hosts(fabric: Fabric) -> list[int]:
    return np.unique(fabric.hosts.node_host[fabric.port_node[fabric.compute_endpoints]]).tolist()


def slowest_s(tables_path: Path, fabric: Fabric, jobs: tuple[JobTraffic, ...]) -> float:
    """Return the seconds for which one step of all jobs keeps the busiest channel busy, under exported tables."""
    tables = load_tables(str(tables_path), fabric)
    busy = sum(step_loads(tables, job) for job in jobs) / payload_rates(tables.fabric)
    return float(np.max(busy))


@pytest.fixture
def case(tmp_path: Path) -> tuple[Fabric, Path, Path]:
    """A tree of 64 hosts as an ibsim file, and a file of two jobs."""
    fabric = families.build("xgft", "middle")
    (tmp_path / "fabric.net").write_text(ibsim_net(fabric))
    loaded = load_fabric(str(tmp_path / "fabric.net")).fabric
    (tmp_path / "jobs.yaml").write_text(job_text(loaded))
    return loaded, tmp_path / "fabric.net", tmp_path / "jobs.yaml"


def test_all_jobs_of_a_file_are_routed_for_and_exported(run: Run, case: tuple[Fabric, Path, Path], tmp_path: Path) -> None:
    fabric, net, jobs_path = case
    for engine in ("ftree", "jobs"):
        done = run("route", net, "--engine", engine, "--job", jobs_path, "--export", "opensm", tmp_path / engine, "-o", "json")
        assert done.code == ExitCode.DONE, done.err
        notes = " ".join(json.loads(done.out)["warnings"])
        assert ("jobs: 2 jobs, " in notes) == (engine == "jobs")
    traffic = jobs_traffic(parse_jobs(jobs_path.read_text(), "jobs.yaml"), fabric)
    before, after = (slowest_s(tmp_path / engine / "opensm-lfts.dump", fabric, traffic) for engine in ("ftree", "jobs"))
    assert after <= before / 2


def test_the_same_bytes_every_time(run: Run, case: tuple[Fabric, Path, Path], tmp_path: Path) -> None:
    _, net, jobs_path = case
    for name in ("one", "two"):
        assert run("route", net, "--engine", "jobs", "--job", jobs_path, "--export", "opensm", tmp_path / name).code == 0
    first, second = ((tmp_path / name / "opensm-lfts.dump").read_bytes() for name in ("one", "two"))
    assert first == second


def test_the_other_commands_route_for_their_job(run: Run, case: tuple[Fabric, Path, Path], tmp_path: Path) -> None:
    fabric, net, jobs_path = case
    compared = json.loads(
        run("route", "compare", net, "--engine", "ftree,jobs", "--job", jobs_path, "--bisections", 20, "-o", "json").out
    )
    rows = {row["engine"]: row for row in compared["data"]["engines"]}
    assert rows["jobs"]["deadlock"] == "free"
    assert rows["jobs"]["alltoall_fraction"] != rows["ftree"]["alltoall_fraction"]
    one = tmp_path / "one.yaml"
    names = np.random.default_rng(3).permutation(list(fabric.hosts.name)).tolist()
    one.write_text(f"hosts: [{', '.join(names)}]\ncollective: all_reduce\nsize: 1G\n")
    busbw = {}
    for engine in ("ftree", "jobs"):
        done = run("bench", net, "--engine", engine, "--job", one, "-o", "json")
        assert done.code == ExitCode.DONE, done.err
        busbw[engine] = json.loads(done.out)["data"]["predictions"][0]["mean_busbw_gb_s"]
    assert busbw["jobs"] >= 1.9 * busbw["ftree"], "the ring's collisions are gone"


def test_job_and_hosts_exclude_each_other(run: Run, case: tuple[Fabric, Path, Path]) -> None:
    _, net, jobs_path = case
    done = run("route", "compare", net, "--job", jobs_path, "--hosts", "all")
    assert done.code == ExitCode.USAGE
    assert "--job excludes --hosts" in done.err


def test_a_job_of_another_fabric_is_an_error(run: Run, case: tuple[Fabric, Path, Path], tmp_path: Path) -> None:
    _, net, _ = case
    (tmp_path / "wrong.yaml").write_text("hosts: [nobody-1, nobody-2]\ncollective: all_reduce\n")
    done = run("route", net, "--engine", "jobs", "--job", tmp_path / "wrong.yaml")
    assert done.code == ExitCode.INPUT
    assert "wrong.yaml:1:" in done.err


def test_the_engine_says_that_it_takes_jobs(run: Run) -> None:
    rows = json.loads(run("route", "--list-engines", "-o", "json").out)["data"]["engines"]
    assert [row["name"] for row in rows if "job" in row["options"]] == ["jobs"]


@pytest.mark.parametrize(("family", "size"), [("xgft-faults", "middle"), ("random-regular", "small"), ("slim-fly", "small")])
def test_opensm_installs_the_routes_for_jobs(family: str, size: str, tmp_path: Path) -> None:
    fabric = families.build(family, size)
    traffic = jobs_traffic(parse_jobs(job_text(fabric), "jobs.yaml"), fabric)
    options = Options(traffic=traffic)
    assert not np.array_equal(compute_tables(fabric, "jobs", options).lft, compute_tables(fabric, "auto").lft)
    (tmp_path / "fabric.net").write_text(ibsim_net(fabric))
    with Ibsim(tmp_path / "fabric.net", tmp_path / "sim") as sim:
        judged = judge(sim, fabric, "jobs", tmp_path, options=options, samples=6)
    assert judged.good, judged
