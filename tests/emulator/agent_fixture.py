"""Test equipment, no part of fabctl: fabrics of agents for a test, and the sites on which features are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from emulator.agent_fabric import SIMULATOR, Agents

from fabctl.model.fabric import Fabric
from fabctl.offload.drivers.mad import MadDriver
from fabctl.offload.feature import Request
from fabctl.offload.site import Site


def enter(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> Agents:
    """Have programs that this test starts meet the agents."""
    for name in SIMULATOR:
        monkeypatch.delenv(name, raising=False)
    for name in ("FABCTL_EMULATOR", "PATH"):
        monkeypatch.setenv(name, agents.environment[name])
    return agents


def site_of(fabric: Fabric, source: Path | str = "") -> Site:
    """Return a site with the `mad` driver."""
    return Site(fabric, {"mad": MadDriver.make({}, fabric)}, source=str(source))


def asked(
    fabric: Fabric, values: Mapping[str, str] | None = None, switches: Sequence[int] | None = None, *, enable: bool = True
) -> Request:
    """Return a request for some switches, all of them by default."""
    chosen = range(fabric.n_switches) if switches is None else switches
    return Request(enable, tuple(chosen), values or {}, "as asked")
