"""The state folder and the lock: nobody else reads them, puts anything into them, or is told a lie about who is at work."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import lab
import pytest

from fabctl.errors import InputError, LockedError, RefusedError
from fabctl.offload.apply import apply
from fabctl.offload.journal import Journal
from fabctl.offload.lock import age_text, fabric_key, fabric_lock, is_locked
from fabctl.offload.state import private_file, state_folder


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("FABCTL_STATE_DIR", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_state_folder_is_made_for_its_owner_alone(chosen: Path) -> None:
    old = os.umask(0)
    try:
        assert state_folder() == chosen
        assert state_folder() == chosen
        assert mode(chosen) == 0o700
        with Journal(chosen) as journal, fabric_lock(chosen, "0x1", "test"):
            lab.make_site(chosen.parent / "lab")
            assert journal.entries() == []
            assert {path.name: mode(path) for path in chosen.iterdir()} == {
                "journal.sqlite": 0o600,
                "journal.sqlite-wal": 0o600,
                "journal.sqlite-shm": 0o600,
                "0x1.lock": 0o600,
            }
    finally:
        os.umask(old)


def test_where_it_is_without_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FABCTL_STATE_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid)
    monkeypatch.setattr("fabctl.offload.state._FOR_ROOT", tmp_path / "var" / "fabctl")
    if os.getuid() == 0:
        assert state_folder() == tmp_path / "var" / "fabctl"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(RefusedError, match="this belongs to user"):
        state_folder()
    assert (tmp_path / "xdg" / "fabctl").is_dir()


@pytest.mark.parametrize("bits", [0o755, 0o707, 0o770, 0o701])
def test_a_folder_that_others_may_use_is_refused(chosen: Path, bits: int) -> None:
    chosen.mkdir()
    chosen.chmod(bits)
    with pytest.raises(RefusedError, match="others may use this") as caught:
        state_folder()
    assert caught.value.hint == f"chmod 700 {chosen}"


def test_symlinks_files_and_folders_below_open_ones_are_refused(chosen: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="this is a symlink"):
        state_folder()
    chosen.unlink()
    chosen.touch()
    with pytest.raises(InputError, match="File exists"):
        state_folder()
    chosen.unlink()
    tmp_path.chmod(0o777)
    with pytest.raises(RefusedError, match="anybody may write into this folder"):
        state_folder()
    tmp_path.chmod(0o1777)
    assert state_folder() == chosen


def test_a_state_folder_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABCTL_STATE_DIR", "/proc/fabctl/state")
    with pytest.raises(InputError, match="cannot keep fabctl's state here"):
        state_folder()


@pytest.mark.parametrize("name", ["journal.sqlite", "0x1.lock"])
def test_state_files_that_are_symlinks_or_open_to_others_are_refused(chosen: Path, tmp_path: Path, name: str) -> None:
    state_folder()
    target = tmp_path / "passwd"
    target.write_text("root\n")
    (chosen / name).symlink_to(target)
    with pytest.raises(RefusedError, match="this is a symlink"):
        opened(chosen, name)
    assert target.read_text() == "root\n"
    (chosen / name).unlink()
    (chosen / name).touch(mode=0o644)
    with pytest.raises(RefusedError, match="others may use this"):
        opened(chosen, name)
    (chosen / name).unlink()
    (chosen / name).mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        opened(chosen, name)


def opened(folder: Path, name: str) -> None:
    if name.endswith("lock"):
        with fabric_lock(folder, "0x1", "test"):
            pass
    else:
        with Journal(folder):
            pass


def test_a_private_file_is_not_inherited(chosen: Path) -> None:
    state_folder()
    descriptor = private_file(chosen / "x")
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


HOLD = """
import sys, time
from pathlib import Path
from fabctl.offload.lock import fabric_lock
with fabric_lock(Path(sys.argv[1]), sys.argv[2], "apply of 'enable qos'"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_applies_at_once_are_one_and_an_error_that_names_the_other(chosen: Path, tmp_path: Path) -> None:
    state_folder()
    site = lab.make_site(tmp_path / "lab")
    plan, before = lab.thresholds(site), lab.state(tmp_path / "lab")
    key = fabric_key(site.fabric)
    command = [sys.executable, "-c", HOLD, str(chosen), key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other, Journal(chosen) as journal:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        assert is_locked(chosen, key)
        with pytest.raises(
            LockedError, match=rf"apply of 'enable qos' is at work on this fabric: process {other.pid}, for \d+ s"
        ):
            apply(plan, site, journal)
        assert lab.state(tmp_path / "lab") == before
        assert journal.entries() == []
        with fabric_lock(chosen, "0x2", "another fabric"):
            pass
        other.kill()
        other.wait()
        assert not is_locked(chosen, key)
        assert apply(plan, site, journal).id == 1


RACE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import lab
from fabctl.errors import FabctlError
from fabctl.offload.apply import apply
from fabctl.offload.journal import Journal

site = lab.open_site(Path(sys.argv[2]))
plan = lab.thresholds(site)
lab.Lab.step = staticmethod(lambda what: time.sleep(0.8 if what == "after settling" else 0))
print("ready", flush=True)
sys.stdin.readline()
with Journal(Path(sys.argv[3])) as journal:
    try:
        print(apply(plan, site, journal).state)
    except FabctlError as error:
        print(type(error).__name__)
"""


def test_of_two_processes_that_apply_at_once_one_does(chosen: Path, tmp_path: Path) -> None:
    state_folder()
    lab.make_site(tmp_path / "lab")
    command = [sys.executable, "-c", RACE, str(Path(__file__).parent), str(tmp_path / "lab"), str(chosen)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    assert sorted(racer.communicate()[0].strip() for racer in racers) == ["LockedError", "applied"]
    with Journal(chosen) as journal:
        assert len(journal.entries()) == 1


def test_a_fabric_keeps_its_lock_when_a_cable_is_cut() -> None:
    whole = lab.fabric()
    cut = lab.parse("family: leaf-spine\nhosts_per_leaf: 1\nleaves: 4\nspines: 2\nspeed: EDR\nremove: {cables: 1}\n", "lab")[0]
    assert whole.digest != cut.digest
    assert fabric_key(whole) == fabric_key(cut)


def test_ages_are_short() -> None:
    assert [age_text(seconds) for seconds in (0, 119, 120, 7199, 7200)] == ["0 s", "119 s", "2 min", "120 min", "2 h"]
