"""However a twin ends, its programs and its folder are gone, and the exit code says how."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twin_harness import DEADLINE_S, Fabctl, command, left_behind, runs

from fabctl.errors import ExitCode
from fabctl.sources.reading import load_fabric
from fabctl.twin.opensm import OpenSM
from fabctl.twin.scratch import Scratch
from fabctl.twin.twin import Twin

READY = "echo > ready; "


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a twin with a bash script inside, and wait until the script runs."""
    process = subprocess.Popen(
        command("twin", "run", "xgft-16", "--", "bash", "-c", *words), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not Path("ready").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(fabctl: Fabctl, number: signal.Signals) -> None:
    with started(READY + "sleep 1000 & sleep 1000") as process:
        process.send_signal(number)
        assert process.communicate(timeout=DEADLINE_S)[1] == "fabctl: interrupted\n"
        assert process.returncode == ExitCode.INTERRUPTED


def test_nothing_outlives_a_killed_fabctl(fabctl: Fabctl, tmp_path: Path) -> None:
    """The fixture looks for ibsim, OpenSM and folders; the script's own children are looked for here."""
    with started(READY + "echo $$ > pid; cd /; sleep 1000 & ibping -S & exec sleep 1000") as process:
        while not Path("pid").exists() or not Path("pid").read_text():
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=DEADLINE_S)
    assert left_behind(tmp_path / "scratch") == []
    assert not runs(Path("pid").read_text())


def test_what_a_script_leaves_in_the_background_ends_with_it(fabctl: Fabctl) -> None:
    done = fabctl("twin", "run", "xgft-16", "--", "bash", "-c", "sleep 1000 > /dev/null 2>&1 & echo $!")
    assert done.returncode == 0
    assert not runs(done.stdout)


def test_folders_of_killed_tools_are_cleared_away(fabctl: Fabctl) -> None:
    Path("sys-12").mkdir()
    script = "ibping -S & while ! ls -d sys-$!/sys/class/infiniband_mad; do sleep 0.02; done; kill -9 $!; wait; ls -d sys-$!"
    done = fabctl("twin", "run", "xgft-16", "--", "bash", "-c", script)
    assert done.stdout.count("sys-") == 2, "the preload does leave them"
    assert [path.name for path in Path().glob("sys-*")] == ["sys-12"]
    Path("sys-12").rmdir()


@pytest.mark.parametrize(
    ("victim", "signal_name", "said"), [("ibsim", "KILL", "SIGKILL"), ("ibsim", "TERM", "SIGTERM"), ("opensm", "KILL", "SIGKILL")]
)
def test_the_end_of_ibsim_or_opensm_is_an_error(fabctl: Fabctl, victim: str, signal_name: str, said: str) -> None:
    script = f"kill -{signal_name} $(cat $FABCTL_TWIN/{victim}.pid); sleep 1000"
    done = fabctl("twin", "run", "xgft-16", "--", "bash", "-c", script)
    assert done.returncode == ExitCode.SOURCE
    assert done.stderr.startswith(f"fabctl: {victim} ended (signal {said}) while it was needed: ")
    assert len(done.stderr) < 2000


def test_ibsim_that_dies_with_the_command_is_an_error_too(fabctl: Fabctl) -> None:
    done = fabctl("twin", "run", "xgft-16", "--", "bash", "-c", "kill -9 $(cat $FABCTL_TWIN/ibsim.pid); exit 0")
    assert done.returncode == ExitCode.SOURCE


def test_ibsim_that_dies_while_opensm_routes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill_first(manager: OpenSM) -> OpenSM:
        os.kill(manager.sim.child.pid, signal.SIGKILL)
        return enter(manager)

    enter = OpenSM.__enter__
    monkeypatch.setattr(OpenSM, "__enter__", kill_first)
    twin = Twin(load_fabric(str(project / "topologies/xgft-16.yaml")).fabric)
    with pytest.raises(Exception, match=r"ibsim ended \(signal SIGKILL\) while it was needed"), twin:
        pass
    assert not twin.folder.exists()


def test_the_folder_goes_even_if_its_owner_fails() -> None:
    scratch = Scratch()
    with pytest.raises(FileNotFoundError), scratch:
        (scratch.folder / "missing").read_text()
    assert not scratch.folder.exists()


def at_terminal(*words: str, typed: list[bytes]) -> tuple[int, bytes]:
    """Run fabctl at a terminal of its own; type each line when the screen ends with ``>``; return exit code and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        line = command("twin", "run", "xgft-16", "--", *words)
        os.execv(line[0], line)
    screen = b""
    try:
        while True:
            screen += os.read(terminal, 4096)
            if screen.endswith(b">") and typed:
                os.write(terminal, typed.pop(0))
    except OSError:  # the terminal closes with its last program
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


def test_ctrl_c_ends_a_script(fabctl: Fabctl) -> None:
    code, _ = at_terminal("bash", "-c", "printf '>'; sleep 1000", typed=[b"\x03"])
    assert code == ExitCode.INTERRUPTED


def test_a_shell_lives_on_after_ctrl_c(fabctl: Fabctl) -> None:
    script = "trap 'echo caught; printf \">\"' INT; printf '>'; while ! read -r line; do :; done; echo got $line; exit 5"
    code, screen = at_terminal("bash", "-c", script, typed=[b"\x03", b"word\n"])
    assert code == 5
    assert b"caught" in screen
    assert b"got word" in screen
