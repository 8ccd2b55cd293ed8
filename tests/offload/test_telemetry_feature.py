"""Counters held against thresholds; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import asked, enter, site_of
from small_fabrics import two_levels

from fabctl.errors import SourceError, UsageError
from fabctl.model.assessment import Status
from fabctl.model.offload_plan import Place, Plan
from fabctl.offload.features.telemetry import FEATURE, THRESHOLDS
from fabctl.offload.site import Site

FABRIC = two_levels(hosts=4, hosts_per_leaf=2, spines=2)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    agents = enter(Agents(FABRIC, tmp_path / "agents"), monkeypatch)
    agents.put("leaf-0", port__3__SymbolErrorCounter="77", port__3__LinkDownedCounter="10", port__4__PortXmitWait="123456")
    agents.put("leaf-1", port__1__LinkDownedCounter="255", port__2__PortRcvErrors="11", port__2__PortXmitData="9999999")
    return agents


def noted(**values: str) -> Plan:
    return FEATURE.plan(site_of(FABRIC), asked(FABRIC, values))


def test_findings_are_notes_and_nothing_is_written(agents: Agents) -> None:
    plan = noted()
    assert (plan.stages, plan.undo) == ((), ())
    assert plan.notes == (
        "3 counters are above their thresholds on 4 switches; nothing is written",
        "leaf-0/P3 SymbolErrorCounter 77, more than 10",
        "leaf-1/P1 LinkDownedCounter at least 255, more than 10",
        "leaf-1/P2 PortRcvErrors 11, more than 10",
    )
    assert not agents.sets
    assert not any("-R" in line or "-r" in line.split() for line in agents.log)


def test_thresholds_can_be_set(agents: Agents) -> None:
    assert len(noted(SymbolErrorCounter="77", PortRcvErrors="11", LinkDownedCounter="255").notes) == 1
    assert "leaf-0/P3 LinkDownedCounter 10, more than 9" in noted(LinkDownedCounter="9").notes
    assert "leaf-0/P4 PortXmitWait 123456, more than 1000" in noted(PortXmitWait="1000").notes
    with pytest.raises(UsageError, match="knows no 'SymbolErrors'") as raised:
        noted(SymbolErrors="1")
    assert raised.value.hint.startswith("did you mean 'SymbolErrorCounter'? known: ")


def test_each_switch_says_what_is_wrong(agents: Agents) -> None:
    agents.fault("spine-1", "timeout:perfquery")
    rows = {row.target: (row.status, row.fact) for row in FEATURE.assess(site_of(FABRIC))}
    assert rows == {
        "leaf-0": (Status.ON, "P3 SymbolErrorCounter 77"),
        "leaf-1": (Status.ON, "P1 LinkDownedCounter at least 255; P2 PortRcvErrors 11"),
        "spine-0": (Status.ON, "no error counter above its threshold"),
        "spine-1": (Status.UNKNOWN, "does not answer for its counters"),
    }
    with pytest.raises(SourceError, match="spine-1"):
        noted()
    assert {row.status for row in FEATURE.assess(Site(FABRIC))} == {Status.UNKNOWN}


def test_the_thresholds_are_those_of_infiniband_diags(fixtures: Path) -> None:
    shipped = Path("/etc/infiniband-diags/error_thresholds")
    if not shipped.exists():
        pytest.skip("infiniband-diags is not installed")
    lines = dict(line.lstrip("#").split("=") for line in shipped.read_text().splitlines() if "=" in line)
    assert {name: int(lines[name]) for name in THRESHOLDS} == THRESHOLDS


def test_another_driver_may_count(agents: Agents) -> None:
    class Ufm:
        name = "ufm"

        def read(self, place: Place) -> str:
            assert place.key == "counters"
            return json.dumps({"7": {"SymbolErrorCounter": 12}})

    site = Site(FABRIC, {"ufm": Ufm()})  # type: ignore[dict-item]
    assert {row.fact for row in FEATURE.assess(site)} == {"P7 SymbolErrorCounter 12"}
