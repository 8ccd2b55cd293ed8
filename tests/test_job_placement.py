"""``fabctl job slowdown`` and ``fabctl job place``: what they print, what they write, what they refuse."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from small_fabrics import two_levels

from fabctl.errors import ExitCode
from fabctl.model.snapshot import dump_snapshot
from fabctl.traffic.job import parse_jobs
from fabctl.units import Speed

Run = Callable[..., Any]

TOPOLOGY = "family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\n"
CROSSED = """
jobs:
  - {name: up, hosts: [node-0001, node-0005], pattern: ring, size: 1G}
  - {name: too, hosts: [node-0002, node-0009], pattern: ring, size: 1G}
  - {name: inside, hosts: [node-0013, node-0014], pattern: ring, size: 1G}
"""
"""On D-mod-k routes node-0005 and node-0009 are reached over the same spine: up and too share a cable."""


@pytest.fixture
def fabric(tmp_path: Path) -> Path:
    path = tmp_path / "tree.yaml"
    path.write_text(TOPOLOGY)
    return path


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.yaml"
    path.write_text(CROSSED)
    return path


@pytest.fixture
def checked(run: Run, project: Path) -> Callable[..., dict[str, Any]]:
    """Run a command with ``-o json`` and return what it printed, once the schemas agree."""

    def check(kind: str, *argv: object, code: int = 0) -> dict[str, Any]:
        outcome = run(*argv, "-o", "json")
        assert (outcome.code, outcome.err) == (code, "")
        payload: dict[str, Any] = json.loads(outcome.out)
        for name, document in (("envelope", payload), (kind, payload["data"])):
            schema = json.loads((project / "fabctl/report/schemas" / f"{name}.json").read_text())
            jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
        return payload

    return check


@pytest.mark.parametrize("name", ["job-slowdowns", "job-placement"])
def test_schemas_are_schemas_and_describe_all_keys(project: Path, name: str) -> None:
    schema = json.loads((project / "fabctl/report/schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:fabctl:schema:1:{name}"

    def objects(node: Any) -> list[dict[str, Any]]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return [
            *([node] if isinstance(node, dict) and "properties" in node else []),
            *(o for each in inner for o in objects(each)),
        ]

    assert all(set(each["required"]) == set(each["properties"]) for each in objects(schema))


# ---- slowdown ----------------------------------------------------------------------------------------------------------


def test_slowdown_of_jobs_that_share_a_cable(checked: Callable[..., dict[str, Any]], fabric: Path, jobs: Path) -> None:
    payload = checked("job-slowdowns", "job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree")
    assert payload["kind"] == "JobSlowdowns"
    assert [entry["parser"] for entry in payload["inputs"]] == ["topology", "job"]
    (result,) = payload["data"]["routes"]
    assert result["routes"] == "ftree"
    assert [job["slowdown"] for job in result["jobs"]] == [2.0, 2.0, 1.0]
    assert result["matrix"] == [[1.0, 2.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    up = result["jobs"][0]
    assert up["binding"]["others"] == [{"job": "too", "flows": 1}]
    assert (up["binding"]["at_host"], up["binding"]["hosts"]) == (False, ["node-0001", "node-0005"])
    assert up["shared_ms"] == pytest.approx(2 * up["alone_ms"])
    assert up["alone_ms"] == up["host_ms"]
    assert payload["data"]["next"] == f"fabctl explain node-0001 node-0005 --fabric {fabric} --job {jobs} --engine ftree"


def test_slowdown_side_by_side(run: Run, fabric: Path, jobs: Path) -> None:
    outcome = run("job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree,updn")
    assert outcome.code == ExitCode.DONE
    assert "ftree SLOWDOWN" in outcome.out
    assert "updn SLOWDOWN" in outcome.out
    assert "What binds, updn" in outcome.out
    assert "\nAssumptions\n" in outcome.out
    assert "Who hurts whom" not in outcome.out
    assert "Who hurts whom, ftree" in run("job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree", "-o", "wide").out
    rows = run("job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree,updn", "-o", "csv").out.splitlines()
    assert len(rows) == 1 + 2 * 3
    assert (rows[0].split(",")[11], rows[1].split(",")[11]) == ("others", "too")


def test_the_engine_is_named_once_before_its_notes(run: Run, fabric: Path, jobs: Path) -> None:
    outcome = run("job", "slowdown", jobs, "--fabric", fabric, "--engine", "jobs")
    assert "        jobs: " in outcome.out
    assert "jobs: jobs: " not in outcome.out


def test_the_command_to_type_next_sees_the_same_fabric(run: Run, tmp_path: Path) -> None:
    """Unknown rates have to be assumed again, and a seed is not the default."""
    fabric, jobs = tmp_path / "fabric.json", tmp_path / "jobs.yaml"
    fabric.write_text(dump_snapshot(two_levels(8, 4, 1, up_speed=Speed.UNKNOWN)))
    jobs.write_text("jobs:\n  - {name: a, hosts: [n0000, n0004], pattern: ring}\n  - {name: b, hosts: 4, pattern: alltoall}\n")
    options = (jobs, "--fabric", fabric, "--from", "snapshot", "--assume-speed", "4xHDR")
    step = json.loads(run("job", "slowdown", *options, "-o", "json").out)["data"]["next"]
    assert step.startswith("fabctl explain ")
    assert run(*shlex.split(step)[1:]).code == ExitCode.DONE
    spread = jobs.read_text().replace("hosts: 4", "hosts: 4, placement: spread")
    jobs.write_text(spread)
    step = json.loads(run("job", "place", *options, "--seed", "7", "-o", "json").out)["data"]["next"]
    assert "--assume-speed 4xHDR" in step
    assert "--seed 7" in step
    assert run(*shlex.split(step)[1:-1], tmp_path / "placed.yaml").code == ExitCode.DONE


def test_a_slow_job_is_a_finding(checked: Callable[..., dict[str, Any]], run: Run, fabric: Path, jobs: Path) -> None:
    arguments = ("job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree", "--fail-above")
    assert checked("job-slowdowns", *arguments, "2.5")["findings"] == []
    payload = checked("job-slowdowns", *arguments, "1.5", code=ExitCode.FINDINGS)
    assert [(finding["code"], finding["subject"]) for finding in payload["findings"]] == [("JOB401", "up"), ("JOB401", "too")]
    assert payload["findings"][0]["items"] == ["too"]
    assert "slowed 2.00 times beside the others on ftree by" in run(*arguments, "1.5").out
    nothing = run(*arguments, "nan")
    assert (nothing.code, nothing.out) == (ExitCode.USAGE, "")
    assert "--fail-above nan is no factor" in nothing.err


def test_real_tables_stand_beside_engines(run: Run, fabric: Path, jobs: Path, tmp_path: Path) -> None:
    assert run("route", fabric, "--engine", "ftree", "--export", "opensm", tmp_path / "routes").code == ExitCode.DONE
    lfts = next(path for path in (tmp_path / "routes").iterdir() if "lft" in path.name)
    outcome = run("job", "slowdown", jobs, "--fabric", fabric, "--tables", lfts, "--engine", "ftree", "-o", "json")
    results = json.loads(outcome.out)["data"]["routes"]
    assert [result["routes"] for result in results] == [str(lfts), "ftree"]
    assert results[0]["jobs"] == results[1]["jobs"]
    assert json.loads(outcome.out)["data"]["next"].endswith(f"--tables {lfts}")


def test_adaptive_routing_stands_beside_static_routes(checked: Callable[..., dict[str, Any]], fabric: Path, jobs: Path) -> None:
    """Two flows that share a cable by destination are spread over four: alone each has its host's rate, and so beside the other."""
    payload = checked("job-slowdowns", "job", "slowdown", jobs, "--fabric", fabric, "--engine", "ftree", "--adaptive", "tree")
    static, adaptive = payload["data"]["routes"]
    assert [static["routes"], adaptive["routes"]] == ["ftree", "ftree, adaptive (tree)"]
    assert [job["slowdown"] for job in static["jobs"]] == [2.0, 2.0, 1.0]
    assert [job["slowdown"] for job in adaptive["jobs"]] == pytest.approx([1.0, 1.0, 1.0])


