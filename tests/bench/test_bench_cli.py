from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from fabctl.cli.bench import SUBCOMMANDS
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
    assert "Hosts   dgx-1-v100, counting on gdr\n" in done.out
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
    elsewhere = {"llama3-405b", "simai-9216", "selene-8"}  # trainings and several jobs: fabctl bench step, fabctl job
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
    assert "only one of the fabric and the jobs can be stdin" in both.err


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


# ---- hosts that are known ------------------------------------------------------------------------------------------------


def test_the_table_says_what_nccl_takes_and_what_binds(run: Any, project: Path) -> None:
    done = run("bench", "dgx1-16", "--collective", "all", "-e", "4G", "-o", "json")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    data = json.loads(done.out)["data"]
    jsonschema.validate(data, json.loads((project / "fabctl/report/schemas/bench-table.json").read_text()))
    assert (data["node"], data["offloads"]) == ("dgx-1-v100", ["gdr"])
    assert data["job"]["ranks_per_host"] == 8
    all_reduce = data["predictions"][0]["rows"]
    assert [row["algorithm"] for row in all_reduce] == sorted((row["algorithm"] for row in all_reduce), reverse=True)
    assert {row["algorithm"] for row in all_reduce} == {"Tree", "Ring"}
    assert (all_reduce[0]["binds"], all_reduce[0]["binds_at"]) == ("latency", "")
    assert (all_reduce[-1]["binds"], all_reduce[-1]["binds_at"]) == ("hca", "mlx5_0 -> PLX0")
    assert [row["algorithm"] for row in data["predictions"][3]["rows"]] == ["pairwise"] * len(data["predictions"][3]["rows"])


def test_node_options_go_before_the_job_and_this_before_the_topology(run: Any, job: Any) -> None:
    path = job("hosts: all\ncollective: all_reduce\nnode: dgx-1-p100\n")
    by_topology, by_job, by_option = (
        json.loads(run("bench", "dgx1-16", "-e", "1M", "-o", "json", *argv).out)["data"]["node"]
        for argv in ([], ["--job", path], ["--job", path, "--node", "dgx-a100"])
    )
    assert (by_topology, by_job, by_option) == ("dgx-1-v100", "dgx-1-p100", "dgx-a100")


def test_unknown_hosts_are_said_with_what_fits(run: Any, fixtures: Path) -> None:
    done = run("bench", fixtures / "ibnetdiscover/selene-compute-2021.txt", "-b", "1G", "-e", "1G", "--collective", "all_reduce")
    assert "Hosts   unknown: only the fabric is predicted, by rings; --node NODE says what they are\n" in done.out
    assert "(by their HCAs they could be: dgx-a100)" in done.out
    assert "upper bound" in done.out


def test_selene_with_adaptive_routing(run: Any, fixtures: Path) -> None:
    """On its static routes two flows of the rings share a cable; adaptive routing takes them apart."""
    argv = ("bench", fixtures / "ibnetdiscover/selene-compute-2021.txt", "--node", "dgx-a100", "--collective", "all_reduce")
    ring = ("-b", "64G", "-e", "64G")
    static, adaptive = (rows(run(*argv, *ring, *more, "-o", "csv").out)[0] for more in ([], ["--with", "ar"]))
    assert (static["binds"], static["binds_at"]) == ("cable", static["bound"])
    assert float(adaptive["busbw_gb_s"]) > 1.5 * float(static["busbw_gb_s"])
    text = run(*argv, *ring).out
    assert "Faster on minhop: at 64G NCCL_ALGO=Tree NCCL_PROTO=Simple would take " in text


def test_one_host_needs_no_fabric(run: Any, project: Path) -> None:
    """8 H100: about 480 GB/s with NVLink SHARP, 365 to 370 by rings (nccl issue 1455)."""
    done = run("bench", "--node", "dgx-h100", "--collective", "all", "-o", "json")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    data = json.loads(done.out)["data"]
    jsonschema.validate(data, json.loads((project / "fabctl/report/schemas/bench-table.json").read_text()))
    assert data["job"] == {"hosts": "", "n_hosts": 1, "ranks_per_host": 8, "n_ranks": 8, "rails": []}
    assert data["predictions"][0]["rows"][-1]["busbw_gb_s"] == pytest.approx(480, rel=0.02)
    assert data["predictions"][2]["rows"][-1]["busbw_gb_s"] == pytest.approx(367, rel=0.03)
    text = run("bench", "--node", "dgx-h100").out
    assert text.startswith("Job     8 GPUs of one host\nHosts   dgx-h100, counting on nvls\n\nall_reduce\n")
    assert "cable" not in text
    refused = run("bench", "--node", "dgx-h100", "--engine", "ftree")
    assert (refused.code, "no SOURCE" in refused.err) == (ExitCode.USAGE, True)


