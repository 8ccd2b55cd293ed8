"""Every kind of job file through the commands that take one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chakra_writer import COMPUTE, collective, recv, send, trace

from fabctl.errors import ExitCode

Run = Callable[..., Any]

FABRIC = "dgx1-16"
RECORD = """\
JobId={id} JobName=train
   UserId=ada(1) GroupId=ai(2) MCS_label=N/A
   JobState=RUNNING Reason=None Dependency=(null)
   ReqNodeList=(null) ExcNodeList=(null)
   NodeList={nodes}
   NumNodes={count} NumCPUs=8 NumTasks={count} CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   AllocTRES=cpu=8,node={count},gres/gpu={gpus}

"""


def record(number: int = 1, nodes: str = "dgx1-[0001-0004]", count: int = 4, gpus: int = 32) -> str:
    return RECORD.format(id=number, nodes=nodes, count=count, gpus=gpus)


def squeue(nodes: str, count: int) -> str:
    job = {"job_id": 9, "name": "train", "job_state": ["RUNNING"], "nodes": nodes, "node_count": {"set": True, "number": count}}
    return json.dumps({"meta": {}, "jobs": [job]}, indent=1)


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """The traces of 8 ranks: two hosts of 4 HCAs."""
    folder = tmp_path / "run"
    folder.mkdir()
    for rank in range(8):
        nodes = [COMPUTE, collective("ALL_REDUCE", 1 << 20, f"dp{rank % 4}"), collective("ALL_GATHER", 4096)]
        nodes += [send(0, 4, 99)] if rank == 0 else [recv(0, 4, 99)] if rank == 4 else []
        (folder / f"trace.{rank}.et").write_bytes(trace(nodes))
    return folder


def test_every_input_is_routed_scored_and_shown(run: Run, tmp_path: Path, traces: Path) -> None:
    inputs = {
        "flows.csv": "src,dst,bytes\ndgx1-0001,dgx1-0009,1M\ndgx1-0002:mlx5_1,dgx1-0016,2M\n",
        "scontrol.txt": record() + record(2, "dgx1-[0005-0008]"),
        "squeue.json": squeue("dgx1-[0003,0007]", 2),
        "job.yaml": "hosts: [dgx1-0003, dgx1-0012]\ntrace: run\n",
    }
    for name, text in inputs.items():
        (tmp_path / name).write_text(text)
    for path in (*(tmp_path / name for name in inputs), traces, traces / "*.et", traces / "trace"):
        routed = run("route", FABRIC, "--job", path, "--bisections", 10)
        assert routed.code == ExitCode.DONE, (path, routed.err)
        shown = run("job", "show", path, "--fabric", FABRIC)
        assert shown.code == ExitCode.DONE, (path, shown.err)
        case = run("route", FABRIC, "--job", path, "-o", "htsim")
        assert case.code == ExitCode.DONE, (path, case.err)
        assert "Connections" in case.out


def test_a_trace_goes_where_the_job_file_says(run: Run, tmp_path: Path, traces: Path) -> None:
    (tmp_path / "job.yaml").write_text("hosts: [dgx1-0003, dgx1-0012]\ntrace: run/trace.*.et\n")
    placed = run("route", FABRIC, "--job", tmp_path / "job.yaml", "-o", "orcs").out
    alone = run("route", FABRIC, "--job", traces, "-o", "orcs").out
    assert '[label="dgx1-0003 mlx5_0/P1"]' in placed.splitlines()[2]
    assert '[label="dgx1-0001 mlx5_0/P1"]' in alone.splitlines()[2]


BAD = {
    "unknown host": ("flows.csv", "src,dst,bytes\ndgx1-0001,dgx1-0099,1M\n", 2, "no host 'dgx1-0099'"),
    "unknown HCA": ("flows.csv", "src,dst,bytes\n\ndgx1-0001:mlx5_8,dgx1-0002,1M\n", 3, "has no HCA 'mlx5_8'"),
    "zero bytes": ("flows.csv", "src,dst,bytes\ndgx1-0001,dgx1-0002,0\n", 2, "0 bytes"),
    "negative": ("flows.csv", "src,dst,bytes\ndgx1-0001,dgx1-0002,-1\n", 2, "negative size"),
    "past 2^63": ("flows.csv", f"src,dst,bytes\ndgx1-0001,dgx1-0002,{1 << 63}\n", 2, "2^63 - 1"),
    "no column": ("flows.csv", "src,dst\na,b\n", 1, "no column 'bytes'"),
    "open range": ("job.txt", record(nodes="dgx1-[0001-0004"), 5, "bracket is left open"),
    "unknown node": ("job.txt", record(nodes="luna-[0001-0004]"), 5, "no host 'luna-0001'"),
    "node twice": ("job.txt", record(nodes="dgx1-[0001-0003],dgx1-0001"), 5, "here twice"),
    "pending": ("job.txt", record(nodes="(null)"), 1, "no job here runs on several hosts"),
    "ranks that do not spread": ("job.txt", record(count=4, gpus=24), 1, "6 ranks per host do not spread evenly"),
    "open range in JSON": ("q.json", squeue("dgx1-[0001-", 2), 5, "bracket is left open"),
    "no JSON": ("q.json", '{"jobs": [{"job_id": 1,\n ]}', 2, "no JSON"),
    "trace absent": ("job.yaml", "hosts: all\ntrace: nowhere\n", 2, "No such file"),
    "trace and size": ("job.yaml", "hosts: all\ntrace: nowhere\nsize: 1M\n", 3, "exclude each other"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["route", "job show", "explain"])
def test_bad_inputs_end_with_place_and_code(name: str, command: str, run: Run, tmp_path: Path) -> None:
    file, text, line, said = BAD[name]
    path = tmp_path / file
    path.write_text(text)
    done = {
        "route": lambda: run("route", FABRIC, "--job", path),
        "job show": lambda: run("job", "show", path, "--fabric", FABRIC),
        "explain": lambda: run("explain", "dgx1-0001", "dgx1-0002", "--fabric", FABRIC, "--job", path),
    }[command]()
    assert done.code == ExitCode.INPUT, done.err
    assert f"{path}:{line}" in done.err
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-5], "the file ends at byte"),
        (lambda data: trace([], version="9.9.9"), "schema '9.9.9', fabctl reads 0.0.4"),
        (lambda data: b"\xff" * 40, "no number begins at byte 0"),
        (lambda data: trace([collective("ALL_REDUCE", 0, "dp0")]), "disagree|0 bytes|takes no part"),
    ],
)
def test_bad_traces_end_with_the_file_and_code(damage: Callable[[bytes], bytes], said: str, run: Run, traces: Path) -> None:
    import re

    path = traces / "trace.3.et"
    path.write_bytes(damage(path.read_bytes()))
    done = run("route", FABRIC, "--job", traces)
    assert done.code == ExitCode.INPUT
    assert str(traces) in done.err
    assert re.search(said, done.err), done.err
    assert "Traceback" not in done.err


def test_a_trace_of_one_rank_is_not_a_job(run: Run, traces: Path) -> None:
    done = run("route", FABRIC, "--job", traces / "trace.0.et")
    assert done.code == ExitCode.INPUT
    assert "there is no trace of rank 1" in done.err
    assert "folder" in done.err


def test_bench_takes_slurms_jobs_and_says_what_a_list_of_flows_lacks(run: Run, tmp_path: Path) -> None:
    (tmp_path / "job.txt").write_text(record())
    done = run("bench", FABRIC, "--job", tmp_path / "job.txt", "-b", "1M", "-e", "1M")
    assert done.code == ExitCode.DONE, done.err
    assert "all_reduce" in done.out
    (tmp_path / "flows.csv").write_text("src,dst,bytes\ndgx1-0001,dgx1-0009,1M\n")
    done = run("bench", FABRIC, "--job", tmp_path / "flows.csv")
    assert done.code == ExitCode.INPUT
    assert "names no collective" in done.err
