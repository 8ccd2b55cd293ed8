"""The watchdog: started before anything is written, it outlives fabctl and its terminal and brings the old values back."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lab
import pytest

from fabctl.errors import RefusedError, SourceError
from fabctl.model.offload_plan import Change, Check, Place, Plan, Risk, Stage
from fabctl.model.operation import State
from fabctl.offload.apply import apply
from fabctl.offload.confirm import confirm
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.history import operation_of
from fabctl.offload.journal import Journal
from fabctl.offload.recover import recover
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored
from fabctl.offload.watch import is_watched

WAIT_S = 60.0
NAMES = [f"file:{name}.conf" for name in "abcdef"]


def site_of(folder: Path) -> Site:
    folder.mkdir(exist_ok=True)
    return Site(lab.fabric(2, 1), {"files": FilesDriver(folder)}, source="lab")


def plan_of(site: Site) -> Plan:
    """Return a plan that renders six files, one stage each."""
    places = [Place("files", "fabric", name) for name in NAMES]
    stages = [Stage(place.key, (Change(place, None, "new\n", Risk.HOT),), (Check(place, "new\n"),)) for place in places]
    return lab.plan_of(site, stages, mirrored(stages))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_not_confirmed_in_time_comes_back_and_the_watchdog_goes(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = site_of(tmp_path / "etc")
    done = apply(plan_of(site), site, journal, confirm_minutes=2 / 60)
    assert (done.state, done.written) == (State.UNCONFIRMED, 6)
    assert done.deadline_at
    assert len(list((tmp_path / "etc").iterdir())) == 6
    assert is_watched(state, done.id)
    until(lambda: operation_of(journal, done.id).state is State.ROLLED_BACK)
    assert list((tmp_path / "etc").iterdir()) == []
    until(lambda: not is_watched(state, done.id))
    assert "not confirmed in time" in operation_of(journal, done.id).reason


def test_what_is_confirmed_stays_and_the_watchdog_goes(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = site_of(tmp_path / "etc")
    done = apply(plan_of(site), site, journal, confirm_minutes=10)
    with pytest.raises(RefusedError, match=r"operation 1 .* waits to be confirmed"):
        apply(plan_of(site), site, journal)
    assert confirm(done.id, journal).state is State.APPLIED
    assert confirm(done.id, journal).state is State.APPLIED
    until(lambda: not is_watched(state, done.id))
    assert len(list((tmp_path / "etc").iterdir())) == 6


def test_a_watchdog_that_was_killed_is_started_again(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = site_of(tmp_path / "etc")
    done = apply(plan_of(site), site, journal, confirm_minutes=10)
    os.kill(watchdog_of(state), signal.SIGKILL)
    until(lambda: not is_watched(state, done.id))
    (found,) = recover(None, journal)
    assert found.done == "waits for confirm"
    assert is_watched(state, done.id)
    confirm(done.id, journal)
    until(lambda: not is_watched(state, done.id))


def test_nothing_is_written_if_the_watchdog_cannot_reach_the_drivers(tmp_path: Path, journal: Journal) -> None:
    site = site_of(tmp_path / "etc")
    site.drivers["files"].options = {"folder": "x", "mode": "y"}
    with pytest.raises(SourceError, match="the watchdog cannot start: the driver 'files' takes a folder and nothing else"):
        apply(plan_of(site), site, journal, confirm_minutes=10)
    assert list((tmp_path / "etc").iterdir()) == []
    assert operation_of(journal, 1).state is State.ROLLED_BACK


CHILD = """
import sys, time
from contextlib import suppress
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_watchdog as t
from fabctl.offload import work
from fabctl.offload.apply import apply
from fabctl.offload.drivers.files import FilesDriver
from fabctl.offload.journal import Journal

write = FilesDriver.write
def slow(self, place, value):
    write(self, place, value)
    if place.key == t.NAMES[2]:
        with suppress(OSError):  # the terminal may go while its line is written
            print("wrote", place.key, flush=True)
        time.sleep(float(sys.argv[4]))
FilesDriver.write = slow
site = t.site_of(Path(sys.argv[2]))
with Journal(Path(sys.argv[3])) as journal:
    apply(t.plan_of(site), site, journal, confirm_minutes=float(sys.argv[5]), say=print)
