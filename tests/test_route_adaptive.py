"""``fabctl route --adaptive`` and ``--hash``: what is printed, what is refused, and the JSON contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

Run = Callable[..., Any]


@pytest.fixture
def data(run: Run, project: Path) -> Callable[..., dict[str, Any]]:
    """Route with ``-o json``, validate against the schema, and return the data."""
    schema = json.loads((project / "fabctl/report/schemas/route-report.json").read_text())

    def call(*argv: object) -> dict[str, Any]:
        done = run("route", *argv, "-o", "json", "--bisections", 20)
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)["data"]
        jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
        return found

    return call


def test_static_and_adaptive_side_by_side(data: Callable[..., dict[str, Any]], project: Path) -> None:
    found = data(project / "topologies/xgft-64.yaml", "--engine", "ftree", "--adaptive", "tree", "--hash", 5, "--qps", 4)
    adaptive = found["adaptive"]
    assert (adaptive["mode"], adaptive["service_levels"], adaptive["traffic_share"]) == ("tree", None, 1.0)
    assert (adaptive["hash_seed"], adaptive["qps"], adaptive["widest_group"]) == (5, 4, 4)
    routes = {row["routes"]: row for row in adaptive["routes"]}
    assert list(routes) == ["static", "fluid", "local", "hash"]
    assert routes["static"]["ebb_fraction"] == found["quality"]["ebb_fraction"]
    assert routes["static"]["alltoall_fraction"] == found["quality"]["alltoall_fraction"]
    assert routes["fluid"]["ebb_fraction"] == 1.0
    assert routes["local"]["hottest_load"] is None
    converged = adaptive["convergence"]
    assert converged["bound_load"] <= converged["hottest_load"] <= converged["static_load"] == 63
    assert converged["rounds"][0]["change"] is None


def test_flows_of_a_pattern(data: Callable[..., dict[str, Any]], project: Path) -> None:
    found = data(project / "topologies/fat-tree-1024-faults.yaml", "--pattern", "shift:575", "--adaptive", "tree")["adaptive"]
    routes = {row["routes"]: row for row in found["routes"]}
    assert routes["static"]["hottest_load"] == 7
    assert routes["fluid"]["hottest_load"] < routes["local"]["hottest_load"] <= 7
    assert {row["alltoall_fraction"] for row in found["routes"]} == {None}
    rounds = found["convergence"]["rounds"]
    assert [entry["round"] for entry in rounds] == list(range(1, len(rounds) + 1))
    assert rounds[1]["change"] == pytest.approx(rounds[1]["hottest_load"] / rounds[0]["hottest_load"] - 1)
    assert found["convergence"]["gap"] < 0.02


def test_service_levels(data: Callable[..., dict[str, Any]], project: Path) -> None:
    tree = project / "topologies/xgft-64.yaml"
    other = data(tree, "--adaptive", "tree", "--adaptive-sls", "1,3")["adaptive"]
    assert (other["service_levels"], other["traffic_share"]) == ([1, 3], 0.0)
    assert len({row["ebb_fraction"] for row in other["routes"]}) == 1
    assert data(tree, "--adaptive", "tree", "--adaptive-sls", "0")["adaptive"]["traffic_share"] == 1.0


def test_lids_of_a_port(data: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "lmc.yaml"
    path.write_text("family: leaf-spine\nhosts_per_leaf: 4\nleaves: 4\nspines: 4\nspeed: EDR\nlmc: 2\n")
    found = data(path, "--hash", 1, "--qps", 8)["adaptive"]
    assert (found["mode"], found["convergence"]) == (None, None)
    assert [row["routes"] for row in found["routes"]] == ["static", "hash"]


def test_text_says_how_it_converged(run: Run, project: Path) -> None:
    done = run("route", project / "topologies/fat-tree-1024-faults.yaml", "--adaptive", "tree", "--bisections", 2, "-o", "wide")
    section = done.out[done.out.index("Adaptive routing by tree, all service levels") :]
    assert "convergence" in section
    assert "no split gets below" in section
    assert "Rounds of balancing" in section
    assert section.index("static") < section.index("fluid ")
    assert run("route", project / "topologies/xgft-16.yaml", "--bisections", 2).out.count("Adaptive") == 0


def test_the_same_command_gives_the_same_bytes(run: Run, project: Path) -> None:
    argv = ("route", project / "topologies/xgft-64.yaml", "--adaptive", "tree", "--hash", 1, "--bisections", 20, "-o", "json")
    assert run(*argv).out == run(*argv).out


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--adaptive", "lag"), 6, "no group has more than one port"),
        (("--hash", "1"), 6, "LMC 0"),
        (("--adaptive", "dragonfly+"), 6, "no Dragonfly+"),
        (("--adaptive", "free"), 2, "'lag', 'tree', 'dragonfly+'"),
        (("--adaptive-sls", "0"), 2, "--adaptive-sls is for --adaptive"),
        (("--adaptive", "tree", "--adaptive-sls", "0,16"), 2, "no list of service levels"),
        (("--adaptive", "tree", "--adaptive-sls", ""), 2, "no list of service levels"),
        (("--qps", "4"), 2, "--qps is for --hash"),
        (("--adaptive", "tree", "-o", "simgrid"), 2, "leave --adaptive and --hash out"),
    ],
)
def test_what_cannot_be_scored_is_refused(run: Run, project: Path, argv: tuple[str, ...], code: int, said: str) -> None:
    done = run("route", project / "topologies/xgft-64.yaml", *argv)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "hint" in done.err


def test_lost_traffic_is_not_scored(run: Run, tmp_path: Path, project: Path) -> None:
    """One entry of one switch left out: the routes are verified, and that is all."""
    tree = project / "topologies/xgft-16.yaml"
    assert run("route", tree, "--export", "opensm", tmp_path / "routes", "--bisections", 2).code == 0
    lines = (tmp_path / "routes" / "opensm-lfts.dump").read_text().splitlines()
    lines.remove(next(line for line in lines if line.startswith("0x0009")))
    broken = tmp_path / "broken.dump"
    broken.write_text("\n".join(lines) + "\n")
    done = run("route", tree, "--tables", broken, "--adaptive", "tree")
    assert done.code == 1
    assert "Not scored" in done.out
    assert "Adaptive" not in done.out