def test_what_is_no_job_file_is_kept_as_a_list_of_hosts(run: Run, tmp_path: Path) -> None:
    fabric, record = tmp_path / "thin.yaml", tmp_path / "slurm.txt"
    fabric.write_text("family: xgft\nm: [2, 8]\nw: [1, 1]\nspeed: EDR\n")
    nodes = "node-[0001,0003,0005,0002,0004,0006]"
    record.write_text(f"JobId=77 JobName=train\n   JobState=RUNNING\n   NumNodes=6 NumTasks=6\n   NodeList={nodes}\n")
    outcome = run("job", "place", record, "--fabric", fabric)
    step = outcome.out.splitlines()[-1].removeprefix("Next: ")
    assert step.endswith("-o name --out hosts.txt")
    assert "train (77): train (77): " not in outcome.out
    assert run(*shlex.split(step)[1:-1], tmp_path / "hosts.txt").code == ExitCode.DONE
    assert len((tmp_path / "hosts.txt").read_text().split()) == 6


@pytest.mark.parametrize("command", ["show", "slowdown", "place"])
def test_stdin_cannot_be_fabric_and_job(run: Run, command: str) -> None:
    outcome = run("job", command, "-", "--fabric", "-")
    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
    assert "only one of the fabric and the jobs can be stdin" in outcome.err


