"""Each finding on a small fabric that has this fault and no other; the same fabric whole has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from fabric_plans import REPORT, Plan, leaf_spine, rails, three_tiers
from hypothesis import given
from hypothesis import strategies as st

from fabctl.model.cables import connected
from fabctl.model.fabric import NodeKind
from fabctl.model.health import CODES, check_health
from fabctl.model.results import Finding
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed

Found = dict[str, Finding]


def found(plan: Plan) -> Found:
    """Return a damaged plan's findings by code."""
    findings = check_health(plan.build(), REPORT)
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings)
    assert all(finding.severity == CODES[finding.code][0] for finding in findings)
    return by_code


@pytest.mark.parametrize("plan", [leaf_spine(), rails(), three_tiers()], ids=["leaf-spine", "rails", "three-tiers"])
def test_a_whole_fabric_has_no_findings(plan: Plan) -> None:
    assert found(plan) == {}


@pytest.mark.parametrize("name", ["dgx1-16", "oversubscribed-2to1", "xgft-64", "superpod-4su", "fat-tree-1024"])
def test_the_shipped_topologies_have_no_findings(project: Path, name: str) -> None:
    loaded = load_fabric(str(project / "topologies" / f"{name}.yaml"))
    assert check_health(loaded.fabric, loaded.report) == []


# ---- addresses -----------------------------------------------------------------------------------------------------


def test_a_lid_with_two_owners() -> None:
    plan = leaf_spine()
    plan.nodes["n3"].lid = plan.nodes["n7"].lid
    assert found(plan)["FAB111"].items == (f"LID {plan.nodes['n7'].lid} (n3/P1, n7/P1)",)


def test_a_lid_inside_the_range_of_another_port() -> None:
    plan = leaf_spine()
    plan.nodes["n3"].lid, plan.nodes["n3"].lmc = 1000, 2
    plan.nodes["leaf-1"].lid = 1003
    assert found(plan)["FAB111"].items == ("LID 1003 (leaf-1/P0, n3/P1)",)
    plan.nodes["leaf-1"].lid = 1004
    assert found(plan) == {}


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), min_size=1, max_size=12))
def test_shared_lids_are_those_that_several_ranges_hold(owners: list[tuple[int, int]]) -> None:
    plan = leaf_spine(1, 0, len(owners))
    plan.nodes["leaf-0"].lid = 0
    for host, (lid, lmc) in enumerate(owners):
        plan.nodes[f"n{host}"].lid, plan.nodes[f"n{host}"].lmc = lid, lmc
    holders = [[lid for lid, lmc in owners if lid <= wanted < lid + 2**lmc] for wanted in range(1, 80)]
    expected = [lid for lid, who in enumerate(holders, 1) if len(who) > 1]
    shared = found(plan).get("FAB111")
    assert [int(re.findall(r"\d+", item)[0]) for item in (shared.items if shared else ())] == expected


def test_a_port_guid_on_two_hcas() -> None:
    plan = leaf_spine()
    plan.nodes["n3"].guid = plan.nodes["n7"].guid - 1
    plan.cables[("leaf-0", 4), ("n3", 2)] = plan.cables.pop(plan.find("leaf-0", "n3"))
    shared = plan.nodes["n7"].guid + 1
    assert found(plan)["FAB113"].items == (f"port GUID 0x{shared:016x} (n3/P2, n7/P1)",)


def test_a_port_without_a_lid_is_a_finding_only_where_others_have_one() -> None:
    plan = leaf_spine()
    plan.nodes["n3"].lid = 65535
    plan.nodes["leaf-2"].lid = 0
    assert found(plan)["FAB114"].items == ("leaf-2", "n3/P1")
    for node in plan.nodes.values():
        node.lid = 0
    assert found(plan) == {}


# ---- cabling -------------------------------------------------------------------------------------------------------


