"""Offloads on the real OpenSM: planned, applied, read back from ibsim's switches, and taken back to the byte and the entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offload_twin import Rig, rigged

from fabctl.errors import FabctlError, RefusedError, UsageError
from fabctl.install.wanted import sample_paths
from fabctl.model.operation import State
from fabctl.offload.apply import apply
from fabctl.offload.confirm import confirm
from fabctl.offload.planning import make_plan
from fabctl.offload.rollback import rollback
from fabctl.offload.verify import verify
from fabctl.offload.work import quiet
from fabctl.routing.compute import compute_tables
from fabctl.sources.live import read_live_tables, read_path_level

TABLE = "0,1,2,3,0,1,2,3,0,1,2,3,0,1,2,15"
CELLS = "|".join(f"{lane:>2}" for lane in TABLE.split(","))

RING = "family: torus\ndims: [5]\nhosts_per_switch: 1\nspeed: EDR\n"
SHARES = "0:64,1:32,2:16,3:8"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(tmp_path, monkeypatch) as rig:
        yield rig


def test_qos_a_partition_and_routes_there_and_back(rig: Rig) -> None:
    """Show 1: three offloads in force at once, each confirmed and verified; then the fabric of before, to the byte and the entry."""
    before = rig.state()
    asked = (
        (rig.plan("qos", f"sl2vl={TABLE}", f"vlarb_low={SHARES}"), False),
        (rig.plan("partitions", "key=0x12", "name=tenant", switches="leaf-01"), False),
        (rig.plan("routes", "engine=ftree"), True),
    )
    numbers = []
    for plan, disruptive in asked:
        done = apply(plan, rig.site, rig.journal, confirm_minutes=10, allow_disruptive=disruptive)
        assert done.state is State.UNCONFIRMED
        assert confirm(done.id, rig.journal).state is State.APPLIED
        numbers.append(done.id)
    files, tables = rig.state()
    fabric = rig.site.fabric
    assert b"# kept by hand  \nqos TRUE   # ours\nunknown_key 7\n" in files["opensm.conf"]
    for lid in range(1, 9):
        assert all(row.endswith(f"|{CELLS}|") for row in tables[f"sl2vl {lid}"].splitlines()[2:])
        assert "|0x40|0x20|0x10|0x8 |0x0 |" in tables[f"vlarb {lid}"]
    assert [lid for lid in range(1, 5) if "0xffff 0x8012" in tables[f"pkeys {lid}"]] == [1, 2]
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "ftree").lft)
    assert "file tables configured on all switches" in rig.twin.manager.log.text()
    for number, (plan, _) in zip(numbers, asked, strict=True):
        assert verify(number, rig.site, rig.journal, quiet).holds
        words = plan.request.split(" --set ")
        again = make_plan(rig.site, plan.feature, switches="leaf-01" * (plan.feature == "partitions"), settings=words[1:])
        assert again.stages == (), "nothing is left to do"
    for number in reversed(numbers):
        assert rollback(number, rig.site, rig.journal, quiet).state is State.ROLLED_BACK
    assert rig.state() == before


def test_partitions_are_taken_out_and_brought_back(rig: Rig) -> None:
    bare = rig.files(), rig.tables("pkeys")
    apply(rig.plan("partitions", "key=0x12", "members=node-0001", "limited=node-[0003-0004]", "ipoib=yes"), rig.site, rig.journal)
    held = rig.files(), rig.tables("pkeys")
    assert ["0x8012" in held[1][f"pkeys {lid}"] for lid in range(1, 5)] == [True, False, False, False]
    assert ["0x0012" in held[1][f"pkeys {lid}"] for lid in range(1, 5)] == [False, False, True, True]
    with pytest.raises(RefusedError, match="P_Key 0x0012 is taken by the partition 'P0012'"):
        rig.plan("partitions", "key=0x12", "members=node-0002")
    away = apply(rig.plan("partitions", "key=0x12", enable=False), rig.site, rig.journal)
    assert rig.tables("pkeys") == bare[1]
    rollback(away.id, rig.site, rig.journal, quiet)
    assert (rig.files(), rig.tables("pkeys")) == held


def test_multicast_groups(rig: Rig) -> None:
    before = rig.files()
    ip = apply(rig.plan("multicast", "mgid=ff12:401b::16", "sl=1"), rig.site, rig.journal)
    other = apply(rig.plan("multicast", "mgid=ff12::7", "mtu=1024"), rig.site, rig.journal)
    answers = {group: rig.twin.sim.run("saquery", "MCMR", "--mgid", group) for group in ("ff12:401b:ffff::16", "ff12::7")}
    assert "SL......................0x1" in answers["ff12:401b:ffff::16"]
    assert "mtu.....................0x83" in answers["ff12::7"]
    assert rig.plan("multicast", "mgid=ff12::7", "mtu=1024").stages == ()
    for operation in (other, ip):
        rollback(operation.id, rig.site, rig.journal, quiet)
    assert rig.files() == before
    assert rig.twin.sim.run("saquery", "MCMR", "--mgid", "ff12::7") == answers["ff12::7"], "OpenSM keeps it until it restarts"


def test_routes_follow_each_other_without_a_restart(rig: Rig) -> None:
    before = rig.files(), rig.tables()
    plan = rig.plan("routes", "engine=ftree")
    with pytest.raises(RefusedError, match="the subnet manager restarts"):
        apply(plan, rig.site, rig.journal)
    assert rig.files() == before[0]
    first = apply(plan, rig.site, rig.journal, allow_disruptive=True)
    pid = rig.twin.manager.child.pid
    fabric = rig.site.fabric
    second = apply(rig.plan("routes", "engine=sssp"), rig.site, rig.journal)
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "sssp").lft)
    rollback(second.id, rig.site, rig.journal, quiet)
    np.testing.assert_array_equal(read_live_tables(fabric).lft, compute_tables(fabric, "ftree").lft)
    assert rig.twin.manager.child.pid == pid
    own = apply(rig.plan("routes", "engine=updn", enable=False), rig.site, rig.journal, allow_disruptive=True)
    assert "updn tables configured" in rig.twin.manager.log.text().rpartition("tables configured")[0][-200:] + "tables configured"
    for operation in (own, first):
        rollback(operation.id, rig.site, rig.journal, quiet)
    assert (rig.files(), rig.tables()) == before


def test_an_export_with_service_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """A ring needs two lanes: its routes want the QoS that they were made for, and bring the SL of each path as a policy."""
    (tmp_path / "ring.yaml").write_text(RING)
    with rigged(tmp_path, monkeypatch, (), RING) as rig:
        assert run("route", "--live", "--engine", "dfsssp", "--export", "opensm", tmp_path / "export").code == 0
        with pytest.raises(RefusedError, match=r"its settings lack\n  qos TRUE"):
            rig.plan("routes", f"export={tmp_path / 'export'}")
    lanes = ("qos TRUE", "qos_max_vls 2", "max_op_vls 2", "qos_high_limit 0", "qos_vlarb_high 0:0", "qos_vlarb_low 0:64,1:64")
    with rigged(tmp_path, monkeypatch, (*lanes, "qos_sl2vl 0,1,0,1,0,1,0,1,0,1,0,1,0,1,0,1"), RING) as rig:
        before = rig.files(), rig.tables()
        fabric = rig.site.fabric
        wanted = compute_tables(fabric, "dfsssp")
        done = apply(rig.plan("routes", f"export={tmp_path / 'export'}"), rig.site, rig.journal, allow_disruptive=True)
        np.testing.assert_array_equal(read_live_tables(fabric).lft, wanted.lft)
        paths = sample_paths(wanted)
        assert {level for _, _, level in paths} == {0, 1}
        assert all(read_path_level(source, destination) == level for source, destination, level in paths)
        with pytest.raises(RefusedError, match="may deadlock on other lanes"):
            rig.plan("qos", f"sl2vl={','.join('0' * 16)}")
        rollback(done.id, rig.site, rig.journal, quiet)
        assert (rig.files(), rig.tables()) == before


def test_qos_where_opensm_never_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes that ports lack cannot be written back: the plan says so, and what comes back is folded onto those that there are."""
    with rigged(tmp_path, monkeypatch, ()) as rig:
        before = rig.tables("sl2vl")
        plan = rig.plan("qos", f"sl2vl={TABLE}")
        assert any("mapped to lanes that ports lack (they have 8)" in note for note in plan.notes)
        files = rig.files()
        done = apply(plan, rig.site, rig.journal)
        rollback(done.id, rig.site, rig.journal, quiet)
        assert rig.files() == files
        folded = {name: text.replace("| 8| 9|10|11|12|13|14| 7|", "| 0| 1| 2| 3| 4| 5| 6| 7|") for name, text in before.items()}
        assert rig.tables("sl2vl") == folded
        assert rig.plan("qos", enable=False).stages == (), "OpenSM writes no tables, and its own are in force"


