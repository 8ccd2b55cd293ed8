"""What the real tools printed is understood, and the agents of the emulator print the same."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from emulator.agent_fabric import Agents, netdiscover
from emulator.agent_fixture import asked, enter, site_of
from hypothesis import given
from hypothesis import strategies as st
from realstack import Ibsim
from small_fabrics import two_levels

from fabctl.errors import RefusedError, SourceError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Risk
from fabctl.offload.congestion_values import CaSetting, Reaction, SwitchSetting, parse_table, table_text
from fabctl.offload.drivers import mad_tools
from fabctl.offload.drivers.mad import MadDriver
from fabctl.offload.drivers.mad_text import blocks, fields, header_lid
from fabctl.offload.drivers.mad_tools import Answer
from fabctl.offload.features.congestion_control import FEATURE
from fabctl.offload.features.ports import FEATURE as PORTS
from fabctl.offload.simulator import simulator
from fabctl.sources import ibnetdiscover
from fabctl.twin.netfile import ibsim_net

byte, word = st.integers(0, 255), st.integers(0, 0xFFFF)


def test_port_info(fixtures: Path) -> None:
    text = (fixtures / "tool-output" / "smpquery-portinfo-2-3.txt").read_text()
    found = fields(text)
    assert (found["LinkState"], found["PhysLinkState"], found["LinkSpeedExtEnabled"]) == ("Active", "LinkUp", "0")
    assert found["McastPkeyTrapSuppressionEnabled"] == "0"
    assert found["LinkWidthSupported"] == "1X or 4X or 8X or 12X or 2X"
    assert (header_lid(text), len(found)) == (2, 51)


def test_node_info_by_lid_and_by_route(fixtures: Path) -> None:
    assert fields((fixtures / "tool-output" / "smpquery-nodeinfo-2.txt").read_text())["Guid"] == "0x0000000000200000"
    routed = (fixtures / "tool-output" / "smpquery-D-nodeinfo-0,1,3.txt").read_text()
    assert (fields(routed)["Guid"], header_lid(routed)) == ("0x0000000000200004", None)


@pytest.mark.parametrize(
    ("name", "ports", "symbol"), [("2-3", ["3"], "0"), ("l-2", None, "0"), ("with-errors", ["4"], "77"), ("a-2", ["255"], "0")]
)
def test_counters(fixtures: Path, name: str, ports: list[str] | None, symbol: str) -> None:
    found = blocks((fixtures / "tool-output" / f"perfquery-{name}.txt").read_text(), "PortSelect")
    assert [block["PortSelect"] for block in found] == (ports or [block["PortSelect"] for block in found])
    assert {block["SymbolErrorCounter"] for block in found} == {symbol}
    assert {len(block) for block in found} == {21}


def test_a_message_in_between_is_no_field(fixtures: Path) -> None:
    text = (fixtures / "tool-output" / "ibportstate-2-3-query.txt").read_text()
    assert "ibwarn" not in fields(text)
    assert fields(text)["PhysLinkState"] == "LinkUp"


def test_congestion_control_as_ibsim_answers_it(fixtures: Path) -> None:
    log = (fixtures / "tool-output" / "ibsim-cc.log").read_text()
    part = log.split("== SwitchCongestionSetting 2\n")[1].split("==")[0]
    assert fields(part)["Victim_Mask"] == "0" * 64
    assert "Threshold" in fields(part)


@given(st.builds(SwitchSetting, *[word] * 3, *[st.integers(0, 2**255 - 1)] * 2, byte, st.builds("{}:{}".format, byte, byte)))
def test_switch_settings_survive_their_text(setting: SwitchSetting) -> None:
    assert SwitchSetting.parse(setting.text) == setting


@given(st.builds(CaSetting, word, st.tuples(*[st.builds(Reaction, word, byte, byte, byte)] * 16)))
def test_hca_settings_survive_their_text(setting: CaSetting) -> None:
    assert CaSetting.parse(setting.text) == setting


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 0x3FFF)), min_size=1, max_size=128))
def test_tables_survive_their_text(entries: list[tuple[int, int]]) -> None:
    assert parse_table(table_text(entries)) == entries


@given(st.text())
def test_any_text_is_a_value_or_none(text: str) -> None:
    for parse in (SwitchSetting.parse, CaSetting.parse, parse_table):
        try:
            parse(text)
        except ValueError:
            continue
    blocks(text, "SL")


# ---- the real tools on ibsim ---------------------------------------------------------------------------------------------------


@contextmanager
def running(folder: Path) -> Iterator[Ibsim]:
    net = folder / "net"
    net.write_text(ibsim_net(two_levels(hosts=4, hosts_per_leaf=2, spines=2)))
    with Ibsim(net, folder) as ibsim:
        ibsim.opensm("minhop")
        yield ibsim


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ibsim]:
    with running(tmp_path_factory.mktemp("ibsim")) as ibsim:
        yield ibsim


@pytest.fixture
def real(simulated: Ibsim, monkeypatch: pytest.MonkeyPatch) -> Ibsim:
    return joined(simulated, monkeypatch)


def joined(ibsim: Ibsim, monkeypatch: pytest.MonkeyPatch) -> Ibsim:
    for name, value in ibsim.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ibsim.folder)
    return ibsim


@pytest.fixture
def fabric(real: Ibsim) -> Fabric:
    return ibnetdiscover.parse(real.ibnetdiscover(), "ibsim")[0]


def place(fabric: Fabric, name: str, key: str) -> Place:
    switch, slash, port = name.partition("/")
    return Place("mad", fabric.guid_text(fabric.labels.index(switch)) + slash + port, key)


def test_ports_and_counters_are_read_with_the_real_tools(real: Ibsim, fabric: Fabric) -> None:
    driver = MadDriver.make({}, fabric)
    assert driver.read(place(fabric, "leaf-0/P3", "port.info")) == (
        "state=Active physical=LinkUp speeds=QDR supported_speeds=SDR,DDR,QDR widths=4X supported_widths=1X,2X,4X,8X,12X"
    )
    real.tell('PerformanceSet "leaf-0"[3] PortCounters.SymbolErrorCounter=77')
    assert '"SymbolErrorCounter": 77' in (driver.read(place(fabric, "leaf-0", "counters")) or "")
    assert driver.read(Place("mad", "fabric", "local")) == fabric.guid_text(fabric.n_switches)


def test_a_port_is_switched_off_and_on_with_the_real_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the switch where nobody depends on it, and only here: fabctl does not set ports of ibsim."""
    monkeypatch.setattr("fabctl.offload.drivers.mad_ports.refuse_ports", lambda: None)
    with running(tmp_path) as ibsim:
        fabric = ibnetdiscover.parse(joined(ibsim, monkeypatch).ibnetdiscover(), "ibsim")[0]
        driver, port = MadDriver.make({}, fabric), place(fabric, "leaf-0/P3", "port.state")
        assert driver.read(port) == "enabled"
        for value in ("disabled", "enabled"):
            driver.write(port, value)
            driver.settle(Risk.SWEEP)
            assert driver.observe(port).value == value


