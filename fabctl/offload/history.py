"""Operations as the journal tells them."""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.operation import Failure, Operation, State
from fabctl.offload.events import Entry, Kind
from fabctl.offload.journal import Journal
from fabctl.offload.lock import is_locked, switch_keys
from fabctl.offload.watch import watch_key


def operation_of(journal: Journal, number: int) -> Operation:
    """Return an operation as it stands now.

    Raises
    ------
    UsageError
        If there is none with that id.
    JournalError
        If the journal cannot be read.
    """
    return _told(journal, journal.entry(number))


def operations(journal: Journal, fabric: Fabric | None = None) -> list[Operation]:
    """Return all operations, or those on a fabric; newest last."""
    return [_told(journal, entry) for entry in entries_of(journal, fabric)]


def unfinished(journal: Journal, fabric: Fabric | None = None) -> list[Operation]:
    """Return the operations that have not ended, all of them or those on a fabric; oldest first."""
    entries = [entry for entry in journal.entries() if not State(journal.state(entry.id).stage).ended]
    return [_told(journal, entry) for entry in entries if fabric is None or is_on(journal, entry, fabric)]


def is_on(journal: Journal, entry: Entry, fabric: Fabric) -> bool:
    """Return whether an operation was on a fabric: it still has one of the switches."""
    keys = switch_keys(fabric)
    return entry.key in keys or not keys.isdisjoint(switch_keys(journal.fabric(entry.id)))


def entries_of(journal: Journal, fabric: Fabric | None) -> list[Entry]:
    """Return the beginnings of all operations, or of those on a fabric."""
    return [entry for entry in journal.entries() if fabric is None or is_on(journal, entry, fabric)]


def _told(journal: Journal, entry: Entry) -> Operation:
    last = journal.state(entry.id)
    state = State(last.stage)
    return Operation(
        id=entry.id,
        plan=entry.plan_id,
        fabric=entry.fabric,
        feature=entry.feature,
        request=entry.request,
        state=state,
        begun_at=entry.at,
        changed_at=last.at,
        deadline_at=last.deadline_at,
        to_change=entry.to_change,
        written=len(journal.places(entry.id, Kind.WROTE, State.ROLLING_BACK)),
        readings=journal.readings(entry.id),
        failures=tuple(Failure(event.label, event.words) for event in journal.events(entry.id, Kind.FAILED)),
        reason=last.words,
        alive=not state.ended and is_locked(journal.folder, watch_key(entry.id) if state is State.UNCONFIRMED else entry.key),
    )
