"""fabctl as a process of its own, and what it may have left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Fabctl = Callable[..., "subprocess.CompletedProcess[str]"]
DEADLINE_S = 60


def command(*words: object) -> list[str]:
    """Return the command line of a fabctl of this checkout."""
    return [sys.executable, "-m", "fabctl", *map(str, words)]


def left_behind(scratch: Path) -> list[str]:
    """Return folders and programs of twins in `scratch` that are still there, once they have had time to go."""
    deadline = time.monotonic() + 10
    while True:
        left = [str(path) for path in scratch.iterdir()] + programs(str(scratch))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def programs(folder: str) -> list[str]:
    """Return the command lines, of running programs, that name a folder; ibsim's, OpenSM's and the janitor's do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if int(path.parent.name) != os.getpid() and any(os.fsencode(folder) in word for word in words):
            found.append(" ".join(word.decode(errors="replace") for word in words))
    return found


def runs(pid: str) -> bool:
    """Return whether a process runs; one that waits for its parent to notice its end does not."""
    path = Path("/proc", pid.strip(), "cmdline")
    return path.exists() and bool(path.read_bytes())
