from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import yaml

from fabctl.congestion.load import channel_loads
from fabctl.congestion.phases import step_loads
from fabctl.congestion.quality import effective_bisection
from fabctl.errors import ExitCode, RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.flows import unit_flows
from fabctl.routing.cases import CASES
from fabctl.routing.cases.case import Case, make_case
from fabctl.routing.cases.fat_tree import host_order
from fabctl.routing.cases.htsim import connections, topology
from fabctl.routing.cases.infragraph import infrastructure
from fabctl.routing.cases.infragraph import notes as infragraph_notes
from fabctl.routing.cases.orcs import orcs
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import DEFAULTS
from fabctl.traffic.job import JobSpec, Placed, parse_job
from fabctl.traffic.phases import jobs_traffic

TREES = {
    "two tiers": "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 4\nspines: 3\nspeed: EDR\n",
    "oversubscribed": "family: leaf-spine\nhosts_per_leaf: 8\nleaves: 4\nspines: 2\noversubscription: 2\nspeed: HDR\n",
    "parallel cables": "family: xgft\nm: [4, 3]\nw: [1, 2]\np: [1, 2]\nspeed: EDR\n",
    "three tiers": "family: xgft\nm: [2, 4, 3]\nw: [1, 2, 2]\nspeed: EDR\n",
    "three tiers, parallel": "family: xgft\nm: [4, 2, 3]\nw: [1, 2, 2]\np: [1, 2, 2]\nspeed: HDR\n",
    "k-ary": "family: fat-tree\nradix: 4\nlevels: 3\nspeed: HDR\n",
}
JOB = JobSpec(collectives=(), pattern="permutation", sizes=(1000,))


def fabric_of(spec: str) -> Fabric:
    return parse(spec, "given.yaml")[0]


def case_of(spec: str, job: JobSpec = JOB, engine: str = "minhop") -> Case:
    fabric = fabric_of(spec)
    tables = compute_tables(fabric, engine, DEFAULTS)
    return make_case(tables, jobs_traffic([job], tables.fabric))


# ---- ORCS --------------------------------------------------------------------------------------------------------------


class Orcs:
    """ORCS by its own definitions: the graph as text, the first edge that names the destination, hop by hop."""

    def __init__(self, text: str) -> None:
        assert text.count("digraph") == 1
        self.hosts = re.findall(r'^  "(H[0-9a-f]{16})" \[label', text, re.MULTILINE)
        self.edges: list[tuple[str, str, frozenset[str]]] = []
        self.out: defaultdict[str, list[int]] = defaultdict(list)
        for here, there, comment in re.findall(r'^  "(\w+)" -> "(\w+)" \[comment="([^"]*)"\];$', text, re.MULTILINE):
            self.out[here].append(len(self.edges))
            self.edges.append((here, there, frozenset(comment.split(","))))

    def route(self, src: str, dst: str) -> Iterator[int]:
        at, seen = src, {src}
        while at != dst:
            edge = next(edge for edge in self.out[at] if not self.edges[edge][2].isdisjoint((dst, "*")))
            yield edge
            at = self.edges[edge][1]
            assert at not in seen, "routing loop"
            seen.add(at)

    def congestion(self, pairs: list[tuple[str, str]]) -> tuple[Counter[int], list[int]]:
        """Return the number of pairs on each edge, and each pair's weight: the most on any of its edges."""
        routes = [list(self.route(*pair)) for pair in pairs]
        cong = Counter(edge for route in routes for edge in route)
        return cong, [max(cong[edge] for edge in route) for route in routes]


def names(fabric: Fabric) -> dict[int, str]:
    return {int(port): f"H{int(fabric.port_guid[port]):016x}" for port in fabric.endpoints}


