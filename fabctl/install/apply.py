"""An installation from beginning to end: checked, exchanged, reloaded, read back; undone where the switches do not follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fabctl.errors import FabctlError, InputError, RefusedError, RollbackError, SourceError, UnverifiedError
from fabctl.install.bundle import Bundle, read_bundle
from fabctl.install.manager import Manager
from fabctl.install.settings import refuse_other_settings
from fabctl.install.swap import OLD, commit, exchange, lock, restore
from fabctl.install.wanted import Difference, compared_lids, difference, sample_paths, wanted_tables
from fabctl.model.installation import ExchangedFile, Installation
from fabctl.model.tables import RoutingTables
from fabctl.routing.exports.bundle import sha256
from fabctl.routing.exports.opensm import settings
from fabctl.sources.live import discover_live, fewest_virtual_lanes, read_live_tables, read_path_level

TIMEOUT_S = 120.0
SETTLE_S = 4.0
"""How long the switches must hold what they should before that is believed, where OpenSM may still be at work.

OpenSM 3.3.23 begins to route about 2 s after a HUP.
"""

_POLL_S = 0.3
_MASTER = "is this OpenSM the master (sminfo), and does its log (log_file) hold an error?"

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Aim:
    """Tables that the switches should get to, and paths whose SL is known."""

    tables: RoutingTables
    paths: list[tuple[int, int, int]]


def install(
    folder: str, *, pid: int | None, conf_dir: str, timeout_s: float = TIMEOUT_S, say: Say = lambda _: None
) -> Installation:
    """Install an export into the OpenSM that runs here, and read every switch's table back.

    Parameters
    ----------
    folder : str
        What ``--export opensm`` wrote.
    pid : int, optional
        OpenSM's process id; without one, the only OpenSM on this machine.
    conf_dir : str
        Where its ``opensm.conf`` lies.
    timeout_s : float
        How long the switches may take to follow; and again to go back.
    say : callable
        Takes a line on what is being done.

    Raises
    ------
    RefusedError
        If the export was changed, does not fit the fabric as it is, or OpenSM's settings would not install it as it is.
    UnverifiedError
        If the switches do not hold the tables, or paths not their SL, in time; all is as before.
    RollbackError
        If then the old tables do not come back either.
    LockedError
        If another installation is at work.
    InputError, SourceError, UsageError
        If files, OpenSM or the fabric cannot be reached.
    """
    bundle = read_bundle(folder)
    with Manager(pid, Path(conf_dir)) as manager:
        home = manager.settings.config.parent
        with lock(home):
            notes = _recover(home, manager, say)
            say("reading the fabric and its tables")
            fabric = discover_live().fabric
            held = read_live_tables(fabric)
            wanted = wanted_tables(bundle, fabric)
            policy = wanted.service_level is not None
            lines = settings(fabric, wanted.n_vls, policy=policy, home=str(home))
            refuse_other_settings(manager.settings, lines, wanted.n_vls)
            _refuse_missing_lanes(wanted.n_vls)
            targets = manager.settings.targets(policy=policy)
            changed = {name: _differs(bundle, name, path) for name, path in targets.items()}
            existed = {name: path.exists() for name, path in targets.items()}
            change = difference(held, wanted)
            aim = _Aim(wanted, sample_paths(wanted))
            if change.entries or any(changed.values()) or _wrong_level(aim):
                before = _Aim(held, _levels_now(aim))
                _exchange(home, bundle, targets, manager, before, aim, timeout_s, say)
    files = tuple(
        ExchangedFile(name, str(path), changed[name], f"{path}{OLD}" if changed[name] and existed[name] else "")
        for name, path in targets.items()
    )
    return Installation(
        folder,
        bundle.engine,
        manager.pid,
        files,
        fabric.n_switches,
        fabric.n_switches * len(compared_lids(fabric, held)),
        change.entries,
        change.blocks,
        change.switches,
        wanted.n_vls,
        len(aim.paths),
        notes,
    )


def _refuse_missing_lanes(n_vls: int) -> None:
    """Refuse routes with more lanes than every port has: OpenSM would put several SLs on one."""
    if n_vls == 1:
        return
    fewest, port = fewest_virtual_lanes()
    if fewest < n_vls:
        raise RefusedError(
            f"these routes use {n_vls} virtual lanes, and {port} has {fewest}", hint=f"route again with --vls {fewest}"
        )


def _levels_now(aim: _Aim) -> list[tuple[int, int, int]]:
    """Return the aim's paths with the SLs that they have; nothing if the subnet manager does not answer."""
    try:
        return [(source, destination, read_path_level(source, destination)) for source, destination, _ in aim.paths]
    except SourceError:
        return []


