"""A fabric in other programs' formats, read back by those programs or by readers of their grammar."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml
from fabric_plans import Plan, leaf_spine, rails, three_tiers
from hypothesis import given
from hypothesis import strategies as st
from realstack import Ibsim

from fabctl.model.fabric import Fabric, NodeKind
from fabctl.nodeset import expand
from fabctl.report.exports import EXPORTS
from fabctl.report.exports.dot import HOSTS_DRAWN, dot
from fabctl.report.exports.graphml import graphml
from fabctl.report.exports.slurm import topology_conf, topology_yaml
from fabctl.report.exports.slurm_tree import fold_names, slurm_tree
from fabctl.sources.reading import load_fabric
from fabctl.twin.netfile import ibsim_net
from fabctl.units import Speed

Run = Callable[..., Any]

DUMPS = ("dgx-ndr-2025.txt", "hdr-directors-2021-terminal-log.txt", "ufm-lab-small.txt", "gb200-lone-host.txt", "jabl-1.txt")


def cables(fabric: Fabric) -> list[tuple[str, int, str, int]]:
    """Return both ends of every cable, the one with the lower GUID and port first."""
    guids = [fabric.guid_text(int(node)) for node in fabric.port_node]
    numbers = fabric.port_number.tolist()
    pairs = [(port, peer) for port, peer in enumerate(fabric.port_peer.tolist()) if peer > port]
    ends = [sorted([(guids[port], numbers[port]), (guids[peer], numbers[peer])]) for port, peer in pairs]
    return sorted((*one, *two) for one, two in ends)


def rates(fabric: Fabric) -> list[tuple[int, int]]:
    return list(zip(fabric.channel_speed.tolist(), fabric.channel_lanes.tolist(), strict=True))


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("fmt", EXPORTS.names())
def test_every_dump_can_be_exported(run: Run, fixtures: Path, tmp_path: Path, fmt: str, name: str) -> None:
    out = tmp_path / "export"
    done = run("discover", fixtures / "ibnetdiscover" / name, "-o", fmt, "--out", out)
    assert done.code == 0
    assert done.out == ""
    assert out.read_text().endswith("\n")
    again = run("discover", fixtures / "ibnetdiscover" / name, "-o", fmt)
    assert again.out == out.read_text()


# ---- GraphML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DUMPS)
def test_graphml_holds_every_node_cable_and_attribute(fixtures: Path, name: str) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / name)).fabric
    ours, read = fabric.graph(), nx.parse_graphml(graphml(fabric), force_multigraph=True)
    assert dict(read.nodes(data=True)) == dict(ours.nodes(data=True))
    there = sorted(
        (min(end), max(end), attributes["speed"])
        for *nodes, attributes in read.edges(data=True)
        for end in [list(zip(nodes, (attributes["source_port"], attributes["target_port"]), strict=True))]
    )
    assert [(*one, *two) for one, two, _ in there] == cables(fabric)
    assert Counter(speed for *_, speed in there) == Counter(speed for *_, speed in ours.edges(data="speed"))


def test_graphml_survives_what_xml_cannot_hold() -> None:
    plan = leaf_spine(1, 0, 2)
    plan.nodes["n0"].description = 'n0 <&"> \x01 é'
    read = nx.parse_graphml(graphml(plan.build()))
    assert 'n0 <&"> ? é' in {description for _, description in read.nodes(data="description")}


# ---- DOT -----------------------------------------------------------------------------------------------------------

_STATEMENT = re.compile(
    r"""^\ *(?:graph\ fabric\ \{|\}|(?:graph|node)\ \[[^]]*\];
    |subgraph\ "[^"]*"\ \{\ rank=same;\ node\ \[shape=box\];
    |"(?P<node>[^"]*)"\ \[label="(?P<label>(?:[^"\\]|\\.)*)"(?:,\ shape=ellipse)?\];
    |"(?P<high>[^"]*)"\ --\ "(?P<low>[^"]*)"\ \[(?:label="(?P<count>\d+)",\ )?tooltip="(?P<rate>[^"]*)"\];)$""",
    re.VERBOSE,
)


def drawing(text: str) -> tuple[dict[str, str], Counter[tuple[str, str]]]:
    """Return labels by node and cables by pair of nodes; every line must be a statement of the grammar."""
    labels: dict[str, str] = {}
    edges: Counter[tuple[str, str]] = Counter()
    for line in text.splitlines():
        match = _STATEMENT.match(line)
        assert match is not None, line
        if match["node"]:
            assert match["node"] not in labels
            labels[match["node"]] = match["label"]
        elif match["high"]:
            edges[match["high"], match["low"]] += int(match["count"] or 1)
    assert {end for edge in edges for end in edge} <= labels.keys()
    assert text.count("{") == text.count("}")
    return labels, edges