@pytest.mark.parametrize("engine", ["minhop", "sssp"])
@pytest.mark.parametrize("spec", [*TREES.values(), "family: torus\ndims: [3, 4]\nhosts_per_switch: 2\nspeed: EDR\n"])
def test_orcs_finds_the_same_congestion(spec: str, engine: str) -> None:
    case = case_of(spec, engine=engine)
    tool, name = Orcs(orcs(case)), names(case.fabric)
    ports = case.fabric.endpoints
    assert sorted(tool.hosts) == sorted(name.values())
    rng = np.random.default_rng(3)
    for _ in range(3):
        order = rng.permutation(ports)
        flows = unit_flows(ports[ports != order], order[ports != order])
        loads = channel_loads(case.tables, flows)
        cong, _ = tool.congestion([(name[int(a)], name[int(b)]) for a, b in zip(flows.src, flows.dst, strict=True)])
        assert sorted(cong.values()) == sorted(loads[loads > 0].astype(int).tolist())


def test_orcs_finds_the_same_effective_bisection_bandwidth() -> None:
    case = case_of(TREES["three tiers"], engine="sssp")
    tool, name, ports = Orcs(orcs(case)), names(case.fabric), case.fabric.endpoints
    half, samples = len(ports) // 2, 20
    order = np.random.default_rng(7).permuted(np.broadcast_to(ports, (samples, len(ports))), axis=1)
    means = []
    for row in order.tolist():
        _, weights = tool.congestion([(name[a], name[b]) for a, b in zip(row[:half], row[half : 2 * half], strict=True)])
        means.append(np.mean([1 / weight for weight in weights]))
    found = effective_bisection(case.tables, ports, samples=samples, seed=7)
    assert found.mean == pytest.approx(np.mean(means), abs=1e-12)


def test_orcs_has_the_jobs_hosts_first_in_rank_order() -> None:
    fabric = fabric_of(TREES["three tiers"])
    picked = [fabric.hosts.name[host] for host in (7, 2, 11)]
    job = JobSpec(hosts=tuple(Placed(name, "") for name in picked), collectives=(), pattern="ring", sizes=(8,))
    text = orcs(case_of(TREES["three tiers"], job))
    labels = re.findall(r'^  "H\w+" \[label="([^"]*)"\]', text, re.MULTILINE)
    assert [label.split()[0].split("/")[0] for label in labels[:3]] == picked
    assert len(labels) == 24


# ---- htsim -------------------------------------------------------------------------------------------------------------


