"""Offloads on the real OpenSM: planned, applied, read back from ibsim's switches, and taken back to the byte and the entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from realstack import preload, tool

from fabctl.errors import RefusedError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Plan
from fabctl.model.operation import State
from fabctl.offload.apply import apply
from fabctl.offload.drivers.twin import TwinDriver
from fabctl.offload.journal import Journal
from fabctl.offload.planning import make_plan
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.work import quiet
from fabctl.routing.compute import compute_tables
from fabctl.sources.live import discover_live, read_live_tables
from fabctl.twin.opensm import Settings
from fabctl.twin.twin import Twin

TABLE = "0,1,2,3,0,1,2,3,0,1,2,3,0,1,2,15"
ROW = "| " + "| ".join(TABLE.split(",")[:-1]) + "|15|"
SHARES = "0:64,1:32,2:16,3:8"


@dataclass
class Rig:
    """A twin, and what a feature and the cycle see of it."""

    twin: Twin
    journal: Journal

    @property
    def site(self) -> Site:
        """The site as a command would make it now."""
        fabric = discover_live().fabric
        return Site(fabric, {"twin": TwinDriver.make({}, fabric)}, source="live")

    @property
    def conf(self) -> Path:
        return self.twin.manager.folder

    def state(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the configuration files' bytes, and what every switch and HCA holds, by the tools' own words."""
        files = {path.name: path.read_bytes() for path in self.conf.glob("*.conf")}
        lids = range(1, len(self.twin.fabric.port_of_lid))
        tables = {f"pkeys {lid}": self.twin.sim.run("smpquery", "pkeys", str(lid), "1") for lid in lids}
        tables |= {f"sl2vl {lid}": self.twin.sim.run("smpquery", "sl2vl", str(lid), "1") for lid in lids}
        tables |= {f"vlarb {lid}": self.twin.sim.run("smpquery", "vlarb", str(lid), "1") for lid in lids}
        return files, {**tables, "dump_fts": self.twin.sim.run("dump_fts")}

    def plan(self, *words: str, enable: bool = True, switches: str = "") -> Plan:
        return make_plan(self.site, words[0], enable=enable, switches=switches, settings=words[1:])


def enter(monkeypatch: pytest.MonkeyPatch, twin: Twin) -> None:
    """Have tools that fabctl runs see the twin."""
    for name, value in twin.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(twin.folder)


@pytest.fixture
def fabric() -> Fabric:
    for name in ("ibsim", "opensm", "smpquery", "saquery", "dump_fts", "ibroute"):
        tool(name)
    preload()
    return parse("family: leaf-spine\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nspeed: EDR\n", "spec.yaml")[0]


@pytest.fixture
def rig(fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with Twin(fabric, Settings(config=("# kept by hand  ", "qos TRUE   # ours", "unknown_key 7"))) as twin:
        enter(monkeypatch, twin)
        with Journal(state) as journal:
            yield Rig(twin, journal)


def test_qos_is_set_read_back_and_taken_back(rig: Rig) -> None:
    before = rig.state()
    plan = rig.plan("qos", f"sl2vl={TABLE}", f"vlarb_low={SHARES}")
    done = apply(plan, rig.site, rig.journal)
    files, tables = rig.state()
    assert b"\nqos TRUE   # ours\n" in files["opensm.conf"]
    for name in filter(lambda name: name.startswith("sl2vl"), tables):
        assert all(row.endswith(ROW) for row in tables[name].splitlines()[2:])
    assert rig.plan("qos", f"sl2vl={TABLE}").stages == ()
    rollback(done.id, rig.site, rig.journal, quiet)
    assert rig.state() == before


def test_a_partition_for_the_hosts_of_a_switch(rig: Rig) -> None:
    before = rig.state()
    plan = rig.plan("partitions", "key=0x12", "name=tenant", switches="leaf-01")
    done = apply(plan, rig.site, rig.journal)
    _, tables = rig.state()
    assert [lid for lid in range(1, 5) if "0xffff 0x8012" in tables[f"pkeys {lid}"]] == [1, 2]
    assert rig.plan("partitions", "key=0x12", switches="leaf-01").stages == ()
    away = apply(rig.plan("partitions", "key=0x12", enable=False), rig.site, rig.journal)
    assert rig.state()[1] == before[1]
    rollback(away.id, rig.site, rig.journal, quiet)
    assert rig.state()[1] == tables
    rollback(done.id, rig.site, rig.journal, quiet)
    assert rig.state() == before


def test_multicast_groups(rig: Rig) -> None:
    before = rig.state()
    ip = apply(rig.plan("multicast", "mgid=ff12:401b::16", "sl=1"), rig.site, rig.journal)
    other = apply(rig.plan("multicast", "mgid=ff12::7", "mtu=1024"), rig.site, rig.journal)
    answers = {group: rig.twin.sim.run("saquery", "MCMR", "--mgid", group) for group in ("ff12:401b:ffff::16", "ff12::7")}
    assert "SL......................0x1" in answers["ff12:401b:ffff::16"]
    assert "mtu.....................0x83" in answers["ff12::7"]
    rollback(other.id, rig.site, rig.journal, quiet)
    rollback(ip.id, rig.site, rig.journal, quiet)
    assert rig.state() == before
    assert rig.twin.sim.run("saquery", "MCMR", "--mgid", "ff12::7") == answers["ff12::7"], "OpenSM keeps it until it restarts"


def test_routes_of_fabctls_in_place_of_opensms_engine(rig: Rig) -> None:
    before = rig.state()
    plan = rig.plan("routes", "engine=ftree")
    with pytest.raises(RefusedError, match="allow-disruptive"):
        apply(plan, rig.site, rig.journal)
    assert rig.state() == before
    done = apply(plan, rig.site, rig.journal, allow_disruptive=True)
    assert done.state is State.APPLIED
    fabric = rig.site.fabric
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "ftree").lft)
    assert "file tables configured on all switches" in rig.twin.manager.log.text()
    again = apply(rig.plan("routes", "engine=sssp"), rig.site, rig.journal)
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "sssp").lft)
    rollback(again.id, rig.site, rig.journal, quiet)
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "ftree").lft)
    rollback(done.id, rig.site, rig.journal, quiet)
    assert rig.state() == before
