"""One lock per fabric. The kernel lets it go when its holder dies, so that there is never a stale one."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fabctl.errors import LockedError
from fabctl.model.fabric import Fabric
from fabctl.offload.state import private_file

_PATIENCE_S = 0.5
"""How long a lock is waited for: whoever only looks whether it is held, holds it for that moment."""

_POLL_S = 0.02


def fabric_key(fabric: Fabric) -> str:
    """Return the name under which a fabric is locked: its lowest switch GUID, which stays while cables come and go."""
    return min(switch_keys(fabric))


def switch_keys(fabric: Fabric) -> set[str]:
    """Return the GUIDs of a fabric's switches; of all its nodes if it has none."""
    return {fabric.guid_text(node) for node in range(fabric.n_switches or fabric.n_nodes)}


@contextmanager
def fabric_lock(folder: Path, key: str, words: str) -> Iterator[None]:
    """Hold the lock of a fabric.

    Parameters
    ----------
    folder : Path
        The state folder.
    key : str
        From `fabric_key`.
    words : str
        What it is held for, for those who find it held.

    Raises
    ------
    LockedError
        If another process holds it, with who, for what and how long.
    """
    path = _path(folder, key)
    descriptor = private_file(path)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise LockedError(_holder(descriptor), where=str(path), hint="wait until it is done: fabctl offload history")
            time.sleep(_POLL_S)
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time.time(), "words": words}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path, key: str) -> bool:
    """Return whether a process holds the lock of a fabric now."""
    path = _path(folder, key)
    if not path.exists():
        return False
    descriptor = private_file(path)
    try:
        return not _taken(descriptor)
    finally:
        os.close(descriptor)


def age_text(seconds: float) -> str:
    """Return ``42 s``, ``7 min`` or ``3 h``."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.lock"


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    try:
        held = json.loads(os.pread(descriptor, 4096, 0))
        return f"{held['words']} is at work on this fabric: process {held['pid']}, for {age_text(time.time() - held['since'])}"
    except (ValueError, KeyError, TypeError):
        return "another fabctl is at work on this fabric"
