"""The wrong OpenSM, a dead one, a stopped one, one that is not the master, and files that it refuses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from offload_twin import Rig, enter, in_memory, rigged, spec
from realstack import tool

from fabctl.errors import RefusedError, RollbackError, SourceError, UnverifiedError
from fabctl.model.offload_plan import Place, Risk
from fabctl.model.operation import State
from fabctl.offload.apply import apply
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_conf import RESTART_KEYS
from fabctl.offload.drivers.opensm_process import NVIDIA, UNKNOWN, UPSTREAM, judge, running, unit_in
from fabctl.offload.recover import recover
from fabctl.offload.rollback import rollback
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import conf_change, opensm, require_nvidia
from fabctl.offload.work import quiet
from fabctl.twin.twin import Twin

NVIDIA_VERSION = "5.21.12.MLNX20250617.f74e01b8"
WAIT_S = 30


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(tmp_path, monkeypatch) as rig:
        yield rig


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Twin]:  # tmp_path comes first: it is not in memory
    for name in ("opensm", "ibsim", "sminfo", "ibstat"):
        tool(name)
    with in_memory(monkeypatch), Twin(spec()) as twin:
        enter(monkeypatch, twin)
        yield twin


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


@contextmanager
def standalone(twin: Twin, etc: Path, *lines: str) -> Iterator[Path]:
    """Run an OpenSM of one's own on the twin's fabric, in place of the twin's; its output is not buffered."""
    twin.manager.child.stop()
    etc.mkdir()
    (etc / "opensm.conf").write_text("".join(f"{line}\n" for line in lines))
    folders = {"OSM_TMP_DIR": str(etc), "OSM_CACHE_DIR": str(etc)}
    with (etc / "out").open("wb") as out:
        process = subprocess.Popen(
            ["stdbuf", "-o0", tool("opensm"), "-F", str(etc / "opensm.conf"), "-f", str(etc / "opensm.log")],
            env={**twin.sim.environment, **folders},
            cwd=etc,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        until((etc / "opensm-subnet.lst").exists)
        yield etc
    finally:
        process.kill()
        process.wait()


def site_of(driver: OpensmDriver) -> Site:
    return Site(spec(), {driver.name: driver}, source="live")


@pytest.mark.parametrize(
    ("said", "logged", "knows", "flavour"),
    [
        ("3.3.23", "3.3.23", False, UPSTREAM),
        ("3.3.23", "", None, UPSTREAM),
        ("3.3.23", "", True, UNKNOWN),
        (NVIDIA_VERSION, "", True, NVIDIA),
        ("", NVIDIA_VERSION, None, NVIDIA),
        ("5.28.1", "", None, NVIDIA),
        ("4.9.0.MLNX20200101.1", "", False, NVIDIA),
        ("", "", False, UNKNOWN),
        ("2.1", "", False, UNKNOWN),
    ],
)
def test_flavours(said: str, logged: str, knows: bool | None, flavour: str) -> None:
    found = judge("/usr/sbin/opensm", said, logged, knows)
    assert found.name == flavour
    assert found.version == (said or logged)
    assert "/usr/sbin/opensm" in found.evidence


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Path]:
    """A process that is called opensm and is given an opensm.conf, but is no OpenSM: tail."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "opensm.conf").write_text(f"log_file {etc}/opensm.log\n")
    shutil.copy(shutil.which("tail") or "", tmp_path / "opensm")
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [str(tmp_path / "opensm"), "-F", str(etc / "opensm.conf")], stdin=subprocess.DEVNULL, stdout=out
        )
    until(lambda: Path(f"/proc/{process.pid}/comm").read_text().strip() == "opensm")
    yield etc
    process.kill()
    process.wait()


def test_an_unknown_opensm_is_refused(twin: Twin, impostor: Path) -> None:
    driver = OpensmDriver.make({"conf": str(impostor)}, twin.fabric)
    assert driver.manager().flavour == UNKNOWN
    with pytest.raises(RefusedError, match=r"it cannot be told which OpenSM runs: .*does not say its version"):
        opensm(site_of(driver))
    with pytest.raises(RefusedError, match="SHARP needs NVIDIA's OpenSM"):
        require_nvidia(site_of(driver), "SHARP")


def test_nvidias_is_known_by_its_log(twin: Twin, impostor: Path) -> None:
    (impostor / "opensm.log").write_text(f"Jun 21 13:03:06 711749 [CE4D4740] 0x03 -> OpenSM {NVIDIA_VERSION}\n")
    driver = OpensmDriver.make({"conf": str(impostor)}, twin.fabric)
    found = driver.manager()
    assert (found.flavour, found.version) == (NVIDIA, NVIDIA_VERSION)
    assert require_nvidia(site_of(driver), "SHARP") is driver


def test_upstream_is_named_and_nothing_is_written(rig: Rig) -> None:
    before = rig.files()
    for feature in ("sharp", "adaptive-routing", "shield", "hbf"):
        with pytest.raises(RefusedError, match=r"needs NVIDIA's OpenSM, and this one is upstream 3\.3"):
            rig.plan(feature)
    assert rig.files() == before


def test_another_is_the_master(twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = tmp_path / "standby"
    etc.mkdir()
    (etc / "opensm.conf").write_text("force_log_flush TRUE\n")
    environment = {
        **twin.environment,
        "SIM_HOST": re.findall(r'^Hca\s+\d+\s+"([^"]+)"', (twin.folder / "fabric.net").read_text(), re.MULTILINE)[1],
    }
    command = [tool("opensm"), "-F", str(etc / "opensm.conf"), "-f", str(etc / "opensm.log")]
    folders = {"OSM_TMP_DIR": str(etc), "OSM_CACHE_DIR": str(etc)}
    standby = subprocess.Popen(
        command,
        env={**environment, **folders},
        cwd=etc,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (etc / "opensm.log").exists() and "Entering STANDBY" in (etc / "opensm.log").read_text())
        monkeypatch.setenv("SIM_HOST", environment["SIM_HOST"])
        driver = OpensmDriver.make({"conf": str(etc)}, twin.fabric)
        for attempt in (driver.manager, lambda: driver.settle(Risk.SWEEP)):
            with pytest.raises(RefusedError, match=r"is not the master: 0x02fab04000000001 is"):
                attempt()
    finally:
        standby.kill()
        standby.wait()


def test_one_that_reads_other_settings_is_not_meant(twin: Twin, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no OpenSM runs with .*opensm.conf; this OpenSM reads .*opensm.conf, not"):
        OpensmDriver.make({"conf": str(tmp_path)}, twin.fabric).manager()


def test_a_dead_opensm_and_the_way_back(rig: Rig) -> None:
    before = rig.files(), rig.tables("pkeys")
    plan = rig.plan("partitions", "key=0x12", switches="leaf-01")
    done = apply(plan, rig.site, rig.journal)
    site = rig.site
    rig.twin.manager.child.signal(signal.SIGKILL)
    until(lambda: rig.twin.manager.child.exit_code is not None)
    with pytest.raises(RollbackError, match=r"no OpenSM runs with"):
        rollback(done.id, site, rig.journal, quiet)
    assert rig.files() == before[0], "the files are back"
    rig.twin.restart()
    (found,) = recover(rig.site, rig.journal, quiet)
    assert found.operation.state is State.ROLLED_BACK
    assert (rig.files(), rig.tables("pkeys")) == before


def test_a_restart_in_between_makes_no_plan_stale(rig: Rig) -> None:
    plan = rig.plan("partitions", "key=0x12", switches="leaf-01")
    rig.twin.restart()
    assert apply(plan, rig.site, rig.journal).state is State.APPLIED


def test_a_stopped_opensm(rig: Rig) -> None:
    driver = rig.site.driver("twin")
    rig.twin.manager.child.signal(signal.SIGSTOP)
    until(lambda: "\nState:\tT" in Path(f"/proc/{rig.twin.manager.child.pid}/status").read_text())
    with pytest.raises(SourceError, match="is stopped"):
        driver.settle(Risk.SWEEP)
    rig.twin.manager.child.signal(signal.SIGCONT)


def test_a_hup_without_effect_is_an_error(twin: Twin, tmp_path: Path) -> None:
    """OpenSM's log is all that tells: at a level at which it does not speak of sweeps, nothing is believed."""
    with standalone(twin, tmp_path / "etc", "log_flags 0x01") as etc:
        driver = OpensmDriver.make({"conf": str(etc)}, twin.fabric)
        driver.timeout_s = 1
        with pytest.raises(SourceError, match="was told to sweep, and after 1 s its log shows no sweep") as error:
            driver.settle(Risk.SWEEP)
        assert "log_flags" in error.value.hint


