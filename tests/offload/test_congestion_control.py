"""Congestion control set per switch: planned, applied and taken back by the cycle, on agents that keep state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import asked, enter, site_of
from small_fabrics import HCA, LEAF, cable, two_levels

from fabctl.errors import FabctlError, RefusedError, UnverifiedError, UsageError
from fabctl.model.assessment import Status
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import AGGREGATION_DEVICE_ID, Fabric, NodeKind
from fabctl.model.offload_plan import Place, Risk
from fabctl.model.operation import State
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.congestion_values import CaSetting, SwitchSetting, parse_table
from fabctl.offload.features.congestion_control import FEATURE
from fabctl.offload.journal import Journal
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.units import Speed

SMALL = two_levels(hosts=4, hosts_per_leaf=2, spines=2)
MASKS = {"leaf-0": 0b110, "leaf-1": 0b110, "spine-0": 0, "spine-1": 0}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    return enter(Agents(SMALL, tmp_path / "agents"), monkeypatch)


def held(agents: Agents, switch: str) -> SwitchSetting:
    site = site_of(agents.fabric)
    guid = agents.fabric.guid_text(agents.fabric.labels.index(switch))
    return SwitchSetting.parse(site.drivers["mad"].read(Place("mad", guid, "cc.switch")) or "")


def congestion(agents: Agents) -> dict[int, dict[str, str]]:
    """Return what all nodes hold of congestion control, straight from the agents; entries past a table's limit are nothing."""

    def counts(state: dict[str, str], name: str) -> bool:
        past = name.startswith("cc.entry.") and int(name.rpartition(".")[2]) > int(state.get("cc.limit", "0"))
        return name.startswith("cc.") and not past and state[name] not in ("0", "0:0")

    states = {node: agents.state(node) for node in range(agents.fabric.n_nodes)}
    return {node: {name: state[name] for name in state if counts(state, name)} for node, state in states.items()}


def test_forty_switches_are_set_and_read_back_and_one_that_differs_takes_all_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    fabric = two_levels(hosts=64, hosts_per_leaf=2, spines=8)
    assert fabric.n_switches == 40
    agents = enter(Agents(fabric, tmp_path / "agents"), monkeypatch)
    site = site_of(fabric, "live")
    before = congestion(agents)
    plan = FEATURE.plan(site, asked(fabric))
    assert (len(plan.changes), plan.risk) == (40, Risk.HOT)
    assert congestion(agents) == before
    assert not agents.sets

    agents.fault("leaf-17", "deaf")
    with pytest.raises(UnverifiedError) as raised:
        apply(plan, site, journal)
    assert "leaf-17" in raised.value.message
    assert congestion(agents) == before

    agents.fault("leaf-17")
    done = apply(plan, site, journal)
    assert (done.state, done.to_change, done.written, done.holds) == (State.APPLIED, 40, 40, True)
    assert {reading.evidence.split("\n")[0] for reading in done.readings} == {
        f"$ ibccquery SS {fabric.node_lid(switch)}" for switch in range(40)
    }
    for switch in range(40):
        state = agents.state(switch)
        assert (state["cc.Threshold"], state["cc.Marking_Rate"], state["cc.Packet_Size"]) == ("15", "10", "8")
        assert int(state["cc.Victim_Mask"]) == (0b110 if fabric.labels[switch].startswith("leaf") else 0)
    assert FEATURE.plan(site, asked(fabric)).stages == ()


def test_old_values_come_back_explicitly(agents: Agents, journal: Journal) -> None:
    agents.put("leaf-0", cc__Threshold="7", cc__Marking_Rate="3", cc__Victim_Mask="24", cc__CS_ReturnDelay="16390")
    site = site_of(SMALL, "live")
    before = congestion(agents)
    done = apply(FEATURE.plan(site, asked(SMALL, {"hcas": "yes"})), site, journal)
    assert held(agents, "leaf-0").text == "threshold=15 rate=10 size=8 victims=1-2 delay=1:6"
    assert rollback(done.id, site, journal, work.quiet).state == State.ROLLED_BACK
    assert congestion(agents) == before


@pytest.mark.parametrize("fault", ["partial", "timeout:ibccconfig", "lost:ibccconfig"])
def test_a_switch_that_takes_half_or_nothing_takes_all_back(agents: Agents, journal: Journal, fault: str) -> None:
    site = site_of(SMALL, "live")
    before = congestion(agents)
    plan = FEATURE.plan(site, asked(SMALL))
    agents.fault("leaf-1", fault)
    with pytest.raises(UnverifiedError, match="leaf-1"):
        apply(plan, site, journal)
    assert congestion(agents) == before