def test_dot_draws_few_hosts_one_by_one() -> None:
    plan = rails(units=1, hosts=3, per_host=4)
    plan.cable("leaf-0-0", 50, "spine-0", 50)
    fabric = plan.build()
    labels, edges = drawing(dot(fabric))
    assert Counter(labels.values()) == Counter(["n0", "n1", "n2", "spine-0", "spine-1", *(f"leaf-0-{rail}" for rail in range(4))])
    named = {(labels[high], labels[low]): count for (high, low), count in edges.items()}
    assert named["spine-0", "leaf-0-0"] == 2
    assert named["leaf-0-3", "n2"] == 1
    assert sum(named.values()) == fabric.n_cables


def test_dot_merges_many_hosts_per_leaf() -> None:
    plan = leaf_spine(leaves=5, spines=2, hosts=HOSTS_DRAWN // 5 + 1)
    labels, edges = drawing(dot(plan.build()))
    assert Counter(labels.values())[f"{HOSTS_DRAWN // 5 + 1} HCAs"] == 5
    assert sum(edges.values()) == len(plan.cables)


def test_dot_quotes_names() -> None:
    plan = leaf_spine(1, 0, 1)
    plan.nodes["leaf-0"].description = 'a "quoted\\ name"'
    labels, _ = drawing(dot(plan.build()))
    assert 'a \\"quoted\\\\ name\\"' in labels.values()


# ---- ibsim ---------------------------------------------------------------------------------------------------------


def old_speeds() -> Plan:
    """Return a fabric whose rates ibsim can all express, with names it must be protected from."""
    plan = leaf_spine(leaves=2, spines=2, hosts=4)
    for host, rate in enumerate(((1, Speed.SDR), (4, Speed.DDR), (8, Speed.QDR), (12, Speed.SDR))):
        plan.cables[plan.find("leaf-1", f"n{4 + host}")] = rate
    for ends, rate in plan.cables.items():
        if rate[1] == Speed.HDR:
            plan.cables[ends] = (4, Speed.QDR)
    plan.nodes["n1"].description = "n1 lid 9 w=3"
    plan.nodes["n2"].description = "n2 #@[1]"
    plan.nodes["n3"].description = plan.nodes["leaf-0"].description = "twins"
    plan.nodes["n3"].lmc, plan.nodes["n3"].lid = 2, 64
    plan.nodes["leaf-1"].description = "l" * 63
    plan.cable("leaf-0", 60, "leaf-0", 61, lanes=4, speed=Speed.DDR)
    plan.node(NodeKind.CA, "without a cable")
    return plan


def through_ibsim(fabric: Fabric, folder: Path, host: str) -> Fabric:
    """Return a fabric as the real ibnetdiscover sees it on the real ibsim."""
    net = folder / "fabric.net"
    net.write_text(ibsim_net(fabric))
    with Ibsim(net, folder, host) as simulator:
        (folder / "seen.txt").write_text(simulator.ibnetdiscover())
    return load_fabric(str(folder / "seen.txt")).fabric


def test_the_real_simulator_shows_the_fabric_that_was_exported(tmp_path: Path) -> None:
    fabric = old_speeds().build()
    seen = through_ibsim(fabric, tmp_path, "n0")
    assert cables(seen) == cables(fabric)
    assert rates(seen) == rates(fabric)
    linked = [node for node in range(fabric.n_nodes) if fabric.node_name[node] != "without a cable"]
    assert list(seen.node_name) == [fabric.node_name[node] for node in linked]
    assert list(seen.node_guid) == [fabric.node_guid[node] for node in linked]
    assert seen.port_lid[seen.port_lid > 0].tolist() == fabric.port_lid[fabric.port_lid > 0].tolist()
    assert seen.port_lmc.max() == 2


@pytest.mark.parametrize(("name", "host"), [("dgx-ndr-2025.txt", "a07-p1-dgx-03-c01 HCA-1"), ("jabl-1.txt", "SW-6IB4 Voltaire")])
def test_real_fabrics_survive_the_simulator(fixtures: Path, tmp_path: Path, name: str, host: str) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / name)).fabric
    seen = through_ibsim(fabric, tmp_path, host)
    assert cables(seen) == cables(fabric)
    assert seen.node_name == fabric.node_name
    assert seen.port_lid[seen.port_lid > 0].tolist() == fabric.port_lid[fabric.port_lid > 0].tolist()