def test_several_files_are_several_jobs(run: Run, fabric: Path, tmp_path: Path) -> None:
    for name, hosts in (("first", "[node-0001, node-0005]"), ("second", "[node-0002, node-0009]")):
        (tmp_path / f"{name}.yaml").write_text(f"hosts: {hosts}\npattern: ring\nsize: 1G\n")
    outcome = run(
        "job", "slowdown", tmp_path / "first.yaml", tmp_path / "second.yaml", "--fabric", fabric, "--engine", "ftree", "-o", "csv"
    )
    assert [line.split(",")[0] for line in outcome.out.splitlines()] == ["job", "first", "second"]


def test_unknown_rates_are_refused_or_assumed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("hosts: all\ncollective: all_reduce\nsize: 1G\n")
    dark = tmp_path / "fabric.json"
    dark.write_text(dump_snapshot(two_levels(8, 4, 2, up_speed=0)))
    for command in ("slowdown", "place"):
        refused = run("job", command, tmp_path / "job.yaml", "--fabric", dark)
        assert refused.code == ExitCode.REFUSED
        assert "no known rate" in refused.err
        assert "--assume-speed" in refused.err
        assert run("job", command, tmp_path / "job.yaml", "--fabric", dark, "--assume-speed", "4xEDR").code == ExitCode.DONE


# ---- place -------------------------------------------------------------------------------------------------------------


def test_a_ring_of_all_hosts_in_random_order(
    checked: Callable[..., dict[str, Any]], run: Run, fabric: Path, tmp_path: Path
) -> None:
    job = tmp_path / "ring.yaml"
    job.write_text("hosts: all\norder: random\ncollective: all_reduce\nsize: 1G\n")
    arguments = ("job", "place", job, "--fabric", fabric, "--engine", "ftree")
    payload = checked("job-placement", *arguments)
    (found,) = payload["data"]["jobs"]
    assert found["proposed_ms"] == found["bound_ms"]
    assert found["gain"] > 1.5
    assert found["gain_over_random"] > 1.2
    assert found["random_ms"] == pytest.approx(sum(found["random_samples_ms"]) / 10)
    assert sorted(found["proposed_hosts"]) == sorted(found["given_hosts"])
    names = run(*arguments, "-o", "name").out.splitlines()
    assert names == found["proposed_hosts"]
    assert run(*arguments, "-o", "hostfile").out.splitlines() == [f"{name} slots=1" for name in names]
    assert run(*arguments, "-o", "slurm").out.splitlines() == names
    text = run(*arguments).out
    assert "ring: node-[0001-0016]" in text
    assert text.rstrip().endswith("-o job --out placed.yaml")


