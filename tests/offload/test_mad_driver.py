"""The `mad` driver against agents that keep state: what is set is read back, and what is no answer is no data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import enter
from small_fabrics import two_levels

from fabctl.errors import FabctlError, RefusedError, SourceError, UsageError
from fabctl.model.offload_plan import Place, Risk
from fabctl.offload.drivers import mad, mad_ports
from fabctl.offload.drivers.mad import ATTRIBUTES, MadDriver

FABRIC = two_levels(hosts=4, hosts_per_leaf=2, spines=2)
LEAF = Place("mad", "0x0000000000001000", "cc.switch")
HCA = "0x0000000000100000/P1"
ON = "threshold=15 rate=10 size=8 victims=1-2 starving=3 delay=2:5"


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    return enter(Agents(FABRIC, tmp_path / "agents"), monkeypatch)


@pytest.fixture
def driver(agents: Agents) -> MadDriver:
    return MadDriver.make({}, FABRIC)


def port(name: str, key: str) -> Place:
    switch, _, number = name.partition("/")
    return Place("mad", f"{FABRIC.guid_text(FABRIC.labels.index(switch))}/{number}", f"port.{key}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (LEAF, ON),
        (LEAF, "threshold=0 victims=1-4 credits=0-4"),
        (Place("mad", HCA, "cc.ca"), "port_control=1 SL0-2=150:1:2:0 SL4-14=65535:255:255:127"),
        (Place("mad", HCA, "cc.table"), "0:0-127"),
        (Place("mad", HCA, "cc.table"), "0:0-63"),
        (Place("mad", HCA, "cc.table"), "0:0,3:16383,0:5-7"),
        (port("leaf-0/P3", "speed"), "SDR,DDR,QDR,FDR,EDR"),
        (port("leaf-0/P3", "speed"), "SDR,DDR,QDR"),
        (port("leaf-0/P3", "width"), "1X"),
        (port("leaf-0/P3", "state"), "disabled"),
    ],
)
def test_what_is_set_is_read_back_and_so_is_the_old_value(driver: MadDriver, place: Place, value: str) -> None:
    old = driver.read(place)
    assert old != value
    driver.write(place, value)
    driver.settle(Risk.SWEEP)
    seen = driver.observe(place)
    assert seen.value == driver.read(place) == value
    assert seen.evidence.startswith("$ ")
    driver.write(place, old)
    driver.write(place, old)
    assert driver.read(place) == old


@pytest.mark.parametrize(("fault", "words"), [("half", "the answer holds no Guid"), ("zeros", "does not say which node this is")])
def test_who_is_at_a_lid_must_be_said(agents: Agents, driver: MadDriver, fault: str, words: str) -> None:
    agents.fault("leaf-0", f"{fault}:smpquery")
    with pytest.raises(SourceError) as raised:
        driver.write(LEAF, ON)
    assert words in raised.value.message
    assert not agents.sets


def test_only_the_switch_that_is_meant_changes(agents: Agents, driver: MadDriver) -> None:
    before = {node: agents.state(node) for node in range(FABRIC.n_nodes)}
    driver.write(LEAF, ON)
    changed = [node for node in before if agents.state(node) != before[node]]
    assert [FABRIC.labels[node] for node in changed] == ["leaf-0"]
    assert agents.sets == ["ibccconfig SS 1 0x1f 0x6 0x0 15 8 3 2:5 10"]


def test_a_port_that_is_switched_off_takes_its_other_end_down(driver: MadDriver) -> None:
    driver.write(port("leaf-0/P3", "state"), "disabled")
    assert driver.read(port("spine-0/P1", "link")) == "down"
    assert driver.read(port("spine-0/P1", "state")) == "enabled"
    driver.write(port("leaf-0/P3", "state"), "enabled")
    assert driver.read(port("spine-0/P1", "link")) == "up"


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("timeout", SourceError, "leaf-0: `ibccquery SS 1`: no answer"),
        ("zeros", SourceError, "not as a node that has it: ClassVersion 0, not 2"),
        ("half", SourceError, "printed half of it"),
        ("nocc", RefusedError, "does not have what `ibccquery SS 1` asks for (MAD status 0x4)"),
    ],
)
def test_what_is_no_answer_is_no_data(
    agents: Agents, driver: MadDriver, fault: str, error: type[FabctlError], words: str
) -> None:
    driver.write(LEAF, ON)
    agents.fault("leaf-0", f"{fault}:ibccquery")
    with pytest.raises(error) as raised:
        driver.read(LEAF)
    assert words in raised.value.message
    agents.fault("leaf-0", f"{fault}:ibccquery", f"{fault}:smpquery")
    with pytest.raises((SourceError, RefusedError)):
        driver.write(LEAF, ON.replace("=15", "=1"))
    assert agents.state("leaf-0")["cc.Threshold"] == "15"


@pytest.mark.parametrize("key", ["cc.ca", "cc.table", "cc.info"])
@pytest.mark.parametrize("fault", ["timeout", "zeros", "half", "nocc"])
def test_hcas_lie_no_better(agents: Agents, driver: MadDriver, key: str, fault: str) -> None:
    agents.fault(FABRIC.n_switches, f"{fault}:ibccquery")
    with pytest.raises((SourceError, RefusedError)):
        driver.read(Place("mad", HCA, key))


@pytest.mark.parametrize("fault", ["timeout", "zeros", "half"])
@pytest.mark.parametrize("key", ["state", "speed", "width", "link", "info"])
def test_ports_that_do_not_answer(agents: Agents, driver: MadDriver, key: str, fault: str) -> None:
    agents.fault("leaf-0", f"{fault}:smpquery")
    with pytest.raises((SourceError, RefusedError)):
        driver.read(port("leaf-0/P3", key))


@pytest.mark.parametrize("fault", ["timeout", "half"])
def test_counters_that_are_not_whole(agents: Agents, driver: MadDriver, fault: str) -> None:
    agents.fault("leaf-0", f"{fault}:perfquery")
    with pytest.raises(SourceError):
        driver.read(Place("mad", LEAF.target, "counters"))


def test_zeros_are_believed_of_a_switch_that_has_congestion_control(driver: MadDriver) -> None:
    seen = driver.observe(LEAF)
    assert seen.value == "threshold=0"
    assert "ClassVersion" in seen.evidence


def test_a_set_whose_answer_is_lost_is_an_error_though_it_was_taken(agents: Agents, driver: MadDriver) -> None:
    agents.fault("leaf-0", "lost:ibccconfig")
    with pytest.raises(SourceError):
        driver.write(LEAF, ON)
    assert driver.read(LEAF) == ON


def test_the_answer_of_a_port_may_go_down_with_its_link(agents: Agents, driver: MadDriver) -> None:
    agents.fault("leaf-0", "lost:ibportstate")
    driver.write(port("leaf-0/P3", "state"), "disabled")
    assert driver.read(port("leaf-0/P3", "state")) == "disabled"


def test_a_switch_that_never_answers_again_is_an_error(
    agents: Agents, driver: MadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mad_ports, "REROUTE_S", 0.0)
    agents.fault("leaf-0", "dies:ibportstate")
    with pytest.raises(SourceError, match="leaf-0/P3: `smpquery portinfo 1 3`"):
        driver.write(port("leaf-0/P3", "state"), "disabled")


@pytest.mark.parametrize("fault", ["deaf", "partial"])
def test_a_set_that_is_not_taken_is_seen_by_reading(agents: Agents, driver: MadDriver, fault: str) -> None:
    agents.fault("leaf-0", fault)
    driver.write(LEAF, ON)
    assert driver.read(LEAF) != ON


def test_nothing_is_written_to_a_node_that_has_another_ones_lid(agents: Agents, driver: MadDriver) -> None:
    assert driver.read(LEAF)
    agents.move("leaf-0", 999)
    agents.move("leaf-1", agents.lid("leaf-0"))
    with pytest.raises(RefusedError, match="LID 1 is leaf-1 now, not leaf-0"):
        driver.write(LEAF, ON)
    with pytest.raises(RefusedError, match="LID 1 is leaf-1 now, not leaf-0"):
        MadDriver.make({}, FABRIC).read(LEAF)
    assert not agents.sets


def test_names_from_the_fabric_reach_no_shell_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "touched"
    names = (f"$(touch {bad})", f"; touch {bad}", "../../etc/passwd", "-C x", *FABRIC.node_name[4:])
    fabric = replace(FABRIC, node_name=names)
    agents = enter(Agents(fabric, tmp_path / "agents"), monkeypatch)
    driver = MadDriver.make({}, fabric)
    for switch in range(fabric.n_switches):
        driver.write(Place("mad", fabric.guid_text(switch), "cc.switch"), ON)
    assert not bad.exists()
    assert all(set(line) <= set("abcdefghijklmnopqrstuvwxyzSCPI0123456789 :-") for line in agents.log)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (Place("mad", "0x00000000000000ff", "cc.switch"), ON, "the fabric has no 0x00000000000000ff"),
        (Place("mad", "fabric", "cc.switch"), ON, "the fabric has no fabric"),
        (Place("mad", LEAF.target, "cc.nonsense"), ON, "knows no 'cc.nonsense'"),
        (Place("mad", LEAF.target, "port.state"), "enabled", "belongs to a port"),
        (Place("mad", LEAF.target + "/P1", "cc.switch"), ON, "belongs to a node"),
        (Place("mad", LEAF.target, "counters"), "{}", "can only be read"),
        (LEAF, None, "cannot be removed"),
        (LEAF, "threshold=a", "is no value of cc.switch"),
        (LEAF, "rate=1", "is no value of cc.switch"),
        (port("leaf-0/P3", "speed"), "XDR", "ibportstate cannot set XDR"),
        (port("leaf-0/P3", "speed"), "HORSE", "is no value of port.speed"),
        (port("leaf-0/P3", "state"), "on", "is no state of a port"),
    ],
)
def test_places_and_values_that_are_none(driver: MadDriver, agents: Agents, place: Place, value: str | None, words: str) -> None:
    with pytest.raises(RefusedError) as raised:
        driver.write(place, value)
    assert words in raised.value.message
    assert not agents.sets


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lid": "3"}, "takes no lid"),
        ({"ca": "mlx5_0; reboot"}, "is no HCA"),
        ({"ca": "-x"}, "is no HCA"),
        ({"port": "one"}, "is no port number"),
        ({"config": "/no/such/file"}, "cannot be read"),
    ],
)
def test_options_that_are_none(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MadDriver.make(options, FABRIC)


def test_options_reach_the_tools_and_make_the_driver_again(agents: Agents, tmp_path: Path) -> None:
    config = tmp_path / "ibdiag.conf"
    config.write_text("m_key=0x5ec4e7\n")
    driver = MadDriver.make({"ca": "mlx5_0", "port": "1", "config": str(config)}, FABRIC)
    again = MadDriver.make(driver.options, FABRIC)
    assert again.observe(LEAF).evidence.startswith(f"$ ibccquery -C mlx5_0 -P 1 -z {config} SS 1")
    assert "5ec4e7" not in "".join(driver.options.values())


def test_a_tool_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fabctl.sources.live._SYSTEM_FOLDERS", "")
    with pytest.raises(SourceError, match="not installed"):
        MadDriver.make({}, FABRIC).read(LEAF)


def test_a_link_that_does_not_come_up_again_is_not_waited_for_for_ever(
    agents: Agents, driver: MadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mad, "TRAINING_S", 0.0)
    driver.write(port("leaf-0/P3", "speed"), "SDR")
    agents.put("leaf-0", port__3__physical="Polling")
    driver.settle(Risk.SWEEP)
    assert driver.read(port("leaf-0/P3", "link")) == "down"


def test_every_key_can_be_read(driver: MadDriver) -> None:
    hosts_only = ("cc.ca", "cc.table")
    for key, attribute in ATTRIBUTES.items():
        target = HCA if key in hosts_only else "0x0000000000001000" + ("/P1" if attribute.port else "")
        assert driver.read(Place("mad", target, key))
    assert driver.read(Place("mad", "fabric", "local")) == FABRIC.guid_text(FABRIC.n_switches)
    assert driver.manager() is None
