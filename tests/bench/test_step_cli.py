"""``fabctl bench step``: what it says, its JSON, and what it refuses, with exit codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from test_json_schema import undescribed

from fabctl.cli.bench import SUBCOMMANDS
from fabctl.errors import ExitCode

Run = Callable[..., Any]
TRAINING = "hosts: 16\nranks_per_host: 8\nmodel: llama3-8b\nparallelism: {tp: 8, pp: 4, zero: 1, microbatches: 8}\noverlap: dp\n"


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], Path]:
    """Write a job file."""

    def write(text: str) -> Path:
        path = tmp_path / "train.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def data(run: Run, project: Path) -> Callable[..., dict[str, Any]]:
    """Run with ``-o json``, validate, and return the data."""
    schema = json.loads((project / "fabctl/report/schemas/step-report.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    def command(*argv: object) -> dict[str, Any]:
        done = run("bench", "step", *argv, "-o", "json")
        assert (done.code, done.err) == (ExitCode.DONE, "")
        envelope = json.loads(done.out)
        assert envelope["kind"] == "StepReport"
        found: dict[str, Any] = envelope["data"]
        jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
        assert list(undescribed(found, schema, schema)) == []
        return found

    return command


def test_the_command_is_listed_with_its_summary(run: Run) -> None:
    command: click.Command = SUBCOMMANDS.load("step")
    assert command.get_short_help_str(limit=1000) == SUBCOMMANDS.entries["step"].summary
    assert "Examples:" in run("bench", "step", "--help").out


def test_a_step_says_how_long_and_what_it_waits_for(run: Run, job: Any) -> None:
    done = run("bench", "step", "superpod-4su", "--job", job(TRAINING), "--efficiency", "0.5", "--scale")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    lines = done.out.splitlines()
    assert lines[1] == "Hosts   dgx-h100, 989.4 TFLOPS peak in bf16; counting on gdr, nvls"
    assert "Batch   32 sequences, 262,144 tokens a step" in lines
    verdict = next(number for number, line in enumerate(lines) if line.startswith("A step takes "))
    assert "tokens/s" in lines[verdict]
    assert "of the peak (MFU)" in lines[verdict]
    assert "it waits longest" in lines[verdict + 1]
    assert lines[verdict + 2].startswith("Next    fabctl bench compare superpod-4su --job ")
    for title in ("Critical path", "Communication", "Weak scaling", "Assumptions"):
        assert title in lines
    assert "s of it hide behind computing" in done.out


def test_without_compute_it_says_what_is_missing(run: Run, job: Any) -> None:
    done = run("bench", "step", "superpod-4su", "--job", job(TRAINING))
    assert done.code == ExitCode.DONE
    assert "s for communication; how long it computes is not known" in done.out
    assert "--compute-ms MS gives the whole step" in done.out
    assert "A step takes" not in done.out
    assert "compute, forward" not in done.out


def test_unknown_hosts_make_a_step_no_shorter_than_it_says(run: Run, job: Any) -> None:
    text = "hosts: 32\nranks_per_host: 4\nmodel: llama3-8b\nparallelism: {tp: 4, zero: 1}\n"
    done = run("bench", "step", "xgft-64", "--job", job(text))
    assert "s for the fabric; how long it computes is not known" in done.out
    assert "tp: within the hosts, whose inside is unknown: counted as no time" in done.out
    assert "A step takes at least " in run("bench", "step", "xgft-64", "--job", job(text), "--compute-ms", "100").out
    hidden = run("bench", "step", "xgft-64", "--job", job(text + "overlap: all\n"))
    assert "Critical path" not in hidden.out


def test_json_is_whole(data: Any, job: Any) -> None:
    found = data("superpod-4su", "--job", job(TRAINING), "--efficiency", "0.5", "--scale", "--engine", "ftree")
    assert (found["node"], found["gpu"], found["routes"], found["efficiency"]) == ("dgx-h100", "H100", "ftree", 0.5)
    assert found["step_seconds"] == pytest.approx(sum(part["seconds"] for part in found["critical_path"]))
    assert found["mfu"] == pytest.approx(found["tflops_per_gpu"] / 989.4)
    assert [row["n_hosts"] for row in found["scale"]] == [4, 8, 16]
    assert found["scale"][-1]["step_seconds"] == found["step_seconds"]


def test_json_of_what_is_not_known(data: Any, job: Any, tmp_path: Path, project: Path) -> None:
    spec = (project / "topologies/xgft-64.yaml").read_text()
    (tmp_path / "plain.yaml").write_text(spec)
    found = data(tmp_path / "plain.yaml", "--job", job("hosts: 32\nranks_per_host: 1\nmodel: resnet-50\nprecision: fp32\n"))
    assert (found["node"], found["step_seconds"], found["tokens"], found["mfu"]) == ("", None, 0, None)
    assert found["phases"][0]["seconds"] > 0


def test_rows_are_collectives(run: Run, job: Any) -> None:
    done = run("bench", "step", "superpod-4su", "--job", job(TRAINING), "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["kind"] for row in rows] == ["tp"] * 6 + ["pp"] * 2 + ["dp"] * 2
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_offloads_are_named_and_change_the_time(data: Any, job: Any) -> None:
    path = job(TRAINING)
    by = {option: data("superpod-4su", "--job", path, "--compute-ms", "100", *option.split()) for option in ("", "--without gdr")}
    assert by["--without gdr"]["offloads"] == ["nvls"]
    assert by["--without gdr"]["step_seconds"] > by[""]["step_seconds"]


RESNET = "hosts: 4\nranks_per_host: 8\nmodel: resnet-50\n"


@pytest.mark.parametrize(
    ("topology", "text", "options", "code", "message"),
    [
        ("superpod-4su", TRAINING, "--efficiency 0.5 --compute-ms 3", ExitCode.USAGE, "--efficiency excludes --compute-ms"),
        ("superpod-4su", TRAINING, "--efficiency 1.5", ExitCode.USAGE, "no share of the peak"),
        ("superpod-4su", TRAINING, "--efficiency -1", ExitCode.USAGE, "no share of the peak"),
        ("superpod-4su", TRAINING, "--efficiency nan", ExitCode.USAGE, "no share of the peak"),
        ("superpod-4su", TRAINING, "--compute-ms 0", ExitCode.USAGE, "no time"),
        ("superpod-4su", TRAINING, "--compute-ms inf", ExitCode.USAGE, "no time"),
        ("superpod-4su", TRAINING, "--node dgx-h101", ExitCode.USAGE, "dgx-h100"),
        ("superpod-4su", TRAINING, "--engine ftree --tables x", ExitCode.USAGE, "--tables excludes --engine"),
        ("superpod-4su", TRAINING, "--with sharpp", ExitCode.USAGE, "did you mean 'sharp'"),
        ("superpod-4su", RESNET, "--efficiency 0.5", ExitCode.USAGE, "operations of ResNet-50 are not known"),
        ("xgft-64", TRAINING.replace("hosts: 16", "hosts: 64"), "--efficiency 0.5", ExitCode.USAGE, "the node is not known"),
        ("superpod-4su", "hosts: 4\ncollective: all_reduce\n", "", ExitCode.USAGE, "is no training"),
        ("superpod-4su", TRAINING.replace("16", "256"), "", ExitCode.INPUT, "256"),
        ("superpod-4su", TRAINING.replace("pp: 4", "pp: 3"), "", ExitCode.INPUT, "train.yaml:4:"),
        ("dgx1-16", TRAINING, "--with sharp", ExitCode.REFUSED, "Switch-IB 2"),
        ("dgx1-16", TRAINING, "--efficiency 0.5", ExitCode.REFUSED, "a V100 has no bf16"),
        ("superpod-4su", "jobs:\n- {hosts: 2, model: resnet-50}\n- {hosts: 2, model: alexnet}\n", "", ExitCode.INPUT, "2 jobs"),
    ],
)
def test_bad_input(run: Run, job: Any, topology: str, text: str, options: str, code: ExitCode, message: str) -> None:
    done = run("bench", "step", topology, "--job", job(text), *options.split())
    assert done.code == code, done.err
    assert message in done.err
    assert not done.out


def test_no_job_is_no_step(run: Run) -> None:
    done = run("bench", "step", "superpod-4su")
    assert done.code == ExitCode.USAGE
    assert "fabctl help job" in done.err


def test_a_v100_computes_in_halves(data: Any, job: Any) -> None:
    found = data("dgx1-16", "--job", job(TRAINING + "precision: fp16\n"), "--efficiency", "0.4")
    assert (found["gpu"], found["peak_tflops"], found["precision"]) == ("V100", 125.0, "fp16")


def test_simais_example_is_shipped(data: Any, project: Path) -> None:
    found = data("simai-9216", "--job", project / "topologies/jobs/simai-9216.yaml", "--compute-ms", "4542")
    assert found["n_ranks"] == 9216
    kinds = {phase["kind"] for phase in found["phases"]}
    assert kinds == {"tp", "ep", "pp", "dp"}
    tokens = next(phase for phase in found["phases"] if phase["name"] == "ep dispatch")
    assert (tokens["message_bytes"], tokens["group_size"], tokens["times"]) == (100663296, 16, 384)
    assert found["step_seconds"] == pytest.approx(7.545619, rel=0.1)
