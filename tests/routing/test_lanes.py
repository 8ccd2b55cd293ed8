"""Virtual lanes: each lane's dependency graph is acyclic by networkx, and no lane more than needed where that is known."""

from __future__ import annotations

from pathlib import Path

import families
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_oracles import build, random_fabrics

from fabctl.congestion.load import alltoall_loads
from fabctl.errors import RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric


def lane_graphs(tables: RoutingTables) -> list[nx.DiGraph]:
    """Return the dependency graph of each lane, from walks of every leaf's path to every LID in plain Python."""
    fabric = tables.fabric
    graphs = [nx.DiGraph() for _ in range(tables.n_vls)]
    leaves = {int(fabric.port_node[fabric.port_peer[port]]) for port in fabric.endpoints.tolist()}
    for lid in np.flatnonzero(fabric.port_of_lid >= 0).tolist():
        for leaf in leaves:
            lane = 0 if tables.service_level is None else int(tables.service_level[leaf, lid])
            node, before = leaf, -1
            while node < fabric.n_switches and tables.lft[node, lid] != 0:
                channel = int(fabric.channel_at[node, tables.lft[node, lid]])
                node = int(fabric.channel_dst[channel])
                if before >= 0:
                    graphs[lane].add_edge(before, channel)
                before = channel
    return graphs


def ring(size: int, hosts: int = 1) -> Fabric:
    return build([hosts] * size, [(here, (here + 1) % size) for here in range(size)])


@settings(max_examples=60, deadline=None)
@given(random_fabrics(), st.sampled_from(["minhop", "sssp"]))
def test_any_routes_get_lanes_without_a_cycle(fabric: Fabric, engine: str) -> None:
    plain = compute_tables(fabric, engine)
    tables = assign_layers(plain, 15)
    assert all(nx.is_directed_acyclic_graph(graph) for graph in lane_graphs(tables))
    found = verify(tables)
    assert found.safe
    assert not found.management_loop
    hcas = fabric.port_lid[fabric.endpoints]
    np.testing.assert_array_equal(tables.lft[:, hcas], plain.lft[:, hcas])


@pytest.mark.parametrize("engine", ["dfsssp", "lash"])
@pytest.mark.parametrize("size", [5, 6, 7, 12])
def test_a_ring_takes_two_lanes(engine: str, size: int) -> None:
    """Two are enough (Dally and Seitz 1987) and needed; OpenSM's lash takes 3 for six switches."""
    assert compute_tables(ring(size), engine).n_vls == 2


@pytest.mark.parametrize("engine", ["dfsssp", "lash", "torus-2QoS"])
def test_too_few_lanes_are_refused_with_the_number_needed(engine: str) -> None:
    with pytest.raises(RefusedError, match=r"need 2 virtual lanes .* 1 may be used"):
        compute_tables(ring(6), engine, Options(max_vls=1))


@pytest.mark.parametrize(
    ("topology", "dfsssp", "lash"), [("torus-888", 9, 9), ("random-regular-1200", 9, 5), ("dragonfly-1056", 5, 5)]
)
def test_fewer_lanes_than_opensm(topology: str, dfsssp: int, lash: int, project: Path) -> None:
    """OpenSM 3.3.23 says that it needs so many; with 8 its dfsssp fails on the first two, its lash on the first."""
    fabric = load_fabric(str(project / f"topologies/{topology}.yaml")).fabric
    for engine, lanes in (("dfsssp", dfsssp), ("lash", lash)):
        tables = compute_tables(fabric, engine)
        assert tables.n_vls <= min(lanes, 8)
        assert verify(tables).safe


def test_a_torus_is_loaded_evenly_on_shortest_paths(project: Path) -> None:
    """Closed form: 1,024 x 1,024 pairs x 6 mean hops / 3,072 channels = 2,048 units on each, so half of injection bandwidth."""
    fabric = load_fabric(str(project / "topologies/torus-888.yaml")).fabric
    between = (fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches)
    for engine in ("minhop", "sssp", "dfsssp", "lash"):
        loads = alltoall_loads(compute_tables(fabric, engine), fabric.compute_endpoints)[between]
        assert (loads.min(), loads.max()) == (2048, 2048)


@pytest.mark.parametrize("engine", ["minhop", "updn", "dfsssp"])
@pytest.mark.parametrize("family", ["xgft", "dragonfly", "random-regular", "xgft-faults"])
def test_lmc_gives_a_port_several_paths_all_of_them_proved(engine: str, family: str) -> None:
    fabric, _ = parse(families.SPECS[family][1] + "lmc: 2\n", "lmc.yaml")
    tables = compute_tables(fabric, engine)
    found = verify(tables)
    assert (found.lost_hca, found.lost_other, found.unlisted) == (0, 0, ())
    graphs = lane_graphs(tables)
    assert engine == "minhop" or all(nx.is_directed_acyclic_graph(graph) for graph in graphs)
    base = fabric.port_lid[fabric.compute_endpoints]
    columns = np.stack([tables.lft[:, base + offset] for offset in range(4)])
    if tables.service_level is not None:
        lanes = tables.service_level[:, base[:, None] + np.arange(4)]
        assert (lanes == lanes[:, :, :1]).all(), "OpenSM's policy knows one SL from a port to a port"
    differ = (columns != columns[0]).any(axis=(0, 1))
    assert differ.mean() > 0.5


@pytest.mark.parametrize("engine", ["minhop", "updn", "ftree", "sssp", "nue"])
@pytest.mark.parametrize("lmc", [1, 2])
def test_the_base_lids_alone_load_a_tree_evenly_whatever_the_lmc(engine: str, lmc: int) -> None:
    """Closed form: D-mod-k gives an all-to-all all of its bandwidth; ranks counted by LID would share every second up-link."""
    fabric, _ = parse(f"family: xgft\nm: [4, 8]\nw: [1, 4]\nspeed: EDR\nlmc: {lmc}\n", "lmc.yaml")
    loads = alltoall_loads(compute_tables(fabric, engine), fabric.compute_endpoints)
    assert loads.max() == len(fabric.compute_endpoints) - 1
