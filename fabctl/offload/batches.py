"""A stage in parts: canaries first, then so many switches at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fabctl.errors import RefusedError, UsageError
from fabctl.model.offload_plan import FABRIC, Plan, Stage
from fabctl.offload.undo import owner


@dataclass(frozen=True)
class Batch:
    """A part of a stage that is written, settled and read back together.

    Parameters
    ----------
    stage : Stage
        With the changes and checks of this part.
    canary : bool
        Whether it goes first, and stops everything if it fails.
    number, count : int
        Which part of how many, from 1.
    """

    stage: Stage
    canary: bool
    number: int
    count: int


def batches(stage: Stage, canary: Collection[str], size: int) -> list[Batch]:
    """Return the parts of a stage; one if it changes anything that belongs to the whole fabric.

    Parameters
    ----------
    canary : collection of str
        Targets that go first.
    size : int
        Switches and HCAs in a part; 0: all of them. What is checked elsewhere is checked with the last part.
    """
    owners = list(dict.fromkeys(owner(change.place) for change in stage.changes))
    first = [target for target in owners if target in canary]
    rest = [target for target in owners if target not in canary]
    if FABRIC in owners:
        groups = [owners]
    else:
        step = size or max(len(rest), 1)
        groups = [group for group in (first, *(rest[at : at + step] for at in range(0, len(rest), step))) if group]
    return [
        Batch(_part(stage, groups, number), bool(first) and number == 0 and FABRIC not in owners, number + 1, len(groups))
        for number in range(len(groups))
    ] or [Batch(stage, False, 1, 1)]


def _part(stage: Stage, groups: Sequence[Sequence[str]], number: int) -> Stage:
    group = set(groups[number])
    later = {target for group in groups[number + 1 :] for target in group}
    earlier = {target for group in groups[:number] for target in group}
    last = number == len(groups) - 1
    return Stage(
        stage.name,
        tuple(change for change in stage.changes if owner(change.place) in group),
        tuple(
            check for check in stage.checks if owner(check.place) in group or (last and owner(check.place) not in earlier | later)
        ),
    )


def without(stage: Stage, targets: Collection[str]) -> Stage:
    """Return a stage without the changes and checks of some switches and HCAs."""
    return Stage(
        stage.name,
        tuple(change for change in stage.changes if owner(change.place) not in targets),
        tuple(check for check in stage.checks if owner(check.place) not in targets),
    )


def refuse_impossible(plan: Plan, canary: Collection[str], names: str) -> None:
    """Refuse canaries that cannot go first.

    Raises
    ------
    UsageError
        If the plan changes none of them.
    RefusedError
        If a stage changes the whole fabric at once.
    """
    if not canary:
        return
    for stage in plan.stages:
        if any(owner(change.place) == FABRIC for change in stage.changes):
            raise RefusedError(
                f"'{stage.name}' changes the whole fabric at once: no canary can go first",
                hint="leave --canary away; --confirm MINUTES takes everything back unless you confirm",
            )
    if not {owner(change.place) for change in plan.changes} & set(canary):
        raise UsageError(f"this plan changes nothing at {names}", hint="fabctl offload diff shows what it changes")
