"""The watchdog: a process that takes an operation back unless it is confirmed in time, whatever has become of fabctl.

It is started before anything is written, and it has proved by then that it reaches the drivers: from the journal alone, with
secrets from their files. It ends when the operation has ended.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from fabctl.errors import FabctlError, LockedError
from fabctl.model.operation import State
from fabctl.offload.journal import Journal
from fabctl.offload.lock import fabric_lock, is_locked
from fabctl.offload.reach import reached
from fabctl.offload.recover import recover_one
from fabctl.offload.watch import READY, watch_key

_POLL_S = 0.5
_PAUSES_S = (5, 15, 30, 60, 120, 300, 600)
"""Before a rollback that failed is tried again; then people are needed."""


def main() -> None:
    """Watch the operation that the command line names: state folder, id."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    if os.fork():
        os._exit(0)
    try:
        with Journal(folder) as journal, fabric_lock(folder, watch_key(number), f"watchdog of operation {number}"):
            _try_drivers(journal, number)
            _answer(READY)
            _watch(journal, number)
    except FabctlError as error:
        _say(str(error))
        _answer(error.message)


def _try_drivers(journal: Journal, number: int) -> None:
    """Read one place with each driver of the operation."""
    site = reached(journal, number, anew=False)
    for place in {change.place.driver: change.place for change in journal.plan(number).changes}.values():
        site.driver(place.driver).read(place)


def _watch(journal: Journal, number: int) -> None:
    entry = journal.entry(number)
    pauses = iter(_PAUSES_S)
    while True:
        event = journal.state(number)
        state = State(event.stage)
        if state.ended:
            _say(f"operation {number} has ended: {state}")
            return
        if time.time() >= (event.deadline_at or 0) and (state is State.UNCONFIRMED or not is_locked(journal.folder, entry.key)):
            try:
                recover_one(journal, number, None, _say)
                failed = journal.missed > 0
            except LockedError:
                failed = False
            except Exception as error:  # noqa: BLE001 - nobody is there to start it again
                _say(f"{type(error).__name__}: {error}")
                failed = True
            if failed:
                pause = next(pauses, None)
                if pause is None:
                    return
                time.sleep(pause)
        time.sleep(_POLL_S)


def _answer(words: str) -> None:
    """Tell the process that started this one, once; what is printed after that goes to the log."""
    try:
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _say("whoever started this watchdog is gone")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _say(line: str) -> None:
    with suppress(OSError):  # a full disk
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
