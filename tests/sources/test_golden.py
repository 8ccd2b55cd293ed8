"""Small texts that show one peculiarity each: ``golden/SOURCE/CASE/input.txt`` and what is made of it in ``expected.json``.

Adding a case is adding a folder. ``expected.json`` holds ``nodes`` (name: kind, GUID, LID), ``cables`` (each once), ``remarks`` (kind:
[line, text] ...) and what else is worth a look, or ``error`` with ``message`` and ``where``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric, NodeKind, speed_name
from fabctl.model.results import ParseReport
from fabctl.sources import SOURCES
from fabctl.sources.reading import load_fabric

CASES = sorted(Path(__file__).parent.glob("golden/*/*/input.txt"))
REMARKS = ("unknown", "headings", "tool_messages", "one_sided", "undeclared", "disagreements", "duplicates")


def summary(fabric: Fabric, report: ParseReport) -> dict[str, Any]:
    """Return what a reader of the text would check by eye."""
    cables = []
    for channel, port in enumerate(fabric.channel_port.tolist()):
        if port <= fabric.port_peer[port]:
            speed = speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel]))
            cables.append(f"{fabric.cable_label(channel)} {speed}")
    nodes = {
        fabric.labels[node]: [NodeKind(fabric.node_kind[node]).name.lower(), fabric.guid_text(node), fabric.node_lid(node)]
        for node in range(fabric.n_nodes)
    }
    remarks = {
        kind: [[remark.line, remark.text] for remark in getattr(report, kind)] for kind in REMARKS if getattr(report, kind)
    }
    found: dict[str, Any] = {"nodes": nodes, "cables": cables, "remarks": remarks}
    unconnected = [fabric.port_label(port) for port in (fabric.port_peer < 0).nonzero()[0].tolist() if fabric.port_number[port]]
    optional = {"unconnected": unconnected, "notes": list(report.notes), "sm_lid": fabric.sm_lid}
    return found | {key: value for key, value in optional.items() if value}


@pytest.mark.parametrize("case", CASES, ids=[f"{case.parent.parent.name}/{case.parent.name}" for case in CASES])
def test_golden(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case.parent)
    expected = json.loads(Path("expected.json").read_text())
    try:
        loaded = load_fabric("input.txt")
    except InputError as error:
        found: dict[str, Any] = {"error": {"message": error.message, "where": error.where}}
    else:
        assert loaded.report.source == case.parent.parent.name
        found = summary(loaded.fabric, loaded.report)
    assert found == expected


def test_every_text_source_has_cases() -> None:
    folders = {case.parent.parent.name for case in CASES}
    assert folders == set(SOURCES.names()) - {"snapshot", "topology"}  # these have tests of their own
