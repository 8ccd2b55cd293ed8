"""A program of the user's inside a twin: found, run in the foreground, passed the signals, and ended with the twin."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from types import FrameType

from fabctl.errors import SourceError, UsageError
from fabctl.twin.child import GRACE_S, POLL_S
from fabctl.twin.tools import DIAGS, search_path
from fabctl.twin.twin import Twin

FORWARD_S = 1.0
"""A terminal sends Ctrl-C to the program as well; one that still runs after this time is sent it again."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def find_command(name: str) -> str:
    """Return the path of the program that a command line names.

    Raises
    ------
    SourceError
        If it is a tool of a Debian package that is not installed.
    UsageError
        If there is no such program.
    """
    path = shutil.which(name, path=search_path())
    if path is not None:
        return path
    if name in DIAGS:
        raise SourceError(f"{name} is not installed", hint="apt-get install infiniband-diags")
    if Path(name).is_file():
        raise UsageError(f"'{name}' is not executable", hint=f"bash {name}, or chmod +x {name}")
    near = get_close_matches(name, DIAGS, n=1)
    raise UsageError(f"there is no command '{name}'", hint=f"did you mean '{near[0]}'?" if near else "")


def run_inside(twin: Twin, command: Sequence[str]) -> int:
    """Run a program with this process's own streams; return its exit code, or 128 plus the signal that ended it.

    Parameters
    ----------
    command : sequence of str
        Path of the program, and its arguments.

    Raises
    ------
    SourceError
        If ibsim or OpenSM ends first.
    KeyboardInterrupt
        On SIGTERM, SIGHUP, and a SIGINT that did not come from the terminal; the program is asked to end first. What Ctrl-C at
        the terminal means is for the program to say: a shell lives on.
    """
    with _noted_signals() as noted:
        program = subprocess.Popen(list(command), env=_with_path(twin.environment))
        try:
            while program.poll() is None:
                twin.check()
                _pass_on(program, noted)
                time.sleep(POLL_S)
            twin.check()
        finally:
            _end(program)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _pass_on(program: subprocess.Popen[bytes], noted: dict[signal.Signals, float]) -> None:
    if noted and (noted.keys() != {signal.SIGINT} or not _on_terminal()):
        raise KeyboardInterrupt
    if noted and time.monotonic() > noted[signal.SIGINT] + FORWARD_S:
        noted.clear()
        program.send_signal(signal.SIGINT)


def _on_terminal() -> bool:
    """Return whether this process is what the user sees at the terminal."""
    try:
        handle = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(handle) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(handle)


def _end(program: subprocess.Popen[bytes]) -> None:
    """Ask a program that still runs to end, and kill it if it does not."""
    if program.poll() is None:
        program.terminate()
        with suppress(subprocess.TimeoutExpired):
            program.wait(GRACE_S)
        program.kill()
        program.wait()


@contextmanager
def _noted_signals() -> Iterator[dict[signal.Signals, float]]:
    """Note when signals came, in place of what they do."""
    noted: dict[signal.Signals, float] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        noted.setdefault(signal.Signals(number), time.monotonic())

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _with_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Add the folders of the tools, and of this fabctl, to ``PATH``."""
    here = os.pathsep.join([search_path(), str(Path(sys.argv[0]).resolve().parent), str(Path(sys.executable).parent)])
    return {**environment, "PATH": here}
