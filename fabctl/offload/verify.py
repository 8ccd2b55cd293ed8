"""An operation verified again: every value read back from the hardware, with the evidence kept."""

from __future__ import annotations

from fabctl.errors import RefusedError
from fabctl.model.offload_plan import Place
from fabctl.model.operation import Operation, State
from fabctl.offload.history import operation_of
from fabctl.offload.journal import Journal
from fabctl.offload.reach import reached
from fabctl.offload.rollback import as_before, left_out, touched
from fabctl.offload.site import Site
from fabctl.offload.undo import needed, owner
from fabctl.offload.work import Say, Work, final_checks, quiet


def verify(number: int, site: Site | None, journal: Journal, say: Say = quiet) -> Operation:
    """Read back what an operation left: its new values; the old ones if it was rolled back.

    Parameters
    ----------
    site : Site, optional
        Without one, it is reached as the journal says.

    Returns
    -------
    Operation
        Its `readings` are new; whether all are as they should be is `holds`.

    Raises
    ------
    UsageError
        If there is no such operation.
    RefusedError
        If it is under way, or was cut off.
    """
    operation = operation_of(journal, number)
    plan = journal.plan(number)
    work = Work(site or reached(journal, number), journal, number, say)
    wanted: dict[Place, str | None]
    if operation.state in (State.APPLIED, State.UNCONFIRMED):
        gone = left_out(journal, number)
        checks = final_checks(check for stage in plan.stages for check in stage.checks)
        wanted = {place: value for place, value in checks.items() if owner(place) not in gone}
    elif operation.state is State.ROLLED_BACK:
        written = touched(journal, number)
        stages = needed(plan, written)
        checks = final_checks(check for stage in stages for check in stage.checks)
        wanted = {**as_before(work, stages, written), **checks}
    else:
        raise RefusedError(
            f"operation {number} has not ended: {operation.state.meaning}",
            hint="wait until it is done" if operation.alive else "fabctl offload recover",
        )
    say(f"reading {len(wanted)} values back")
    work.read_back("verify", wanted.items())
    return operation_of(journal, number)
