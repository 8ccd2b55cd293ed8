"""Operations that were cut off: named, and finished or undone."""

from __future__ import annotations

import time

from fabctl.errors import FabctlError
from fabctl.model.offload_plan import Plan
from fabctl.model.operation import Operation, Recovered, State
from fabctl.offload.events import Kind
from fabctl.offload.history import operation_of, unfinished
from fabctl.offload.journal import Journal
from fabctl.offload.lock import age_text, fabric_lock
from fabctl.offload.reach import reached
from fabctl.offload.rollback import left_out, touched, undo
from fabctl.offload.site import Site
from fabctl.offload.watch import is_watched, start_watchdog
from fabctl.offload.work import Say, Work, final_checks, final_values, quiet


def recover(site: Site | None, journal: Journal, say: Say = quiet) -> tuple[Recovered, ...]:
    """End all operations that were cut off; those that wait to be confirmed go on waiting, with a watchdog.

    Parameters
    ----------
    site : Site, optional
        Only operations on its fabric; without one all of them, each reached as the journal says.

    Raises
    ------
    RollbackError
        If an old value cannot be put back.
    LockedError
        If another fabctl is at work on the fabric.
    FabctlError
        If a site cannot be reached. Whatever it is, the other operations are seen to first.
    """
    recovered: list[Recovered] = []
    failed: FabctlError | None = None
    for operation in unfinished(journal, site.fabric if site else None):
        try:
            recovered.append(recover_one(journal, operation.id, site, say))
        except FabctlError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return tuple(recovered)


def recover_one(journal: Journal, number: int, site: Site | None, say: Say) -> Recovered:
    """End one operation; raises as `recover`."""
    with fabric_lock(journal.folder, journal.entry(number).key, f"recovery of operation {number}"):
        operation = operation_of(journal, number)
        found = _found(journal, operation)
        say(f"operation {number} ({operation.request}): {found}")
        if operation.state.ended:
            return Recovered(found, "nothing", operation)
        if operation.state is State.UNCONFIRMED and time.time() < (operation.deadline_at or 0):
            if not is_watched(journal.folder, number):
                start_watchdog(journal.folder, number)
            return Recovered(found, "waits for confirm", operation)
        plan = journal.plan(number)
        work = Work(site or reached(journal, number), journal, number, say)
        journal.lenient = True
        if operation.state is State.APPLYING and _is_complete(work, plan):
            work.enter(State.APPLIED, f"{found}; finished by recover")
            return Recovered(found, "finished", operation_of(journal, number))
        undo(work, plan, found)
        return Recovered(found, "undone", operation_of(journal, number))


def _found(journal: Journal, operation: Operation) -> str:
    """Return the state in which an operation was left, in words."""
    ago = age_text(max(time.time() - operation.changed_at, 0.0))
    if operation.state is State.APPLYING:
        if not touched(journal, operation.id):
            return "cut off before anything was written"
        done = f"{operation.written} of {operation.to_change}"
        return f"cut off while new values were being written: {done}{_doubt(journal, operation.id)}"
    if operation.state is State.ROLLING_BACK:
        return f"cut off while old values were being put back: {operation.written} of them{_doubt(journal, operation.id)}"
    if operation.state is State.ROLLBACK_FAILED:
        return f"the rollback failed {ago} ago: {operation.reason}"
    if operation.state is State.UNCONFIRMED:
        left = (operation.deadline_at or 0) - time.time()
        return (
            f"to be confirmed within {age_text(left)}"
            if left > 0
            else f"not confirmed in time: the deadline was {age_text(-left)} ago"
        )
    return operation.state.meaning


def _doubt(journal: Journal, number: int) -> str:
    """Return the write that may or may not have been done."""
    last = journal.events(number, Kind.WRITE, Kind.WROTE)[-1]
    return f", and {last.place.key} of {last.label} perhaps" if last.kind is Kind.WRITE and last.place is not None else ""


def _is_complete(work: Work, plan: Plan) -> bool:
    """Return whether all new values are in force: then only the end of the operation was not written down."""
    if work.journal.entry(work.id).confirm_s is not None or left_out(work.journal, work.id):
        return False
    settling = work.journal.events(work.id, Kind.WRITE, Kind.SETTLE, Kind.SETTLED)
    if not settling or settling[-1].kind is not Kind.SETTLED:
        return False
    checks = final_checks(check for stage in plan.stages for check in stage.checks)
    return not work.confirm_written(final_values(plan.changes).items()) and not work.read_back("all", checks.items())