@pytest.mark.parametrize("name", [*DUMPS, "selene-compute-2021.txt"])
def test_the_network_file_reads_back_equal(fixtures: Path, tmp_path: Path, name: str) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / name)).fabric
    path = tmp_path / "fabric.net"
    path.write_text(ibsim_net(fabric))
    loaded = load_fabric(str(path))
    assert loaded.report.source == "ibsim"
    assert loaded.report.unknown == ()
    assert cables(loaded.fabric) == cables(fabric)
    assert loaded.fabric.node_name == fabric.node_name
    assert loaded.fabric.device_id.tolist() == fabric.device_id.tolist()
    ids = re.findall(r'^(?:Switch|Hca|Rt) \d+ "(.*?)"', path.read_text(), re.MULTILINE)
    assert len(set(ids)) == len(ids) == fabric.n_nodes
    assert max(map(len, ids)) <= 31, "SIM_HOST takes no more"


def test_the_live_fabric_is_what_the_simulator_simulates(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "fabric.net"
    fabric = leaf_spine().build()
    net.write_text(ibsim_net(fabric))
    with Ibsim(net, tmp_path, "n0") as simulator:
        for variable in ("IBSIM_SOCKNAME", "SIM_HOST", "LD_PRELOAD"):
            monkeypatch.setenv(variable, simulator.environment[variable])
        done = run("discover", "--live", "--save", tmp_path / "live.json")
    assert done.code == 0
    assert "8 switches, 16 HCAs, 0 aggregation nodes, 32 links" in done.out
    assert cables(load_fabric(str(tmp_path / "live.json")).fabric) == cables(fabric)


# ---- Slurm ---------------------------------------------------------------------------------------------------------

_HOSTLIST = re.compile(r"^[^\[\],]+(?:\[[\d,-]+\])?(?:,[^\[\],]+(?:\[[\d,-]+\])?)*$")
Tree = dict[str, tuple[str, list[str]]]


def read_conf(text: str) -> Tree:
    """Return switch name to ("Nodes" or "Switches", children), by the grammar of topology.conf(5)."""
    tree: Tree = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            match = re.fullmatch(r"SwitchName=(\S{1,64}) (Nodes|Switches)=(\S+)", line)
            assert match is not None, line
            name, what, children = match.groups()
            assert name not in tree
            assert _HOSTLIST.match(children), children
            tree[name] = (what, expand(children))
    return tree


def check_tree(tree: Tree) -> dict[str, str]:
    """Assert that switches form one tree that holds each node once; return the leaf of each node."""
    parents: defaultdict[str, list[str]] = defaultdict(list)
    home: dict[str, str] = {}
    for name, (what, children) in tree.items():
        for child in children:
            if what == "Switches":
                assert child in tree
                parents[child].append(name)
            else:
                assert child not in home
                home[child] = name
    assert all(len(above) == 1 for above in parents.values())
    assert len(tree.keys() - parents.keys()) == 1, "one root"
    return home


@pytest.mark.parametrize("name", ["testcase1.conf", "testcase3.conf"])
def test_slurm_s_own_files_are_of_this_grammar(fixtures: Path, name: str) -> None:
    home = check_tree(read_conf((fixtures / "slurm" / name).read_text()))
    assert len(home) == {"testcase1.conf": 10_000, "testcase3.conf": 400}[name]


def test_selene_in_slurm_s_terms(run: Run, fixtures: Path) -> None:
    path = fixtures / "ibnetdiscover" / "selene-compute-2021.txt"
    text = run("discover", path, "-o", "slurm-topology-conf").out
    tree = read_conf(text)
    home = check_tree(tree)
    hosts = set(re.findall(r'^Ca.*# "(\S+) ', path.read_text(), re.MULTILINE)) - {"Mellanox"}
    assert set(home) == hosts
    assert len(hosts) == 469
    leaves = dict(re.findall(r"^#   (su\d+): (.*)$", text, re.MULTILINE))
    assert len(leaves) == 25
    assert all(len(merged.split(", ")) == 8 for merged in leaves.values())
    assert "LG01-01, LG01-02, LG01-03" in leaves[home["luna-0001"]]
    assert tree["fabric"] == ("Switches", ["MLG01-04", "pod1", "pod2", "pod3", "pod4"])


def test_the_dgx_cluster_leaves_out_what_names_no_host(fixtures: Path) -> None:
    text = topology_conf(load_fabric(str(fixtures / "ibnetdiscover" / "dgx-ndr-2025.txt")).fabric)
    home = check_tree(read_conf(text))
    assert len(home) == 120
    assert home["b08-p1-dgx-08-c01"] == home["b08-p1-dgx-08-c04"]
    assert "# Left out: HCAs whose description names no host (69): " in text
    assert "# Left out: hosts whose name cannot be trusted or written (2): localhost, ubuntu" in text


def test_the_directors_have_a_leaf_for_every_two_hosts(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / "hdr-directors-2021-terminal-log.txt")).fabric
    home = check_tree(read_conf(topology_conf(fabric)))
    assert len(home) == 280
    assert "MT4123" not in "".join(home)
    assert max(Counter(home.values()).values()) <= 3


