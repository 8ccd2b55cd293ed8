"""Operations as the journal tells them."""

from __future__ import annotations

from fabctl.model.operation import Failure, Operation, Reading, State
from fabctl.offload.journal import Entry, Event, Journal, Kind
from fabctl.offload.lock import is_locked


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


def operations(journal: Journal) -> list[Operation]:
    """Return all operations, newest last."""
    return [_told(journal, entry) for entry in journal.entries()]


def unfinished(journal: Journal, key: str = "") -> list[Operation]:
    """Return the operations that have not ended, on all fabrics or on that with a key; oldest first."""
    among = [entry for entry in journal.entries() if key in ("", entry.key)]
    return [operation for operation in (_told(journal, entry) for entry in among) if not operation.state.ended]


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
        alive=not state.ended and is_locked(journal.folder, entry.key),
    )


def _since_work_began(events: list[Event]) -> list[Event]:
    """Return the events since the old values began to be put back; all of them if they did not."""
    for number, event in enumerate(events):
        if event.kind is Kind.STATE and event.stage == State.ROLLING_BACK:
            return events[number:]
    return events