def test_switches_may_be_left_out_as_they_were(agents: Agents, journal: Journal) -> None:
    site = site_of(SMALL, "live")
    plan = FEATURE.plan(site, asked(SMALL))
    agents.fault("leaf-1", "deaf")
    done = apply(plan, site, journal, max_failures=1, batch=1)
    assert [failure.label for failure in done.failures] == ["leaf-1"]
    assert {switch: held(agents, switch).threshold for switch in MASKS} == {
        "leaf-0": 15,
        "leaf-1": 0,
        "spine-0": 15,
        "spine-1": 15,
    }


def test_masks_follow_the_cables(agents: Agents) -> None:
    def planned(switches: list[int], **values: str) -> list[SwitchSetting]:
        changes = FEATURE.plan(site_of(SMALL), asked(SMALL, values, switches)).changes
        return [SwitchSetting.parse(change.new or "") for change in changes]

    found = planned(list(range(SMALL.n_switches)))
    assert {SMALL.labels[switch]: setting.victims for switch, setting in enumerate(found)} == MASKS
    assert [setting.victims for setting in planned([0], victim_mask="all")] == [0b11110]
    assert [setting.victims for setting in planned([0], victim_mask="none")] == [0]
    for mask in ("0x18", "3-4", "3,4"):
        assert [(setting.victims, setting.credits) for setting in planned([0], victim_mask=mask, credit_mask="hosts")] == [
            (24, 6)
        ]


def test_only_the_hcas_of_the_chosen_switches_react_and_not_on_sharps_levels(agents: Agents) -> None:
    values = {"ccti_timer": "200", "sls": "0-7", "sharp_sls": "3", "cct": "0:0-15,1:8"}
    plan = FEATURE.plan(site_of(SMALL), asked(SMALL, values, [SMALL.labels.index("leaf-1")]))
    assert [stage.name for stage in plan.stages] == ["HCAs react", "switches mark"]
    assert {change.place.target for change in plan.stages[0].changes} == {f"0x{HCA + 256 * host:016x}/P1" for host in (2, 3)}
    settings = [CaSetting.parse(change.new or "") for change in plan.changes if change.place.key == "cc.ca"]
    assert [reaction.timer for reaction in settings[0].reactions] == [200, 200, 200, 0, 200, 200, 200, 200] + [0] * 8
    tables = {change.new for change in plan.changes if change.place.key == "cc.table"}
    assert [len(parse_table(table or "")) for table in tables] == [17]


def test_disable_stops_marking_first_and_keeps_everything_else(agents: Agents, journal: Journal) -> None:
    site = site_of(SMALL, "live")
    apply(FEATURE.plan(site, asked(SMALL, {"hcas": "yes"})), site, journal)
    plan = FEATURE.plan(site, asked(SMALL, {"hcas": "yes"}, enable=False))
    assert [stage.name for stage in plan.stages] == ["switches mark", "HCAs react"]
    apply(plan, site, journal)
    assert held(agents, "leaf-0").text == "threshold=0 rate=10 size=8 victims=1-2"
    assert FEATURE.plan(site, asked(SMALL, {"hcas": "yes"}, enable=False)).stages == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"threshold": "16"}, "threshold is 0 to 15, not 16"),
        ({"threshold": "high"}, "threshold is a number, not 'high'"),
        ({"marking_rate": "-1"}, "marking_rate is 0 to 65535"),
        ({"packet_size": "256"}, "packet_size is 0 to 255"),
        ({"victim_mask": "some"}, "victim_mask is hosts, all, none, ports such as 1-18, or a mask"),
        ({"victim_mask": "0x3f"}, "ports that switch 'leaf-0' does not have"),
        ({"victim_mask": "255"}, "victim_mask is hosts"),
        ({"victim_mask": "-0x1"}, "victim_mask is hosts"),
        ({"treshold": "1"}, "knows no 'treshold'"),
        ({"ccti_timer": "65536"}, "ccti_timer is 0 to 65535"),
        ({"ccti_min": "127", "cct": "0:0-3"}, "the table has 4 entries"),
        ({"cct": "0:0-128"}, "129 entries"),
        ({"cct": "4:0"}, "a shift is 0 to 3"),
        ({"cct": "fast"}, "is no entry shift:multiplier"),
        ({"sls": "0-16"}, "SLs are 0 to 15"),
        ({"sls": "a"}, "'a' is no SL"),
        ({"hcas": "maybe"}, "hcas is yes or no"),
        ({"hcas": "no", "sls": "1"}, "sls is of HCAs"),
    ],
)
def test_settings_that_are_none(agents: Agents, values: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        FEATURE.plan(site_of(SMALL), asked(SMALL, values))
    assert words in raised.value.message
    assert not agents.sets


def test_disable_takes_no_settings(agents: Agents) -> None:
    for key in ("threshold", "sls"):
        with pytest.raises(UsageError, match="takes no settings"):
            FEATURE.plan(site_of(SMALL), asked(SMALL, {key: "3"}, enable=False))


def with_aggregation() -> Fabric:
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, LEAF, "leaf-0", ports=3)
    builder.port(LEAF, 0, lid=1)
    for number, (guid, device, name) in enumerate([(HCA, 0x101B, "n0 mlx5_0"), (HCA + 1, AGGREGATION_DEVICE_ID, "an")], 1):
        builder.node(NodeKind.CA, guid, name, ports=1, device_id=device)
        builder.port(guid, 1, port_guid=guid, lid=1 + number)
        cable(builder, (LEAF, number), (guid, 1), Speed.HDR)
    return builder.build()