def test_a_buffered_log_is_flushed(twin: Twin, tmp_path: Path) -> None:
    with standalone(twin, tmp_path / "etc", "log_flags 0x03") as etc:
        OpensmDriver.make({"conf": str(etc)}, twin.fabric).settle(Risk.SWEEP)
        text = (etc / "opensm.log").read_text()
        assert text.count("SUBNET UP") >= 2


def test_a_log_that_a_flush_would_cut_is_left_alone(twin: Twin, tmp_path: Path) -> None:
    with standalone(twin, tmp_path / "etc", "accum_log_file FALSE") as etc:
        driver = OpensmDriver.make({"conf": str(etc)}, twin.fabric)
        with pytest.raises(RefusedError, match="OpenSM keeps its log in a buffer"):
            driver.settle(Risk.SWEEP)
        assert not driver.restarts
        with pytest.raises(RefusedError, match="OpenSM heeds lmc at its start only, and fabctl cannot restart it"):
            conf_change(driver, "lmc", None, "1")


def test_what_opensm_refuses_is_taken_back(rig: Rig) -> None:
    """A mistake in partitions.conf makes OpenSM drop all partitions; the log alone says so."""
    before = rig.files(), rig.tables("pkeys")
    plan = rig.plan("partitions", "key=0x12", switches="leaf-01")
    driver = rig.site.driver("twin")
    place = Place("twin", "fabric", "file:partitions.conf")
    driver.write(place, f"{plan.changes[0].new}no partition\n")
    with pytest.raises(SourceError, match="OpenSM refuses its files: parse_part_conf: PARSE ERROR"):
        driver.settle(Risk.SWEEP)
    driver.write(place, None)
    driver.settle(Risk.SWEEP)
    assert (rig.files(), rig.tables("pkeys")) == before


