"""`fabctl discover` on the real dumps: counts against an independent scanner's, facts against the raw text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fabric_plans import REPORT, Plan, leaf_spine, three_tiers
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.model.diff import compare
from fabctl.model.fabric import NodeKind
from fabctl.model.health import check_health
from fabctl.model.snapshot import dump_snapshot
from fabctl.model.summary import Spread, summarise
from fabctl.report.exports import EXPORTS
from fabctl.report.fabric import fabric_report, links_report
from fabctl.report.output import Style, render
from fabctl.units import Speed

Run = Callable[..., Any]

DUMPS = (
    "selene-compute-2021.txt",
    "dgx-ndr-2025.txt",
    "hdr-directors-2021-terminal-log.txt",
    "ufm-lab-small.txt",
    "gb200-lone-host.txt",
    "jabl-1.txt",
    "jabl-2.txt",
    "jabl-4.txt",
)
SELENE, DGX, DIRECTORS = DUMPS[:3]


@pytest.fixture
def dump(fixtures: Path) -> Callable[[str], Path]:
    return lambda name: fixtures / "ibnetdiscover" / name


@pytest.fixture
def data(run: Run, dump: Callable[[str], Path]) -> Callable[[str], dict[str, Any]]:
    """Return the JSON payload of ``discover`` on a dump."""
    return lambda name: json.loads(run("discover", dump(name), "-o", "json").out)["data"]


@pytest.mark.parametrize("name", DUMPS)
def test_every_count_is_the_independent_scanner_s(data: Callable[[str], dict[str, Any]], fixtures: Path, name: str) -> None:
    expected = json.loads((fixtures / "ibnetdiscover" / "expected-counts.json").read_text())[name]
    found = data(name)
    assert found["switches"] == expected["nodes"].get("Switch", 0)
    assert found["aggregation_nodes"] == expected["aggregation_nodes"]
    assert found["hcas"] == expected["nodes"]["Ca"] - expected["aggregation_nodes"]
    assert found["links"] == expected["undirected_links"] == sum(row["links"] for row in found["links_by_rate"])
    assert found["parse"]["lines"] == expected["lines"]
    assert found["parse"]["undeclared_peers"] == expected["undeclared_peers"]
    assert found["parse"]["one_sided_links"] == expected["one_sided"]
    assert {chassis["system_guid"]: chassis["asics"] for chassis in found["chassis"]} == {
        f"0x{int(guid, 16):016x}": count for guid, count in expected["multi_asic_sysimg"].items()
    }
    ends = Counter[str]()
    for row in found["links_by_rate"]:
        ends[row["rate"]] += 2 * row["links"]
    if not found["parse"]["disagreements"]:
        assert ends == expected["speeds"]


def test_selene_in_words(run: Run, dump: Callable[[str], Path]) -> None:
    done = run("discover", dump(SELENE))
    assert done.code == 0
    assert done.err == ""
    for phrase in (
        "666 switches",
        "458 hosts with 8 HCAs each",
        "11 hosts with 1 HCA each (not compute)",
        "666 aggregation nodes",
        "12,852 links",
        "0 lines not understood",
        "8 rails, rail-optimised, 200 of 200 leaves carry one rail",
    ):
        assert phrase in done.out
    assert len(done.out.splitlines()) <= 40, "one screen"
    assert max(map(len, done.out.splitlines()[1:])) <= 120


def raw_links(text: str) -> list[tuple[str, str]]:
    """Return (node, peer) names of all link lines of a dump in switches' records, by a scan of its own."""
    links, node = [], ""
    for line in text.splitlines():
        head = re.match(r'(Switch|Ca)\s.*?# "([^"]*)"', line)
        if head is not None:
            node = head[2] if head[1] == "Switch" else ""
        peer = re.match(r'\[\d+\].*# "([^"]*)" lid', line)
        if node and peer is not None:
            links.append((node, peer[1]))
    return links


