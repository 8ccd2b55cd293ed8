"""Old values put back, explicitly, and the hardware read again to see that they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fabctl.errors import FabctlError, RefusedError, RollbackError
from fabctl.model.offload_plan import FABRIC, Place, Plan, Stage
from fabctl.model.operation import Operation, State
from fabctl.offload.at_once import read_all
from fabctl.offload.basis import shown
from fabctl.offload.events import Event, Kind
from fabctl.offload.history import entries_of, operation_of
from fabctl.offload.journal import Journal
from fabctl.offload.lock import fabric_lock
from fabctl.offload.names import place_label
from fabctl.offload.reach import reached
from fabctl.offload.signals import ALL, held_back
from fabctl.offload.site import Site
from fabctl.offload.undo import needed, owner
from fabctl.offload.work import Say, Trouble, Work, final_checks, final_values, quiet

TRIES = 3
"""How often an old value is tried."""

_RECOVER = "mend that, then: fabctl offload recover"


def rollback(number: int, site: Site | None, journal: Journal, say: Say = quiet, *, overwrite: bool = False) -> Operation:
    """Put the old values of an operation back.

    Parameters
    ----------
    number : int
        The operation's id.
    site : Site, optional
        Without one, it is reached as the journal says.
    overwrite : bool
        Whether values that somebody else has written since are overwritten.

    Raises
    ------
    UsageError
        If there is no such operation.
    RefusedError
        If a later operation, or somebody else, has changed one of its places since, or a later operation rests on one.
    RollbackError
        If an old value cannot be put back, or the hardware does not show it.
    LockedError
        If another fabctl is at work on the fabric.
    """
    entry = journal.entry(number)
    site = site or reached(journal, number)
    with fabric_lock(journal.folder, entry.key, f"rollback of operation {number}"):
        operation = operation_of(journal, number)
        if operation.state is State.ROLLED_BACK:
            return operation
        plan = journal.plan(number)
        if operation.state in (State.APPLIED, State.UNCONFIRMED):
            _refuse_later(journal, operation, site)
            if not overwrite:
                _refuse_foreign(plan, site, journal, number)
        undo(Work(site, journal, number, say), plan, "asked for")
        return operation_of(journal, number)


def undo(work: Work, plan: Plan, why: str) -> None:
    """Put all old values back, whatever stands there now; the lock is held.

    Raises
    ------
    RollbackError
        If an old value cannot be put back, or the hardware does not show it.
    """
    with held_back(*ALL):
        written = touched(work.journal, work.id)
        if not written:
            work.enter(State.ROLLED_BACK, f"{why}; nothing had been written")
            return
        work.enter(State.ROLLING_BACK, why)
        work.say("putting the old values back; this is not interrupted")
        work.journal.lenient = True
        troubles = put_back(work, plan, written)
        if work.journal.missed:
            work.say("the journal does not hold all of this: make room, then fabctl offload recover")
        if troubles:
            work.journal.record(work.id, *(Event(Kind.FAILED, label=trouble.label, words=trouble.why) for trouble in troubles))
            work.enter(State.ROLLBACK_FAILED, f"{why}; {troubles[0]}")
            more = f", and {len(troubles) - 1} more" if len(troubles) > 1 else ""
            raise RollbackError(
                f"{why}; and the old values are not all back: {troubles[0]}{more}", where=f"operation {work.id}", hint=_RECOVER
            )
        work.enter(State.ROLLED_BACK, why + _unlike_before(work, needed(plan, written)))


def put_back(work: Work, plan: Plan, written: Collection[Place], targets: Collection[str] | None = None) -> list[Trouble]:
    """Put the old values of some places back and read the hardware; return what is not as before.

    Parameters
    ----------
    targets : collection of str, optional
        Only what belongs to these switches and HCAs.
    """
    stages = needed(plan, written, targets)
    troubles: list[Trouble] = []
    for stage in stages:
        troubles += work.write(stage.name, stage.changes, forced=True, tries=TRIES)
        try:
            work.settle(stage.name, stage.changes)
        except FabctlError as error:
            troubles.append(Trouble(FABRIC, FABRIC, error.message))
        troubles += work.read_back(stage.name, final_checks(stage.checks).items())
    troubles += work.confirm_written(final_values(change for stage in stages for change in stage.changes).items())
    troubles += work.read_back("as before", as_before(work, stages, written, targets).items())
    return list({(trouble.owner, trouble.why): trouble for trouble in troubles}.values())


def touched(journal: Journal, number: int) -> set[Place]:
    """Return the places that an operation has written, or may have."""
    return journal.places(number, Kind.WRITE)


def left_out(journal: Journal, number: int) -> set[str]:
    """Return the targets that an operation left as they were."""
    return {owner(place) for place in journal.places(number, Kind.FAILED)}


def as_before(
    work: Work, stages: Sequence[Stage], written: Collection[Place], targets: Collection[str] | None = None
) -> dict[Place, str | None]:
    """Return what the hardware showed before, where no check of the way back says what it must show."""
    said = {check.place for stage in stages for check in stage.checks}
    meant = {owner(place) for place in written} if targets is None else set(targets)
    return {
        event.place: event.new
        for event in work.journal.events(work.id, Kind.BEFORE)
        if event.place is not None and event.place not in said and (FABRIC in meant or owner(event.place) in meant)
    }


def _unlike_before(work: Work, stages: Sequence[Stage]) -> str:
    """Return in words where the way back has led, as its checks say it must, to something else than there was before."""
    back = final_checks(check for stage in stages for check in stage.checks)
    before = {event.place: event.new for event in work.journal.events(work.id, Kind.BEFORE) if event.place is not None}
    unlike = [place for place, value in before.items() if place in back and back[place] != value]
    if not unlike:
        return ""
    first = f"{unlike[0].key} of {place_label(work.site.fabric, unlike[0])} was {shown(before[unlike[0]])}"
    return f"; {len(unlike)} values are back as the plan says, which is not as they were: {first}"


def _refuse_later(journal: Journal, operation: Operation, site: Site) -> None:
    own = touched(journal, operation.id)
    for later in entries_of(journal, site.fabric):
        if later.id <= operation.id or journal.state(later.id).stage == State.ROLLED_BACK:
            continue
        same = own & touched(journal, later.id)
        if same or own & {place for place, _ in journal.plan(later.id).basis.values}:
            what = "has changed the same places since" if same else "rests on what this one has changed"
            raise RefusedError(
                f"operation {later.id} ({later.request}) {what}",
                hint=f"roll that back first: fabctl offload rollback {later.id}",
            )


def _refuse_foreign(plan: Plan, site: Site, journal: Journal, number: int) -> None:
    gone = left_out(journal, number)
    values = {place: value for place, value in final_values(plan.changes).items() if owner(place) not in gone}
    for (place, value), found in zip(values.items(), read_all(site, values), strict=True):
        if found != value:
            raise RefusedError(
                f"somebody else has changed {place.key} of {place_label(site.fabric, place)} since: it is {shown(found)},"
                f" and fabctl left {shown(value)}",
                where=f"operation {number}",
                hint="fabctl offload drift shows all; --overwrite puts the old values back all the same",
            )
