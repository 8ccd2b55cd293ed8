"""The folder in which fabctl remembers what it did: nobody else may read it, or put anything into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fabctl.errors import InputError, RefusedError

VARIABLE = "FABCTL_STATE_DIR"
_FOR_ROOT = Path("/var/lib/fabctl")


def state_folder() -> Path:
    """Return the state folder, made with mode 0700 if need be.

    ``FABCTL_STATE_DIR``; else ``/var/lib/fabctl`` for root, and ``fabctl`` in ``XDG_STATE_HOME`` for others.

    Raises
    ------
    RefusedError
        If it is a symlink, belongs to somebody else, others may use it, or anybody may exchange a folder above it.
    InputError
        If it cannot be made.
    """
    folder = _chosen().absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _refuse_unsafe(folder, stat.S_IFDIR, folder.lstat())
        for above in folder.resolve().parents:
            mode = above.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                raise RefusedError(
                    "anybody may write into this folder", where=str(above), hint=f"set {VARIABLE} to another place"
                )
    except OSError as error:
        raise InputError(
            f"cannot keep fabctl's state here: {error.strerror}", where=str(folder), hint=f"set {VARIABLE} to another place"
        ) from error
    return folder


def private_file(path: Path) -> int:
    """Open a file of the state folder for reading and writing, made with mode 0600 if need be; return its descriptor.

    Raises
    ------
    RefusedError
        If it is a symlink or no file, belongs to somebody else, or others may use it.
    InputError
        If it cannot be opened or made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if path.is_symlink():
            raise RefusedError("this is a symlink, and fabctl keeps its state in files of its own", where=str(path)) from error
        raise InputError(f"cannot open: {error.strerror}", where=str(path)) from error
    try:
        _refuse_unsafe(path, stat.S_IFREG, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _chosen() -> Path:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return _FOR_ROOT
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "fabctl"


def _refuse_unsafe(path: Path, kind: int, found: os.stat_result) -> None:
    if stat.S_IFMT(found.st_mode) != kind:
        what = "a symlink" if stat.S_ISLNK(found.st_mode) else f"no {'folder' if kind == stat.S_IFDIR else 'file'}"
        raise RefusedError(f"this is {what}, and fabctl keeps its state in folders and files of its own", where=str(path))
    if found.st_uid != os.geteuid():
        raise RefusedError(
            f"this belongs to user {found.st_uid}, and you are {os.geteuid()}",
            where=str(path),
            hint=f"{VARIABLE} names another folder",
        )
    if found.st_mode & 0o077:
        mode = "700" if kind == stat.S_IFDIR else "600"
        raise RefusedError(
            f"others may use this (mode {stat.S_IMODE(found.st_mode):03o})", where=str(path), hint=f"chmod {mode} {path}"
        )
