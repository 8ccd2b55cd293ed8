"""torus-2QoS: datelines and layers proved by plain dependency graphs, faults stepped round as OpenSM's manual page shows it."""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path

import families
import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from realstack import tool
from routing_oracles import build, plain_path

from fabctl.congestion.load import alltoall_loads
from fabctl.congestion.quality import shift_congestion
from fabctl.errors import RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.routing.datelines import with_datelines
from fabctl.routing.grid import find_grid
from fabctl.routing.options import DEFAULTS, Options
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric
from fabctl.twin.opensm import OpenSM, Settings
from fabctl.twin.readback import read_tables
from fabctl.twin.scratch import Scratch
from fabctl.twin.twin import simulated


def torus(*dims: int, hosts: int = 1, remove: str = "", cables: int = 1) -> Fabric:
    """Return a torus of switches ``sw-0-0``..., without what `remove` says."""
    spec = f"family: torus\ndims: {list(dims)}\nhosts_per_switch: {hosts}\ncables: {cables}\nspeed: EDR\n"
    return parse(spec + (f"remove: {remove}\n" if remove else ""), "torus.yaml")[0]


def lanes(tables: RoutingTables) -> dict[int, nx.DiGraph]:
    """Return the channel dependency graph of each service level, from plain walks of all pairs of HCAs."""
    fabric = tables.fabric
    graphs: dict[int, nx.DiGraph] = {}
    for source in fabric.endpoints.tolist():
        home = int(fabric.port_node[fabric.port_peer[source]])
        for target in fabric.endpoints.tolist():
            if source == target:
                continue
            path = plain_path(tables, source, target)
            assert path is not None
            level = 0 if tables.service_level is None else int(tables.service_level[home, fabric.port_lid[target]])
            nx.add_path(graphs.setdefault(level, nx.DiGraph()), path)
    return graphs


def names(tables: RoutingTables, source: str, target: str) -> list[str]:
    """Return the switches on the path between the first hosts of two switches."""
    fabric = tables.fabric
    home = [fabric.labels[fabric.port_node[fabric.port_peer[port]]] for port in fabric.endpoints.tolist()]
    ends = [int(fabric.endpoints[home.index(name)]) for name in (source, target)]
    path = plain_path(tables, ends[0], ends[1])
    assert path is not None
    return [fabric.labels[fabric.channel_dst[channel]] for channel in path[:-1]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(2, 7), min_size=1, max_size=3),
    st.integers(1, 2),
    st.sampled_from(["", "{switches: 1}", "{cables: 1}", "{cables: 3}", "{switches: 1, cables: 1}"]),
    st.integers(0, 3),
)
def test_each_lane_is_free_of_credit_loops(dims: list[int], cables: int, faults: str, seed: int) -> None:
    assume(4 < prod(dims) <= 60)
    fabric = torus(*dims, remove=faults.replace("{", f"{{seed: {seed}, ") if faults else "", cables=cables)
    try:
        tables = compute_tables(fabric, "torus-2QoS")
    except RefusedError:
        assert faults
        with pytest.raises(RefusedError, match=r"no grid|in parts"):
            compute_tables(fabric, "torus-2QoS")
        return
    assert all(nx.is_directed_acyclic_graph(graph) for graph in lanes(tables).values())
    found = verify(tables)
    assert found.safe
    assert found.lost_other == 0
    assert faults or tables.n_vls <= 2 ** len([size for size in dims if size > 4])  # 2 x 3 without a switch is a ring of 5


@pytest.mark.parametrize("dims", [(5,), (8,), (5, 6), (5, 5, 2)])
def test_datelines_alone_cut_all_rings(dims: tuple[int, ...]) -> None:
    """One bit per ring of five and more: the closed form of 2 ^ rings, before layers make it fewer."""
    fabric = torus(*dims)
    tables = with_datelines(compute_tables(fabric, "dor"), find_grid(fabric))
    assert tables.n_vls == 2 ** len([size for size in dims if size > 4])
    assert all(nx.is_directed_acyclic_graph(graph) for graph in lanes(tables).values())
    assert not all(nx.is_directed_acyclic_graph(graph) for graph in lanes(compute_tables(fabric, "dor")).values())


def test_the_torus_of_1024_hosts_is_routed_at_its_bound_within_8_lanes(project: Path) -> None:
    """Half the hosts send half their traffic over 2 x 64 links: 2,048 each. OpenSM's dfsssp and lash need 9 lanes there."""
    fabric = load_fabric(str(project / "topologies/torus-888.yaml")).fabric
    tables = compute_tables(fabric, "torus-2QoS")
    assert alltoall_loads(tables, fabric.compute_endpoints).max() == 512 * 512 // (2 * 64)
    assert 1 < tables.n_vls <= 8
    found = verify(tables)
    assert found.safe
    assert found.lost_other == 0


@pytest.mark.parametrize("family", ["mesh", "hypercube"])
@pytest.mark.parametrize("size", families.SIZES)
def test_what_has_no_rings_takes_one_lane(family: str, size: str) -> None:
    tables = compute_tables(families.build(family, size), "torus-2QoS")
    assert verify(tables).safe
    assert tables.n_vls == 1
    np.testing.assert_array_equal(tables.lft, compute_tables(families.build(family, size), "dor").lft)