def test_a_file_of_the_node_is_an_input(run: Any, fixtures: Path, tmp_path: Path) -> None:
    """The real matrix of a DGX-1 gives the published 48 GB/s, if it says what its GPUs are."""
    matrix = (fixtures / "nvidia-smi-topo/dgx1.txt").read_text()
    gpus = "".join(f"GPU {index}: Tesla V100-SXM2-16GB (UUID: GPU-{index:08})\n" for index in range(8))
    path = tmp_path / "node.txt"
    path.write_text(gpus + matrix)
    argv = ("bench", "dgx1-16", "--collective", "all_reduce", "-b", "16G", "-o", "json", "--node")
    envelope = json.loads(run(*argv, path).out)
    assert [entry["path"].rpartition("/")[2] for entry in envelope["inputs"]] == ["dgx1-16.yaml", "node.txt"]
    assert envelope["data"]["predictions"][0]["rows"][0]["busbw_gb_s"] == pytest.approx(48, rel=0.01)
    path.write_text(matrix)
    done = run(*argv, path)
    assert done.code == ExitCode.REFUSED
    assert "does not say what its GPUs are" in done.err
    assert "nvidia-smi -L" in done.err


def test_what_hosts_lack_is_refused_if_asked_for(run: Any) -> None:
    done = run("bench", "dgx1-16", "--with", "nvls")
    assert (done.code, done.out) == (ExitCode.REFUSED, "")
    assert "'nvls' does not work here" in done.err


def test_what_works_between_hosts_is_refused_within_one(run: Any) -> None:
    for name in ("gdr", "async", "sharp", "pxn", "ar"):
        refused = run("bench", "--node", "dgx-h100", "--with", name)
        assert (refused.code, f"'{name}' works between hosts" in refused.err) == (ExitCode.REFUSED, True)
    assert run("bench", "--node", "dgx-h100", "--with", "nvls", "-b", "1G", "--collective", "all_reduce").code == 0


def test_hcas_of_another_model_than_the_nodes_are_said(run: Any, fixtures: Path) -> None:
    argv = ("--collective", "all_reduce", "-b", "1G", "-e", "1G")
    path = str(fixtures / "ibnetdiscover" / "selene-compute-2021.txt")
    assert "HCAs are ConnectX-6, those of a dgx-h100 ConnectX-7" in run("bench", path, *argv, "--node", "dgx-h100").out
    assert "is it the right node" not in run("bench", path, *argv, "--node", "dgx-a100").out


def test_offloads_that_hardware_lacks_are_code_6(run: Any) -> None:
    done = run("bench", "dgx1-16", "--with", "sharp")
    assert (done.code, done.out) == (ExitCode.REFUSED, "")
    assert "Switch-IB 2 switches do not stream" in done.err
    assert "hint: " in done.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--node", "dgx-a10"], "'dgx-a10' is neither a node type nor a file\n  hint: did you mean 'dgx-a100'?"),
        (["--node", "big-sur"], "the job uses rail 3, and the HCAs of a big-sur are numbered from 0 to"),
        (["--with", "sharp", "--without", "sharp"], "'sharp' is both --with and --without"),
        (["--with", "shrp"], "unknown offload 'shrp'\n  hint: did you mean 'sharp'?"),
        (["--with", ","], "--with names nothing"),
    ],
)
def test_wrong_hosts_and_offloads_are_code_2(run: Any, argv: list[str], message: str) -> None:
    done = run("bench", "dgx1-16", *argv)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts: all\nranks_per_host: 16\ncollective: all_reduce\n", "16 ranks per host, and a dgx-1-v100 has 8 GPUs"),
        ("hosts: 17\ncollective: all_reduce\n", "the job asks for 17 hosts, and 16 are free"),
        ("hosts: all\ncollective: all_reduce\nalgorithm: halving-doubling\n", "bench predicts NCCL's algorithms"),
        ("hosts: all\ncollective: all_reduce\nalgorithm: nvls-tree\n", "NCCL does no all_reduce by NVLSTree here"),
        ("hosts: all\nsize: -8\n", "a message cannot have a negative size: -8"),
    ],
)
def test_jobs_that_cannot_be_are_refused(run: Any, job: Any, text: str, message: str) -> None:
    done = run("bench", "dgx1-16", "--job", job(text))
    assert done.code in (ExitCode.USAGE, ExitCode.INPUT, ExitCode.REFUSED)
    assert done.out == ""
    assert message in done.err


@pytest.mark.parametrize("name", SUBCOMMANDS.names())
def test_summaries_of_subcommands_are_theirs(name: str) -> None:
    command: click.Command = SUBCOMMANDS.load(name)
    assert command.get_short_help_str(limit=1000) == SUBCOMMANDS.entries[name].summary


def test_the_plain_table_compiles_nothing(project: Path) -> None:
    code = (
        "import sys; from fabctl.cli.main import main; main(['bench', 'dgx1-16', '-o', 'name']); "
        "print([name for name in ('numba', 'networkx', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
