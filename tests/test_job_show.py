"""``fabctl job show``: what jobs send, on ranks, on a fabric and on routes; bad input with its place and exit code 3."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from chakra_writer import collective, trace
from fabric_plans import leaf_spine, rails

from fabctl.cli.job import SUBCOMMANDS
from fabctl.errors import ExitCode
from fabctl.model.snapshot import dump_snapshot

Run = Callable[..., Any]

TRAINING = (
    "hosts: {hosts}\nranks_per_host: 8\nmodel: llama3-8b\nparallelism: {{tp: 8, pp: 4, zero: 1, microbatches: 8}}\noverlap: dp\n"
)


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Write a job file."""

    def write(text: str, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def validator(project: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads((project / "fabctl/report/schemas/job-report.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def payload(run: Run, *argv: object) -> dict[str, Any]:
    done = run("job", "show", *argv, "-o", "json")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    document: dict[str, Any] = json.loads(done.out)
    assert document["kind"] == "JobReport"
    return document


def test_subcommands_have_their_summaries(run: Run) -> None:
    done = run("job", "--help")
    for name, entry in SUBCOMMANDS.entries.items():
        command: click.Command = SUBCOMMANDS.load(name)
        assert command.get_short_help_str(limit=1000) == entry.summary
        assert f"  {name} " in done.out
        assert "Examples:" in run("job", name, "--help").out
    assert run("job", "sho").code == ExitCode.USAGE
    assert "did you mean 'show'?" in run("job", "sho").err


# ---- ranks alone --------------------------------------------------------------------------------------------------------


def test_a_training_without_a_fabric(run: Run, job: Any, validator: Any) -> None:
    document = payload(run, job(TRAINING.format(hosts="luna-[001-016]")))
    validator.validate(document["data"])
    (found,) = document["data"]["jobs"]
    assert (found["hosts"], found["n_hosts"], found["n_ranks"]) == ("luna-[001-016]", 16, 128)
    assert found["model"]["parallelism"] == {"tp": 8, "cp": 1, "ep": 1, "dp": 4, "pp": 4, "zero": 1, "microbatches": 8}
    assert found["model"]["parameters"] == 8_030_261_248
    parts = {(part["name"], part["operation"]): part for part in found["parts"]}
    gradients = parts["dp gradients", "reduce_scatter"]
    assert (gradients["groups"], gradients["group_size"], gradients["times"], gradients["overlapped"]) == (32, 4, 1, True)
    assert gradients["message_bytes"] == 4 * found["model"]["rank_parameters"]
    assert gradients["sent_bytes"] == gradients["message_bytes"] * 3 / 4
    assert parts["pp activations, forward", "sendrecv"]["groups"] == 32
    assert {part["flows"] for part in found["parts"]} == {None}
    assert found["exposed_seconds"] is None
    assert document["inputs"][0]["parser"] == "job"


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("hosts: 64\ngpus_per_host: 8\ncollective: all_reduce\n", 512),
        ("hosts: all\nmodel: llama3-70b\nparallelism: {tp: 8, pp: 4, dp: 16}\n", 512),
        ("hosts: 'n[1-4],m[1-4]'\nranks_per_host: 4\nmodel: resnet-50\n", 32),
    ],
)
def test_ranks_from_the_file_alone(run: Run, job: Any, validator: Any, text: str, ranks: int) -> None:
    data = payload(run, job(text))["data"]
    validator.validate(data)
    assert data["jobs"][0]["n_ranks"] == ranks


def test_the_table_names_every_part(run: Run, job: Any) -> None:
    done = run("job", "show", job(TRAINING.format(hosts=16)))
    assert done.code == ExitCode.DONE
    assert "Job     job, 16 hosts x 8 ranks = 128 ranks\n" in done.out
    assert "Model   Llama 3 8B: 8,030,261,248 parameters" in done.out
    lines = [line.split()[0] for line in done.out.splitlines() if line[:3] in ("tp ", "pp ", "dp ")]
    assert lines == ["tp"] * 6 + ["pp"] * 2 + ["dp"] * 2


# ---- on a fabric and on routes ------------------------------------------------------------------------------------------


def test_a_training_on_a_fabric(run: Run, job: Any, validator: Any) -> None:
    document = payload(run, job(TRAINING.format(hosts=16)), "--fabric", "superpod-4su")
    validator.validate(document["data"])
    (found,) = document["data"]["jobs"]
    assert (found["hosts"], found["rails"]) == ("dgx-[0001-0016]", list(range(8)))
    inside = {part["kind"]: part["inside"] for part in found["parts"]}
    assert inside == {"tp": True, "pp": False, "dp": False}
    parts = {part["name"]: part for part in found["parts"]}
    forward = parts["pp activations, forward"]
    assert (forward["flows"], forward["host_bytes"]) == (96, 8 * forward["sent_bytes"])
    assert parts["dp gradients"]["host_bytes"] == pytest.approx(8 * 3 / 4 * parts["dp gradients"]["message_bytes"])
    assert forward["seconds"] is None
    assert [entry["parser"] for entry in document["inputs"]] == ["topology", "job"]


def test_times_on_routes_are_bytes_over_the_slowest_cable(run: Run, job: Any, validator: Any) -> None:
    """In order on a rail-optimised unit each HCA sends to one other: the time is the message over the payload rate."""
    document = payload(run, job(TRAINING.format(hosts=16)), "--fabric", "superpod-4su", "--engine", "ftree")
    validator.validate(document["data"])
    (found,) = document["data"]["jobs"]
    rate = 106.25e9 * 4 * 514 / 544 * 256 / 257 / 8 * 4096 / (4096 + 26)
    for part in found["parts"]:
        if not part["inside"]:
            assert part["seconds"] == pytest.approx(part["host_bytes"] / 8 / rate, rel=1e-6)
            assert " -> " in part["bottleneck"]
    hidden = [part["step_seconds"] for part in found["parts"] if part["kind"] == "dp"]
    shown = [part["step_seconds"] for part in found["parts"] if part["kind"] == "pp"]
    assert found["overlapped_seconds"] == pytest.approx(sum(hidden))
    assert found["exposed_seconds"] == pytest.approx(sum(shown))
    done = run("job", "show", job(TRAINING.format(hosts=16)), "--fabric", "superpod-4su", "--engine", "ftree")
    assert "inside hosts" in done.out
    assert "A step waits" in done.out
    assert "are meant to hide behind compute (ftree; this job alone)" in done.out


def test_real_tables(run: Run, job: Any, fixtures: Path) -> None:
    fabric, tables = fixtures / "tool-output/ibnetdiscover.txt", fixtures / "tool-output/dump_fts.txt"
    path = job("hosts: all\ncollective: all_reduce\nsize: 1G\n")
    done = run("job", "show", path, "--fabric", fabric, "--tables", tables)
    assert done.code == ExitCode.DONE
    assert f"s for the fabric ({tables}; this job alone)" in done.out


def test_several_jobs_of_files_and_lists(run: Run, job: Any, project: Path, validator: Any) -> None:
    one = job("hosts: 4\ncollective: all_reduce\nsize: 1G\nranks_per_host: 8\n", "one.yaml")
    two = job("jobs:\n  - {hosts: 4, ranks_per_host: 8, pattern: ring}\n  - {name: c, hosts: 8, model: resnet-50}\n", "two.yaml")
    data = payload(run, one, two, "--fabric", "superpod-4su", "--engine", "minhop")["data"]
    validator.validate(data)
    assert [entry["name"] for entry in data["jobs"]] == ["one", "two-1", "c"]
    hosts = [entry["hosts"] for entry in data["jobs"]]
    assert hosts == ["dgx-[0001-0004]", "dgx-[0005-0008]", "dgx-[0009-0016]"]
    assert data["jobs"][1]["parts"][0]["name"] == "pattern ring"


def test_switches_that_reduce_are_sent_the_message_once(run: Run, job: Any) -> None:
    text = "hosts: 8\nranks_per_host: 8\ncollective: all_reduce\nsize: 1G\nalgorithm: "
    parts = [
        payload(run, job(text + name), "--fabric", "superpod-4su")["data"]["jobs"][0]["parts"][0] for name in ("ring", "sharp")
    ]
    assert [part["host_bytes"] for part in parts] == [2 * 63 * 2**30 // 64, 2**30]
    assert [part["sent_bytes"] for part in parts] == [2 * 63 * 2**30 // 64, 2**30]


def test_rows_as_csv(run: Run, job: Any) -> None:
    done = run("job", "show", job(TRAINING.format(hosts=16)), "-o", "csv")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert len(rows) == 10
    assert {row["job"] for row in rows} == {"job"}


def test_the_same_bytes_twice(run: Run, job: Any) -> None:
    argv = ("job", "show", job(TRAINING.format(hosts="16\nplacement: random:5")), "--fabric", "superpod-4su", "--engine", "updn")
    assert run(*argv, "-o", "json").out == run(*argv, "-o", "json").out


def test_sixteen_thousand_gpus(run: Run, project: Path) -> None:
    """Llama 3 405B as its paper trains it: 2,048 hosts, three tiers."""
    data = payload(run, project / "topologies/jobs/llama3-405b.yaml", "--fabric", "llama3-16k", "--engine", "minhop")["data"]
    (found,) = data["jobs"]
    assert (found["n_hosts"], found["n_ranks"]) == (2048, 16384)
    flows = {part["name"]: part["flows"] for part in found["parts"]}
    assert flows["pp activations, forward"] == 1024 * 16, "the last stage sends to the first one's next layer"
    assert flows["dp gradients"] == 16384
    assert all(part["inside"] for part in found["parts"] if part["kind"] == "tp")


# ---- bad input ----------------------------------------------------------------------------------------------------------

LLAMA = "hosts: 16\nranks_per_host: 8\nmodel: llama3-8b\n"


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        (LLAMA + "parallelism: {tp: 8, pp: 3}", "4:26", "32 layers do not divide by 3 stages", "layers_per_stage"),
        (LLAMA + "parallelism: {tp: 8, dp: 4}", "4:26", "the job has 128 ranks, and tp 8 x dp 4 is 32", "dp: 16 uses all ranks"),
        (
            LLAMA + "parallelism: {tp: 8, cp: 32}",
            "4:14",
            "the job has 128 ranks, and tp 8 x cp 32 is 256",
            "must divide the ranks",
        ),
        (LLAMA + "parallelism: {cp: 256}", "4:19", "groups of cp 256 are larger than the job, 128 ranks", ""),
        ("hosts: 4\nmodel: {layers: 4, hidden: 64, heads: 4}", "2:8", "key 'vocabulary' is missing", ""),
        ("hosts: 4\nmodel: resnet-50\nparallelism: {tp: 8}", "2:8", "'tp: 8' needs 'layers' of the model", ""),
        ("hosts: [dgx-0001, dgx-0002, dgx-0001]", "1:29", "host 'dgx-0001' is here twice", "the first is at"),
        ("hosts: dgx-[0001-0004", "1:8", "a bracket is left open: 'dgx-[0001-0004'", "write names like"),
        ("hosts: dgx-[0004-0001]", "1:8", "this range runs backwards: '0004-0001'", "write names like"),
        ("hosts: [dgx-0001, dgx-0199]", "1:19", "the fabric has no host 'dgx-0199'", "did you mean dgx-0128"),
        ("hosts: luna-[001-004]", "1:8", "the fabric has no host 'luna-001' (4 hosts of this job are unknown)", ""),
        ("hosts: 200", "1:8", "the job asks for 200 hosts, and 128 are free", ""),
        ("hosts: 4\nsize: 0", "2:7", "a message of size 0 moves nothing", "the smallest message is 1 byte"),
        ("hosts: 4\nsize: 9223372036854775808", "2:7", "a message of 9223372036854775808 is past 2^63 bytes", ""),
        (
            "hosts: 4\nmodel: llama3-8b\nsequence_length: 1073741824\nparallelism: {micro_batch_size: 1048576, pp: 2}",
            "4:33",
            "a message of 9.22e+18 bytes is past 2^63",
            "",
        ),
        ("hosts: 4\nranks_per_host: 12", "2:17", "12 ranks per host do not spread evenly over 8 HCAs", "8 or 16 do"),
        (
            "jobs:\n  - hosts: dgx-0001,dgx-0002\n  - hosts: dgx-0002,dgx-0003",
            "3:12",
            "host 'dgx-0002' runs in two jobs",
            "the first",
        ),
        ("hosts: 4\npattern: shift\nshift: 32", "1:8", "a shift by 32 of 32 HCAs sends nothing over the fabric", ""),
        ('hosts: 4\nname: "a\\nb"', "2:7", "a name is one line of printable characters", ""),
    ],
)
def test_bad_jobs(run: Run, job: Any, text: str, where: str, message: str, hint: str) -> None:
    path = job(text + "\n")
    done = run("job", "show", path, "--fabric", "superpod-4su")
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    first, *rest = done.err.splitlines()
    assert first.startswith(f"fabctl: {path}:{where}: {message}")
    assert hint in "\n".join(rest)


def test_a_host_in_two_files(run: Run, job: Any) -> None:
    one, two = job("hosts: dgx-[0001-0004]\n", "one.yaml"), job("hosts: dgx-[0004-0008]\n", "two.yaml")
    done = run("job", "show", one, two, "--fabric", "superpod-4su")
    assert done.code == ExitCode.INPUT
    assert done.err.startswith(f"fabctl: {two}:1:8: host 'dgx-0004' runs in two jobs, 'one' and 'two'\n")


def test_an_hca_that_is_down_is_named(run: Run, job: Any, tmp_path: Path) -> None:
    plan = rails()
    plan.cut("n1 mlx5_3", "leaf-0-3")
    fabric = tmp_path / "fabric.json"
    fabric.write_text(dump_snapshot(plan.build()))
    path = job("hosts: [n0, n1]\n")
    done = run("job", "show", path, "--fabric", fabric)
    assert done.code == ExitCode.INPUT
    assert done.err.startswith(f"fabctl: {path}:1:13: HCA 'n1 mlx5_3' is down: it has no cable\n")
    assert "leave its host out, or use the rails without it: rails: [0, 1, 2]" in done.err
    assert run("job", "show", job("hosts: [n0, n1]\nrails: [0, 1, 2]\n"), "--fabric", fabric).code == ExitCode.DONE
    assert run("job", "show", job("hosts: [n0, n2]\n"), "--fabric", fabric).code == ExitCode.DONE
    assert "n[0,2-9]" in run("job", "show", job("hosts: 9\n"), "--fabric", fabric).out


def test_a_host_that_lacks_an_hca_is_named_where_its_ranks_do_not_fit(run: Run, job: Any, tmp_path: Path) -> None:
    """A dump of a live fabric does not hold an HCA that is down."""
    plan = rails()
    plan.remove("n1 mlx5_3")
    fabric = tmp_path / "fabric.json"
    fabric.write_text(dump_snapshot(plan.build()))
    path = job("hosts: [n0, n1]\nranks_per_host: 4\n")
    done = run("job", "show", path, "--fabric", fabric)
    assert done.code == ExitCode.INPUT
    assert done.err.startswith(f"fabctl: {path}:2:17: 4 ranks per host do not spread evenly over 3 HCAs\n")
    assert "n1 lacks HCAs that others have" in done.err


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("hosts: all\n", "1:8", "the number of ranks is not known: 'hosts: all' depends on the fabric"),
        ("hosts: 4\ncollective: all_reduce\n", "1:8", "the number of ranks is not known: 'ranks_per_host' is not given"),
        ("hosts: n[1-4]\nmodel: llama3-8b\n", "1:8", "the number of ranks is not known"),
        ("hosts: all\nmodel: resnet-50\nparallelism: {dp: 1048577}\n", "3:19", "'dp' must be at most 1048576"),
        ("hosts: 65536\nranks_per_host: 1024\n", "1:8", "67,108,864 ranks are more than 1,048,576"),
        ("hosts: [n1, n2, n1]\nranks_per_host: 8\n", "1:17", "host 'n1' is here twice"),
        ("hosts: n[1-4\nranks_per_host: 8\n", "1:8", "a bracket is left open"),
        ("hosts: 4\nranks_per_host: 8\npattern: ring\n", "1:8", "a pattern is between HCAs, which the fabric has"),
        ("src,dst,bytes\na,b,1\n", "2", "a list of flows is between HCAs, which the fabric has"),
    ],
)
def test_what_ranks_alone_cannot_tell(run: Run, job: Any, text: str, where: str, message: str) -> None:
    path = job(text)
    done = run("job", "show", path)
    assert (done.code, done.out) == (ExitCode.INPUT, "")
    assert done.err.startswith(f"fabctl: {path}:{where}: {message}")


