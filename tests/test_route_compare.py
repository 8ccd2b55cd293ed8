"""``fabctl route compare``: one row per engine, refusals named, and the bound that no row passes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from realstack import preload, tool

from fabctl.cli.route_compare import CHOOSER, FOR_JOBS
from fabctl.routing import ENGINES
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.sources.reading import load_fabric

Run = Callable[..., Any]

ONE = ("--bisections", 20)


@pytest.fixture
def compared(run: Run, project: Path) -> Callable[..., dict[str, Any]]:
    """Run the command with ``-o json``, check it against its schema, and return the data."""
    schema = json.loads((project / "fabctl/report/schemas/route-comparison.json").read_text())

    def check(*arguments: object) -> dict[str, Any]:
        done = run("route", "compare", *arguments, *ONE, "-o", "json")
        assert done.code == 0, done.err
        payload = json.loads(done.out)
        assert payload["kind"] == "RouteComparison"
        jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
        for engine in payload["data"]["engines"]:
            assert set(engine) <= set(schema["properties"]["engines"]["items"]["properties"])
        return payload["data"]

    return check


@pytest.mark.parametrize("source", ["xgft-16", "torus-44"])
def test_all_engines_side_by_side(compared: Callable[..., dict[str, Any]], source: str) -> None:
    data = compared(source)
    rows = {row["engine"]: row for row in data["engines"]}
    assert list(rows) == [name for name in ENGINES.names() if name not in (CHOOSER, FOR_JOBS)]
    for row in rows.values():
        if row["deadlock"] == "refused":
            assert row["refusal"]
            assert row["verdict"] == f"refused: {row['refusal']}"
            assert row["alltoall_fraction"] is None
        else:
            assert row["refusal"] is None
            assert 0 < row["alltoall_fraction"] <= data["bound"]["alltoall_fraction"] + 1e-9
    free = [row for row in rows.values() if row["deadlock"] == "free"]
    assert rows[data["best"]]["alltoall_fraction"] == max(row["alltoall_fraction"] for row in free)
    assert rows["minhop"]["deadlock"] == ("free" if source == "xgft-16" else rows["minhop"]["deadlock"])


def test_a_row_says_what_route_says(run: Run, compared: Callable[..., dict[str, Any]]) -> None:
    row = compared("torus-44", "--engine", "updn")["engines"][0]
    alone = json.loads(run("route", "torus-44", "--engine", "updn", *ONE, "-o", "json").out)["data"]
    for key in ("alltoall_fraction", "worst_shift_load", "mean_shift_load", "ebb_fraction", "ebb_ci99"):
        assert row[key] == alone["quality"][key]


def test_the_table_and_its_bound(run: Run) -> None:
    shown = run("route", "compare", "xgft-16", "--engine", "minhop,ftree", *ONE)
    assert shown.code == 0
    assert re.search(r"^ENGINE +CPU S +VLS +ALL-TO-ALL +WORST SHIFT +EBB +\+- +CREDIT LOOPS$", shown.out, re.MULTILINE)
    assert re.search(r"^ftree +\d+\.\d{3} +1 +1\.000 +1 +\d\.\d{4} +\d\.\d{4} +none$", shown.out, re.MULTILINE)
    assert re.search(r"^any routing +- +- +1\.000 +- +- +- +at most, multipath included$", shown.out, re.MULTILINE)
    assert "No routing of this cabling passes 1.000 for all-to-all: the HCA ports' own cables" in shown.out
    assert "Best without credit loops: minhop, 1.000 (100.0% of that)" in shown.out


def test_times_are_in_data_only_on_demand(run: Run, compared: Callable[..., dict[str, Any]]) -> None:
    arguments = ("route", "compare", "xgft-16", "--engine", "updn", *ONE)
    assert run(*arguments, "-o", "csv").out == run(*arguments, "-o", "csv").out
    assert "CPU" not in run(*arguments, "--no-time").out
    assert "routing_cpu_s" not in compared("xgft-16", "--engine", "updn")["engines"][0]
    assert compared("xgft-16", "--engine", "updn", "--time")["engines"][0]["routing_cpu_s"] >= 0


def test_real_tables_stand_beside_engines(compared: Callable[..., dict[str, Any]], project: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(project / "topologies/xgft-16.yaml")).fabric
    (tmp_path / "lfts").write_text("".join(lft_dump(compute_tables(fabric, "ftree"))))
    data = compared("xgft-16", "--engine", "ftree", "--tables", tmp_path / "lfts")
    real, own = data["engines"]
    assert (real["engine"], own["engine"]) == (str(tmp_path / "lfts"), "ftree")
    assert real["alltoall_fraction"] == own["alltoall_fraction"]


def test_hosts_bound_and_rows_are_for_the_same_ports(compared: Callable[..., dict[str, Any]]) -> None:
    data = compared("xgft-16", "--engine", "ftree", "--hosts", "node-[0001-0008]")
    assert data["hca_ports"] == 8
    assert data["bound"]["alltoall_fraction"] == 1.0


def test_an_option_that_an_engine_does_not_honour_is_its_row(compared: Callable[..., dict[str, Any]]) -> None:
    rows = {row["engine"]: row for row in compared("xgft-16", "--engine", "ftree,dfsssp", "--vls", "2")["engines"]}
    assert "does not honour --vls" in rows["ftree"]["refusal"]
    assert rows["dfsssp"]["deadlock"] == "free"


def test_the_real_opensm_is_a_row(compared: Callable[..., dict[str, Any]]) -> None:
    for name in ("ibsim", "opensm"):
        tool(name)
    preload()
    row = compared("xgft-16", "--engine", "opensm:updn", "--time")["engines"][0]
    assert (row["engine"], row["deadlock"]) == ("opensm:updn", "free")
    assert row["routing_cpu_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engine", "ftre"], 2, "did you mean 'ftree'?"),
        (["--engine", ","], 2, "--engine names nothing"),
        (["--engine", "opensm:"], 2, "wants the name"),
        (["--tables", "/nowhere"], 3, "no such file"),
        (["--hosts", "nobody-1"], 3, "no host 'nobody-1'"),
        (["--hosts", "node-0001"], 3, "at least two hosts"),
        (["--root", "nobody", "--engine", "updn"], 3, "no switch 'nobody'"),
    ],
)
def test_bad_input(run: Run, arguments: list[str], code: int, words: str) -> None:
    done = run("route", "compare", "xgft-16", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_fabric_that_cannot_be_routed(run: Run, fixtures: Path) -> None:
    done = run("route", "compare", fixtures / "ibnetdiscover/gb200-lone-host.txt")
    assert done.code == 3
    assert "Traceback" not in done.err
