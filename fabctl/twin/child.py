"""Child processes that never outlive fabctl, whatever ends it, and whose end is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from fabctl.errors import SourceError

POLL_S = 0.02
GRACE_S = 5.0
"""How long a program that was asked to end may take before it is killed."""

_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))  # PR_SET_PDEATHSIG: outlives exec
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
try:
    os.execv(sys.argv[3], sys.argv[3:])
except OSError as error:
    os.write(2, os.fsencode(f"{sys.argv[3]}: {error.strerror}\\n"))
    os._exit(127)
"""
"""Asks the kernel for a signal when the parent dies, even by SIGKILL, then becomes the program."""


def launched(command: Sequence[str], death: signal.Signals) -> list[str]:
    """Return the command line that runs `command`, whose first word is a path, and sends it `death` when this process ends."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(death)), *command]


class Child:
    """A tool that runs in a session of its own, so that a Ctrl-C at the terminal does not reach it, and writes to files.

    Parameters
    ----------
    command : sequence of str
        Path of the program, and its arguments.
    folder : Path
        Current folder of the program. Its stdout goes to ``NAME.out`` there, its stderr to ``NAME.err``.
    environment : mapping of str to str
    console : bool
        Whether the program's stdin is a pipe that `tell` writes to; else it is empty.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, console: bool = False) -> None:
        self.name = Path(command[0]).name
        self.out = folder / f"{self.name}.out"
        self.err = folder / f"{self.name}.err"
        self._waiting = Lock()
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                launched(command, signal.SIGKILL),
                stdin=subprocess.PIPE if console else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the program, and of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code; minus the signal's number if one ended it; None while it runs."""
        with self._waiting:
            if self._process.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # SIGCHLD is ignored here: the kernel keeps no status
                    pid, status = self.pid, signal.SIGKILL
                if pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
            return self._process.returncode

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it came in time."""
        deadline = time.monotonic() + timeout_s
        while self.exit_code is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def tell(self, line: str) -> None:
        """Write a line to the program's stdin.

        Raises
        ------
        SourceError
            If the program has ended.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise ValueError(f"{self.name} was started without a console")
        try:
            stdin.write(f"{line}\n".encode())
            stdin.flush()
        except BrokenPipeError as error:
            self.wait(GRACE_S)
            raise self.ended() from error

    def check(self) -> None:
        """Raise `SourceError` if the program has ended."""
        if self.exit_code is not None:
            raise self.ended()

    def ended(self) -> SourceError:
        """Return the error that says how the program ended, with its last words."""
        code = self.exit_code
        how = "" if code is None else f" (signal {signal.Signals(-code).name})" if code < 0 else f" with exit code {code}"
        words = [line.strip() for path in (self.err, self.out) for line in last_lines(path)]
        return SourceError(f"{self.name} ended{how} while it was needed: {' | '.join(words) or 'it printed nothing'}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, if it still runs."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def stop(self) -> None:
        """Kill the program and all that it started, and wait for it."""
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(GRACE_S)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()


def last_lines(path: Path, count: int = 4) -> list[str]:
    """Return the last lines of a file that hold anything; none if there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - 4096, 0))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.strip()][-count:]