def test_a_fabric_in_two_parts() -> None:
    plan = leaf_spine(leaves=2, spines=2, hosts=2)
    for spine in range(2):
        plan.cut("leaf-1", f"spine-{spine}")
    parts = found(plan)["FAB121"]
    assert parts.severity == "error"
    assert parts.items == ("leaf-0 (5 nodes)", "leaf-1 (3 nodes)")


@given(st.integers(1, 30), st.data())
def test_connected_labels_are_the_components(nodes: int, data: st.DataObject) -> None:
    ends = st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=40)
    edges = data.draw(ends)
    first, second = (np.array([edge[end] for edge in edges], dtype=np.int32) for end in (0, 1))
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(nodes))
    lowest = {node: min(part) for part in nx.connected_components(graph) for node in part}
    assert connected(nodes, first, second).tolist() == [lowest[node] for node in range(nodes)]


def test_nodes_without_a_cable() -> None:
    plan = leaf_spine()
    plan.node(NodeKind.CA, "n99")
    plan.node(NodeKind.SWITCH, "leaf-99")
    assert found(plan)["FAB122"].items == ("leaf-99", "n99")
    assert "FAB121" not in found(plan)


def test_a_switch_cabled_to_itself() -> None:
    plan = leaf_spine()
    plan.cable("leaf-1", 41, "leaf-1", 42)
    assert found(plan).keys() == {"FAB123"}
    assert found(plan)["FAB123"].items == ("leaf-1/P41 - leaf-1/P42",)


def test_a_cable_within_a_tier() -> None:
    plan = leaf_spine()
    plan.cable("leaf-1", 41, "leaf-2", 42)
    assert found(plan).keys() == {"FAB124"}
    assert found(plan)["FAB124"].items == ("leaf-1/P41 - leaf-2/P42",)


def test_a_cable_that_skips_a_tier() -> None:
    plan = three_tiers()
    plan.cable("leaf-1-1", 41, "core-0", 42)
    findings = found(plan)
    assert findings.keys() == {"FAB125"}
    assert findings["FAB125"].items == ("leaf-1-1/P41 - core-0/P42",)
    fabric = plan.build()
    assert fabric.tiers[fabric.labels.index("core-0")] == 2


def test_a_ring_is_no_tree_and_that_is_no_fault() -> None:
    plan = leaf_spine(leaves=5, spines=0, hosts=2)
    for leaf in range(5):
        plan.cable(f"leaf-{leaf}", 41, f"leaf-{(leaf + 1) % 5}", 42)
    assert found(plan).keys() == {"FAB126"}
    assert len(found(plan)["FAB126"].items) == 5


def test_a_missing_cable_is_seen_from_both_ends() -> None:
    plan = leaf_spine()
    plan.cut("leaf-1", "spine-2")
    findings = found(plan)
    assert findings.keys() == {"FAB141", "FAB142"}
    assert findings["FAB141"].items == ("leaf-1 (3)",)
    assert findings["FAB142"].items == ("spine-2 (3)",)


def test_a_spine_short_of_uplinks() -> None:
    plan = three_tiers()
    plan.cut("spine-1-0", "core-1")
    findings = found(plan)
    assert findings["FAB141"].items == ("spine-1-0 (2)",)
    assert "spine switch" in findings["FAB141"].message
    assert findings["FAB142"].items == ("core-1 (3)",)


def test_no_common_number_means_nothing_is_short() -> None:
    plan = leaf_spine(leaves=4, spines=4)
    for leaf, cuts in ((1, 1), (2, 2), (3, 3)):
        for spine in range(cuts):
            plan.cut(f"leaf-{leaf}", f"spine-{spine}")
    assert "FAB141" not in found(plan)


def test_a_leaf_without_hcas() -> None:
    plan = leaf_spine()
    for host in range(4):
        plan.remove(f"n{host}")
    assert found(plan)["FAB143"].items == ("leaf-0",)


