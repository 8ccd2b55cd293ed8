"""A folder that goes when fabctl goes, whatever ends it, and takes with it every program that is still on the twin."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_JANITOR = """
import os, re, shutil, signal, sys, time
folder, here, mark, began = sys.argv[1], sys.argv[2], os.fsencode(sys.argv[3]), float(sys.argv[4])

def programs():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:
                if mark in stream.read().split(bytes(1)):
                    yield int(name)
        except OSError:
            pass

def runs(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return bool(stream.read(1))
    except OSError:
        return False

def litter():
    for name in os.listdir(here):
        path = os.path.join(here, name)
        dead = re.fullmatch("sys-[0-9]+", name) and not runs(name[4:])
        if dead and os.path.isdir(f"{path}/sys/class/infiniband_mad") and os.stat(path).st_mtime >= began:
            yield path

sys.stdin.buffer.read()
for _ in range(500):
    left = list(programs())
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(folder, ignore_errors=True)
    if not left and not os.path.exists(folder):
        break
    time.sleep(0.02)
try:
    for path in list(litter()):
        shutil.rmtree(path, ignore_errors=True)
except OSError:
    pass
"""
"""Waits until nobody holds the other end of its stdin: fabctl closed it, or is dead."""


class Scratch:
    """A temporary folder with a janitor, as a context manager.

    Notes
    -----
    The janitor is a process of its own, so that it works after SIGKILL too. It kills all programs that were started with
    `socket` as their ``IBSIM_SOCKNAME``, removes the folder, and the ``sys-PID`` folders that killed tools have left in the
    current folder since.
    """

    def __enter__(self) -> Self:
        self.socket = f"fabctl-{os.getpid()}-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="fabctl-twin-"))
        began = self.folder.stat().st_mtime
        arguments = [str(self.folder), str(Path.cwd()), f"IBSIM_SOCKNAME={self.socket}", str(began)]
        try:
            self._janitor = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _JANITOR, *arguments], stdin=subprocess.PIPE, cwd="/", start_new_session=True
            )
        except BaseException:
            self.folder.rmdir()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._janitor.communicate()