def built(text: str) -> nx.MultiGraph[Any]:
    """Build the fat tree as htsim's FatTreeTopology does, from the words of its file."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    tiers: list[dict[str, int]] = []
    head: dict[str, int] = {}
    for word, value in lines:
        if word == "Tier":
            assert int(value) == len(tiers)
            tiers.append({})
        else:
            (tiers[-1] if tiers else head)[word.lower()] = int(value)
    assert len(tiers) == head["tiers"]
    assert all(tier["downlink_latency_ns"] > 0 for tier in tiers)
    nodes, pod_hosts, down = head["nodes"], head["podsize"], tiers[0]["radix_down"]
    assert nodes % pod_hosts == pod_hosts % down == 0
    pods, tors = nodes // pod_hosts, pod_hosts // down
    speed, over = [tier["downlink_speed_gbps"] for tier in tiers], [tier.get("oversubscribed", 1) for tier in tiers]
    bundle = [tier.get("bundle", 1) for tier in tiers]
    assert nodes * speed[0] % (speed[1] * over[0]) == 0
    tor_uplinks = nodes * speed[0] // (speed[1] * over[0])
    assert down // tiers[0]["radix_up"] == over[0]
    assert tor_uplinks % (pods * tiers[1]["radix_down"]) == 0
    aggs = tor_uplinks // (pods * tiers[1]["radix_down"])
    assert aggs * bundle[1] == tiers[0]["radix_up"]
    graph: nx.MultiGraph[Any] = nx.MultiGraph()
    for node in range(nodes):
        graph.add_edge(("host", node), ("tor", node // down), gbps=speed[0])
    for tor in range(tors * pods):
        for agg in range(tor // tors * aggs, tor // tors * aggs + aggs):
            graph.add_edges_from([(("tor", tor), ("agg", agg), {"gbps": speed[1]})] * bundle[1])
    if len(tiers) == 3:
        agg_uplinks = tor_uplinks * speed[1] // (speed[2] * over[1])
        assert tor_uplinks * speed[1] % (speed[2] * over[1]) == agg_uplinks % tiers[2]["radix_down"] == 0
        cores = agg_uplinks // tiers[2]["radix_down"]
        assert cores % aggs == 0
        assert cores * bundle[2] // aggs == tiers[1]["radix_up"]
        for agg in range(aggs * pods):
            for step in range(tiers[1]["radix_up"] // bundle[2]):
                core = agg % aggs + aggs * step
                assert core < cores
                graph.add_edges_from([(("agg", agg), ("core", core), {"gbps": speed[2]})] * bundle[2])
    return graph


@pytest.mark.parametrize("spec", TREES.values(), ids=list(TREES))
def test_htsim_builds_the_same_tree(spec: str) -> None:
    case = case_of(spec)
    fabric = case.fabric
    theirs = built(topology(case))
    ours: nx.MultiGraph[Any] = nx.MultiGraph()
    number = {int(fabric.port_node[port]): node for node, port in enumerate(host_order(fabric).tolist())}
    for channel in range(len(fabric.channel_port)):
        src, dst = int(fabric.channel_src[channel]), int(fabric.channel_dst[channel])
        if src < dst:
            ours.add_edge(src, dst, gbps=round(float(fabric.data_gbps[channel])))
    for node in ours:
        ours.nodes[node]["host"] = number.get(node, -1)
    for node in theirs:
        theirs.nodes[node]["host"] = node[1] if node[0] == "host" else -1

    def parallel(mine: dict[int, dict[str, int]], other: dict[int, dict[str, int]]) -> bool:
        return Counter(edge["gbps"] for edge in mine.values()) == Counter(edge["gbps"] for edge in other.values())

    assert nx.is_isomorphic(ours, theirs, node_match=lambda a, b: a["host"] == b["host"], edge_match=parallel)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("family: torus\ndims: [3, 3]\nhosts_per_switch: 2\nspeed: EDR\n", "1 tiers of switches"),
        ("family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: EDR\nremove: {cables: 1}\n", "a leaf is not joined|cables between"),
        ("family: xgft\nm: [2, 2, 2, 2]\nw: [1, 1, 1, 1]\nspeed: EDR\n", "4 tiers of switches"),
        ("family: xgft\nm: [4, 4]\nw: [1, 4]\nspeed: FDR\n", r"whole Gb/s, below tier 0 there are 54\.54"),
        (
            "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 4\nspines: 2\nspeed: EDR\noversubscription: 1.5\n",
            "whole oversubscriptions",
        ),
    ],
)
def test_what_htsim_cannot_build_is_refused(spec: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        topology(case_of(spec))


def read_matrix(text: str) -> tuple[int, list[dict[str, Any]], dict[int, int]]:
    """Read a connection matrix with the rules of htsim's ConnectionMatrix::load."""
    lines = text.split("\n")
    assert lines.pop() == ""
    while lines[0].startswith("#"):
        lines.pop(0)
    head = {}
    while lines[0].split(" ")[0] in ("Nodes", "Connections", "Triggers"):
        word, value = lines.pop(0).split(" ")
        head[word] = int(value)
    flows: list[dict[str, Any]] = []
    triggers: dict[int, int] = {}
    for line in lines:
        tokens = line.split(" ")
        if tokens[0] == "trigger":
            assert tokens[1::2] == ["id", "barrier"] or tokens[1] == "id"
            assert tokens[3:5] == ["barrier", "count"]
            triggers[int(tokens[2])] = int(tokens[5])
            continue
        src, dst = map(int, tokens[0].split("->"))
        flow: dict[str, Any] = {"src": src, "dst": dst, **dict(zip(tokens[1::2], map(int, tokens[2::2]), strict=True))}
        assert set(flow) <= {"src", "dst", "id", "start", "trigger", "size", "send_done_trigger"}
        assert tokens[1] == "id"  # a trigger takes note of the id that it has read before it
        assert flow["id"] > 0
        assert ("start" in flow) != ("trigger" in flow)
        assert 0 < flow["size"] < 2**31
        flows.append(flow)
    assert (head["Connections"], head.get("Triggers", 0)) == (len(flows), len(triggers))
    assert len({flow["id"] for flow in flows}) == len(flows)
    assert all(0 <= flow[end] < head["Nodes"] for flow in flows for end in ("src", "dst"))
    assert {flow.get("trigger") for flow in flows} - {None} <= triggers.keys()
    return head["Nodes"], flows, triggers


