"""The slow, obvious versions of what fabctl computes on routes: walks in plain Python, dependency graphs in networkx."""

from __future__ import annotations

import random
from collections import Counter

import networkx as nx
from hypothesis import strategies as st

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing import ENGINES
from fabctl.units import Speed

TREE_ENGINES = [name for name in ENGINES.names() if name not in ("torus-2QoS", "dfp")]
"""Engines that route fat trees; the others refuse them."""


def plain_path(tables: RoutingTables, source: int, target: int) -> list[int] | None:
    """Return the channels from one HCA port to another, None if the traffic is lost or loops."""
    fabric = tables.fabric
    cables = {(int(fabric.port_node[p]), int(fabric.port_number[p])): p for p in fabric.channel_port.tolist()}
    port = source
    path: list[int] = []
    while True:
        path.append(int(fabric.channel_of_port[port]))
        far = int(fabric.port_peer[port])
        node = int(fabric.port_node[far])
        if node >= fabric.n_switches:
            return path if far == target else None
        number = int(tables.lft[node, fabric.port_lid[target]])
        if number == NO_ROUTE or (node, number) not in cables or len(path) > fabric.n_switches + 1:
            return None
        port = cables[node, number]


def plain_alltoall(tables: RoutingTables, ports: list[int]) -> Counter[int]:
    """Return the load of each channel when every port sends one unit to every other."""
    load: Counter[int] = Counter()
    for source in ports:
        for target in ports:
            if source != target:
                load.update(plain_path(tables, source, target))
    return load


def dependency_graph(tables: RoutingTables) -> nx.DiGraph:
    """Return the channel dependency graph of all traffic between HCAs, over channels between switches."""
    fabric = tables.fabric
    graph = nx.DiGraph()
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            node = int(fabric.port_node[fabric.port_peer[source]])
            before = -1
            while node < fabric.n_switches and node != fabric.port_node[target]:
                channel = int(fabric.channel_at[node, tables.lft[node, fabric.port_lid[target]]])
                node = int(fabric.channel_dst[channel])
                if before >= 0 and node < fabric.n_switches:
                    graph.add_edge(before, channel)
                before = channel
    return graph


def switch_graph(fabric: Fabric) -> nx.Graph:
    """Return the simple graph of the switches."""
    graph = nx.Graph()
    graph.add_nodes_from(range(fabric.n_switches))
    for source, target in zip(fabric.channel_src.tolist(), fabric.channel_dst.tolist(), strict=True):
        if source < fabric.n_switches and target < fabric.n_switches and source != target:
            graph.add_edge(source, target)
    return graph


@st.composite
def random_fabrics(draw: st.DrawFn, max_switches: int = 7) -> Fabric:
    """Connected random fabrics with parallel cables, and 0 to 3 hosts on each switch (at least two in all)."""
    n = draw(st.integers(1, max_switches))
    hosts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(lambda counts: sum(counts) >= 2))
    edges = [(draw(st.integers(0, new - 1)), new) for new in range(1, n)]
    edges += draw(
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1]), max_size=2 * n)
    )
    return build(hosts, edges)


def ragged_tree(seed: int) -> Fabric:
    """Return a three-tier tree with so few cables that some leaves have no common ancestor."""
    rng = random.Random(seed)
    leaves, spines, cores = rng.randint(3, 7), rng.randint(2, 5), rng.randint(1, 3)
    middle, top = range(leaves, leaves + spines), range(leaves + spines, leaves + spines + cores)
    edges = [(leaf, spine) for leaf in range(leaves) for spine in rng.sample(middle, rng.randint(1, min(2, spines)))]
    edges += [(spine, core) for spine in middle for core in rng.sample(top, rng.randint(1, min(2, cores)))]
    return build([2] * leaves + [0] * (spines + cores), edges)


def build(hosts: list[int], edges: list[tuple[int, int]], order: list[int] | None = None) -> Fabric:
    """Return a fabric with given hosts per switch and cables between switches; `order` permutes the records."""
    records = []
    used = [0] * len(hosts)

    def plug(switch: int) -> int:
        used[switch] += 1
        return used[switch]

    guid = 0x1000
    lid = len(hosts)
    for switch in range(len(hosts)):
        records.append(lambda b, s=switch: b.node(NodeKind.SWITCH, 1 + s, f"switch-{s}", ports=40))
        records.append(lambda b, s=switch: b.port(1 + s, 0, port_guid=1 + s, lid=1 + s))
        for _ in range(hosts[switch]):
            guid, lid, number = guid + 2, lid + 1, plug(switch)
            records.append(lambda b, g=guid: b.node(NodeKind.CA, g, f"host-{g:05x} mlx5_0", ports=1))
            records.append(lambda b, g=guid, x=lid: b.port(g, 1, port_guid=g + 1, lid=x))
            records.append(lambda b, g=guid, s=switch, p=number: both(b, (1 + s, p), (g, 1)))
    for here, there in edges:
        ends = (1 + here, plug(here)), (1 + there, plug(there))
        records.append(lambda b, ends=ends: both(b, *ends))
    builder = FabricBuilder()
    for index in order or range(len(records)):
        records[index % len(records)](builder)
    return builder.build()


def both(builder: FabricBuilder, here: tuple[int, int], there: tuple[int, int]) -> None:
    """Plug a 4x EDR cable, reported by both ends."""
    for one, other in ((here, there), (there, here)):
        builder.link(*one, *other, lanes=4, speed=Speed.EDR)