def test_the_hint_offers_dp_to_trainings_only(run: Run, job: Any) -> None:
    assert "give dp" in run("job", "show", job("hosts: 4\nmodel: llama3-8b\n")).err
    assert "give dp" not in run("job", "show", job("hosts: 4\n")).err


def test_a_trace_is_shown_as_its_collectives(run: Run, job: Any, tmp_path: Path, validator: Any) -> None:
    """Eight ranks: an all-reduce of all twice, and an all-gather of each host's four, which stays inside."""
    (tmp_path / "run").mkdir()
    for rank in range(8):
        nodes = [collective("ALL_REDUCE", 1 << 20)] * 2 + [collective("ALL_GATHER", 4096, f"host{rank // 4}")]
        (tmp_path / f"run/trace.{rank}.et").write_bytes(trace(nodes))
    shown = ("operation", "algorithm", "groups", "group_size", "message_bytes", "sent_bytes", "times", "inside")
    expected = [("all_reduce", "ring", 1, 8, 1 << 20, 1835008, 2), ("all_gather", "ring", 2, 4, 4 * 4096, 12288, 1)]
    alone = payload(run, tmp_path / "run")
    there = payload(run, tmp_path / "run", "--fabric", "dgx1-16")
    for document, inside in ((alone, (None, None)), (there, (False, True))):
        validator.validate(document["data"])
        parts = document["data"]["jobs"][0]["parts"]
        assert [tuple(part[key] for key in shown) for part in parts] == [
            (*row, where) for row, where in zip(expected, inside, strict=True)
        ]
    assert alone["data"]["jobs"][0]["n_ranks"] == 8