def test_a_node_that_is_not_there_is_no_zeros(real: Ibsim, fabric: Fabric) -> None:
    real.tell('Error "leaf-0" 100')
    try:
        with pytest.raises(SourceError, match="leaf-0: `smpquery nodeinfo"):
            MadDriver.make({}, fabric).read(place(fabric, "leaf-0", "counters"))
    finally:
        real.tell('Error "leaf-0" 0')


def test_congestion_control_never_reaches_ibsim(real: Ibsim, fabric: Fabric) -> None:
    before = [real.run("smpquery", "pkeys", str(fabric.node_lid(node))) for node in range(fabric.n_switches, fabric.n_nodes)]
    site = site_of(fabric)
    with pytest.raises(RefusedError, match="overwrites P_Keys and SL2VL tables"):
        FEATURE.plan(site, asked(fabric))
    for key in ("cc.switch", "cc.info"):
        with pytest.raises(RefusedError, match="overwrites P_Keys"):
            site.drivers["mad"].read(place(fabric, "leaf-0", key))
    with pytest.raises(RefusedError, match="overwrites P_Keys"):
        site.drivers["mad"].write(place(fabric, "leaf-0", "cc.switch"), SwitchSetting(threshold=15, victims=6).text)
    after = [real.run("smpquery", "pkeys", str(fabric.node_lid(node))) for node in range(fabric.n_switches, fabric.n_nodes)]
    assert after == before


