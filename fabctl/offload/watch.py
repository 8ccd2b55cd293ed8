"""Starting the watchdog of an operation that must be confirmed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from fabctl.errors import SourceError
from fabctl.offload.lock import is_locked
from fabctl.offload.state import private_file

READY = "ready"
_START_S = 120.0
"""How long it may take to read the journal and make the drivers."""


def watch_key(number: int) -> str:
    """Return the name of the lock that an operation's watchdog holds while it lives."""
    return f"watch-{number}"


def is_watched(folder: Path, number: int) -> bool:
    """Return whether an operation's watchdog lives."""
    return is_locked(folder, watch_key(number))


def start_watchdog(folder: Path, number: int) -> None:
    """Start the watchdog of an operation in a session of its own, and wait until it has reached the site.

    Raises
    ------
    SourceError
        If it cannot start, or cannot reach the site.
    """
    log = private_file(folder / f"{watch_key(number)}.log")
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fabctl.offload.watchdog", str(folder.absolute()), str(number)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise SourceError(f"the watchdog cannot start: {error.strerror}") from error
    finally:
        os.close(log)
    with process:
        assert process.stdout is not None  # noqa: S101
        answered = select.select([process.stdout], [], [], _START_S)[0]
        words = process.stdout.readline().decode(errors="replace").strip() if answered else "it does not answer"
    if words != READY:
        raise SourceError(f"the watchdog cannot start: {words or 'it ended'}", where=str(folder / f"{watch_key(number)}.log"))
