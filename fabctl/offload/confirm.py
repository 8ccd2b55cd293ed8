"""New values confirmed: they stay, and the watchdog goes."""

from __future__ import annotations

import time

from fabctl.errors import RefusedError
from fabctl.model.operation import Operation, State
from fabctl.offload.events import Event, Kind
from fabctl.offload.history import operation_of
from fabctl.offload.journal import Journal
from fabctl.offload.lock import age_text, fabric_lock


def confirm(number: int, journal: Journal) -> Operation:
    """Let an operation stand that waits to be confirmed.

    Raises
    ------
    UsageError
        If there is no such operation.
    RefusedError
        If it does not wait, or its time is up.
    LockedError
        If another fabctl is at work on the fabric: the rollback has begun.
    """
    with fabric_lock(journal.folder, journal.entry(number).key, f"confirmation of operation {number}"):
        operation = operation_of(journal, number)
        if operation.state is State.APPLIED:
            return operation
        if operation.state is not State.UNCONFIRMED:
            raise RefusedError(
                f"operation {number} does not wait to be confirmed: {operation.state.meaning}", hint="fabctl offload history"
            )
        late = time.time() - (operation.deadline_at or 0)
        if late >= 0:
            raise RefusedError(
                f"operation {number} was to be confirmed {age_text(late)} ago: its old values come back",
                hint="fabctl offload recover, if they have not come back by themselves",
            )
        journal.record(number, Event(Kind.STATE, State.APPLIED, words="confirmed"))
        return operation_of(journal, number)