def test_selene_s_switches_short_of_links_are_those_that_the_text_shows(run: Run, dump: Callable[[str], Path]) -> None:
    cables: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for node, peer in raw_links(dump(SELENE).read_text()):
        layer = re.match(r"MF0;\w*?(LG|SPINE|CORE)\d", peer)
        cables[re.sub(r"^MF0;|:.*$", "", node)][layer[1] if layer else "host"] += 1
    leaves = {name: links["SPINE"] for name, links in cables.items() if "LG" in name}
    spines = {name: links["CORE"] for name, links in cables.items() if "SPINE" in name}
    cores = {name: links["SPINE"] for name, links in cables.items() if "CORE" in name}
    assert (len(leaves), len(spines), len(cores)) == (204, 322, 140)
    expected = {
        f"{name} ({links})" for group, common in ((leaves, 20), (spines, 14)) for name, links in group.items() if links < common
    }
    findings = json.loads(run("discover", dump(SELENE), "-o", "json").out)["findings"]
    assert {item for finding in findings if finding["code"] == "FAB141" for item in finding["items"]} == expected
    [short_cores] = [finding["items"] for finding in findings if finding["code"] == "FAB142"]
    assert set(short_cores) == {f"{name} ({links})" for name, links in cores.items() if links < 32}


def test_selene_s_oversubscription_is_hosts_over_uplinks(
    data: Callable[[str], dict[str, Any]], dump: Callable[[str], Path]
) -> None:
    down, up = Counter[str](), Counter[str]()
    for node, peer in raw_links(dump(SELENE).read_text()):
        if "LG" in node:
            up[node] += "SPINE" in peer
            down[node] += "MF0;" not in peer and "Aggregation" not in peer
    ratios = sorted(down[node] / up[node] for node in up if down[node])
    leaf = data(SELENE)["tiers"][0]
    assert leaf["name"] == "leaf"
    assert leaf["oversubscription"]["min"] == pytest.approx(ratios[0])
    assert leaf["oversubscription"]["max"] == pytest.approx(ratios[-1])
    assert leaf["oversubscription"]["median"] == pytest.approx((ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2)


def test_the_swapped_hcas_of_the_dgx_cluster_are_named(run: Run, dump: Callable[[str], Path]) -> None:
    text = dump(DGX).read_text()
    for device, leaf in (("HCA-5", "B09-P1-IBLEAF-04-08"), ("HCA-6", "B09-P1-IBLEAF-03-08")):
        assert re.search(rf'# "b08-p1-dgx-08-c01 {device}"\n\[1\].*{leaf}:', text), "the dump has changed"
    [finding] = [
        finding for finding in json.loads(run("discover", dump(DGX), "-o", "json").out)["findings"] if finding["code"] == "FAB154"
    ]
    [item] = finding["items"]
    assert finding["subject"] == "b08-p1-dgx-08-c01"
    assert item.startswith("b08-p1-dgx-08-c01 (swapped: HCA-5 of rail 2 on B09-P1-IBLEAF-04-08, where 13 of 14")
    assert "HCA-6 of rail 3 on B09-P1-IBLEAF-03-08, where 13 of 14" in item


def test_the_dgx_cluster_s_hosts_without_hca_5(run: Run, dump: Callable[[str], Path]) -> None:
    devices: defaultdict[str, set[str]] = defaultdict(set)
    for host, device in re.findall(r'^Ca.*# "(\S+) (HCA-\d)"', dump(DGX).read_text(), re.MULTILINE):
        devices[host].add(device)
    expected = {f"{host} (HCA-5)" for host, has in devices.items() if has == {"HCA-1", "HCA-2", "HCA-6"}}
    assert len(expected) == 11
    findings = {finding["code"]: finding for finding in json.loads(run("discover", dump(DGX), "-o", "json").out)["findings"]}
    assert set(findings["FAB151"]["items"]) == expected
    assert len(findings["FAB152"]["items"]) == 69


def test_the_directors_invalid_lids_and_old_adapters(run: Run, dump: Callable[[str], Path]) -> None:
    done = run("discover", dump(DIRECTORS), "-o", "json")
    findings = {finding["code"]: finding for finding in json.loads(done.out)["findings"]}
    assert len(findings["FAB114"]["items"]) == 631 + 1  # 65535 on HCAs, 0 on a switch
    assert "sat11-0101-0903-01ib0" in findings["FAB114"]["items"]
    assert "FAB111" not in findings
    assert len(findings["FAB133"]["items"]) == 4
    assert len(findings["FAB102"]["items"]) == 2
    assert "not rail-optimised" in run("discover", dump(DIRECTORS)).out


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("fmt", ["table", "wide", "name", "jsonl"])
def test_no_dump_is_too_odd(run: Run, dump: Callable[[str], Path], name: str, fmt: str) -> None:
    done = run("discover", dump(name), "-o", fmt)
    assert done.code == 0
    assert done.out.endswith("\n")


def test_yaml_says_what_json_says(run: Run, dump: Callable[[str], Path]) -> None:
    yaml_text, json_text = (run("discover", dump("ufm-lab-small.txt"), "-o", fmt).out for fmt in ("yaml", "json"))
    assert yaml.safe_load(yaml_text) == json.loads(json_text)


def test_wide_has_every_item(run: Run, dump: Callable[[str], Path]) -> None:
    assert "CSPINE3-34 (13)" not in run("discover", dump(SELENE)).out
    wide = run("discover", dump(SELENE), "-o", "wide").out
    findings = json.loads(run("discover", dump(SELENE), "-o", "json").out)["findings"]
    assert all(f"{finding['code']}  {item}" in wide for finding in findings for item in finding["items"])


def test_a_row_per_node_and_a_row_per_cable(run: Run, dump: Callable[[str], Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("discover", dump(DGX), "-o", "csv").out)))
    assert Counter(row["kind"] for row in rows) == {"switch": 40, "hca": 542, "aggregation": 40}
    assert len({row["node"] for row in rows}) == 622
    [leaf] = [row for row in rows if row["node"] == "B09-P1-IBLEAF-03-08"]
    assert (leaf["tier"], leaf["ports"], leaf["speed"]) == ("leaf", "65", "4xNDR")
    [swapped] = [row for row in rows if row["node"] == "b08-p1-dgx-08-c01 HCA-5"]
    assert (swapped["host"], swapped["device"], swapped["rail"], swapped["links"]) == ("b08-p1-dgx-08-c01", "HCA-5", "2", "1")

    links = list(csv.DictReader(io.StringIO(run("discover", dump(DGX), "--links", "-o", "csv").out)))
    assert Counter(row["kind"] for row in links) == {"host-leaf": 542, "leaf-spine": 532, "aggregation": 40}
    [cable] = [row for row in links if row["node"] == "b08-p1-dgx-08-c01 HCA-5"]
    assert (cable["peer"], cable["lanes"], cable["speed"], cable["data_gbps"]) == ("B09-P1-IBLEAF-04-08", "4", "NDR", "400.0")