def test_flows_have_no_groups_and_small_ones_are_not_nothing(run: Run, job: Any) -> None:
    path = job("src,dst,bytes\ndgx1-0001,dgx1-0009,1\n", "f.csv")
    row = run("job", "show", path, "--fabric", "dgx1-16").out.splitlines()[3].split()
    assert row[:6] == ["flows", "-", "-", "-", "-", "0.25"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no JOB"),
        (["j.yaml", "--engine", "ftree"], "routes and their options need --fabric SOURCE"),
        (["j.yaml", "--fabric", "dgx1-16", "--engine", "ftree", "--tables", "x"], "--tables excludes --engine"),
        (["j.yaml", "--fabric", "dgx1-16", "--engine", "ftre"], "unknown engine 'ftre'"),
        (["-", "--fabric", "-"], "only one of the fabric and the jobs can be stdin"),
    ],
)
def test_wrong_usage(run: Run, argv: list[str], message: str) -> None:
    done = run("job", "show", *argv)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert message in done.err


def test_unknown_rates_are_refused_and_can_be_assumed(run: Run, job: Any, tmp_path: Path) -> None:
    plan = leaf_spine()
    for ends in plan.cables:
        plan.cables[ends] = (0, 0)
    fabric = tmp_path / "fabric.json"
    fabric.write_text(dump_snapshot(plan.build()))
    argv = ("job", "show", job("hosts: all\ncollective: all_reduce\n"), "--fabric", fabric, "--engine", "minhop")
    done = run(*argv)
    assert done.code == ExitCode.REFUSED
    assert "have no known rate" in done.err
    assert run(*argv, "--assume-speed", "4xHDR").code == ExitCode.DONE


