"""``fabctl route`` as an operator meets it: messages, exit codes, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from routing_oracles import TREE_ENGINES

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import NodeKind
from fabctl.model.snapshot import dump_snapshot
from fabctl.model.tables import NO_ROUTE
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.units import Speed

Run = Callable[..., Any]


@pytest.fixture
def tree(project: Path) -> Path:
    return project / "topologies/xgft-64.yaml"


def test_the_report_of_a_clean_tree(run: Run, tree: Path) -> None:
    outcome = run("route", tree, "--engine", "ftree")
    assert outcome.code == 0
    for words in (
        "Routes by engine ftree, computed by fabctl",
        "every switch with HCAs reaches every LID",
        "credit loops   none",
        "1.000 of injection bandwidth (max channel load 63, ideal 63)",
        "worst 1 flows on one channel",
        "all 63 tried",
        "0 unused",
        "Hottest cables (all-to-all)",
    ):
        assert words in outcome.out


def test_json_is_the_contract(run: Run, tree: Path, project: Path) -> None:
    first = run("route", tree, "-o", "json", "--pattern", "shift:3")
    assert first.out == run("route", tree, "-o", "json", "--pattern", "shift:3").out
    payload = json.loads(first.out)
    schema = json.loads((project / "fabctl/report/schemas/route-report.json").read_text())
    jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
    assert set(payload["data"]) == set(schema["properties"])
    assert set(payload["data"]["quality"]) == set(schema["properties"]["quality"]["oneOf"][1]["properties"])
    assert payload["data"]["traffic"] == "shift:3"
    assert payload["data"]["hottest_cables"][0]["load"] == 1


@pytest.mark.parametrize("engine", TREE_ENGINES)
def test_tables_come_back_equal_through_opensm_s_format(engine: str, tree: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    tables = compute_tables(fabric, engine)
    path = tmp_path / "lfts"
    path.write_text("".join(lft_dump(tables)))
    np.testing.assert_array_equal(load_tables(str(path), fabric).lft, tables.lft)


def test_export_writes_what_opensm_needs(run: Run, tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "routes"
    assert run("route", tree, "--engine", "updn", "--export", "opensm", folder).code == 0
    assert {"README", "opensm-lfts.dump"} <= {path.name for path in folder.iterdir()}
    assert "opensm -o -R file,no_fallback -U opensm-lfts.dump" in (folder / "README").read_text()
    judged = run("route", tree, "--tables", folder / "opensm-lfts.dump", "-o", "json")
    assert json.loads(judged.out)["data"]["quality"]["worst_shift_load"] == 1


def test_export_where_nothing_can_be_written(run: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here first")
    outcome = run("route", tree, "--export", "opensm", tmp_path / "file")
    assert outcome.code == 3
    assert "cannot make this folder" in outcome.err
    assert (tmp_path / "file").read_text() == "here first"


def test_routes_that_may_deadlock_are_not_exported(run: Run, fixtures: Path, tmp_path: Path) -> None:
    ring = fixtures / "tool-output/ring6.net"
    outcome = run("route", ring, "--engine", "minhop", "--export", "opensm", tmp_path / "routes")
    assert outcome.code == 6
    assert "RTE203" in outcome.out
    assert "--engine updn" in outcome.err
    assert not (tmp_path / "routes").exists()
    assert run("route", ring, "--engine", "updn", "--export", "opensm", tmp_path / "routes").code == 0


def test_lost_traffic_is_an_error_and_names_switch_and_lid(run: Run, tree: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    tables = compute_tables(fabric, "ftree")
    lid = int(fabric.port_lid[fabric.endpoints[5]])
    tables.lft[3, lid] = NO_ROUTE
    path = tmp_path / "lfts"
    path.write_text("".join(lft_dump(tables)))
    outcome = run("route", tree, "--tables", path)
    assert outcome.code == 1
    assert f"for LID {lid} ({fabric.port_label(int(fabric.endpoints[5]))}) has no route" in outcome.out
    assert fabric.labels[3] in outcome.out
    assert "Not scored" in outcome.out


@pytest.mark.parametrize(("highest", "severity", "code"), [(128, "warning", 0), (129, "error", 1)])
def test_a_lid_that_no_table_lists(run: Run, tmp_path: Path, highest: int, severity: str, code: int) -> None:
    """dump_fts leaves out a highest LID that is a multiple of 64: that is no fault of the fabric."""
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 1, "leaf")
    builder.port(1, 0, port_guid=1, lid=1)
    for number, lid in enumerate((2, 3, highest), 1):
        guid = 0x10 * number
        builder.node(NodeKind.CA, guid, f"host-{number} mlx5_0")
        builder.port(guid, 1, port_guid=guid, lid=lid)
        builder.link(1, number, guid, 1, lanes=4, speed=Speed.HDR)
        builder.link(guid, 1, 1, number, lanes=4, speed=Speed.HDR)
    fabric = builder.build()
    (tmp_path / "fabric.json").write_text(dump_snapshot(fabric))
    text = "".join(lft_dump(compute_tables(fabric, "minhop")))
    (tmp_path / "lfts").write_text(
        "".join(line for line in text.splitlines(True) if not line.startswith(f"0x{highest:04x}")).replace("4 lids", "3 lids")
    )
    outcome = run("route", tmp_path / "fabric.json", "--tables", tmp_path / "lfts", "-o", "json")
    findings = [finding for finding in json.loads(outcome.out)["findings"] if finding["code"] == "RTE205"]
    assert [finding["severity"] for finding in findings] == [severity]
    assert "LIDs in no table: 1" in run("route", tmp_path / "fabric.json", "--tables", tmp_path / "lfts").out
    assert outcome.code == code


def test_tables_of_another_fabric(run: Run, tree: Path, project: Path, tmp_path: Path) -> None:
    other = load_fabric(str(project / "topologies/leaf-spine-648.yaml")).fabric
    path = tmp_path / "lfts"
    path.write_text("".join(lft_dump(compute_tables(other, "minhop"))))
    outcome = run("route", tree, "--tables", path)
    assert outcome.code == 3
    assert str(path) in outcome.err


def test_duplicate_lids_cannot_be_routed(run: Run, fixtures: Path, tmp_path: Path) -> None:
    text = (fixtures / "tool-output/ibnetdiscover.txt").read_text()
    clash = tmp_path / "clash.txt"
    clash.write_text(text.replace("lid 14 ", "lid 13 "))
    outcome = run("route", clash)
    assert outcome.code == 3
    assert "LID 13 is claimed by node00006/P1 and node00007/P1" in outcome.err


def test_a_fabric_without_lids_gets_some_and_says_so(run: Run, fixtures: Path) -> None:
    outcome = run("route", fixtures / "tool-output/ibsim-small.net", "--engine", "ftree")
    assert outcome.code == 0
    assert "14 ports had no LID" in outcome.err


def test_a_fabric_without_switches(run: Run, fixtures: Path) -> None:
    outcome = run("route", fixtures / "ibnetdiscover/gb200-lone-host.txt")
    assert outcome.code == 3
    assert "nothing to route" in outcome.err


@pytest.mark.parametrize("name", ["hdr-directors-2021-terminal-log", "dgx-ndr-2025", "ufm-lab-small", "jabl-1", "jabl-2"])
@pytest.mark.parametrize("engine", ["minhop", "updn"])
def test_real_dumps_are_routed(run: Run, fixtures: Path, name: str, engine: str) -> None:
    outcome = run("route", fixtures / f"ibnetdiscover/{name}.txt", "--engine", engine, "--bisections", 20, "-o", "json")
    data = json.loads(outcome.out)["data"]
    assert data["verification"]["lost_hca_pairs"] == 0
    assert data["verification"]["forwarding_loop"] == []
    assert outcome.code == (1 if data["verification"]["credit_loop"] else 0)
    assert engine == "minhop" or not data["verification"]["credit_loop"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engine", "ftre"], 2, "did you mean 'ftree'?"),
        (["--engine", "ftree", "--tables", "x"], 2, "--tables excludes --engine"),
        (["--pattern", "rign"], 2, "did you mean 'ring'?"),
        (["--pattern", "ring:4"], 2, "only shift takes a number"),
        (["--hosts", "node-99"], 3, "no host 'node-99'"),
        (["--hosts", "node-0001"], 3, "at least two hosts"),
        (["--bisections", "1"], 2, "bisections"),
        (["--export", "idbm", "x"], 2, "did you mean 'ibdm'?"),
        (["--tables", "/nowhere"], 3, "no such file"),
    ],
)
def test_bad_input(run: Run, tree: Path, arguments: list[str], code: int, words: str) -> None:
    outcome = run("route", tree, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err


def test_a_job_names_its_cables(run: Run, project: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("hosts: dgx1-[0001-0016]\ncollective: all_reduce\n")
    outcome = run("route", project / "topologies/dgx1-16.yaml", "--job", job, "-o", "csv")
    assert outcome.code == 0
    header, first, *_ = outcome.out.splitlines()
    assert header.startswith("from,from_port,to,to_port,load,flows")
    assert "leaf-" in first