def test_a_file_that_was_wrong_before_does_not_stop_the_way_back(rig: Rig) -> None:
    driver = rig.site.driver("twin")
    driver.write(Place("twin", "fabric", "file:partitions.conf"), "no partition\n")
    with pytest.raises(SourceError, match="PARSE ERROR: line 1"):
        driver.settle(Risk.SWEEP)
    before = rig.files()
    with pytest.raises(UnverifiedError, match="the old values are back"):
        apply(rig.plan("partitions", "key=0x12", switches="leaf-01"), rig.site, rig.journal)
    assert rig.files() == before


def test_partitions_that_switches_do_not_enforce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rigged(tmp_path, monkeypatch, ("part_enforce off",)) as rig:
        plan = rig.plan("partitions", "key=0x12", switches="leaf-01")
        assert len(plan.stages[0].checks) == 4, "HCAs alone"
        assert apply(plan, rig.site, rig.journal).state is State.APPLIED


def test_which_keys_a_hup_reaches(twin: Twin, tmp_path: Path) -> None:
    """Every key of ``opensm -c`` is given another value: what OpenSM loads on a HUP are those that are no restart keys."""
    template = tmp_path / "all.conf"
    subprocess.run(
        [tool("opensm"), "-c", str(template)], stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=tmp_path
    )
    lines = [line.split(None, 1) for line in template.read_text().splitlines() if line[:1].isalpha()]
    with standalone(twin, tmp_path / "etc", "force_log_flush TRUE") as etc:
        mark = (etc / "out").stat().st_size
        (etc / "opensm.conf").write_text("".join(f"{key} {another(key, value)}\n" for key, value in lines))
        with running(etc) as handle:
            handle.reload()
        until(lambda: b"Loading Cached Option:log_prefix" in (etc / "out").read_bytes()[mark:])
    out = (etc / "out").read_bytes()[mark:].decode()
    loaded = set(re.findall(r"Loading Cached Option:(\w+) =", out))
    assert {key for key, _ in lines} - loaded == RESTART_KEYS - {"dimn_ports_file"}


def another(key: str, value: str) -> str:
    special = {"force_log_flush": "FALSE", "force_link_width": "1", "cc_cct": "1:1,2:2", "part_enforce": "in", "console": "local"}
    opposite = {"TRUE": "FALSE", "FALSE": "TRUE", "(null)": "x", "0:0": "1:1", "0 0": "0 1"}
    if key in special:
        return special[key]
    if value in opposite:
        return opposite[value]
    if re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", value):
        return str(int(value, 0) + 1) if not value.startswith("0x") else hex(int(value, 16) + 1)
    return f"{value}x"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/opensm.service\n", "opensm.service"),
        ("12:cpu:/\n1:name=systemd:/system.slice/opensm@mlx5_0.service\n0::/\n", "opensm@mlx5_0.service"),
        ("0::/system.slice/ufm-enterprise.service\n", ""),
        ("0::/user.slice/user-0.slice/session-3.scope\n", ""),
        ("0::/system.slice/opensm.service/../x\n", ""),
        ("", ""),
    ],
)
def test_units_of_systemd(cgroup: str, unit: str) -> None:
    assert unit_in(cgroup) == unit


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_another_users_process_is_not_opensm() -> None:
    """It may call itself what it likes: root would run its program to ask for a version."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        etc = Path(folder) / "etc"
        etc.mkdir(mode=0o755)
        (etc / "opensm.conf").write_text("")
        shutil.copy(shutil.which("tail") or "", Path(folder) / "opensm")
        command = [str(Path(folder) / "opensm"), "-F", str(etc / "opensm.conf")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=65534)
        try:
            until(lambda: Path(f"/proc/{process.pid}/comm").read_text().strip() == "opensm")
            with pytest.raises(SourceError, match="no OpenSM runs with"):
                running(etc)
        finally:
            process.kill()
            process.wait()