@pytest.mark.parametrize("name", [DGX, "ufm-lab-small.txt"])
def test_lid_and_links_of_every_switch(run: Run, dump: Callable[[str], Path], name: str) -> None:
    expected = {}
    for record in re.split(r"\n\s*\n", dump(name).read_text()):
        head = re.search(r'^Switch\s+(\d+) "S-(\w+)".*port 0 lid (\d+)', record, re.MULTILINE)
        if head is not None:
            expected[f"0x{head[2]}"] = (head[1], head[3], str(len(re.findall(r"^\[", record, re.MULTILINE))))
    rows = csv.DictReader(io.StringIO(run("discover", dump(name), "-o", "csv", "--filter", "kind=switch").out))
    assert {row["guid"]: (row["ports"], row["lid"], row["links"]) for row in rows} == expected


def test_no_lid_is_an_empty_cell(run: Run, dump: Callable[[str], Path]) -> None:
    rows = csv.DictReader(io.StringIO(run("discover", dump(DIRECTORS), "-o", "csv").out))
    assert sum(row["lid"] == "" for row in rows) == 632


def test_rows_can_be_filtered_and_sorted(run: Run, dump: Callable[[str], Path]) -> None:
    done = run("discover", dump(SELENE), "-o", "name", "--filter", "tier=leaf", "--filter", "node~^MLG", "--sort-by", "-node")
    assert done.out.splitlines() == ["MLG01-05", "MLG01-04", "MLG01-02", "MLG01-01"]


