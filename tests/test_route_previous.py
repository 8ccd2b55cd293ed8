"""``fabctl route --previous``: a fault between two dumps, as an operator meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from fabctl.model.snapshot import dump_snapshot
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.sources.reading import load_fabric, load_tables

Run = Callable[..., Any]

TREE = "family: xgft\nm: [4, 4, 4]\nw: [1, 4, 4]\nspeed: EDR\n"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Tables of the whole tree; the tree itself lies beside as ``whole.yaml``."""
    (tmp_path / "whole.yaml").write_text(TREE)
    fabric = load_fabric(str(tmp_path / "whole.yaml")).fabric
    (tmp_path / "before.txt").write_text("".join(lft_dump(compute_tables(fabric, "ftree"))))
    return tmp_path / "before.txt"


def faulty(folder: Path, *names: str) -> Path:
    """Write the tree without what `names` name."""
    path = folder / "now.yaml"
    path.write_text(TREE + "remove:\n  names: [" + ", ".join(f'"{name}"' for name in names) + "]\n")
    return path


def labels(folder: Path, tier: int) -> list[str]:
    fabric = load_fabric(str(folder / "whole.yaml")).fabric
    return [fabric.labels[switch] for switch in np.flatnonzero(fabric.tiers == tier)]


def test_a_cut_cable(run: Run, before: Path, tmp_path: Path, project: Path) -> None:
    now = faulty(tmp_path, f"{labels(tmp_path, 0)[3]}/P6")
    shown = run("route", now, "--engine", "ftree", "--previous", before, "--top", "2")
    assert shown.code == 0, shown.err
    assert f"Routes by engine ftree, changed from {before}, computed by fabctl" in shown.out
    assert f"Changed from {before}\n  rewritten " in shown.out
    assert "  ftree anew " in shown.out
    assert "Moved LIDs, the first 2 of " in shown.out
    payload = json.loads(run("route", now, "--engine", "ftree", "--previous", before, "-o", "json").out)
    schema = json.loads((project / "fabctl/report/schemas/route-report.json").read_text())
    jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
    change = payload["data"]["change"]
    assert set(change) == set(schema["properties"]["change"]["oneOf"][1]["properties"])
    assert change["rewritten"]["blocks"] < change["engine_anew"]["blocks"]
    assert sum(len(moved["entries"]) for moved in change["moved"]) == change["rewritten"]["entries"]
    rows = run("route", now, "--engine", "ftree", "--previous", before, "-o", "csv").out.splitlines()
    assert rows[0] == "lid,port,switches,example"
    assert len(rows) == 1 + len(change["moved"])


def test_what_is_exported_is_the_change(run: Run, before: Path, tmp_path: Path) -> None:
    now = faulty(tmp_path, f"{labels(tmp_path, 0)[3]}/P6")
    arguments = ("route", now, "--engine", "updn", "--previous", before, "-o", "json", "--export", "opensm", tmp_path / "out")
    done = run(*arguments)
    assert done.code == 0, done.err
    fabric = load_fabric(str(now)).fabric
    old, new = load_tables(str(before), fabric), load_tables(str(tmp_path / "out/opensm-lfts.dump"), fabric)
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    assert int((old.lft[:, lids] != new.lft[:, lids]).sum()) == json.loads(done.out)["data"]["change"]["rewritten"]["entries"]


@pytest.mark.parametrize("kind", ["spine", "host", "leaf"])
def test_what_is_lost_is_tolerated(run: Run, before: Path, tmp_path: Path, kind: str) -> None:
    name = {"spine": labels(tmp_path, 1)[2], "host": "node-0007", "leaf": labels(tmp_path, 0)[2]}[kind]
    done = run("route", faulty(tmp_path, name), "--engine", "updn", "--previous", before, "-o", "json")
    assert done.code == 0, done.err
    change = json.loads(done.out)["data"]["change"]
    assert change["lids_gone"] == {"spine": 1, "host": 1, "leaf": 5}[kind]
    assert (change["rewritten"]["entries"] > 0) == (kind == "spine")


def test_what_has_come_back_gets_routes(run: Run, tmp_path: Path, before: Path) -> None:
    now = faulty(tmp_path, labels(tmp_path, 0)[2])
    fabric = load_fabric(str(now)).fabric
    (tmp_path / "less.txt").write_text("".join(lft_dump(compute_tables(fabric, "updn"))))
    done = run("route", tmp_path / "whole.yaml", "--engine", "updn", "--previous", tmp_path / "less.txt", "-o", "json")
    assert done.code == 0, done.err
    data = json.loads(done.out)["data"]
    assert data["verification"]["lost_hca_pairs"] == 0
    assert len(data["change"]["moved"]) == 16 * 4 + 16 * 3


def test_lids_that_moved_are_refused(run: Run, before: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tmp_path / "whole.yaml")).fabric
    ports = fabric.endpoints[[0, 9]]
    fabric.port_lid[ports] = fabric.port_lid[ports[::-1]]
    (tmp_path / "now.json").write_text(dump_snapshot(fabric))
    done = run("route", tmp_path / "now.json", "--previous", before)
    assert (done.code, done.out) == (3, "")
    assert "LIDs have moved" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--previous", "/nowhere"], 3, "no such file"),
        (["--previous", "/nowhere", "--tables", "y"], 3, "no such file"),
    ],
)
def test_bad_input(run: Run, before: Path, arguments: list[str], code: int, words: str) -> None:
    done = run("route", before.parent / "whole.yaml", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_tables_of_another_fabric_are_refused(run: Run, before: Path, fixtures: Path) -> None:
    done = run("route", fixtures / "tool-output/ibnetdiscover.txt", "--previous", before)
    assert done.code == 3
    assert "another fabric" in done.err or "moved" in done.err


def test_stdin_is_one_of_both(run: Run) -> None:
    done = run("route", "-", "--previous", "-", stdin="x")
    assert done.code == 2
    assert "cannot both be stdin" in done.err
