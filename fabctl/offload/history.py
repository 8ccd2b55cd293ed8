"""Operations as the journal tells them."""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.operation import Failure, Operation, Reading, State
from fabctl.offload.journal import Entry, Event, Journal, Kind
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
    return [operation for operation in operations(journal, fabric) if not operation.state.ended]


def entries_of(journal: Journal, fabric: Fabric | None) -> list[Entry]:
    """Return the beginnings of all operations, or of those on a fabric: it still has the switch that they were locked by."""
    entries = journal.entries()
    if fabric is None:
        return entries
    keys = switch_keys(fabric)
    return [entry for entry in entries if entry.key in keys or not keys.isdisjoint(switch_keys(journal.fabric(entry.id)))]


def _told(journal: Journal, entry: Entry) -> Operation:
    events = journal.events(entry.id)
    states = [event for event in events if event.kind is Kind.STATE]
    last = states[-1]
    state = State(last.stage)
    readings = {
        event.place: Reading(event.place, event.label, event.old, event.new, event.words, event.kind is Kind.READ)
        for event in events
        if event.kind in (Kind.READ, Kind.SILENT) and event.place is not None
    }
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
        written=len({event.place for event in _since_work_began(events) if event.kind is Kind.WROTE}),
        readings=tuple(readings.values()),
        failures=tuple(Failure(event.label, event.words) for event in events if event.kind is Kind.FAILED),
        reason=last.words,
        alive=not state.ended and is_locked(journal.folder, watch_key(entry.id) if state is State.UNCONFIRMED else entry.key),
    )


def _since_work_began(events: list[Event]) -> list[Event]:
    """Return the events since the old values began to be put back; all of them if they did not."""
    for number, event in enumerate(events):
        if event.kind is Kind.STATE and event.stage == State.ROLLING_BACK:
            return events[number:]
    return events