# ---- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ends", "kind"), [(("leaf-1", "n5"), "host-leaf"), (("leaf-1", "spine-2"), "leaf-spine")])
def test_a_slow_and_a_narrow_link(ends: tuple[str, str], kind: str) -> None:
    plan = leaf_spine()
    cable = plan.find(*ends)
    where = {f"{name}/P{port}" for name, port in cable}
    for code, rate, text in (("FAB131", (4, Speed.EDR), "4xEDR"), ("FAB132", (1, Speed.HDR), "1xHDR")):
        plan.cables[cable] = rate
        findings = found(plan)
        assert findings.keys() == {code}
        [item] = findings[code].items
        assert item.endswith(f" ({kind}: {text} instead of 4xHDR)")
        assert set(item.split(" (")[0].split(" - ")) == where


def test_a_device_type_that_never_runs_faster_is_the_reason() -> None:
    plan = leaf_spine()
    for name, node in plan.nodes.items():
        node.device_id = 0x101B if name.startswith("n") else 0xD2F0
    plan.nodes["n5"].device_id = 0x1013
    plan.cables[plan.find("leaf-1", "n5")] = (4, Speed.EDR)
    assert found(plan).keys() == {"FAB133"}
    plan.nodes["n5"].device_id = 0x101B
    assert found(plan).keys() == {"FAB131"}


def test_unknown_rates_are_not_slow() -> None:
    plan = leaf_spine()
    plan.cables[plan.find("leaf-1", "n5")] = (0, 0)
    assert found(plan) == {}


# ---- hosts and rails -----------------------------------------------------------------------------------------------


def test_a_host_short_of_an_hca_names_the_missing_device() -> None:
    plan = rails()
    plan.remove("n7 mlx5_2")
    findings = found(plan)
    assert findings.keys() == {"FAB151"}
    assert findings["FAB151"].items == ("n7 (mlx5_2)",)


def test_the_missing_device_has_the_name_that_like_hosts_give_it() -> None:
    plan = rails(units=3)
    for host in (0, 1):
        for rail in range(4):
            plan.nodes[f"n{host} mlx5_{rail}"].description = f"n{host} HCA-{rail + 1}"
    plan.remove("n1 mlx5_2")
    plan.remove("n9 mlx5_2")
    assert found(plan)["FAB151"].items == ("n1 (HCA-3)", "n9 (mlx5_2)")
    plan.remove("n1 mlx5_3")
    assert found(plan)["FAB151"].items[0] == "n9 (mlx5_2)", "with half of its HCAs n1 is no compute host"


def test_hcas_with_factory_names_are_counted_not_grouped() -> None:
    plan = rails()
    for rail in range(4):
        plan.nodes[f"n7 mlx5_{rail}"].description = "MT4129 ConnectX7   Mellanox Technologies"
    findings = found(plan)
    assert findings.keys() == {"FAB152"}
    assert len(findings["FAB152"].items) == 4
    assert "(on leaf-1-2/P3)" in findings["FAB152"].items[2]


def test_names_that_cannot_be_trusted() -> None:
    plan = rails()
    for rail in range(4):
        plan.nodes[f"n7 mlx5_{rail}"].description = f"localhost mlx5_{rail}"
        plan.nodes[f"n8 mlx5_{rail}"].description = f"n9 mlx5_{rail}"
    items = found(plan)["FAB153"].items
    assert items == (
        "localhost (a name that unconfigured machines share, 4 HCAs)",
        "n9 (claimed by several HCAs)",
    )


def swap(plan: Plan, first: str, second: str) -> None:
    one, two = (next(ends for ends in plan.cables if ends[1][0] == name) for name in (first, second))
    plan.cables[one[0], two[1]] = plan.cables.pop(one)
    plan.cables[two[0], one[1]] = plan.cables.pop(two)


