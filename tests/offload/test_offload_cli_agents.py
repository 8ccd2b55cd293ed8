"""``fabctl offload`` against agents that keep state (test equipment): congestion control switch by switch, with ``--live``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from emulator.agent_fabric import Agents
from emulator.agent_fixture import enter
from small_fabrics import two_levels

from fabctl.errors import ExitCode
from fabctl.offload import work

LIVE = ("--live", "--driver", "mad")


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agents:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path / "state"))
    return enter(Agents(two_levels(hosts=4, hosts_per_leaf=2, spines=2), tmp_path / "agents"), monkeypatch)


def statuses(run: Any) -> str:
    done = run("offload", "list", *LIVE, "--feature", "congestion-control")
    assert done.code == 0, done.err
    return re.findall(r"^congestion-control +switches +(.+?)  ", done.out, re.MULTILINE)[0]


def test_congestion_control_on_some_switches_and_back(run: Any, agents: Agents) -> None:
    before = statuses(run)
    words = ("enable", "congestion-control", *LIVE, "--switch", "leaf-[0-1]", "--set", "threshold=8")
    shown = run("offload", *words)
    assert shown.code == ExitCode.FINDINGS
    assert re.search(r"^leaf-\[0-1\] +cc.switch .*threshold=8", shown.out, re.MULTILINE)
    assert statuses(run) == before
    assert run("offload", *words, "--yes", "--canary", "leaf-0").code == 0
    assert statuses(run) != before
    evidence = run("offload", "verify", 1, "-o", "wide").out
    assert re.search(r"^leaf-1 +cc.switch .* yes +\$ ibccquery SS ", evidence, re.MULTILINE)
    assert run("offload", *words, "--yes").out.startswith(
        "Plan: enable congestion-control --switch leaf-[0-1] --set threshold=8\n  0 to"
    )
    assert run("offload", "rollback", 1).code == 0
    assert statuses(run) == before


@pytest.mark.parametrize(
    ("fault", "code", "history"),
    [
        ("deaf", ExitCode.UNVERIFIED, "rolled-back"),  # it says yes, and keeps what it had
        ("timeout", ExitCode.SOURCE, "nothing was applied yet"),
    ],
)
def test_a_switch_that_fails_between_plan_and_apply(
    run: Any, agents: Agents, tmp_path: Path, fault: str, code: ExitCode, history: str
) -> None:
    saved = tmp_path / "plan.json"
    assert run("offload", "plan", "congestion-control", *LIVE, "--save", saved).code == ExitCode.FINDINGS
    before = statuses(run)
    agents.fault("leaf-0", fault)
    assert run("offload", "apply", saved).code == code
    assert history in run("offload", "history").out
    agents.fault("leaf-0")
    assert statuses(run) == before
