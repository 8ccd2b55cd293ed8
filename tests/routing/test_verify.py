"""The proof against networkx on arbitrary, also broken, tables."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import build, dependency_graph, plain_path, random_fabrics

from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE
from fabctl.routing.compute import compute_tables
from fabctl.routing.verify import verify


@settings(max_examples=80, deadline=None)
@given(random_fabrics(), st.integers(0, 10_000), st.integers(0, 4))
def test_lost_and_looping_pairs_equal_plain_walks(fabric: Fabric, seed: int, damage: int) -> None:
    tables = compute_tables(fabric, "minhop")
    rng = np.random.default_rng(seed)
    lft = tables.lft.copy()
    lids = fabric.port_lid[fabric.endpoints]
    for _ in range(damage):
        switch = rng.integers(fabric.n_switches)
        lft[switch, rng.choice(lids)] = rng.choice([NO_ROUTE, *fabric.port_number[fabric.port_node == switch]])
    broken = replace(tables, lft=lft)
    lost = set()
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            leaf = int(fabric.port_node[fabric.port_peer[source]])
            if (lft[:, fabric.port_lid[target]] != NO_ROUTE).any() and not reaches(broken, leaf, target):
                lost.add((leaf, target))
    found = verify(broken)
    assert found.lost_hca == len(lost)
    assert found.safe <= (not lost)
    if found.loop:
        ends = [(int(fabric.channel_src[c]), int(fabric.channel_dst[c])) for c in found.loop]
        assert all(here[1] == there[0] for here, there in zip(ends, ends[1:] + ends[:1], strict=True))


def reaches(tables: object, leaf: int, target: int) -> bool:
    fabric = tables.fabric
    switch = leaf
    for _ in range(fabric.n_switches + 1):
        number = int(tables.lft[switch, fabric.port_lid[target]])
        port = np.flatnonzero((fabric.port_node == switch) & (fabric.port_number == number) & (fabric.port_peer >= 0))
        if not len(port):
            return False
        far = int(fabric.port_peer[port[0]])
        if fabric.port_node[far] >= fabric.n_switches:
            return far == target
        switch = int(fabric.port_node[far])
    return False


@settings(max_examples=80, deadline=None)
@given(random_fabrics())
def test_credit_loops_equal_networkx(fabric: Fabric) -> None:
    tables = compute_tables(fabric, "minhop")
    graph = dependency_graph(tables)
    found = verify(tables)
    assert bool(found.credit_loop) == (not nx.is_directed_acyclic_graph(graph))
    if found.credit_loop:
        cycle = found.credit_loop
        assert all(graph.has_edge(*edge) for edge in zip(cycle, cycle[1:] + cycle[:1], strict=True))
        assert len(cycle) == min(len(loop) for loop in nx.simple_cycles(graph, length_bound=len(cycle)))


def test_a_two_switch_loop_is_named() -> None:
    fabric = build([1, 1, 1], [(0, 1), (1, 2)])
    tables = compute_tables(fabric, "minhop")
    lft = tables.lft.copy()
    target = int(fabric.endpoints[2])
    lft[1, fabric.port_lid[target]] = 2  # back to switch-0
    found = verify(replace(tables, lft=lft))
    assert [fabric.cable_label(channel) for channel in found.loop] == ["switch-0/P2 -> switch-1/P2", "switch-1/P2 -> switch-0/P2"]
    assert plain_path(replace(tables, lft=lft), int(fabric.endpoints[0]), target) is None
    assert (found.lost_hca, found.safe) == (2, False)