print("unconfirmed", flush=True)
time.sleep(600)
"""


def child_on_a_terminal(tmp_path: Path, state: Path, pause_s: float, minutes: float) -> tuple[int, int]:
    """Apply in a process whose controlling terminal is ours to close; return its id and our end of the terminal."""
    pid, terminal = pty.fork()
    if not pid:
        arguments = [str(Path(__file__).parent), str(tmp_path / "etc"), str(state), str(pause_s), str(minutes)]
        os.execv(sys.executable, [sys.executable, "-c", CHILD, *arguments])
    return pid, terminal


def read_until(terminal: int, word: bytes) -> None:
    seen = b""
    while word not in seen:
        seen += os.read(terminal, 4096)


def test_fabctl_is_killed_in_the_middle_and_its_terminal_is_gone(tmp_path: Path, state: Path) -> None:
    (tmp_path / "etc").mkdir()
    pid, terminal = child_on_a_terminal(tmp_path, state, 600, 10)
    read_until(terminal, b"wrote file:c.conf")
    os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    os.waitpid(pid, 0)
    with Journal(state) as journal:
        until(lambda: operation_of(journal, 1).state is State.ROLLED_BACK)
        assert operation_of(journal, 1).reason.startswith("cut off while new values were being written: 2 of 6")
    assert list((tmp_path / "etc").iterdir()) == []


def test_the_terminal_goes_in_the_middle_and_the_work_goes_on(tmp_path: Path, state: Path) -> None:
    (tmp_path / "etc").mkdir()
    pid, terminal = child_on_a_terminal(tmp_path, state, 1, 10)
    read_until(terminal, b"wrote file:c.conf")
    os.close(terminal)
    with Journal(state) as journal:
        until(lambda: operation_of(journal, 1).state is State.UNCONFIRMED)
        os.waitpid(pid, 0)
        assert len(list((tmp_path / "etc").iterdir())) == 6
        confirm(1, journal)
        until(lambda: not is_watched(state, 1))


def test_the_terminal_goes_while_nobody_has_confirmed(tmp_path: Path, state: Path) -> None:
    (tmp_path / "etc").mkdir()
    pid, terminal = child_on_a_terminal(tmp_path, state, 0, 2 / 60)
    read_until(terminal, b"unconfirmed")
    assert len(list((tmp_path / "etc").iterdir())) == 6
    os.close(terminal)  # the kernel sends SIGHUP: outside of apply it ends the process
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGHUP
    with Journal(state) as journal:
        until(lambda: operation_of(journal, 1).state is State.ROLLED_BACK)
    assert list((tmp_path / "etc").iterdir()) == []


def test_a_watchdog_holds_no_terminal_and_is_nobodys_child(tmp_path: Path, state: Path, journal: Journal) -> None:
    site = site_of(tmp_path / "etc")
    done = apply(plan_of(site), site, journal, confirm_minutes=10)
    status = Path(f"/proc/{watchdog_of(state)}/stat").read_text().rpartition(")")[2].split()
    parent, session, terminal = int(status[1]), int(status[3]), int(status[4])
    assert parent != os.getpid()
    assert session != os.getsid(0)
    assert terminal == 0
    confirm(done.id, journal)
    until(lambda: not is_watched(state, done.id))


FULL = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_watchdog as t
from fabctl.offload.apply import apply
from fabctl.offload.history import operation_of
from fabctl.offload.journal import Journal

etc, state = Path(sys.argv[2]), Path(sys.argv[3]) / "state"
state.mkdir(mode=0o700)
site = t.site_of(etc)
with Journal(state) as journal:
    apply(t.plan_of(site), site, journal, confirm_minutes=2 / 60)
filler = state / "filler"
try:
    with filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(512))
except OSError as error:
    print(error.strerror)
t.until(lambda: not list(etc.iterdir()))
print("old values")
filler.unlink()
with Journal(state) as journal:
    print(operation_of(journal, 1).state.ended)
    t.until(lambda: operation_of(journal, 1).state.ended)
    print(operation_of(journal, 1).state)
"""


def test_the_old_values_come_back_though_the_disk_is_full(tmp_path: Path) -> None:
    """A disk of one megabyte, truly full: the journal and the watchdog's log cannot be written."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "etc").mkdir()
    mount = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(tmp_path / "disk")]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no disk of one's own may be mounted here")
    script = [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path / "etc"), str(tmp_path / "disk")]
    done = subprocess.run([*mount, *script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["No space left on device", "old values", "False", "rolled-back"], done.stderr


def watchdog_of(state: Path) -> int:
    listed = subprocess.run(["pgrep", "-f", f"fabctl.offload.watchdog {state} "], capture_output=True, text=True, check=True)
    return int(listed.stdout)