def test_ibsim_is_known_even_where_nobody_says_so(real: Ibsim, fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the variables hidden, the switch itself would give it away: its ClassPortInfo does not answer."""
    monkeypatch.setattr("fabctl.offload.drivers.mad_congestion.refuse_congestion_control", lambda: None)
    with pytest.raises(SourceError, match="ibccquery CP"):
        MadDriver.make({}, fabric).write(place(fabric, "leaf-0", "cc.switch"), SwitchSetting(threshold=15, victims=6).text)
    with pytest.raises(SourceError, match="ibccquery CP"):
        MadDriver.make({}, fabric).read(place(fabric, "leaf-0", "cc.switch"))


@pytest.mark.parametrize(("key", "value"), [("state", "disabled"), ("speed", "SDR"), ("width", "1X")])
def test_ports_of_ibsim_are_not_set(real: Ibsim, fabric: Fabric, key: str, value: str) -> None:
    with pytest.raises(RefusedError, match="in ibsim the other end does not notice"):
        MadDriver.make({}, fabric).write(place(fabric, "leaf-0/P3", f"port.{key}"), value)
    with pytest.raises(RefusedError, match="in ibsim the other end does not notice") as raised:
        PORTS.plan(site_of(fabric), asked(fabric, {"ports": "leaf-0/P3"}, enable=False))
    assert "fabctl twin faults cut" in raised.value.hint


def test_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FABCTL_TWIN", "IBSIM_SOCKNAME", "IBSIM_SERVER_NAME", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    assert simulator() == ""
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/umad2sim/libumad2sim.so")
    assert simulator() == "LD_PRELOAD holds umad2sim"


@pytest.mark.parametrize(
    ("words", "repeated"),
    [
        (["ibccquery", "SS", "LEAF"], ""),
        (["ibccquery", "CS", "HCA"], "SL"),
        (["ibccquery", "CT", "HCA"], ""),
        (["ibccquery", "CI", "HCA"], ""),
        (["smpquery", "nodeinfo", "LEAF"], ""),
        (["smpquery", "portinfo", "LEAF", "3"], ""),
        (["perfquery", "-l", "LEAF", "1,3"], "PortSelect"),
    ],
)
def test_the_emulator_prints_as_the_real_tools(
    real: Ibsim, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], repeated: str
) -> None:
    """Field by field: the same names in the same order and the same form of value; the emulator may leave fields out."""
    lids = {"LEAF": str(fabric.node_lid(fabric.labels.index("leaf-0"))), "HCA": str(fabric.port_lid[fabric.endpoints[0]])}
    command = [lids.get(each, each) for each in words]
    truth = real.run(*command)
    agents = enter(Agents(fabric, tmp_path / "agents"), monkeypatch)
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=agents.environment).stdout
    assert shown.splitlines()[0].partition(" (CapMask")[0] in truth
    names = [line.partition(":.")[0] for line in truth.splitlines()]
    assert [name for name in names if name in set(fields(shown))] == [
        line.partition(":.")[0] for line in shown.splitlines() if line.partition(":.")[0] in set(fields(shown))
    ]
    assert {name: form(value) for name, value in fields(shown).items()} == {
        name: form(fields(truth)[name]) for name in fields(shown)
    }
    assert len(blocks(shown, repeated)) == len(blocks(truth, repeated))


def form(value: str) -> str:
    """Return what a value looks like: words as they are, numbers as their base."""
    if value.startswith("0x"):
        return f"0x and {len(value) - 2} digits"
    return "number" if value.isdecimal() and len(value) < 30 else "words"


def test_the_emulators_discovery_is_read_as_the_fabric_that_it_is() -> None:
    fabric = two_levels(hosts=4, hosts_per_leaf=2, spines=2)
    found, report = ibnetdiscover.parse(netdiscover(fabric), "emulator")
    assert (found.node_name, found.n_cables, report.unknown) == (fabric.node_name, fabric.n_cables, ())
    assert (found.port_lid == fabric.port_lid).all()


def test_an_answer_about_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = two_levels(hosts=4, hosts_per_leaf=2, spines=2)
    tools = mad_tools.Tools(fabric, {})
    guid = fabric.guid_text(0)
    monkeypatch.setattr(tools, "run", lambda *words: Answer("x", f"# Node info: Lid 77\nGuid:.......{guid}\n"))
    with pytest.raises(SourceError, match="answered for LID 77"):
        tools.ask("smpquery", "switchinfo", tools.target(guid))
