"""Ports switched on and off and slowed down by name, and never one that cuts off whoever is needed to undo it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import asked, enter, site_of
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fabrics import two_levels

from fabctl.errors import FabctlError, InputError, RefusedError, UnverifiedError, UsageError
from fabctl.model.assessment import Status
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Plan, Risk
from fabctl.model.operation import State
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.cut_off import reached
from fabctl.offload.drivers import mad
from fabctl.offload.features.ports import FEATURE
from fabctl.offload.journal import Journal
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site

PLAIN = two_levels(hosts=4, hosts_per_leaf=2, spines=2, rails=2)
FABRIC = replace(PLAIN, sm_lid=int(PLAIN.port_lid[PLAIN.endpoints[0]]))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)
    monkeypatch.setattr(mad, "TRAINING_S", 0.0)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    return enter(Agents(FABRIC, tmp_path / "agents"), monkeypatch)


def planned(enable: bool = True, fabric: Fabric = FABRIC, **values: str) -> Plan:
    return FEATURE.plan(site_of(fabric), asked(fabric, values, enable=enable))


def told(plan: Plan) -> list[tuple[str, str | None, str | None]]:
    return [(change.why, change.old, change.new) for change in plan.changes]


def test_a_spare_port_is_switched_off_read_back_and_on_again(agents: Agents, journal: Journal) -> None:
    site = site_of(FABRIC, "live")
    plan = planned(enable=False, ports="leaf-1/P[3-3]")
    assert told(plan) == [("the link goes down", "enabled", "disabled")]
    assert plan.risk == Risk.SWEEP
    done = apply(plan, site, journal)
    assert agents.state("leaf-1")["port.3.physical"] == "Disabled"
    assert agents.state("spine-0")["port.2.state"] == "Down"
    assert rollback(done.id, site, journal, work.quiet).state == State.ROLLED_BACK
    assert (agents.state("leaf-1")["port.3.physical"], agents.state("spine-0")["port.2.state"]) == ("LinkUp", "Active")
    assert planned(ports="leaf-1/P3").stages == ()


def test_a_port_that_stays_on_is_noticed(agents: Agents, journal: Journal) -> None:
    agents.fault("leaf-1", "deaf")
    with pytest.raises(UnverifiedError, match="leaf-1/P3"):
        apply(planned(enable=False, ports="leaf-1/P3"), site_of(FABRIC, "live"), journal)


def test_a_link_is_slowed_down_and_comes_up_again(agents: Agents, journal: Journal) -> None:
    site = site_of(FABRIC, "live")
    plan = planned(ports="leaf-0/P3", speed="EDR", width="1X")
    assert told(plan) == [
        ("the link is trained anew", "SDR,DDR,QDR,FDR,EDR,HDR,NDR", "SDR,DDR,QDR,FDR,EDR"),
        ("the link is trained anew", "1X,4X", "1X"),
    ]
    assert [check.place.key for check in plan.stages[0].checks] == ["port.speed", "port.width", "port.link"]
    apply(plan, site, journal)
    state = agents.state("leaf-0")
    assert (state["port.3.base"], state["port.3.extended"], state["port.3.width"], state["port.3.physical"]) == (
        "7",
        "3",
        "1",
        "LinkUp",
    )
    assert told(planned(ports="leaf-0/P3", speed="supported", width="supported"))[0][2] == "SDR,DDR,QDR,FDR,EDR,HDR,NDR"


def test_the_speed_of_a_port_that_is_off_is_set_and_it_stays_off(agents: Agents, journal: Journal) -> None:
    site = site_of(FABRIC, "live")
    apply(planned(enable=False, ports="leaf-1/P3"), site, journal)
    apply(planned(ports="leaf-1/P3", speed="EDR"), site, journal)
    state = agents.state("leaf-1")
    assert (state["port.3.extended"], state["port.3.physical"]) == ("3", "Disabled")


def test_a_port_without_extended_speeds_is_not_told_of_them(agents: Agents, journal: Journal) -> None:
    agents.put("leaf-1", port__3__extended="0", port__3__extendeds="0")
    apply(planned(ports="leaf-1/P3", speed="DDR"), site_of(FABRIC, "live"), journal)
    assert agents.sets == [f"ibportstate {agents.lid('leaf-1')} 3 speed 3 reset"]


def test_a_link_that_does_not_come_up_again_is_taken_back(agents: Agents, journal: Journal) -> None:
    plan = planned(ports="leaf-0/P3", speed="SDR")
    agents.put("spine-0", port__1__physical="Disabled")
    with pytest.raises(FabctlError, match="leaf-0/P3"):
        apply(plan, site_of(FABRIC, "live"), journal)
    assert agents.state("leaf-0")["port.3.extended"] == "15"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("leaf-0/P[3-4]", "the subnet manager, on n0000 mlx5_0, is cut off from 'leaf-1', 'leaf-2', 'leaf-3' and 2 more"),
        ("spine-0/P[1-4]", "the subnet manager, on n0000 mlx5_0, is cut off from 'spine-0'"),
        ("leaf-0/P1", "the subnet manager, on n0000 mlx5_0, is cut off from 'leaf-0', 'leaf-1', 'leaf-2' and 3 more"),
        ("leaf-0/P2,leaf-2/P2", "host 'n0001' has no path left"),
    ],
)
def test_what_would_cut_something_off_is_refused(agents: Agents, names: str, words: str) -> None:
    with pytest.raises(RefusedError) as raised:
        planned(enable=False, ports=names)
    assert words in raised.value.message
    assert not agents.sets


def test_the_port_on_which_fabctl_stands_is_refused(agents: Agents) -> None:
    agents.folder.joinpath("local").write_text(str(FABRIC.node_lid(FABRIC.labels.index("n0003 mlx5_0"))))
    with pytest.raises(RefusedError, match="fabctl, on n0003 mlx5_0, is cut off"):
        planned(enable=False, ports="leaf-1/P2")


def test_the_subnet_managers_own_port_is_refused_though_its_host_has_another(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.folder.joinpath("local").write_text(str(FABRIC.node_lid(FABRIC.labels.index("n0003 mlx5_1"))))
    with pytest.raises(RefusedError, match="cut off from the subnet manager"):
        planned(enable=False, ports="leaf-0/P1")


def test_an_hca_may_go_while_its_host_has_another(agents: Agents) -> None:
    plan = planned(enable=False, ports="leaf-1/P2")
    assert plan.notes == ("n0003 mlx5_0 is off the fabric then; its host has other HCAs",)


def test_an_hcas_own_port_is_not_switched_off(agents: Agents) -> None:
    with pytest.raises(RefusedError, match="nobody reaches it to switch it on again") as raised:
        planned(enable=False, ports="n0001 mlx5_0/P1")
    assert raised.value.hint == "name the other end of its cable: leaf-0/P2"


def test_where_the_subnet_manager_is_must_be_known(agents: Agents) -> None:
    with pytest.raises(RefusedError, match="where the subnet manager runs is unknown"):
        planned(enable=False, fabric=PLAIN, ports="leaf-1/P3")


@pytest.mark.parametrize(
    ("values", "enable", "error", "words"),
    [
        ({}, True, UsageError, "which ports?"),
        ({"ports": "leaf-0"}, True, UsageError, "'leaf-0' is no port"),
        ({"ports": "leaf-0/P9"}, True, UsageError, "has no port 9"),
        ({"ports": "leaf-0/P0"}, True, UsageError, "has no port 0"),
        ({"ports": "leaf-9/P1"}, True, InputError, "no switch 'leaf-9'"),
        ({"ports": "leaf-0/P3", "speed": "WARP"}, True, UsageError, "'WARP' is none of"),
        ({"ports": "leaf-0/P3", "speed": "XDR"}, True, RefusedError, "does not support XDR"),
        ({"ports": "leaf-0/P3", "width": "12X"}, True, RefusedError, "does not support 12X"),
        ({"ports": "leaf-0/P3", "speed": "EDR"}, False, UsageError, "--disable switches ports off"),
        ({"port": "leaf-0/P3"}, True, UsageError, "knows no 'port'"),
    ],
)
def test_ports_and_rates_that_are_none(
    agents: Agents, values: dict[str, str], enable: bool, error: type[FabctlError], words: str
) -> None:
    with pytest.raises(error) as raised:
        planned(enable=enable, **values)
    assert words in raised.value.message


def test_ports_of_switches_that_are_left_out(agents: Agents) -> None:
    with pytest.raises(UsageError, match="--switch leaves out"):
        FEATURE.plan(site_of(FABRIC), asked(FABRIC, {"ports": "leaf-0/P3"}, [1]))


def test_a_port_without_a_cable_can_be_named(agents: Agents) -> None:
    node = FABRIC.labels.index("spine-0")
    assert planned(ports=f"spine-0/P{FABRIC.node_port_count[node]}").stages == ()


def test_assessed(agents: Agents) -> None:
    assert {row.status for row in FEATURE.assess(site_of(FABRIC))} == {Status.CAN}
    assert {row.status for row in FEATURE.assess(Site(FABRIC))} == {Status.UNKNOWN}


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, len(PLAIN.port_node) - 1), max_size=12), st.integers(0, PLAIN.n_nodes - 1))
def test_what_is_reached_is_what_networkx_reaches(gone: set[int], start: int) -> None:
    """An adapter may send and receive; it passes nothing on: it is one node that is left from, and many that are arrived at."""
    chosen = [port for port in gone if PLAIN.port_node[port] < PLAIN.n_switches and PLAIN.port_number[port]]
    named = [(int(PLAIN.port_node[port]), int(PLAIN.port_number[port])) for port in chosen]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(PLAIN.n_nodes))
    for port in PLAIN.channel_port.tolist():
        peer = int(PLAIN.port_peer[port])
        source, destination = int(PLAIN.port_node[port]), int(PLAIN.port_node[peer])
        if port not in chosen and peer not in chosen and (source < PLAIN.n_switches or source == start):
            graph.add_edge(source, destination)
    expected = np.zeros(PLAIN.n_nodes, dtype=bool)
    expected[[start, *nx.descendants(graph, start)]] = True
    assert (reached(PLAIN, start, named) == expected).all()


def test_places_are_switch_ports(agents: Agents) -> None:
    plan = planned(enable=False, ports="leaf-1/P3")
    assert plan.changes[0].place == Place("mad", "0x0000000000001001/P3", "port.state")