def test_two_swapped_hcas_of_a_host() -> None:
    plan = rails()
    swap(plan, "n7 mlx5_1", "n7 mlx5_2")
    findings = found(plan)
    assert findings.keys() == {"FAB154"}
    assert findings["FAB154"].items == (
        (
            "n7 (swapped: mlx5_1 of rail 1 on leaf-1-2, where 4 of 5 are of rail 2; "
            "mlx5_2 of rail 2 on leaf-1-1, where 4 of 5 are of rail 1)"
        ),
    )


def test_an_hca_on_the_right_rail_of_another_unit_is_no_rail_fault() -> None:
    plan = rails()
    swap(plan, "n2 mlx5_1", "n7 mlx5_1")
    assert found(plan) == {}


def test_without_rails_nothing_is_miswired() -> None:
    plan = rails(units=3, hosts=4, per_host=2)
    for host in (0, 1, 4, 5):  # the leaves of two units serve both rails alike
        swap(plan, f"n{host} mlx5_0", f"n{host} mlx5_1")
    assert found(plan) == {}
    swap(plan, "n8 mlx5_0", "n8 mlx5_1")  # 3 of 4 in the third
    assert found(plan) == {}


# ---- the input -----------------------------------------------------------------------------------------------------


def damaged_inputs() -> list[tuple[str, Callable[[str], str], str]]:
    return [
        (
            "FAB101",
            lambda text: "src/ibnetdisc.c:811; Failed to query DR path slid 0; dlid 0; 0,1\n" + text,
            "line 1: src/ibnetdisc.c",
        ),
        ("FAB102", lambda text: text.replace("\n\n", "\nwhat is this?\n\n", 1), "what is this?"),
        ("FAB103", lambda text: re.sub(r"(?m)^.*\n.*\n.*\n.*\nCa.*node00003.*\n.*\n", "", text), "'node00003' has no record"),
        ("FAB104", lambda text: re.sub(r'(?m)^\[4\]\t"S-.*"spine-1" lid.*\n', "", text, count=1), "listed by one end only"),
        ("FAB105", lambda text: text.replace("4xSDR", "4xDDR", 1), "4xDDR"),
        (
            "FAB112",
            lambda text: text + "\n" + text[text.index("\nvendid") : text.index("\n\nvendid", 300)] + "\n",
            "has a record",
        ),
    ]


@pytest.mark.parametrize(("code", "damage", "says"), damaged_inputs(), ids=[case[0] for case in damaged_inputs()])
def test_what_a_parse_noticed_is_a_finding(
    fixtures: Path, tmp_path: Path, code: str, damage: Callable[[str], str], says: str
) -> None:
    text = (fixtures / "tool-output" / "ibnetdiscover.txt").read_text()
    path = tmp_path / "fabric.txt"
    path.write_text(text)
    whole = load_fabric(str(path))
    assert check_health(whole.fabric, whole.report) == []
    path.write_text(damage(text))
    loaded = load_fabric(str(path))
    findings = {finding.code: finding for finding in check_health(loaded.fabric, loaded.report)}
    assert code in findings
    assert says in findings[code].message
    assert findings[code].severity == CODES[code][0]


# ---- the codes -----------------------------------------------------------------------------------------------------


def test_every_code_is_documented_with_its_severity(project: Path) -> None:
    rows = re.findall(r"^\| (FAB\d+) \| (\w+) \|", (project / "docs" / "findings.md").read_text(), re.MULTILINE)
    assert dict(rows) == {code: severity for code, (severity, _) in CODES.items()}
    assert len(rows) == len(CODES)


def test_every_code_is_tested_here(project: Path) -> None:
    body = Path(__file__).read_text()
    assert {code for code in CODES if f'"{code}"' not in body} == set()


def test_a_message_names_three_and_counts_the_rest() -> None:
    plan = leaf_spine(leaves=5, spines=4, hosts=2)
    for host in range(10):
        plan.nodes[f"n{host}"].lid = 0
    finding = found(plan)["FAB114"]
    assert finding.message.endswith("n0/P1; n1/P1; n2/P1 and 7 more")
    assert finding.items == tuple(f"n{host}/P1" for host in range(10))