# ---- the other commands -------------------------------------------------------------------------------------------------


def test_route_is_loaded_by_the_whole_step(run: Run, job: Any) -> None:
    path = job(TRAINING.format(hosts=16))
    done = run("route", "superpod-4su", "--engine", "ftree", "--job", path, "--bisections", "4")
    assert done.code == ExitCode.DONE
    assert "Hottest cables (a step of job, bytes)" in done.out
    two = job("jobs:\n  - hosts: 8\n  - {hosts: 8, placement: spread}\n", "two.yaml")
    done = run("route", "superpod-4su", "--engine", "ftree", "--job", two, "--bisections", "4")
    assert "Traffic between 128 HCA ports\n" in done.out
    assert "Hottest cables (a step of 2 jobs, bytes)" in done.out


def test_bench_predicts_collectives_and_not_trainings(run: Run, job: Any) -> None:
    path = job(TRAINING.format(hosts=16))
    done = run("bench", "superpod-4su", "--job", path, "-e", "1K")
    assert done.code == ExitCode.INPUT
    assert f"fabctl bench step SOURCE --job {path}" in done.err
    assert run("bench", "superpod-4su", "--job", path, "--collective", "all_reduce", "-e", "1K").code == ExitCode.DONE
    two = job("jobs:\n  - hosts: 8\n  - hosts: 8\n", "two.yaml")
    done = run("bench", "superpod-4su", "--job", two, "-e", "1K")
    assert (done.code, "this file holds 2 jobs, and one is wanted" in done.err) == (ExitCode.INPUT, True)
    tree = job("hosts: 8\ncollective: all_reduce\nalgorithm: tree\n", "tree.yaml")
    done = run("bench", "superpod-4su", "--job", tree, "-e", "1K")
    assert (done.code, done.out.count(" Tree ") > 0) == (ExitCode.DONE, True)