def test_a_job_file_comes_back_and_is_as_fast_as_promised(run: Run, fabric: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "jobs.yaml", tmp_path / "placed.yaml"
    source.write_text(
        "# comment\njobs:\n"
        "- {hosts: 4, placement: 'random:3', collective: all_reduce, ranks_per_host: 010, size: 1G}\n"
        "- name: moe\n  hosts: 6\n  placement: random:2\n  order: random\n  collective: [alltoall, all_reduce]\n  pxn: yes\n  size: 64M\n"
    )
    outcome = run("job", "place", source, "--fabric", fabric, "--engine", "ftree", "-o", "json")
    proposed = {job["job"]: job for job in json.loads(outcome.out)["data"]["jobs"]}
    assert (
        run("job", "place", source, "--fabric", fabric, "--engine", "ftree", "-o", "job", "--out", target).code == ExitCode.DONE
    )
    before, after = (parse_jobs(path.read_text(), path.name) for path in (source, target))
    assert [spec.name for spec in after] == ["jobs-1", "moe"]
    for old, new in zip(before, after, strict=True):
        assert [entry.text for entry in new.hosts] == proposed[new.name]["proposed_hosts"]
        assert (new.count, new.order, new.placement) == (0, "as-given", "given")
        assert (new.collectives, new.sizes, new.pxn, new.ranks_per_host) == (
            old.collectives,
            old.sizes,
            old.pxn,
            old.ranks_per_host,
        )
    slow = json.loads(run("job", "slowdown", target, "--fabric", fabric, "--engine", "ftree", "-o", "json").out)
    for job in slow["data"]["routes"][0]["jobs"]:
        assert job["shared_ms"] == pytest.approx(proposed[job["name"]]["proposed_ms"])
    assert "next" in slow["data"]


def test_a_single_job_file_comes_back(run: Run, fabric: Path, tmp_path: Path) -> None:
    source = tmp_path / "one.yaml"
    source.write_text("hosts: 4\nplacement: spread\nmodel: llama3-8b\nparallelism: {dp: 4}\nranks_per_host: 1\n")
    out = run("job", "place", source, "--fabric", fabric, "--engine", "ftree", "-o", "job").out
    kept = yaml.safe_load(out)
    assert (kept["name"], kept["order"], kept["model"], kept["parallelism"], len(kept["hosts"])) == (
        "one",
        "as-given",
        "llama3-8b",
        {"dp": 4},
        4,
    )
    assert "placement" not in kept


def test_jobs_that_run_stay(run: Run, fabric: Path, tmp_path: Path) -> None:
    (tmp_path / "running.yaml").write_text("hosts: node-[0001-0004]\ncollective: all_reduce\nsize: 1G\n")
    (tmp_path / "new.yaml").write_text("hosts: 4\nplacement: spread\ncollective: all_reduce\nsize: 1G\n")
    arguments = (
        "job",
        "place",
        tmp_path / "new.yaml",
        "--fabric",
        fabric,
        "--engine",
        "ftree",
        "--with",
        tmp_path / "running.yaml",
    )
    names = run(*arguments, "-o", "name").out.splitlines()
    assert len(names) == 4
    assert not {f"node-{number:04}" for number in range(1, 5)} & set(names)
    assert "Beside  running" in run(*arguments).out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--engine", "ftree", "--tables", "x"), ExitCode.USAGE, "--tables excludes --engine"),
        (("--engine", "ftre"), ExitCode.USAGE, "did you mean 'ftree'"),
        (("-o", "hostfile"), ExitCode.USAGE, "is for one job"),
        (("--with", "nowhere.yaml"), ExitCode.INPUT, "nowhere.yaml"),
        (("--assume-speed", "fast"), ExitCode.USAGE, "no link speed"),
    ],
)
def test_place_refuses(run: Run, fabric: Path, jobs: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    outcome = run("job", "place", jobs, "--fabric", fabric, *arguments)
    assert outcome.code == code
    assert words in outcome.err


def test_a_flow_list_is_not_rewritten(run: Run, fabric: Path, tmp_path: Path) -> None:
    path = tmp_path / "slurm.txt"
    path.write_text("JobId=7 JobName=train\n   NodeList=node-[0001-0004] NumNodes=4\n   JobState=RUNNING\n")
    outcome = run("job", "place", path, "--fabric", fabric, "-o", "job")
    assert outcome.code in (ExitCode.USAGE, ExitCode.INPUT)
    assert outcome.out == ""


def test_a_job_on_stdin_is_placed_but_not_rewritten(run: Run, fabric: Path) -> None:
    text = "hosts: 4\nplacement: spread\ncollective: all_reduce\nsize: 1G\n"
    assert len(run("job", "place", "-", "--fabric", fabric, "-o", "name", stdin=text).out.splitlines()) == 4
    outcome = run("job", "place", "-", "--fabric", fabric, "-o", "job", stdin=text)
    assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hosts: 40\ncollective: all_reduce\n", "40"),
        ("hosts: [node-0001, node-9999]\ncollective: all_reduce\n", "no host 'node-9999'"),
        ("hosts: 4\nplacement: near\ncollective: all_reduce\n", "unknown placement"),
    ],
)
def test_wrong_jobs_are_input_errors_with_their_place(run: Run, fabric: Path, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    for command in ("slowdown", "place"):
        outcome = run("job", command, path, "--fabric", fabric)
        assert outcome.code == ExitCode.INPUT
        assert words in outcome.err
        assert "job.yaml:" in outcome.err


# ---- Selene ------------------------------------------------------------------------------------------------------------


def test_eight_jobs_on_selene(run: Run, fixtures: Path, project: Path, tmp_path: Path) -> None:
    """Random hosts cost them a factor of 3.5; chosen hosts cost them nothing, and no job file but the hosts is changed."""
    selene, jobs = fixtures / "ibnetdiscover/selene-compute-2021.txt", project / "topologies/jobs/selene-8.yaml"
    placed = tmp_path / "placed.yaml"
    assert run("job", "place", jobs, "--fabric", selene, "--engine", "minhop", "-o", "job", "--out", placed).code == ExitCode.DONE

    def slowdowns(path: Path) -> list[dict[str, Any]]:
        outcome = run("job", "slowdown", path, "--fabric", selene, "--engine", "minhop", "-o", "json")
        return list(json.loads(outcome.out)["data"]["routes"][0]["jobs"])

    before, after = slowdowns(jobs), slowdowns(placed)
    assert [job["name"] for job in after] == [job["name"] for job in before]
    assert sum(job["slowdown"] for job in before) / 8 > 3
    assert max(job["slowdown"] for job in after) == pytest.approx(1.0, abs=0.05)
    assert all(new["shared_ms"] < old["shared_ms"] for old, new in zip(before, after, strict=True))
    assert all(job["shared_ms"] < 1.15 * job["host_ms"] for job in after)
    assert [old["fabric_bytes"] for old in before] == pytest.approx([new["fabric_bytes"] for new in after])
