"""A plan applied: checked against the site, written in batches, read back; taken back at the first sign of trouble."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from fabctl.errors import FabctlError, RefusedError, SourceError, UnverifiedError, UsageError
from fabctl.model.offload_plan import FABRIC, Place, Plan, Risk, Stage
from fabctl.model.operation import Operation, State
from fabctl.offload.at_once import at_once, read_all
from fabctl.offload.basis import changes_since, lost_targets
from fabctl.offload.batches import Batch, batches, refuse_impossible, without
from fabctl.offload.events import Event, Kind
from fabctl.offload.history import operation_of, unfinished
from fabctl.offload.journal import Journal
from fabctl.offload.lock import fabric_key, fabric_lock
from fabctl.offload.names import place_label, switch_targets
from fabctl.offload.planfile import plan_id
from fabctl.offload.reach import describe
from fabctl.offload.rollback import put_back, touched, undo
from fabctl.offload.signals import HANGUP, held_back
from fabctl.offload.site import Site
from fabctl.offload.undo import owner, refuse_no_way_back
from fabctl.offload.watch import start_watchdog
from fabctl.offload.work import Say, Trouble, Work, final_checks, final_values, quiet

_AGAIN = "plan again on the fabric as it is"


def apply(
    plan: Plan,
    site: Site,
    journal: Journal,
    *,
    confirm_minutes: float | None = None,
    canary: str = "",
    batch: int = 0,
    max_failures: int = 0,
    allow_disruptive: bool = False,
    say: Say = quiet,
) -> Operation:
    """Apply a plan, and read back from the hardware that it holds.

    Parameters
    ----------
    confirm_minutes : float, optional
        How long the new values stay unless they are confirmed. A watchdog that outlives this process sees to it.
    canary : str
        Node set of switches that go first in each stage; if one fails everything is taken back.
    batch : int
        Switches and HCAs that are written and read back together; 0: all of a stage.
    max_failures : int
        How many switches and HCAs may be left as they were; one more, and everything is taken back.
    allow_disruptive : bool
        Whether the subnet manager may restart and switches reboot.
    say : callable
        Takes a line on what is being done.

    Returns
    -------
    Operation
        With id 0 if nothing has to be changed.

    Raises
    ------
    RefusedError
        If the plan is stale (with what has changed), disruptive or without a way back, or an operation has not ended.
    SourceError
        If the hardware cannot be read; nothing is written then.
    UnverifiedError
        If it did not turn out as planned; the old values are back in force.
    RollbackError
        If then an old value could not be put back.
    LockedError
        If another fabctl is at work on the fabric.
    JournalError
        If the journal cannot be written; nothing is written then.
    """
    if confirm_minutes is not None and confirm_minutes <= 0:
        raise UsageError("the time to confirm must be more than nothing")
    first = switch_targets(site.fabric, canary) if canary else ()
    refuse_impossible(plan, first, canary)
    refuse_no_way_back(plan)
    key = fabric_key(site.fabric)
    with fabric_lock(journal.folder, key, f"apply of '{plan.request}'"), held_back(*HANGUP):
        _refuse_unfinished(journal, site)
        _refuse_lost(plan, site)
        before = _before(plan, site)
        if _in_force(plan, site, before):
            return _nothing(plan, site)
        _refuse_stale(plan, site)
        _refuse_disruptive(plan, allow_disruptive)
        confirm_s = None if confirm_minutes is None else confirm_minutes * 60
        work = Work(site, journal, journal.begin(plan, site.fabric, key, describe(site), confirm_s, before), say)
        try:
            if confirm_s is not None:
                start_watchdog(journal.folder, work.id)
            _roll_out(work, plan, lambda stage: batches(stage, first, batch), max_failures)
            if confirm_s is None:
                work.enter(State.APPLIED)
            else:
                work.enter(State.UNCONFIRMED, deadline_at=time.time() + confirm_s)
        except BaseException as failure:
            _take_back(work, plan, failure)
            raise
        return operation_of(journal, work.id)


def _roll_out(work: Work, plan: Plan, parts: Callable[[Stage], list[Batch]], max_failures: int) -> None:
    """Write and read back batch by batch.

    Raises
    ------
    SourceError
        If more fails than may.
    """
    failed: dict[str, Trouble] = {}
    done = 0
    for number, stage in enumerate(plan.stages, 1):
        for part in parts(stage):
            work.say(_progress(number, len(plan.stages), part))
            done += 1
            troubles = {trouble.owner: trouble for trouble in reversed(_step(work, without(part.stage, failed)))}
            if not troubles:
                continue
            alone = {owner(change.place) for change in part.stage.changes} - {FABRIC}
            if part.canary or not troubles.keys() <= alone or len(failed | troubles) > max_failures:
                raise SourceError(_summary(list(troubles.values()), part))
            _leave_out(work, plan, troubles)
            failed |= troubles
    if done > 1:
        wanted = final_checks(check for stage in plan.stages for check in without(stage, failed).checks)
        work.say(f"reading all {len(wanted)} values back")
        troubles_now = work.read_back("all", wanted.items())
        if troubles_now:
            raise SourceError(_summary(troubles_now, None))


def _step(work: Work, stage: Stage) -> list[Trouble]:
    """Write a batch, have it take effect, and read it back; return what went wrong."""
    troubles = work.write(stage.name, stage.changes)
    written = without(stage, {trouble.owner for trouble in troubles})
    if written.changes:
        work.settle(stage.name, written.changes)
    troubles += work.confirm_written(final_values(written.changes).items())
    return troubles + work.read_back(stage.name, final_checks(written.checks).items())


def _leave_out(work: Work, plan: Plan, troubles: dict[str, Trouble]) -> None:
    """Put some switches back as they were, and go on without them."""
    for target, trouble in troubles.items():
        work.say(f"{trouble}; it is left as it was")
        work.journal.record(work.id, Event(Kind.FAILED, place=Place("", target, ""), label=trouble.label, words=trouble.why))
    still = put_back(work, plan, touched(work.journal, work.id), troubles)
    if still:
        raise SourceError(f"{still[0]}, though it was put back")


def _take_back(work: Work, plan: Plan, failure: BaseException) -> None:
    """Put everything back; raise `UnverifiedError` if something had been written."""
    why = failure.message if isinstance(failure, FabctlError) else type(failure).__name__
    work.journal.lenient = True
    work.say(f"that failed: {why}")
    wrote = bool(touched(work.journal, work.id))
    undo(work, plan, why)
    if wrote and isinstance(failure, FabctlError):
        raise UnverifiedError(
            f"{why}; the old values are back in force",
            where=f"operation {work.id}",
            hint=failure.hint or "mend that, then plan again",
        ) from failure


def _refuse_unfinished(journal: Journal, site: Site) -> None:
    for operation in unfinished(journal, site.fabric):
        number = operation.id
        if operation.state is State.UNCONFIRMED:
            raise RefusedError(
                f"operation {number} ({operation.request}) waits to be confirmed",
                hint=f"fabctl offload confirm {number}, or fabctl offload rollback {number}",
            )
        raise RefusedError(
            f"operation {number} ({operation.request}) has not ended: it is '{operation.state}'", hint="fabctl offload recover"
        )


def _before(plan: Plan, site: Site) -> list[Event]:
    """Read every place that will be checked, before anything is written."""

    def look(place: Place) -> Event:
        seen = site.driver(place.driver).observe(place)
        return Event(Kind.BEFORE, "", place, place_label(site.fabric, place), None, seen.value, seen.evidence)

    return at_once(look, dict.fromkeys(check.place for stage in (*plan.stages, *plan.undo) for check in stage.checks))


def _in_force(plan: Plan, site: Site, before: Collection[Event]) -> bool:
    checks = final_checks(check for stage in plan.stages for check in stage.checks)
    shown = {event.place: event.new for event in before}
    if not all(shown[place] == value for place, value in checks.items()):
        return False
    wanted = final_values(plan.changes)
    return read_all(site, wanted) == list(wanted.values())


def _nothing(plan: Plan, site: Site) -> Operation:
    now = time.time()
    return Operation(0, plan_id(plan), site.fabric.digest, plan.feature, plan.request, State.APPLIED, now, now, None, 0, 0)


def _refuse_lost(plan: Plan, site: Site) -> None:
    lost = lost_targets(plan, site.fabric)
    if lost:
        raise RefusedError(f"this plan does not fit: {lost}", hint=_AGAIN)


def _refuse_stale(plan: Plan, site: Site) -> None:
    changed = changes_since(plan, site)
    if changed:
        more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise RefusedError(f"this plan is stale: {'; '.join(changed[:3])}{more}", hint=_AGAIN)


def _refuse_disruptive(plan: Plan, allowed: bool) -> None:
    if plan.risk >= Risk.RESTART and not allowed:
        raise RefusedError(f"this plan is disruptive: {plan.risk.meaning}", hint="--allow-disruptive if jobs can bear that now")


def _progress(stage: int, stages: int, part: Batch) -> str:
    which = "canary" if part.canary else f"part {part.number} of {part.count}" if part.count > 1 else ""
    count = len(part.stage.changes)
    words = [f"stage {stage} of {stages}" if stages > 1 else "", f"'{part.stage.name}'", which]
    return f"{', '.join(filter(None, words))}: {count} change{'s' if count != 1 else ''}, {part.stage.risk.meaning}"


def _summary(troubles: list[Trouble], part: Batch | None) -> str:
    what = "the canary failed: " if part is not None and part.canary else ""
    more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    return f"{what}{troubles[0]}{more}"