def test_a_matrix_holds_the_flows_and_orders_the_phases() -> None:
    job = parse_job("hosts: all\ncollective: [all_gather, alltoall]\nsize: 1M\n", "job.yaml")
    case = case_of(TREES["three tiers"], job)
    n_nodes, flows, triggers = read_matrix(connections(case))
    assert n_nodes == 24
    order = host_order(case.fabric)
    first, second = (phase.flows for phase in case.jobs[0].phases)
    for phase, part in ((first, flows[: len(first)]), (second, flows[len(first) :])):
        assert [int(order[flow["src"]]) for flow in part] == phase.src.tolist()
        assert [int(order[flow["dst"]]) for flow in part] == phase.dst.tolist()
        np.testing.assert_allclose([flow["size"] for flow in part], phase.weight, atol=0.5)
    assert triggers == {1: len(first)}
    assert all((flow["start"], flow["send_done_trigger"]) == (0, 1) for flow in flows[: len(first)])
    assert all(flow["trigger"] == 1 and "send_done_trigger" not in flow for flow in flows[len(first) :])


def test_jobs_start_together() -> None:
    fabric = fabric_of(TREES["two tiers"])
    specs = [
        JobSpec(
            name=name,
            hosts=tuple(Placed(fabric.hosts.name[host], "") for host in hosts),
            collectives=("all_gather", "broadcast"),
            sizes=(64,),
        )
        for name, hosts in (("a", (0, 4, 8)), ("b", (1, 5, 9)))
    ]
    tables = compute_tables(fabric, "minhop", DEFAULTS)
    _, flows, triggers = read_matrix(connections(make_case(tables, jobs_traffic(specs, tables.fabric))))
    assert [flow["id"] for flow in flows if "start" in flow] == [1, 2, 3, 6, 7, 8]
    assert triggers == {1: 3, 2: 3}


def test_flows_beyond_htsims_count_are_refused() -> None:
    job = JobSpec(collectives=(), pattern="ring", sizes=(1 << 31,))
    with pytest.raises(RefusedError, match="32 bits, and a flow of 'pattern ring' has 2147483648"):
        connections(case_of(TREES["two tiers"], job))


# ---- InfraGraph --------------------------------------------------------------------------------------------------------

RAILS = "family: rail-optimised\nrails: 2\nnodes_per_unit: 4\nunits: 2\nspeed: HDR\n"


def joined(case: Case) -> set[frozenset[str]]:
    """Return the fabric's cables between switches and HCAs by the labels of their ports."""
    fabric = case.fabric
    ends = [(int(port), int(fabric.port_peer[port])) for port in fabric.channel_port]
    return {frozenset(map(fabric.port_label, pair)) for pair in ends}


