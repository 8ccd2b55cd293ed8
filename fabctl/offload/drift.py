"""What is no longer as fabctl left it: configuration that others have changed, and hardware that does not follow it."""

from __future__ import annotations

from fabctl.model.offload_plan import Place
from fabctl.model.operation import Drift, Drifted, Failure, State
from fabctl.offload.history import entries_of
from fabctl.offload.journal import Journal
from fabctl.offload.reach import reached
from fabctl.offload.rollback import left_out
from fabctl.offload.site import Site
from fabctl.offload.undo import owner
from fabctl.offload.work import configured_all, final_checks, final_values, observe_all

_IN_FORCE = (State.APPLIED, State.UNCONFIRMED)


def drift(site: Site | None, journal: Journal) -> Drift:
    """Compare what stands at each place with what the last operation in force left there.

    Parameters
    ----------
    site : Site, optional
        Only operations on its fabric; without one that of the newest operation.

    Raises
    ------
    FabctlError
        If the site cannot be reached.
    """
    entries = entries_of(journal, site.fabric if site else None)
    entries = [entry for entry in entries if site or entry.key == entries[-1].key]
    values: dict[Place, tuple[int, str | None]] = {}
    checks: dict[Place, tuple[int, str | None]] = {}
    for entry in entries:
        if journal.state(entry.id).stage in _IN_FORCE:
            plan, gone = journal.plan(entry.id), left_out(journal, entry.id)
            stays = {place: (entry.id, value) for place, value in final_values(plan.changes).items() if owner(place) not in gone}
            holds = final_checks(check for stage in plan.stages for check in stage.checks)
            values |= stays
            checks |= {place: (entry.id, value) for place, value in holds.items() if owner(place) not in gone}
    if not entries or not values:
        return Drift((), (), 0, 0)
    site = site or reached(journal, entries[-1].id)
    configured = configured_all(site, {place: value for place, (_, value) in values.items()})
    hardware = observe_all(site, {place: value for place, (_, value) in checks.items()})
    found = [("configured", values[place][0], reading) for place, reading in configured.items()]
    found += [("hardware", checks[place][0], reading) for place, reading in hardware.items()]
    return Drift(
        tuple(Drifted(number, kind, reading) for kind, number, reading in found if reading.answered and not reading.holds),
        tuple(Failure(reading.label, reading.evidence) for _, _, reading in found if not reading.answered),
        len(values),
        len(checks),
    )