# ---- faults: the 6 x 5 torus of torus-2QoS(8) --------------------------------------------------------------------------


@cache
def example(remove: str = "") -> RoutingTables:
    tables = compute_tables(torus(6, 5, remove=remove), "torus-2QoS")
    assert verify(tables).safe
    return tables


def test_whole_rings_are_taken_the_short_way() -> None:
    assert names(example(), "sw-1-1", "sw-3-3") == ["sw-1-1", "sw-2-1", "sw-3-1", "sw-3-2", "sw-3-3"]


@pytest.mark.parametrize("cut", ["sw-1-1 - sw-2-1", "sw-2-1 - sw-3-1"])
def test_a_broken_ring_is_taken_the_other_way(cut: str) -> None:
    expected = ["sw-1-1", "sw-0-1", "sw-5-1", "sw-4-1", "sw-3-1", "sw-3-2", "sw-3-3"]
    assert names(example(f"{{names: [{cut}]}}"), "sw-1-1", "sw-3-3") == expected


def test_a_missing_corner_is_turned_early() -> None:
    assert names(example("{names: [sw-3-1]}"), "sw-1-1", "sw-3-3") == ["sw-1-1", "sw-2-1", "sw-2-2", "sw-3-2", "sw-3-3"]
    assert "1 places have no switch" in example("{names: [sw-3-1]}").notes[0]


def test_two_missing_corners_in_the_last_dimension() -> None:
    tables = example("{names: [sw-3-1, sw-3-2]}")
    assert names(tables, "sw-1-1", "sw-3-3") == ["sw-1-1", "sw-2-1", "sw-2-2", "sw-2-3", "sw-3-3"]


def test_two_missing_corners_that_opensm_s_cannot_route_are_routed_in_lanes() -> None:
    assert example("{names: [sw-3-1, sw-4-1]}").n_vls <= 8


@pytest.mark.parametrize("remove", ["", "{names: [sw-0-0 - sw-0-1]}", "{names: [sw-4-5]}"])
def test_opensm_s_torus_2qos_is_no_better(remove: str) -> None:
    """Seeded at sw-2-2. OpenSM's hottest channels carry 144, 216 and 168, its worst shifts 6, 6 and 8."""
    for program in ("ibsim", "opensm", "dump_fts"):
        tool(program)
    fabric = torus(6, 6, hosts=2, remove=remove)
    guid = {label: fabric.guid_text(switch) for switch, label in enumerate(fabric.labels[: fabric.n_switches])}
    seeds = {"xp": "sw-3-2", "xm": "sw-1-2", "yp": "sw-2-3", "ym": "sw-2-1"}
    lines = ["torus 6 6 1", *(f"{way}_link {guid['sw-2-2']} {guid[other]}" for way, other in seeds.items())]
    with Scratch() as scratch:
        configuration = scratch.folder / "torus-2QoS.conf"
        configuration.write_text("".join(f"{line}\n" for line in lines))
        settings = Settings(engine="torus-2QoS", config=(f"torus_config {configuration}",))
        addressed, sim = simulated(fabric, scratch)
        with sim, OpenSM(sim, scratch.folder / "opensm", settings, once=True):
            theirs = read_tables(sim, addressed, "opensm")
    ours = compute_tables(fabric, "torus-2QoS")
    ports = fabric.compute_endpoints
    assert verify(theirs).lost_hca == 0
    assert alltoall_loads(ours, ports).max() <= alltoall_loads(theirs, ports).max()
    assert shift_congestion(ours, ports).worst <= shift_congestion(theirs, ports).worst


# ---- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("hyperx", "full 6 x full 6 joins 6 switches all to all"),
        ("fat-tree", "no grid"),
        ("dragonfly", "no grid"),
        ("random-regular", "no grid"),
    ],
)
def test_other_families_are_refused(family: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why) as error:
        compute_tables(families.build(family, "middle"), "torus-2QoS")
    assert error.value.hint


def test_too_few_lanes_are_refused_with_the_number_needed() -> None:
    with pytest.raises(RefusedError, match=r"need 2 virtual lanes .* 1 may be used"):
        compute_tables(torus(6), "torus-2QoS", Options(max_vls=1))
    assert compute_tables(torus(6), "torus-2QoS", Options(max_vls=2)).n_vls == 2


@pytest.mark.parametrize("engine", ["torus-2QoS", "dor", "dnup", "dfp", "auto"])
def test_what_is_cut_off_is_named(engine: str) -> None:
    lone = build([2, 3, 1], [(1, 2)])
    with pytest.raises(RefusedError, match="switch-0 has 2 HCAs and no cable to another switch"):
        compute_tables(lone, engine, DEFAULTS)
    halves = build([2, 1, 1, 1], [(0, 1), (2, 3)])
    with pytest.raises(RefusedError, match="in parts: no path joins switch-2 and switch-0"):
        compute_tables(halves, engine, DEFAULTS)