@pytest.mark.parametrize("spec", [RAILS, TREES["parallel cables"]])
def test_infragraphs_edges_are_the_cables(spec: str) -> None:
    """Read both files as plain YAML: the names that the annotations give bring back the fabric."""
    case = case_of(spec)
    graph, notes = yaml.safe_load(infrastructure(case)), yaml.safe_load(infragraph_notes(case))
    counts = {entry["name"]: entry["count"] for entry in graph["instances"]}
    parts = {device["name"]: {part["name"]: part["count"] for part in device["components"]} for device in graph["devices"]}
    rates = {link["name"]: link["physical"]["bandwidth"]["gigabits_per_second"] for link in graph["links"]}
    label = {entry["name"]: {item["attribute"]: item["value"] for item in entry["attributes"]} for entry in notes["nodes"]}

    def named(end: dict[str, str]) -> str:
        instance, index = re.fullmatch(r"(\w+)\[(\d+)\]", end["instance"]).groups()  # type: ignore[union-attr]
        part, number = re.fullmatch(r"(\w+)\[(\d+)\]", end["component"]).groups()  # type: ignore[union-attr]
        assert int(index) < counts[instance]
        assert int(number) < parts[instance][part]
        if part == "nic":
            return label[end["instance"] + end["component"]]["label"]
        return f"{label[end['instance'] + 'asic[0]']['label']}/P{int(number) + 1}"

    assert {frozenset((named(edge["ep1"]), named(edge["ep2"]))) for edge in graph["edges"]} == joined(case)
    assert len(graph["edges"]) == case.fabric.n_cables
    assert {rates[edge["link"]] for edge in graph["edges"]} == set(case.fabric.data_gbps.tolist())
    lft = dict(pair.split(":") for pair in label[graph["edges"][0]["ep1"]["instance"] + "asic[0]"]["lft"].split(","))
    switch = int(case.fabric.channel_src[0])
    assert {int(lid): int(port) for lid, port in lft.items()} == {
        lid: int(port) for lid, port in enumerate(case.tables.lft[switch]) if port not in (0, 255)
    }
    loads = step_loads(case.tables, case.jobs[0])
    said = [float(item["value"]) for edge in notes["edges"] for item in edge["attributes"]]
    assert sum(said) == pytest.approx(loads.sum(), rel=1e-6)
    assert max(said) == pytest.approx(loads.max(), rel=1e-6)


@pytest.mark.parametrize("spec", [RAILS, TREES["parallel cables"], "family: xgft\nm: [2, 2]\nw: [1, 2]\nspeed: FDR\n"])
def test_infragraph_takes_both_files(spec: str) -> None:
    """InfraGraph's own library builds the graph and annotates it, where it is installed."""
    pytest.importorskip("infragraph")
    from infragraph.infragraph_service import InfraGraphService

    case = case_of(spec)
    service = InfraGraphService()
    service.set_graph(infrastructure(case))
    service.annotate_graph(infragraph_notes(case))
    graph = service.get_networkx_graph()
    cables = [data for _, _, data in graph.edges(data=True) if "bandwidth" in data]
    assert len(cables) == case.fabric.n_cables
    assert all("bytes_from_ep1" in data for data in cables)
    asics = [data["label"] for node, data in graph.nodes(data=True) if ".asic." in node]
    assert asics == list(case.fabric.labels[: case.fabric.n_switches])
    hosts = [node for node in graph if ".host." in node]
    assert nx.has_path(graph, hosts[0], hosts[-1])


# ---- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES.names() if name != "simgrid"])
def test_the_command_writes_the_same_bytes_twice(name: str, run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text(TREES["two tiers"])
    (tmp_path / "job.yaml").write_text("hosts: all\ncollective: alltoall\nsize: 1M\n")
    argv = ("route", tmp_path / "fabric.yaml", "--job", tmp_path / "job.yaml", "-o", name)
    first = run(*argv)
    assert (first.code, first.err) == (ExitCode.DONE, "")
    assert run(*argv, "--out", tmp_path / "out").code == ExitCode.DONE
    assert (tmp_path / "out").read_text() == first.out


def test_the_command_refuses_by_name(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text("family: torus\ndims: [3, 3]\nhosts_per_switch: 2\nspeed: EDR\n")
    (tmp_path / "job.yaml").write_text("hosts: all\n")
    done = run("route", tmp_path / "fabric.yaml", "--job", tmp_path / "job.yaml", "-o", "htsim-topo")
    assert done.code == ExitCode.REFUSED
    assert "no fat tree that htsim can build" in done.err
