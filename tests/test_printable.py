"""Whatever a node is called, no command sends it to the terminal as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fabric_plans import leaf_spine

from fabctl.model.snapshot import dump_snapshot
from fabctl.report.output import Patch, Report, Style, Table, render

HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202eevil"


@pytest.mark.parametrize("fmt", ["table", "wide", "csv", "name", "json"])
@pytest.mark.parametrize(
    "words",
    [("discover",), ("discover", "--links"), ("diff", "OTHER"), ("route",), ("bench", "-f", "64"), ("offload", "list")],
    ids=" ".join,
)
def test_names_are_printed_with_escapes_written_out(run: Any, tmp_path: Path, words: tuple[str, ...], fmt: str) -> None:
    plan = leaf_spine()
    other = tmp_path / "other.json"
    other.write_text(dump_snapshot(plan.build()))
    for name in ("leaf-0", "spine-1", "n0", "n5"):
        plan.nodes[name].description = f"{name} {HOSTILE}"
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(plan.build()))
    *before, last = words
    done = run(*before, *([last] if last != "OTHER" else []), *([other] if last == "OTHER" else []), path, "-o", fmt)
    assert done.code in (0, 1), done.err
    assert all(character.isprintable() or character == "\n" for character in done.out + done.err)
    if words[0] in ("discover", "diff") and fmt != "json":
        assert "\\x1b]0;owned\\x07" in done.out


def test_json_keeps_what_it_escapes(run: Any, tmp_path: Path) -> None:
    plan = leaf_spine()
    plan.nodes["leaf-0"].description = HOSTILE
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(plan.build()))
    rows = [json.loads(line) for line in run("discover", path, "-o", "jsonl").out.splitlines()]
    assert HOSTILE in {row["description"] for row in rows}


def test_a_diff_is_coloured_on_terminals_alone() -> None:
    report = Report("Probe", {}, [Patch(["-old \x1b[2J", "+new", " same"])], Table("", (), ()))
    assert render(report, "table", Style()) == "-old \\x1b[2J\n+new\n same\n"
    assert render(report, "table", Style(rich=True)) == "\x1b[31m-old \\x1b[2J\x1b[0m\n\x1b[32m+new\x1b[0m\n same\n"
