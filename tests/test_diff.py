"""`fabctl diff`: what is done to a fabric is what the diff says, whatever the two formats."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from fabric_plans import Plan, leaf_spine, rails
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.errors import UsageError
from fabctl.model.diff import compare
from fabctl.model.fabric import NodeKind
from fabctl.model.snapshot import dump_snapshot
from fabctl.units import Speed

Run = Callable[..., Any]


def changes(before: Plan, after: Plan, *ignore: str) -> list[tuple[str, str, str, str | None, str | None]]:
    """Return the differences without GUIDs and ports."""
    found = compare(before.build(), after.build(), ignore).changes
    return [(change.kind, change.change, change.subject, change.before, change.after) for change in found]


@pytest.fixture
def before() -> Plan:
    return leaf_spine()


@pytest.fixture
def after(before: Plan) -> Plan:
    return copy.deepcopy(before)


def test_nothing_changed(before: Plan, after: Plan) -> None:
    assert changes(before, after) == []


def test_a_node_that_left_takes_its_cable_along(before: Plan, after: Plan) -> None:
    after.remove("n5")
    assert changes(before, after) == [
        ("node", "removed", "n5", "ca", None),
        ("cable", "removed", "leaf-1/P2 - n5/P1", "4xHDR", None),
    ]
    assert changes(after, before) == [
        ("node", "added", "n5", None, "ca"),
        ("cable", "added", "leaf-1/P2 - n5/P1", None, "4xHDR"),
    ]


def test_an_hca_that_moved_to_another_leaf_is_one_move(before: Plan, after: Plan) -> None:
    after.cut("leaf-1", "n5")
    after.cable("leaf-3", 41, "n5", 1)
    assert changes(before, after) == [("move", "moved", "n5/P1", "leaf-1/P2", "leaf-3/P41")]
    [move] = compare(before.build(), after.build()).changes
    assert (move.guid, move.port) == (f"0x{before.nodes['n5'].guid:016x}", 1)


def test_two_swapped_hosts_are_two_moves_of_hosts(before: Plan, after: Plan) -> None:
    one, two = before.find("leaf-0", "n1"), before.find("leaf-2", "n8")
    del after.cables[one], after.cables[two]
    after.cables[one[0], two[1]] = after.cables[two[0], one[1]] = (4, Speed.HDR)
    assert changes(before, after) == [
        ("move", "moved", "n1/P1", "leaf-0/P2", "leaf-2/P1"),
        ("move", "moved", "n8/P1", "leaf-2/P1", "leaf-0/P2"),
    ]


def test_a_cable_between_switches_moves_at_one_end(before: Plan, after: Plan) -> None:
    after.cut("leaf-1", "spine-2")
    after.cable("leaf-1", 7, "spine-2", 40)
    assert changes(before, after) == [("move", "moved", "leaf-1/P7", "spine-2/P2", "spine-2/P40")]


def test_a_cable_that_moved_and_became_slower_is_two_changes(before: Plan, after: Plan) -> None:
    after.cut("leaf-1", "n5")
    after.cable("leaf-3", 41, "n5", 1, speed=Speed.EDR)
    assert changes(before, after) == [
        ("move", "moved", "n5/P1", "leaf-1/P2", "leaf-3/P41"),
        ("rate", "changed", "n5/P1", "4xHDR", "4xEDR"),
    ]


@pytest.mark.parametrize(("rate", "text"), [((4, Speed.EDR), "4xEDR"), ((1, Speed.HDR), "1xHDR")])
def test_speed_and_width(before: Plan, after: Plan, rate: tuple[int, int], text: str) -> None:
    after.cables[after.find("leaf-1", "n5")] = rate
    assert changes(before, after) == [("rate", "changed", "leaf-1/P2 - n5/P1", "4xHDR", text)]


def test_an_unknown_rate_is_no_change(before: Plan, after: Plan) -> None:
    after.cables[after.find("leaf-1", "n5")] = (0, 0)
    assert changes(before, after) == []


def test_lids_names_and_ignore(before: Plan, after: Plan) -> None:
    after.nodes["n5"].lid = 500
    after.nodes["leaf-2"].lid = 0
    after.nodes["n6"].description = "gateway"
    old, gone = str(before.nodes["n5"].lid), str(before.nodes["leaf-2"].lid)
    expected = [
        ("lid", "changed", "leaf-2/P0", gone, "none"),
        ("lid", "changed", "n5/P1", old, "500"),
        ("name", "changed", "gateway", "n6", "gateway"),
    ]
    assert changes(before, after) == expected
    assert changes(before, after, "lid") == expected[2:]
    assert changes(before, after, "name") == expected[:2]
    assert changes(before, after, "lid", "name") == []


def test_a_fabric_without_lids_says_so(before: Plan, after: Plan) -> None:
    for node in after.nodes.values():
        node.lid = 0
    diff = compare(before.build(), after.build())
    assert (diff.changes, diff.notes) == ((), ("the second fabric has no LIDs, so LIDs are not compared",))
    assert compare(before.build(), after.build(), ["lid"]).notes == ()


def test_ignoring_what_does_not_exist() -> None:
    with pytest.raises(UsageError, match="'lids' is nothing that diff compares"):
        compare(leaf_spine().build(), leaf_spine().build(), ["lids"])


def test_an_adapter_without_a_node_guid_is_found_by_its_port(before: Plan, after: Plan) -> None:
    for node in after.nodes.values():
        if node.kind == NodeKind.CA:
            node.guid += 1
    by_port = after.build()
    by_port.port_guid[by_port.port_number == 1] -= 1
    assert compare(before.build(), by_port).changes == ()
    assert compare(by_port, before.build()).changes == ()


def test_two_cables_between_switches_swapped_are_two_moves(before: Plan, after: Plan) -> None:
    one, two = before.find("leaf-0", "spine-1"), before.find("leaf-2", "spine-3")
    del after.cables[one], after.cables[two]
    after.cables[one[0], two[1]] = after.cables[two[0], one[1]] = (4, Speed.HDR)
    assert [change[0] for change in changes(before, after)] == ["move", "move"]


def rewired(data: st.DataObject, before: Plan) -> Plan:
    """Draw a plan in which some cables are gone and their ends are cabled anew."""
    after = copy.deepcopy(before)
    for ends in data.draw(st.lists(st.sampled_from(sorted(before.cables)), unique=True, max_size=8)):
        del after.cables[ends]
    fresh = {(f"leaf-{leaf}", port) for leaf in range(3) for port in (50, 51) if f"leaf-{leaf}" in before.nodes}
    free = sorted((fresh | {end for ends in before.cables for end in ends}) - {end for ends in after.cables for end in ends})
    order = data.draw(st.permutations(free))
    for here, there in zip(order[::2], order[1::2], strict=False):
        if data.draw(st.booleans()):
            after.cables[here, there] = (4, Speed.HDR)
    return after


def labels(plan: Plan) -> set[frozenset[str]]:
    return {frozenset(f"{name}/P{port}" for name, port in ends) for ends in plan.cables}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_replaying_the_diff_on_the_old_cables_gives_the_new_ones(data: st.DataObject) -> None:
    before = rails(units=1, hosts=3, per_host=2)
    after = rewired(data, before)
    found = compare(before.build(), after.build()).changes
    assert {change.kind for change in found} <= {"cable", "move"}
    replayed = labels(before)
    for change in found:
        if change.change in ("removed", "moved"):
            ends = (change.subject, change.before) if change.kind == "move" else change.subject.split(" - ")
            replayed.remove(frozenset(ends))
    for change in found:
        if change.change in ("added", "moved"):
            ends = (change.subject, change.after) if change.kind == "move" else change.subject.split(" - ")
            replayed.add(frozenset(ends))
    assert replayed == labels(after)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_as_many_cables_as_possible_are_moves(data: st.DataObject) -> None:
    before = leaf_spine(3, 4, 0)
    after = rewired(data, before)
    gone, come = labels(before) - labels(after), labels(after) - labels(before)
    matching = nx.max_weight_matching(nx.Graph((old, new) for old in gone for new in come if old & new), maxcardinality=True)
    found = [change.change for change in compare(before.build(), after.build()).changes]
    assert found.count("moved") == len(matching)
    assert found.count("removed") == len(gone) - len(matching)
    assert found.count("added") == len(come) - len(matching)


# ---- the command ---------------------------------------------------------------------------------------------------

SAME_FABRIC = (
    "ibnetdiscover.txt",
    "ibnetdiscover--full.txt",
    "ibnetdiscover-g.txt",
    "ibnetdiscover-p.txt",
    "iblinkinfo-l.txt",
    "osmdump/opensm-subnet.lst",
    "ibsim-small.net",
)


@pytest.mark.parametrize("first", SAME_FABRIC)
@pytest.mark.parametrize("second", SAME_FABRIC)
def test_the_same_fabric_in_two_tools_formats_does_not_differ(run: Run, fixtures: Path, first: str, second: str) -> None:
    done = run("diff", fixtures / "tool-output" / first, fixtures / "tool-output" / second)
    assert (done.code, done.out) == (0, "no differences\n")


@pytest.fixture
def saved(tmp_path: Path, before: Plan, after: Plan) -> tuple[Path, Path]:
    """Two snapshots that differ in a host, a move and a LID."""
    after.remove("n15")
    after.cut("leaf-1", "n5")
    after.cable("leaf-3", 41, "n5", 1)
    after.nodes["n0"].lid = 500
    paths = tmp_path / "before.json", tmp_path / "after.json"
    for path, plan in zip(paths, (before, after), strict=True):
        path.write_text(dump_snapshot(plan.build()))
    return paths


def test_differences_exit_1_and_are_counted(run: Run, saved: tuple[Path, Path]) -> None:
    done = run("diff", *saved)
    assert done.code == 1
    assert done.out.splitlines()[0] == "4 differences: 1 node removed, 1 cable removed, 1 cable moved, 1 LID changed"
    assert run("diff", *saved, "--ignore", "node,cable,move,lid").code == 0
    assert run("diff", saved[0], saved[0]).code == 0
    assert run("diff", "-", saved[1], stdin=saved[0].read_bytes()).out == done.out


def test_one_row_per_change(run: Run, saved: tuple[Path, Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("diff", *saved, "-o", "csv").out)))
    assert [row["kind"] for row in rows] == ["node", "cable", "move", "lid"]
    assert (rows[2]["subject"], rows[2]["before"], rows[2]["after"]) == ("n5/P1", "leaf-1/P2", "leaf-3/P41")
    payload = json.loads(run("diff", *saved, "-o", "json").out)
    assert [entry["path"] for entry in payload["inputs"]] == [str(path) for path in saved]
    assert payload["kind"] == "FabricDiff"
    assert payload["data"]["equal"] is False
    assert [change["subject"] for change in payload["data"]["changes"]] == [row["subject"] for row in rows]
    assert run("diff", *saved, "-o", "name", "--filter", "kind=move").out == "n5/P1\n"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("-", "-"), 2, "only one of the two fabrics can come from stdin"),
        (("dgx1-16",), 2, "Missing argument 'AFTER'"),
        (("dgx1-16", "dgx1-16", "--ignore", "lids"), 2, "'lids' is nothing that diff compares"),
        (("dgx1-16", "nowhere.txt"), 3, "nowhere.txt: no such file"),
    ],
)
def test_what_diff_refuses(run: Run, argv: tuple[str, ...], code: int, message: str) -> None:
    done = run("diff", *argv)
    assert done.code == code
    assert message in done.err


def test_selene_differs_where_it_was_changed(run: Run, fixtures: Path) -> None:
    path = fixtures / "ibnetdiscover" / "selene-compute-2021.txt"
    one, other = '# "MF0;CSPINE1-21:', '# "MF0;CCORE1-001:'
    records = path.read_text().replace("luna-0001 mlx5_0", "luna-0001 renamed_0").split("\n\n")
    for number, record in enumerate(records):
        head = record.partition("\n[")[0]
        gone = other if one in head else one if other in head else None
        if gone is not None:
            lines = record.splitlines()
            records[number] = "\n".join(line for line in lines if not line.startswith("[") or gone not in line)
    done = run("diff", path, "-", "-o", "csv", "--no-headers", stdin="\n\n".join(records))
    assert done.code == 1
    cable, name = csv.reader(io.StringIO(done.out))
    assert cable[:5] == ["CCORE1-001/P3 - CSPINE1-21/P15", "cable", "removed", "4xHDR", ""]
    assert name[1:5] == ["name", "changed", "luna-0001 mlx5_0", "luna-0001 renamed_0"]
