"""``bench`` between hosts without GPUs: MPI's all-reduce, with SHARP and without, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabctl.errors import ExitCode

Run = Callable[..., Any]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of 128 hosts without GPUs."""
    path = tmp_path / "job.yaml"
    path.write_text("hosts: 128\nnode: cpu-server\ncollective: all_reduce\n")
    return path


def rows(run: Run, job: Path, *options: str) -> list[dict[str, object]]:
    """Return the rows of one prediction on 648 hosts under Switch-IB 2."""
    done = run("bench", "leaf-spine-648", "--job", job, "-b", "8", "-e", "64M", "-f", "8", "-o", "json", *options)
    assert done.code == ExitCode.DONE, done.err
    return json.loads(done.out)["data"]["predictions"][0]["rows"]


def test_the_papers_128_hosts_with_sharp_and_without(run: Run, job: Path) -> None:
    without, with_it = rows(run, job), rows(run, job, "--with", "sharp")
    assert [row["protocol"] for row in with_it] == ["LLT"] * 4 + ["MPI"] * 4
    assert without[4:] == with_it[4:]
    small, page = without[0], without[3]
    assert (small["size_bytes"], page["size_bytes"]) == (8, 4096)
    assert small["time_us"] == pytest.approx(6.01, rel=0.15)
    assert page["time_us"] == pytest.approx(46.93, rel=0.15)
    assert with_it[0]["time_us"] == pytest.approx(2.83 * (1 - 0.16), rel=0.15), "with multicast of the result"
    assert with_it[3]["time_us"] == pytest.approx(14.48, rel=0.15)
    assert without[-1]["binds"] == "cable"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--collective", "alltoall"], ExitCode.REFUSED, "all_reduce alone is known, not alltoall"),
        (["--with", "async"], ExitCode.REFUSED, "'async' is for GPUs, and a cpu-server has none"),
        (["--with", "pxn,sharp"], ExitCode.REFUSED, "what works: sharp, ar"),
    ],
)
def test_what_is_not_known_without_gpus_is_refused(run: Run, job: Path, options: list[str], code: ExitCode, message: str) -> None:
    done = run("bench", "leaf-spine-648", "--job", job, *options)
    assert (done.code, message in done.err) == (code, True), done.err