def test_pods_are_what_is_joined_below_the_top() -> None:
    tree = read_conf(topology_conf(three_tiers(3).build()))
    assert tree["fabric"] == ("Switches", ["pod1", "pod2", "pod3"])
    assert tree["pod2"] == ("Switches", ["leaf-1-0", "leaf-1-1"])
    assert tree["leaf-1-0"] == ("Nodes", ["n4", "n5"])


def test_one_leaf_needs_no_tree() -> None:
    assert read_conf(topology_conf(leaf_spine(1, 0, 3).build())) == {"leaf-0": ("Nodes", ["n0", "n1", "n2"])}


@pytest.mark.parametrize(("stray", "here", "there"), [("n2", 0, 1), ("n7", 1, 0)])
def test_a_host_with_a_stray_cable_joins_no_units(stray: str, here: int, there: int) -> None:
    plan = rails(units=2, hosts=5)
    plan.cut(f"leaf-{here}-1", f"{stray} mlx5_1")
    plan.cable(f"leaf-{there}-1", 50, f"{stray} mlx5_1", 1)
    tree = slurm_tree(plan.build())
    assert [unit.hosts for unit in tree.units] == [tuple(f"n{host}" for host in range(5 * unit, 5 * unit + 5)) for unit in (0, 1)]
    assert [len(unit.leaves) for unit in tree.units] == [4, 4]


def test_names_that_slurm_cannot_read_are_replaced_or_left_out() -> None:
    plan = leaf_spine(2, 1, 2)
    plan.nodes["leaf-0"].description = "rack 1/leaf [A]," + "x" * 60
    plan.nodes["leaf-1"].description = "rack 1 leaf (A) " + "x" * 60
    plan.nodes["n1"].description = "n[1]"
    text = topology_conf(plan.build())
    tree = read_conf(text)
    assert set(check_tree(tree)) == {"n0", "n2", "n3"}
    assert len(tree) == 3
    assert "# Left out: hosts whose name cannot be trusted or written (1): n[1]" in text


@given(st.lists(st.from_regex(r"[a-c]{1,2}(-?[0-9]{1,3}){0,2}[a-c]?", fullmatch=True), min_size=1, max_size=12, unique=True))
def test_hostlists_have_one_bracket_per_name_and_lose_nothing(names: list[str]) -> None:
    text = fold_names(names)
    assert _HOSTLIST.match(text)
    assert sorted(expand(text)) == sorted(names)


def test_yaml_has_the_tree_of_the_conf_and_blocks_of_compute_hosts(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / "selene-compute-2021.txt")).fabric
    tree, block = yaml.safe_load(topology_yaml(fabric))
    assert list(tree) == ["topology", "cluster_default", "tree"]
    assert (tree["cluster_default"], block["cluster_default"]) == (True, False)
    as_conf = {
        switch["switch"]: ("Nodes", expand(switch["nodes"])) if "nodes" in switch else ("Switches", expand(switch["children"]))
        for switch in tree["tree"]["switches"]
    }
    assert as_conf == read_conf(topology_conf(fabric))
    blocks = {entry["block"]: expand(entry["nodes"]) for entry in block["block"]["blocks"]}
    assert len(blocks) == 25
    assert sum(map(len, blocks.values())) == 458
    assert all(name.startswith("luna-") for nodes in blocks.values() for name in nodes)
    assert block["block"]["block_sizes"] == [min(map(len, blocks.values()))]


def test_a_manager_among_the_hosts_is_in_the_tree_but_in_no_block(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / "dgx-ndr-2025.txt")).fabric
    tree, block = yaml.safe_load(topology_yaml(fabric))
    assert "B11-P1-CUFM-02" in str(tree)
    assert "b08-p1-dgx-08-c" in str(block)
    assert "CUFM" not in str(block)


def test_a_fabric_without_named_hosts_gives_files_without_hosts(fixtures: Path) -> None:
    fabric = load_fabric(str(fixtures / "ibnetdiscover" / "jabl-1.txt")).fabric
    assert read_conf(topology_conf(fabric)) == {}
    assert yaml.safe_load(topology_yaml(fabric)) == [{"topology": "tree", "cluster_default": True, "tree": {"switches": []}}]
