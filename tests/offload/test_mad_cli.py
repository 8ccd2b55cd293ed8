"""Congestion control and ports from the command line, as an operator types it: on agents that keep state, and refused on ibsim."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import enter
from realstack import Ibsim
from small_fabrics import two_levels

from fabctl.offload import work
from fabctl.twin.netfile import ibsim_net

FABRIC = two_levels(hosts=4, hosts_per_leaf=2, spines=2)
LIVE = ("--live", "--driver", "mad")

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("FABCTL_STATE_DIR", str(state))
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    return enter(Agents(FABRIC, tmp_path / "agents"), monkeypatch)


@pytest.fixture
def ibsim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ibsim]:
    net = tmp_path / "net"
    net.write_text(ibsim_net(FABRIC))
    with Ibsim(net, tmp_path / "ibsim") as running:
        running.opensm("minhop")
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(running.folder)
        yield running


def test_congestion_control_from_list_to_rollback(run: Run, agents: Agents) -> None:
    listed = run("offload", "list", *LIVE, "--feature", "congestion-control", "-o", "json")
    assert (listed.code, '"off"' in listed.out) == (0, True)
    planned = run("offload", "enable", "congestion-control", *LIVE, "--set", "threshold=12")
    assert planned.code == 1
    assert "threshold=12 rate=10 size=8 victims=1-2" in planned.out
    assert not agents.sets
    applied = run("offload", "enable", "congestion-control", *LIVE, "--set", "threshold=12", "--yes")
    assert (applied.code, "4 of 4 values as planned" in applied.out) == (0, True), applied.err
    assert [agents.state(switch)["cc.Threshold"] for switch in range(4)] == ["12"] * 4
    again = run("offload", "enable", "congestion-control", *LIVE, "--set", "threshold=12", "--yes")
    assert (again.code, "0 to change" in again.out) == (0, True), again.out
    assert run("offload", "drift").code == 0
    agents.put("spine-1", cc__Threshold="1")
    drifted = run("offload", "drift", "-o", "json")
    assert (drifted.code, "spine-1" in drifted.out) == (1, True)
    agents.put("spine-1", cc__Threshold="12")
    assert run("offload", "rollback", "1").code == 0
    assert {agents.state(switch)["cc.Threshold"] for switch in range(4)} == {"0"}
    assert json.loads(run("offload", "history", "-o", "json").out)


def test_one_switch_that_does_not_follow(run: Run, agents: Agents) -> None:
    agents.fault("leaf-1", "deaf")
    outcome = run("offload", "enable", "congestion-control", *LIVE, "--yes")
    assert (outcome.code, "leaf-1" in outcome.err) == (7, True)
    assert {agents.state(switch).get("cc.Threshold", "0") for switch in range(4)} == {"0"}


def test_a_switch_that_is_silent_stops_it_before_anything_is_written(run: Run, agents: Agents) -> None:
    agents.fault("leaf-1", "timeout")
    outcome = run("offload", "enable", "congestion-control", *LIVE, "--yes")
    assert outcome.code == 4
    assert "leaf-1: `smpquery nodeinfo 2`: no answer" in outcome.err
    assert not agents.sets


def test_a_port_that_is_needed(run: Run, agents: Agents) -> None:
    outcome = run("offload", "disable", "ports", *LIVE, "--set", "ports=leaf-0/P[3-4]", "--yes")
    assert (outcome.code, "is cut off from" in outcome.err) == (6, True)
    assert run("offload", "disable", "ports", *LIVE, "--set", "ports=leaf-0/P3", "--yes").code == 0
    assert agents.state("leaf-0")["port.3.physical"] == "Disabled"


def test_congestion_control_is_refused_on_ibsim_with_the_reason(run: Run, ibsim: Ibsim) -> None:
    lids = sorted({str(FABRIC.port_lid[port]) for port in FABRIC.endpoints})
    before = [ibsim.run("smpquery", "pkeys", lid) for lid in lids]
    outcome = run("offload", "enable", "congestion-control", *LIVE, "--yes")
    assert outcome.code == 6
    assert "ibsim takes congestion control MADs (class 0x21) for subnet management" in outcome.err
    assert "overwrites P_Keys" in outcome.err
    assert [ibsim.run("smpquery", "pkeys", lid) for lid in lids] == before
    assert run("offload", "disable", "ports", *LIVE, "--set", "ports=leaf-0/P3", "--yes").code == 6
    listed = run("offload", "list", *LIVE, "--feature", "congestion-control,telemetry", "-o", "csv")
    assert "cannot" in listed.out
    assert "no error counter above its threshold" in listed.out
