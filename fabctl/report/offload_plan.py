"""A `Plan` as people read it before they apply it: each change, how disruptive it is, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabctl.model.offload_plan import Change, Plan, Risk, Stage
from fabctl.report.offload_diff import Labels, alike, change_row, count_words, is_text, short, unified, value_text
from fabctl.report.offload_list import first_rows, some
from fabctl.report.output import Column, Patch, Report, Row, Table

_SHOWN_LINES = 30
"""Longer diffs are cut; ``fabctl offload diff`` shows them whole."""

_STAGE, _WHERE = Column("stage", "STAGE", right=True), Column("where", "WHERE")
_CHANGE = (
    Column("key", "WHAT"),
    Column("old", "NOW"),
    Column("new", "PLANNED"),
    Column("risk", "RISK"),
    Column("why", "WHY"),
)
_CHANGES = (_STAGE, _WHERE, *_CHANGE)
_CHECKS = (_STAGE, _WHERE, Column("key", "WHAT"), Column("value", "MUST BE READ BACK AS"))
_MAIN = (Column("label", "WHERE"), _STAGE, Column("driver", "DRIVER"), Column("target", "TARGET"), *_CHANGE)


def plan_report(
    plan: Plan,
    number: str,
    labels: Labels,
    *,
    drivers: Sequence[str] = (),
    layout: tuple[Sequence[str | Table], Mapping[str, Any]] | None = None,
    next_step: Sequence[str] = (),
    inputs: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Return the report of a plan.

    Parameters
    ----------
    number : str
        What the plan is called.
    labels : mapping of Place to str
        What people call each place.
    drivers : sequence of str
        Who could read and write.
    layout : (sequence of str or Table, mapping), optional
        What the feature lays out over the fabric, for people and for JSON.
    next_step : sequence of str
        Commands to type next.
    """
    text: list[str | Table | Patch] = [
        f"Plan {number if plan.changes else ''}".rstrip() + f": {plan.request}",
        *_head(plan, drivers),
    ]
    if plan.changes:
        text.append(first_rows("Changes", _telling(_CHANGES, plan), list(_changes(plan, labels))))
        text.append(Patch(list(_diffs(plan, labels))))
        if any(stage.checks for stage in plan.stages):
            text.append(first_rows("Read back afterwards", _telling(_CHECKS, plan), list(_checks(plan, labels))))
    if layout:
        text += layout[0]
    if plan.notes:
        text += ["\nNotes", *(f"  {note}" for note in plan.notes)]
    if next_step:
        text += ["\nNext", *(f"  {line}" for line in next_step)]
    return Report(
        kind="OffloadPlan",
        data={
            "plan": number,
            "feature": plan.feature,
            "request": plan.request,
            "to_change": places(plan),
            "risk": plan.risk.name.lower(),
            "fabric": plan.basis.fabric,
            "tables": plan.basis.tables or None,
            "manager": plan.basis.manager or None,
            "stages": [_stage(stage, labels) for stage in plan.stages],
            "undo": [_stage(stage, labels) for stage in plan.undo],
            "notes": list(plan.notes),
            "layout": layout[1] if layout else None,
            "next": list(next_step),
        },
        text=text,
        main=Table("Changes", _MAIN, list(_rows(plan, labels))),
        inputs=inputs,
    )


def places(plan: Plan) -> int:
    """Return how many places a plan changes."""
    return len({change.place for change in plan.changes})


def _head(plan: Plan, drivers: Sequence[str]) -> list[str]:
    if not drivers:
        return ["  no driver: nothing can be read or written (--driver files:folder=DIR renders files)"]
    lines = [f"  {count_words(places(plan))} to change" + (f", in {len(plan.stages)} stages" if len(plan.stages) > 1 else "")]
    if plan.changes:
        lines.append(f"  risk           {plan.risk.name.lower()}: {plan.risk.meaning}")
        if plan.disruptive:
            lines[-1] += "; apply wants --allow-disruptive"
    if plan.basis.manager:
        lines.append(f"  subnet manager {plan.basis.manager}")
    return lines


def _telling(columns: tuple[Column, ...], plan: Plan) -> tuple[Column, ...]:
    """Return the columns that say something: not the stage where there is one, not why where nobody says it."""
    silent = {"stage"} if len(plan.stages) == 1 else set()
    silent |= set() if any(change.why for change in plan.changes) else {"why"}
    return tuple(column for column in columns if column.key not in silent)


def _changes(plan: Plan, labels: Labels) -> Iterator[Row]:
    for number, stage in enumerate(plan.stages, 1):
        for change, names in alike(stage.changes, labels):
            yield {
                "stage": number,
                "where": some(names),
                "key": change.place.key,
                "old": short(change.old, lines=is_text(change)),
                "new": short(change.new, lines=is_text(change)),
                "risk": change.risk.name.lower(),
                "why": change.why,
            }


def _diffs(plan: Plan, labels: Labels) -> Iterator[str]:
    """Yield the files' diffs, cut where they are long."""
    for change, names in alike([change for change in plan.changes if is_text(change)], labels):
        lines = unified(change, names)
        yield ""
        yield from lines[:_SHOWN_LINES]
        if len(lines) > _SHOWN_LINES:
            yield f"... {len(lines) - _SHOWN_LINES:,} more lines: --save the plan, then fabctl offload diff"


def _checks(plan: Plan, labels: Labels) -> Iterator[Row]:
    for number, stage in enumerate(plan.stages, 1):
        as_changes = [Change(check.place, None, check.value, Risk.NONE) for check in stage.checks]
        for change, names in alike(as_changes, labels):
            yield {"stage": number, "where": some(names), "key": change.place.key, "value": short(change.new)}


def _rows(plan: Plan, labels: Labels) -> Iterator[Row]:
    for number, stage in enumerate(plan.stages, 1):
        for change in stage.changes:
            yield {"stage": number, **change_row(change, labels)}


def _stage(stage: Stage, labels: Labels) -> dict[str, Any]:
    return {
        "name": stage.name,
        "changes": [change_row(change, labels) for change in stage.changes],
        "checks": [
            {
                "label": labels[check.place],
                "driver": check.place.driver,
                "target": check.place.target,
                "key": check.place.key,
                "value": value_text(check.value),
            }
            for check in stage.checks
        ],
    }