def test_sharps_levels_must_be_said_where_there_are_aggregation_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = with_aggregation()
    assert np.count_nonzero(fabric.is_aggregation) == 1
    enter(Agents(fabric, tmp_path / "agents"), monkeypatch)
    site = site_of(fabric)
    with pytest.raises(RefusedError, match="1 SHARP aggregation nodes") as raised:
        FEATURE.plan(site, asked(fabric, {"hcas": "yes"}))
    assert "sharp_sls" in raised.value.hint
    plan = FEATURE.plan(site, asked(fabric, {"sharp_sls": "0"}))
    assert {change.place.target for change in plan.stages[0].changes} == {f"0x{HCA:016x}/P1"}
    assert CaSetting.parse(plan.stages[0].changes[1].new or "").reactions[0].increase == 0
    assert any("SHARP" in note for note in FEATURE.plan(site, asked(fabric)).notes)
    assert FEATURE.plan(site, asked(fabric, {"hcas": "yes"}, enable=False)).stages == ()


def test_an_hca_with_a_short_table(agents: Agents) -> None:
    agents.put(SMALL.n_switches, cc__cap="1")
    with pytest.raises(RefusedError, match=r"n0000 mlx5_0/P1 takes 64 entries") as raised:
        FEATURE.plan(site_of(SMALL), asked(SMALL, {"hcas": "yes"}))
    assert raised.value.hint == "--set cct=0:0-63"


def test_switches_say_what_they_are(agents: Agents) -> None:
    agents.put("leaf-1", cc__Threshold="7", cc__Marking_Rate="3")
    agents.fault("spine-0", "timeout:ibccquery")
    agents.fault("spine-1", "nocc")
    rows = {row.target: (row.status, row.fact) for row in FEATURE.assess(site_of(SMALL))}
    assert rows == {
        "leaf-0": (Status.OFF, "marks no packets"),
        "leaf-1": (Status.ON, "threshold 7, marking rate 3"),
        "spine-0": (Status.UNKNOWN, "does not answer congestion control MADs"),
        "spine-1": (Status.CANNOT, "has no congestion control"),
    }
    assert {row.status for row in FEATURE.assess(Site(SMALL))} == {Status.UNKNOWN}


@pytest.mark.parametrize("variable", ["FABCTL_TWIN", "IBSIM_SOCKNAME", "IBSIM_SERVER_NAME"])
def test_ibsim_is_refused_by_name_before_anything_is_asked(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(RefusedError) as raised:
        FEATURE.plan(site_of(SMALL), asked(SMALL))
    assert "ibsim takes congestion control MADs (class 0x21) for subnet management" in raised.value.message
    assert f"{variable} is set" in raised.value.message
    assert {row.status for row in FEATURE.assess(site_of(SMALL))} == {Status.CANNOT}
    assert agents.log == []


def test_without_the_driver(agents: Agents) -> None:
    with pytest.raises(FabctlError, match="--driver mad"):
        FEATURE.plan(Site(SMALL), asked(SMALL))


def test_an_opensm_that_sets_it_itself(agents: Agents) -> None:
    class Opensm:
        name = "opensm"

        def read(self, place: Place) -> str:
            assert place == Place("opensm", "fabric", "conf:congestion_control")
            return "TRUE"

    site = Site(SMALL, {**site_of(SMALL).drivers, "opensm": Opensm()})  # type: ignore[dict-item]
    with pytest.raises(RefusedError, match="congestion_control TRUE"):
        FEATURE.plan(site, asked(SMALL))
    assert any("congestion_control TRUE" in note for note in FEATURE.plan(site_of(SMALL), asked(SMALL)).notes)