def test_qos_off_is_written_before_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rigged(tmp_path, monkeypatch, ("qos TRUE   # ours", f"qos_sl2vl {TABLE}")) as rig:
        held = rig.files(), rig.tables("sl2vl")
        plan = rig.plan("qos", enable=False)
        assert [stage.name for stage in plan.stages] == ["OpenSM's own tables", "off"]
        off = apply(plan, rig.site, rig.journal)
        assert "qos FALSE   # ours" in rig.files()["opensm.conf"].decode()
        assert all("| 0| 1| 2| 3| 4| 5| 6| 7|" in text for name, text in rig.tables("sl2vl").items() if name != "dump_fts")
        rollback(off.id, rig.site, rig.journal, quiet)
        assert (rig.files(), rig.tables("sl2vl")) == held


@pytest.mark.parametrize(
    ("feature", "settings", "switches", "said"),
    [
        ("qos", ("sl2vl=0,1",), "", "is no such table"),
        ("qos", ("sl2vl=" + "9," * 15 + "0",), "", "names VL 9, and ports work with 8 data lanes"),
        ("qos", ("vlarb_low=0:256",), "", "weight 256 is more than 255"),
        ("qos", ("vlarb_low=" + ",".join(["0:1"] * 9),), "", "has 9 entries, and ports have room for 8"),
        ("qos", (f"sl2vl={TABLE}",), "leaf-01", "all switches the same QoS tables"),
        ("qos", (), "", "needs a table"),
        ("partitions", ("key=0x7fff",), "leaf-01", "is not within 0x0001 and 0x7ffe"),
        ("partitions", (), "leaf-01", "needs its key"),
        ("partitions", ("key=1",), "", "needs members"),
        ("partitions", ("key=1",), "spine-01", "no HCA hangs from these switches"),
        ("partitions", ("key=1", "name=a b"), "leaf-01", "a letter, then letters"),
        ("partitions", ("key=1", "members=node-0001", "limited=node-0001"), "", "is both a full and a limited member"),
        ("partitions", ("key=1", "members=$(reboot)"), "", "reboot"),
        ("multicast", ("mgid=fe80::1",), "", "is no multicast GID"),
        ("multicast", ("mgid=ff12::1", "mtu=1500"), "", "is no MTU"),
        ("multicast", ("mgid=ff12:401b::1", "mtu=2048"), "", "has the MTU and the rate of IPoIB's broadcast group"),
        ("routes", (), "", "takes an engine or an export"),
        ("routes", ("engine=nosuch",), "", "nosuch"),
        ("routes", ("engine=ftree",), "leaf-01", "belong to the whole fabric"),
    ],
)
def test_bad_requests(shared: Rig, feature: str, settings: tuple[str, ...], switches: str, said: str) -> None:
    with pytest.raises(FabctlError, match=said):
        shared.plan(feature, *settings, switches=switches)


@pytest.mark.parametrize(
    ("feature", "setting"), [("qos", "sl2vl=0"), ("partitions", "name=x"), ("multicast", "sl=1"), ("routes", "export=x")]
)
def test_what_is_switched_off_takes_no_settings(shared: Rig, feature: str, setting: str) -> None:
    needed = {"partitions": ["key=1"], "multicast": ["mgid=ff12::1"]}.get(feature, [])
    with pytest.raises(UsageError, match=f"--disable takes no --set {setting.partition('=')[0]}"):
        shared.plan(feature, *needed, setting, enable=False)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A twin that nobody changes."""
    with pytest.MonkeyPatch.context() as patch, rigged(tmp_path_factory.mktemp("shared"), patch) as rig:
        yield rig
