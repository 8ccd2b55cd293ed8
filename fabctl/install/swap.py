"""Files exchanged for others so that they can be put back, whatever ends this process in between.

Each file is replaced whole; the old one stays beside it as ``NAME.before-fabctl``. While the exchange is under way a journal in
the folder of the settings names the files; whoever finds it there without its owner puts them back.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, LockedError
from fabctl.install.bundle import Bundle

LOCK = ".fabctl-install.lock"
JOURNAL = ".fabctl-install.json"
OLD = ".before-fabctl"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of settings.

    Raises
    ------
    LockedError
        If another process holds it.
    InputError
        If the folder cannot be written.
    """
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot lock these settings: {error.strerror}", where=str(path)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                "another fabctl route install is at work here", where=str(path), hint="wait until it is done; it has a timeout"
            ) from error
        yield
    finally:
        os.close(descriptor)


def exchange(folder: Path, bundle: Bundle, targets: Mapping[str, Path]) -> None:
    """Put files of an export in the place of `targets`, and keep the old ones.

    Parameters
    ----------
    folder : Path
        Where the journal goes.
    targets : mapping of str to Path
        Place of each file of the export.
    """
    kept = {str(target): target.exists() for target in targets.values()}
    for target in targets.values():
        if target.exists():
            _link(target, _old(target))
    write_atomic(folder / JOURNAL, json.dumps(kept) + "\n")
    for name, target in targets.items():
        bundle.copy(name, target)


def restore(folder: Path) -> list[str]:
    """Put back the files that the journal names, and end the exchange; return them, none if there is no journal.

    Raises
    ------
    InputError
        If a file cannot be put back.
    """
    journal = folder / JOURNAL
    try:
        kept = json.loads(journal.read_bytes())
        for name, existed in kept.items():
            target = Path(name)
            if existed:
                _link(_old(target), target)
            else:
                target.unlink(missing_ok=True)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"cannot put the old files back: {error}", where=str(journal)) from error
    commit(folder)
    return list(kept)


def commit(folder: Path) -> None:
    """End the exchange: what is in place stays."""
    (folder / JOURNAL).unlink(missing_ok=True)


def _old(target: Path) -> Path:
    return target.with_name(target.name + OLD)


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, in one step."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # rename does nothing where both are the same file already
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=str(target)) from error
