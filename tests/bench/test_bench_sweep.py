"""Sweeps: each point is bench's own, and a file that was cut anywhere is completed to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from fabctl.errors import ExitCode

Run = Callable[..., Any]

SWEEP = (
    "bench",
    "sweep",
    "dgx1-16",
    "--collective",
    "all_reduce,alltoall",
    "--offloads",
    "cpu,gdr,gdr+sharp",
    "--scales",
    "2,16",
)
SIZES = ("-b", "64K", "-e", "64M", "-f", "32")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "sweep.jsonl"


def points(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_each_point_is_what_bench_predicts(run: Run, results: Path, tmp_path: Path) -> None:
    assert run(*SWEEP, *SIZES, "--engine", "minhop,updn", "--results", results).code == 0
    found = points(results)
    assert {(one["routes"], one["n_hosts"]) for one in found} == {("minhop", 2), ("minhop", 16), ("updn", 2), ("updn", 16)}
    job = tmp_path / "job.yaml"
    job.write_text("hosts: dgx1-[0001-0002]\n")
    options = ("--collective", "all_reduce,alltoall", "--engine", "updn", *SIZES, "-o", "json")
    predicted = json.loads(run("bench", "dgx1-16", "--job", job, *options).out)["data"]["predictions"]
    ours = [one for one in found if (one["routes"], one["n_hosts"], one["offloads"]) == ("updn", 2, "gdr")]
    theirs = [(each["collective"], row) for each in predicted for row in each["rows"]]
    assert len(ours) == len(theirs) > 0
    for one, (collective, row) in zip(ours, theirs, strict=True):
        assert (one["collective"], one["size_bytes"], one["protocol"]) == (collective, row["size_bytes"], row["protocol"])
        assert one["time_us"] == pytest.approx(row["time_us"])


def test_what_the_hardware_lacks_is_a_point_with_the_reason(run: Run, results: Path) -> None:
    done = run(*SWEEP, *SIZES, "--results", results)
    refused = [one for one in points(results) if one["offloads"] == "gdr+sharp"]
    assert [one["n_hosts"] for one in refused] == [2, 16]
    assert all("Switch-IB 2" in one["refusal"] and one["time_us"] == 0 for one in refused)
    assert "Refused" in done.out


def test_what_the_hosts_lack_is_refused_where_a_set_asks_for_it(run: Run, results: Path) -> None:
    assert run(*SWEEP, *SIZES, "--offloads", "default,gdr+nvls", "--results", results).code == 0
    by_default, asked = ([one for one in points(results) if one["offloads"] == name] for name in ("default", "gdr+nvls"))
    assert all(one["time_us"] for one in by_default)
    assert all("'nvls' does not work here" in one["refusal"] for one in asked)


def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(run: Run, results: Path) -> None:
    argv = (*SWEEP, *SIZES, "--results", results)
    assert run(*argv).code == 0
    whole = results.read_bytes()
    header = whole.index(b"\n") + 1
    for cut in [0, header - 1, header, header + 1, len(whole) - 1, *np.random.default_rng(1).integers(header, len(whole), 6)]:
        results.write_bytes(whole[:cut])
        assert run(*argv).code == 0
        assert results.read_bytes() == whole


def test_a_killed_sweep_goes_on(results: Path) -> None:
    """SIGKILL while it runs, and SIGINT: what stands is whole units, and the rest follows."""
    argv = [sys.executable, "-m", "fabctl", *SWEEP, "--engine", "minhop,updn,ftree", "--results", str(results)]
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, ExitCode.INTERRUPTED)):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        before = len(results.read_bytes().splitlines()) if results.exists() else 1
        while process.poll() is None and time.monotonic() < deadline:
            if results.exists() and len(results.read_bytes().splitlines()) > before:
                process.send_signal(number)
                break
            time.sleep(0.002)
        process.communicate()
        assert process.returncode in (code, 0)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Results")
    again = results.with_name("again.jsonl")
    subprocess.run([*argv[:-1], str(again)], capture_output=True, check=True)
    assert again.read_bytes() == results.read_bytes()


@pytest.mark.parametrize(
    ("before", "options", "code", "said"),
    [
        (None, ("--scales", "17"), ExitCode.INPUT, "a scale of 17 hosts"),
        (None, ("--scales", "1"), ExitCode.INPUT, "a scale of 1 hosts"),
        (None, ("--scales", "two"), ExitCode.USAGE, "'two' is no number of hosts"),
        (None, ("--offloads", "gdr+telepathy"), ExitCode.USAGE, "unknown offload 'telepathy'"),
        (None, ("-o", "png"), ExitCode.USAGE, "--out chart.png"),
        ("a note of mine\n", (), ExitCode.INPUT, "no file of a sweep"),
        ('{"kind": "fabctl-sweep", "version": 1, "grid": {}}\n', (), ExitCode.USAGE, "another sweep"),
        (b"\xff\xfe", (), ExitCode.INPUT, "not text"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_file_left_as_it_was(
    run: Run, results: Path, before: str | bytes | None, options: tuple[str, ...], code: ExitCode, said: str
) -> None:
    if before is not None:
        results.write_bytes(before if isinstance(before, bytes) else before.encode())
    done = run("bench", "sweep", "dgx1-16", "--results", results, *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert (results.read_bytes() if results.exists() else None) == (before.encode() if isinstance(before, str) else before)


def test_a_file_of_other_inputs_is_left_alone(run: Run, results: Path, tmp_path: Path, project: Path) -> None:
    """What decides the numbers decides whose the file is: speeds that are assumed, and what a node's file holds."""
    node = tmp_path / "node.yaml"
    shipped = (project / "topologies/nodes/dgx-1-v100.yaml").read_text()
    node.write_text(shipped)
    argv = (*SWEEP, "-b", "1M", "-e", "1M", "--results", results, "--node", node)
    assert run(*argv).code == 0
    before = results.read_bytes()
    other = run(*argv, "--assume-speed", "4xHDR")
    assert (other.code, "holds another sweep (other assume speed)" in other.err) == (ExitCode.USAGE, True)
    node.write_text(shipped + "\n")
    other = run(*argv)
    assert (other.code, "holds another sweep (other inputs)" in other.err) == (ExitCode.USAGE, True)
    assert results.read_bytes() == before


def test_damage_in_the_middle_is_an_error_with_its_line(run: Run, results: Path) -> None:
    argv = (*SWEEP, *SIZES, "--results", results)
    assert run(*argv).code == 0
    lines = results.read_text().splitlines(keepends=True)
    for damaged, line in (([*lines[:3], "{}\n", *lines[3:]], 4), ([*lines[:2], *lines[3:]], 3)):
        results.write_text("".join(damaged))
        done = run(*argv)
        assert done.code == ExitCode.INPUT
        assert f"{results}:{line}" in done.err


def test_json_and_a_chart(run: Run, results: Path, tmp_path: Path, project: Path) -> None:
    argv = (*SWEEP, *SIZES, "--results", results)
    payload = json.loads(run(*argv, "-o", "json").out)
    jsonschema.validate(payload["data"], json.loads((project / "fabctl/report/schemas/bench-sweep.json").read_text()))
    assert (payload["data"]["computed"], payload["data"]["kept"]) == (6, 0)
    assert run(*argv, "-o", "png", "--out", tmp_path / "scaling.png").out == ""
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(run(*argv, "-o", "json").out)["data"]["kept"] == 6


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    done = run(*SWEEP, "--results", tmp_path / "nowhere" / "sweep.jsonl")
    assert done.code == ExitCode.INPUT
    assert os.strerror(2) in done.err
