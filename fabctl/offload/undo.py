"""The way back: explicit old values, in stages, and what part of it a half-applied plan needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fabctl.errors import RefusedError
from fabctl.model.offload_plan import Change, Place, Plan, Stage
from fabctl.offload.basis import value_digest


def mirrored(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the plain way back: the same stages in reverse, with old and new exchanged.

    It needs no checks: what a rollback must reach is what the hardware showed before the plan was applied. A feature whose old
    values do not come back by themselves makes its own way.
    """
    return tuple(
        Stage(
            f"back from {stage.name}",
            tuple(replace(change, old=change.new, new=change.old) for change in reversed(stage.changes)),
            (),
        )
        for stage in reversed(stages)
    )


def needed(plan: Plan, touched: Collection[Place], targets: Collection[str] | None = None) -> tuple[Stage, ...]:
    """Return the part of the way back that takes back some places.

    Parameters
    ----------
    touched : collection of Place
        Places that were written, or may have been. What only the way back writes comes with them.
    targets : collection of str, optional
        Only what belongs to these switches and HCAs.
    """
    planned = {change.place for change in plan.changes}

    def wanted(change: Change) -> bool:
        meant = targets is None or owner(change.place) in targets
        return meant and (change.place in touched or change.place not in planned)

    stages = []
    for stage in plan.undo:
        if any(change.place in touched for change in stage.changes):
            checks = tuple(check for check in stage.checks if targets is None or owner(check.place) in targets)
            stages.append(Stage(stage.name, tuple(filter(wanted, stage.changes)), checks))
    return tuple(stages)


def owner(place: Place) -> str:
    """Return the switch, HCA or fabric to which a place belongs: its target without the port."""
    return place.target.partition("/")[0]


def refuse_no_way_back(plan: Plan) -> None:
    """Raise `RefusedError` if a plan does not hold the value that each of its places had before."""
    before = dict(plan.basis.values)
    back = {change.place: value_digest(change.new) for stage in plan.undo for change in stage.changes}
    for place in dict.fromkeys([change.place for change in plan.changes] + [place for place in back if place in before]):
        if place not in before or back.get(place) != before[place]:
            raise RefusedError(
                f"this plan has no way back: nothing puts the old value of {place.key} at {place.target} back",
                hint="make the plan again; if it is still so, this is a bug of its feature",
            )
