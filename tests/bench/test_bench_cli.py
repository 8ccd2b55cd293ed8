from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fabctl.errors import ExitCode

SMALL = "tool-output/ibnetdiscover.txt"
TABLES = "tool-output/dump_fts.txt"


@pytest.fixture
def job(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return path

    return write


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# ---- what it says ------------------------------------------------------------------------------------------------------


def test_sixteen_dgx1(run: Any, project: Path) -> None:
    """The topology says DGX-1: the published 48 GB/s, bound by the PCIe slots of the HCAs and not by the fabric."""
    done = run("bench", "dgx1-16", "--job", project / "topologies/jobs/dgx1-16.yaml")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    assert "16 hosts x 8 ranks = 128 ranks: dgx1-[0001-0016]" in done.out
    assert "\nall_reduce, minhop\n" in done.out
    assert "Hosts   dgx-1-v100, counting on gdr, nvls\n" in done.out
    assert "large messages reach 48.00 GB/s, 96.6% of what the hosts' own cables allow" in done.out
    assert "HCA mlx5_0 -> PLX0" in done.out
    assert "(4xEDR, 100 Gb/s, 1 flow); 128 directed cables are as slow\n" in done.out
    assert "upper bound" not in done.out
    last = next(line for line in done.out.splitlines() if line.startswith("17179869184"))
    assert float(last.split()[7]) == pytest.approx(48.0, rel=0.005)
    assert last.split()[8:] == ["Ring", "Simple", "HCA"]


def test_json_is_whole(run: Any, project: Path) -> None:
    path = project / "topologies/jobs/dgx1-16.yaml"
    done = run("bench", "dgx1-16", "--job", path, "-o", "json")
    envelope = json.loads(done.out)
    assert envelope["kind"] == "BenchTable"
    assert [entry["parser"] for entry in envelope["inputs"]] == ["topology", "job"]
    assert len(envelope["data"]["predictions"][0]["rows"]) == 32
    jsonschema.validate(envelope["data"], json.loads((project / "fabctl/report/schemas/bench-table.json").read_text()))
    assert run("bench", "dgx1-16", "--job", path, "-o", "json").out == done.out


def test_real_tables_beside_an_engine(run: Any, fixtures: Path) -> None:
    done = run("bench", fixtures / SMALL, "--tables", fixtures / TABLES, "--engine", "ftree", "-b", "1M", "-e", "4M", "-o", "csv")
    assert done.code == ExitCode.DONE
    found = rows(done.out)
    assert [row["routes"] for row in found[:6]] == [str(fixtures / TABLES)] * 3 + ["ftree"] * 3
    assert {row["collective"] for row in found} == {"all_reduce", "reduce_scatter", "all_gather", "alltoall", "broadcast"}
    alltoall = [row for row in found if row["collective"] == "alltoall" and row["routes"] != "ftree"]
    assert {row["bound_flows"] for row in alltoall} == {"7"}


def test_tables_alone_need_no_engine(run: Any, fixtures: Path) -> None:
    done = run("bench", fixtures / SMALL, "--tables", fixtures / TABLES, "-e", "1K")
    assert f"Routes  {fixtures / TABLES}\n" in done.out
    assert "all_reduce (ring), dump_fts.txt\n" in done.out
    assert "default engine" not in done.out


def test_the_default_engine_is_said(run: Any, fixtures: Path) -> None:
    done = run("bench", fixtures / SMALL, "-e", "1K")
    assert "Routes  minhop\n        (computed by fabctl: OpenSM's minhop chooses otherwise" in done.out


@pytest.mark.parametrize(
    ("topology", "job_file", "first", "share"),
    [
        ("leaf-spine-648", "leaf-spine-random-ring", "all_reduce (ring), minhop", "25.0%"),
        ("oversubscribed-2to1", "oversubscribed-bisect", "bisect (pattern), minhop", "25.0%"),
        ("superpod-4su", "superpod-48-alltoall", "alltoall (pxn), minhop", "96.6%"),
        ("nccl-319-one-switch", "nccl-319", "all_reduce (ring), minhop", "100.0%"),
    ],
)
def test_shipped_jobs(run: Any, project: Path, topology: str, job_file: str, first: str, share: str) -> None:
    done = run("bench", topology, "--job", project / f"topologies/jobs/{job_file}.yaml")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    assert first in done.out
    assert f"{share} of what the hosts' own cables allow" in done.out


def test_every_shipped_job_is_tried(project: Path) -> None:
    tried = {"dgx1-16", "leaf-spine-random-ring", "oversubscribed-bisect", "superpod-48-alltoall", "nccl-319"}
    elsewhere = {"llama3-405b", "selene-8"}  # a training and several jobs: fabctl job
    assert {path.stem for path in (project / "topologies/jobs").glob("*")} == tried | elsewhere


def test_flags_go_before_the_job(run: Any, job: Any, fixtures: Path) -> None:
    path = job("hosts: all\ncollective: broadcast\nsizes: [64K, 128K]\n")
    plain = rows(run("bench", fixtures / SMALL, "--job", path, "-o", "csv").out)
    assert [(row["collective"], row["size_bytes"]) for row in plain] == [("broadcast", "65536"), ("broadcast", "131072")]
    changed = rows(
        run(
            "bench", fixtures / SMALL, "--job", path, "--collective", "all_gather", "-b", "1M", "-e", "9M", "-f", "3", "-o", "csv"
        ).out
    )
    assert [(row["collective"], row["size_bytes"]) for row in changed] == [
        ("all_gather", "1048576"),
        ("all_gather", "3145728"),
        ("all_gather", "9437184"),
    ]


def test_both_inputs_from_stdin_in_turn(run: Any, job: Any, fixtures: Path) -> None:
    path = job("hosts: all\n")
    assert run("bench", "-", "--job", path, "-e", "1K", stdin=(fixtures / SMALL).read_text()).code == ExitCode.DONE
    assert run("bench", fixtures / SMALL, "--job", "-", "-e", "1K", stdin="hosts: all\n").code == ExitCode.DONE
    both = run("bench", "-", "--job", "-", stdin="hosts: all\n")
    assert (both.code, both.out) == (ExitCode.USAGE, "")
    assert "cannot both be stdin" in both.err


def test_selene(run: Any, fixtures: Path, job: Any) -> None:
    """34 hosts of the real cluster: 8 HDR ports carry 25 GB/s each, and an all-to-all keeps 8 of 272 pieces inside the host."""
    path = job("hosts: luna-[0001-0034]\ncollective: [all_reduce, alltoall]\nsize: 16G\n")
    done = run("bench", fixtures / "ibnetdiscover/selene-compute-2021.txt", "--job", path, "-o", "json")
    assert done.code == ExitCode.DONE
    data = json.loads(done.out)["data"]
    assert (data["job"]["n_hosts"], data["job"]["n_ranks"], data["job"]["rails"]) == (34, 272, list(range(8)))
    for prediction in data["predictions"]:
        wire = {"all_reduce": 8 * 25.0, "alltoall": 25.0 * 271 / 264}[prediction["collective"]]
        assert prediction["host_busbw_gb_s"] == pytest.approx(wire * 4096 / 4122, rel=1e-6)
        assert 0 < prediction["peak_busbw_gb_s"] <= prediction["host_busbw_gb_s"] * (1 + 1e-9)


# ---- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--engine", "minhp"], "unknown engine 'minhp'\n  hint: did you mean 'minhop'?"),
        (["--engine", ","], "--engine names nothing"),
        (["--collective", "allreduce"], "unknown collective 'allreduce'\n  hint: did you mean 'all_reduce'?"),
        (["--collective", ""], "--collective names nothing"),
        (["-b", "0"], "the smallest size must be at least 1 byte"),
        (["-b", "-8"], "'-8' is not a size"),
        (["-e", "big"], "'big' is not a size"),
        (["-b", "1G", "-e", "1M"], "the largest size (1048576) is below the smallest (1073741824)"),
        (["-f", "1"], "the factor between sizes must be at least 2, not 1"),
        (["--assume-speed", "200G"], "'200G' is no link speed"),
    ],
)
def test_wrong_flags_are_code_2(run: Any, fixtures: Path, argv: list[str], message: str) -> None:
    done = run("bench", fixtures / SMALL, *argv)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("hosts: node[00000-00008]\n", ":1:8", "the fabric has no host 'node00008'\n  hint: did you mean node00007?"),
        ("hosts: node00001\n", ":1:8", "a job needs at least two hosts"),
        ("hosts: all\nsize: 0\n", ":2:7", "a message of size 0 moves nothing"),
        ("hosts: all\ncolective: alltoall\n", ":2:1", "unknown key 'colective'\n  hint: did you mean 'collective'?"),
        ("hosts: all\nrails: [3]\n", ":2:8", "not all hosts have rail 3"),
        ("hosts: [a\n", ":2:1", "this is no YAML"),
        ("", "", "the file is empty"),
    ],
)
def test_wrong_jobs_are_code_3_with_their_place(run: Any, job: Any, fixtures: Path, text: str, place: str, message: str) -> None:
    path = job(text)
    done = run("bench", fixtures / SMALL, "--job", path)
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert f"fabctl: {path}{place}: {message}" in done.err


def test_a_missing_job_file_is_code_3(run: Any, fixtures: Path, tmp_path: Path) -> None:
    done = run("bench", fixtures / SMALL, "--job", tmp_path / "none.yaml")
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert "none.yaml: no such file" in done.err


def test_tables_of_another_fabric_are_code_3(run: Any, fixtures: Path) -> None:
    done = run("bench", fixtures / "ibnetdiscover/selene-compute-2021.txt", "--tables", fixtures / TABLES)
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert "another fabric" in done.err


def test_unknown_rates_are_refused_with_a_way_out(run: Any, fixtures: Path, tmp_path: Path) -> None:
    bare = tmp_path / "fabric.txt"
    bare.write_text((fixtures / SMALL).read_text().replace(" 4xSDR", ""))
    done = run("bench", bare, "-e", "1K")
    assert (done.code, done.out) == (ExitCode.REFUSED, "")
    assert "no known rate, the first: " in done.err
    assert "--assume-speed 4xHDR" in done.err
    done = run("bench", bare, "-e", "1K", "--assume-speed", "4xHDR")
    assert done.code == ExitCode.DONE
    assert "cables of unknown rate count as 4xHDR" in done.out
    assert "(assumed, 200 Gb/s, " in done.out