def test_the_same_input_gives_the_same_bytes(run: Run, dump: Callable[[str], Path]) -> None:
    for fmt in ("table", "json", "csv"):
        assert run("discover", dump(DGX), "-o", fmt).out == run("discover", dump(DGX), "-o", fmt).out


def test_a_saved_fabric_is_the_same_fabric(run: Run, dump: Callable[[str], Path], tmp_path: Path) -> None:
    first = run("discover", dump(DGX), "--save", tmp_path / "fabric.json", "-o", "jsonl")
    again = run("discover", tmp_path / "fabric.json", "-o", "jsonl")
    assert first.code == again.code == 0
    assert again.out == first.out


def test_stdin_is_a_source(run: Run, dump: Callable[[str], Path]) -> None:
    assert "2 switches, 12 HCAs" in run("discover", "-", stdin=dump("ufm-lab-small.txt").read_bytes()).out


# ---- exit codes ----------------------------------------------------------------------------------------------------


def with_shared_lid() -> Plan:
    plan = leaf_spine()
    plan.nodes["n3"].lid = plan.nodes["n7"].lid
    return plan


def with_missing_cable() -> Plan:
    plan = leaf_spine()
    plan.cut("leaf-1", "spine-2")
    return plan


@pytest.mark.parametrize(
    ("plan", "codes"),
    [
        (leaf_spine(), {"error": 0, "warning": 0, "never": 0}),
        (with_missing_cable(), {"error": 0, "warning": 1, "never": 0}),
        (with_shared_lid(), {"error": 1, "warning": 1, "never": 0}),
    ],
    ids=["whole", "missing-cable", "shared-lid"],
)
def test_fail_on_says_what_exits_1(run: Run, tmp_path: Path, plan: Plan, codes: dict[str, int]) -> None:
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(plan.build()))
    assert {severity: run("discover", path, "--fail-on", severity).code for severity in codes} == codes
    assert run("discover", path).code == codes["error"]
    assert run("discover", path, "-o", "dot").code == codes["error"]


def test_an_incomplete_discovery_exits_5(run: Run, fixtures: Path) -> None:
    whole = (fixtures / "tool-output" / "ibnetdiscover.txt").read_text()
    text = "src/ibnetdisc.c:811; Failed to query: DR path slid 0; dlid 0; 0,1,4 bad status 110\n" + whole
    done = run("discover", "-", stdin=text)
    assert done.code == 5
    assert "FAB101" in done.out
    assert "the discovery is incomplete" in done.err
    assert run("discover", "-", "--fail-on", "never", stdin=text).code == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "no SOURCE"),
        (("fabric.txt", "--live"), "--live reads this machine's fabric, not fabric.txt"),
        (("dgx1-16", "--links", "-o", "dot"), "--links lists cables"),
        (("dgx1-16", "--fail-on", "info"), "'info' is not one of"),
    ],
)
def test_a_wrong_command_line_exits_2(run: Run, argv: tuple[str, ...], message: str) -> None:
    done = run("discover", *argv)
    assert done.code == 2
    assert message in done.err


