"""Reference deployments: every one runs, says what is published of it, and stands in docs/scenarios.md as it comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import scenario_pages

from fabctl.bench.scenario import parse_scenario
from fabctl.errors import InputError

Run = Callable[..., Any]

GOOD = """\
title: Two hosts
fabric: {family: xgft, m: [2], w: [1], speed: EDR}
job: {hosts: all, collective: all_reduce}
published:
  - {fact: they exist, source: a photograph}
assumed:
  - {fact: nothing moves, why: the photograph is still}
"""
WANTED = (
    "alibaba",
    "baidu-deep-image",
    "big-basin-pod",
    "caffeonspark-flickr",
    "jd",
    "osu-mvapich2-gdr",
    "saturnv",
    "superpod-a100",
    "superpod-b200",
    "superpod-h100",
    "web-scale",
)


def test_all_reference_deployments_ship() -> None:
    assert scenario_pages.names() == list(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_a_scenario_runs_and_the_page_holds_what_comes_out(name: str, project: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    data = scenario_pages.outcome(name)
    schema = json.loads((project / "fabctl/report/schemas/bench-comparison.json").read_text())
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    first, *others = data["outcomes"]
    assert (first["offloads"], first["baseline"], first["enabled"]) == ("CPU-centric", True, ["pxn"] if name == "jd" else [])
    assert [point["ratio"] for point in first["points"]] == [1.0] * len(first["points"])
    assert others[0]["offloads"] == "+ GPUDirect RDMA"
    for outcome in others:
        assert bool(outcome["points"]) != bool(outcome["refusal"])
        assert all(point["ratio"] >= 1 - 1e-9 for point in outcome["points"]), outcome["offloads"]
    assert data["node"]
    assert data["scenario"]["published"]
    assert data["scenario"]["assumed"]
    assert scenario_pages.page_section(name) == scenario_pages.section(data), "python tests/bench/scenario_pages.py --write"


def test_the_overview_is_what_comes_out() -> None:
    wanted = scenario_pages.overview([scenario_pages.outcome(name) for name in WANTED])
    assert scenario_pages.page_overview() == wanted, "python tests/bench/scenario_pages.py --write"


def test_a_scenario_is_read() -> None:
    scenario = parse_scenario(GOOD, "pair.yaml")
    assert scenario.facts.name == scenario.job.name == "pair"
    assert [fact.why for fact in (*scenario.facts.published, *scenario.facts.assumed)] == [
        "a photograph",
        "the photograph is still",
    ]
    assert (scenario.compute.efficiency, scenario.compute.ms) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Two hosts\n", "", "pair.yaml:1:1: key 'title' is missing"),
        ("assumed", "asumed", "pair.yaml:6:1: unknown key 'asumed'"),
        ("source: a photograph", "why: a photograph", "pair.yaml:5:24: unknown key 'why'"),
        (
            "published:\n  - {fact: they exist, source: a photograph}",
            "published: []",
            "pair.yaml:4:12: 'published' is an empty list",
        ),
        ("all_reduce", "all_redude", "pair.yaml:3:31: unknown collective 'all_redude'"),
        ("title", "efficiency: 0.4\ntitle", "pair.yaml:1:13: 'efficiency' is of a training, and this job has no 'model'"),
        (
            "job: {hosts: all, collective: all_reduce}",
            "job: {hosts: all, model: resnet-50}\nefficiency: 0.4\ncompute_ms: 5",
            "pair.yaml:5:13: 'efficiency' and 'compute_ms' exclude each other",
        ),
        (
            "job: {hosts: all, collective: all_reduce}",
            "job: {hosts: all, model: resnet-50}\nefficiency: 1.4",
            "pair.yaml:4:13: 'efficiency' must be at most 1, not 1.4",
        ),
    ],
)
def test_mistakes_are_said_with_their_place(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        parse_scenario(GOOD.replace(old, new, 1), "pair.yaml")
    assert str(caught.value).startswith(message)


def test_a_scenario_may_be_a_file_or_a_sites_own(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "pair.yaml").write_text(GOOD)
    by_path = run("bench", "compare", "--scenario", folder / "pair.yaml")
    assert by_path.code == 0
    assert "Scenario  Two hosts" in by_path.out
    assert "  they exist\n    source: a photograph\n" in by_path.out
    assert "  nothing moves\n    because: the photograph is still\n" in by_path.out
    monkeypatch.setenv("FABCTL_TOPOLOGY_PATH", str(tmp_path))
    assert run("bench", "compare", "--list-scenarios", "-o", "name").out.split().count("pair") == 1


def test_the_fabric_may_be_a_name_or_a_file_beside(run: Run, tmp_path: Path) -> None:
    (tmp_path / "four.yaml").write_text("family: xgft\nm: [4]\nw: [1]\nspeed: HDR\n")
    text = GOOD.replace("{family: xgft, m: [2], w: [1], speed: EDR}", "FABRIC")
    for name, hosts in (("four.yaml", "4 hosts"), ("xgft-16", "16 hosts")):
        (tmp_path / "own.yaml").write_text(text.replace("FABRIC", name))
        assert hosts in run("bench", "compare", "--scenario", tmp_path / "own.yaml").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--scenario", "saturn"), 2, "did you mean 'saturnv'?"),
        (("--scenario", "saturnv", "dgx1-16"), 2, "--scenario brings its own fabric and job"),
        (("--scenario", "saturnv", "--job", "job.yaml"), 2, "--scenario brings its own fabric and job"),
    ],
)
def test_what_does_not_go_with_a_scenario(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("bench", "compare", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_the_list_of_scenarios_is_what_its_schema_says(run: Run, project: Path) -> None:
    data = json.loads(run("bench", "compare", "--list-scenarios", "-o", "json").out)["data"]
    schema = json.loads((project / "fabctl/report/schemas/scenario-list.json").read_text())
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    assert [row["name"] for row in data["scenarios"]] == list(WANTED)