def _recover(home: Path, manager: Manager, say: Say) -> tuple[str, ...]:
    restored = restore(home)
    if not restored:
        return ()
    say("putting back what an interrupted installation had exchanged")
    manager.reload()
    time.sleep(SETTLE_S)
    return (f"an earlier installation was interrupted; its old files were put back first: {', '.join(restored)}",)


def _differs(bundle: Bundle, name: str, path: Path) -> bool:
    try:
        return not path.exists() or sha256(path) != bundle.checksums[name]
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error


def _exchange(
    home: Path,
    bundle: Bundle,
    targets: dict[str, Path],
    manager: Manager,
    before: _Aim,
    aim: _Aim,
    timeout_s: float,
    say: Say,
) -> None:
    """Exchange the files and wait for the switches; on any failure, put the files back and wait for the switches again."""
    mark = manager.mark
    try:
        exchange(home, bundle, targets)
        say(f"OpenSM, process {manager.pid}, reads the new files")
        manager.reload()
        _await(manager, before.tables, aim, mark, timeout_s)
    except BaseException as failure:
        say("that failed; putting the old files back")
        _roll_back(home, manager, before, timeout_s, failure)
        if isinstance(failure, FabctlError) and not isinstance(failure, SourceError):
            raise
        if isinstance(failure, SourceError):
            raise UnverifiedError(f"{failure.message}; the old tables are back in force", hint=_MASTER) from failure
        raise
    commit(home)


def _await(manager: Manager, before: RoutingTables, aim: _Aim, mark: int, timeout_s: float) -> None:
    """Wait until the switches hold the tables and the paths have their SLs.

    Where nothing changes in the tables, what OpenSM makes of the files is seen only by waiting until it must have read them.
    """
    deadline = time.monotonic() + timeout_s
    settled = time.monotonic() + (0.0 if difference(before, aim.tables).entries else SETTLE_S)
    while True:
        said = manager.refusal(mark)
        if said:
            raise SourceError(f"OpenSM refused the files: {said}")
        if not manager.runs:
            raise SourceError(f"OpenSM, process {manager.pid}, ended while it read the files")
        short = _shortfall(aim)
        if not short and time.monotonic() >= settled:
            return
        if time.monotonic() > deadline:
            raise SourceError(f"after {timeout_s:.0f} s the switches do not hold the new tables: {short or 'OpenSM is slow'}")
        time.sleep(_POLL_S)


def _roll_back(home: Path, manager: Manager, before: _Aim, timeout_s: float, failure: BaseException) -> None:
    """Put the old files back, and wait until the switches have held the old tables for a while."""
    why = failure.message if isinstance(failure, FabctlError) else type(failure).__name__
    try:
        if not restore(home):
            return
        manager.reload()
    except FabctlError as error:
        raise RollbackError(
            f"{why}; and the old tables cannot be put back: {error.message}", where=str(home), hint=_MASTER
        ) from failure
    deadline = time.monotonic() + timeout_s + SETTLE_S
    since = None
    short = ""
    while time.monotonic() < deadline and manager.runs:
        short = _shortfall(before)
        since = None if short else since or time.monotonic()
        if since is not None and time.monotonic() - since >= SETTLE_S:
            return
        time.sleep(_POLL_S)
    end = short or ("they keep changing" if manager.runs else "OpenSM has ended")
    raise RollbackError(
        f"{why}; the old files are back, but the switches do not hold the old tables: {end}", where=str(home), hint=_MASTER
    ) from failure


def _shortfall(aim: _Aim) -> str:
    """Return in what the fabric falls short of the aim; nothing if it does not."""
    try:
        found: Difference = difference(read_live_tables(aim.tables.fabric), aim.tables)
    except (SourceError, InputError) as error:
        return error.message
    return f"{found.entries} entries differ; {found.first}" if found.entries else _wrong_level(aim)


def _wrong_level(aim: _Aim) -> str:
    for source, destination, level in aim.paths:
        try:
            answer = read_path_level(source, destination)
        except SourceError as error:
            return error.message
        if answer != level:
            return f"the path from LID {source} to LID {destination} has SL {answer}, not {level}"
    return ""