# ---- the numbers, in closed form -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "spines", "host_speed", "ratio"), [(4, 4, Speed.HDR, 1.0), (6, 2, Speed.HDR, 3.0), (4, 4, Speed.EDR, 0.5)]
)
def test_oversubscription_is_data_rate_down_over_up(hosts: int, spines: int, host_speed: Speed, ratio: float) -> None:
    plan = leaf_spine(4, spines, hosts)
    for ends in plan.cables:
        if any(name.startswith("n") for name, _ in ends):
            plan.cables[ends] = (4, host_speed)
    leaf, spine = summarise(plan.build()).tiers
    assert leaf.oversubscription == pytest.approx(Spread(ratio, ratio, ratio)) or leaf.oversubscription == Spread(
        ratio, ratio, ratio
    )
    assert (leaf.name, leaf.switches, leaf.hca_links, leaf.up_links) == ("leaf", 4, 4 * hosts, 4 * spines)
    assert (spine.name, spine.switches, spine.down_links, spine.oversubscription) == ("spine", spines, 4 * spines, None)


def test_oversubscription_needs_all_rates_of_a_switch() -> None:
    plan = leaf_spine()
    plan.cables[plan.find("leaf-0", "n0")] = (0, 0)
    for leaf in (1, 2):
        plan.cut(f"leaf-{leaf}", "spine-0")
    spread = summarise(plan.build()).tiers[0].oversubscription
    assert spread == Spread(1.0, 4 / 3, 4 / 3)


def test_tiers_have_names() -> None:
    summary = summarise(three_tiers().build())
    assert [(tier.tier, tier.name, tier.switches) for tier in summary.tiers] == [(0, "leaf", 4), (1, "spine", 4), (2, "core", 3)]
    assert [row.kind for row in summary.links_by_rate] == ["host-leaf", "leaf-spine", "spine-core"]


def test_a_chassis_is_named_by_what_its_asics_names_share() -> None:
    plan = leaf_spine()
    for spine in range(4):
        plan.nodes[f"spine-{spine}"].system_guid = 0xABC
        plan.nodes[f"spine-{spine}"].description = f"MF0;core-A:MCS8500/{'LS'[spine % 2]}{spine}/U1"
    [chassis] = summarise(plan.build()).chassis
    assert (chassis.name, chassis.system_guid, chassis.asics) == ("core-A", "0x0000000000000abc", 4)


NAMES = st.sampled_from(
    ["", "n1 HCA-1", "n1 HCA-2", "n2 HCA-1", "localhost mlx5_0", "MT4129 ConnectX7", 'a "b"\\[,]#@', "é", "leaf"]
)


@st.composite
def odd_fabrics(draw: st.DrawFn) -> Plan:
    """Draw any multigraph of switches, adapters and routers, with clashing names, LIDs and rates."""
    plan = Plan()
    kinds = draw(st.lists(st.sampled_from(NodeKind), min_size=1, max_size=8))
    for number, kind in enumerate(kinds):
        plan.node(kind, str(number), system_guid=draw(st.integers(0, 2)), device_id=draw(st.sampled_from([0, 0x1013, 0xCF09])))
        plan.nodes[str(number)].description = draw(NAMES)
        plan.nodes[str(number)].lid = draw(st.sampled_from([0, 1, 2, 65535]))
    ends = draw(st.permutations([(str(number), port) for number in range(len(kinds)) for port in (1, 2, 3)]))
    for here, there in list(zip(ends[::2], ends[1::2], strict=False))[: draw(st.integers(0, 12))]:
        plan.cables[here, there] = draw(st.tuples(st.sampled_from([0, 1, 2, 4]), st.sampled_from(Speed)))
    return plan


@given(odd_fabrics())
@settings(max_examples=80, deadline=None)
def test_no_fabric_is_too_odd(plan: Plan) -> None:
    fabric = plan.build()
    report = fabric_report(fabric, REPORT, check_health(fabric, REPORT))
    for fmt in ("wide", "json", "csv"):
        assert render(report, fmt, Style())
        assert render(links_report(fabric), fmt, Style())
    for name in EXPORTS.names():
        assert EXPORTS.load(name)(fabric).endswith("\n")
    assert compare(fabric, fabric).changes == ()
    assert len(report.main.rows) == fabric.n_nodes
    assert sum(row["links"] for row in report.data["links_by_rate"]) == fabric.n_cables == len(links_report(fabric).main.rows)
