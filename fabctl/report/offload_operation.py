"""Operations: where they stand, what was read back from the hardware, and what to type next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fabctl.model.operation import Operation, Reading, Recovered, State
from fabctl.report.offload_diff import count_words, short, value_text
from fabctl.report.output import Column, Report, Row, Table

_READINGS = (
    Column("label", "WHERE"),
    Column("key", "WHAT"),
    Column("expected", "PLANNED"),
    Column("found", "READ BACK"),
    Column("holds", "HOLDS"),
    Column("evidence", "EVIDENCE"),
)
_HISTORY = (
    Column("id", "ID", right=True),
    Column("began", "BEGAN (UTC)"),
    Column("state", "STATE"),
    Column("written", "WRITTEN", right=True),
    Column("to_change", "OF", right=True),
    Column("read_back", "READ BACK", right=True),
    Column("hold", "HOLD", right=True),
    Column("request", "REQUEST"),
    Column("plan", "PLAN", wide=True),
    Column("deadline", "CONFIRM BY (UTC)", wide=True),
    Column("reason", "BECAUSE", wide=True),
)
_FAILURES = (Column("label", "WHERE"), Column("why", "WHY"))
_RECOVERED = (
    Column("id", "ID", right=True),
    Column("found", "FOUND"),
    Column("done", "DONE"),
    Column("state", "STATE"),
    Column("request", "REQUEST"),
)


def operation_report(operation: Operation, inputs: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Return the report of an operation; one with id 0 had nothing to change."""
    rows = [reading_data(reading) for reading in operation.readings]
    wrong = [reading_row(reading) for reading in operation.readings if not reading.holds]
    text: list[str | Table] = [*_head(operation)]
    if wrong:
        text.append(Table("Read back and not as planned", _READINGS, wrong))
    if operation.failures:
        text.append(
            Table("Left as they were" if operation.state is State.APPLIED else "Failures", _FAILURES, _failures(operation))
        )
    if operation.readings:
        text.append(Table("Read back", _READINGS, [reading_row(reading) for reading in operation.readings], wide=True))
    return Report(
        kind="OffloadOperation",
        data={**_data(operation), "readings": rows, "failures": _failures(operation)},
        text=text,
        main=Table("Read back", _READINGS, rows),
        inputs=inputs,
    )


def history_report(operations: Sequence[Operation]) -> Report:
    """Return the report of all operations, newest last."""
    table = Table("", _HISTORY, [_history_row(operation) for operation in operations])
    return Report(
        kind="OffloadHistory",
        data={"operations": [_data(operation) for operation in operations]},
        text=[table if operations else "nothing was applied yet"],
        main=table,
    )


def recovery_report(recovered: Sequence[Recovered]) -> Report:
    """Return what was found of operations that were cut off, and what became of them."""
    rows = [
        {
            "id": one.operation.id,
            "found": one.found,
            "done": one.done,
            "state": one.operation.state,
            "request": one.operation.request,
        }
        for one in recovered
    ]
    table = Table("", _RECOVERED, rows)
    return Report(
        kind="OffloadRecovery",
        data={"recovered": [{"found": one.found, "done": one.done, "operation": _data(one.operation)} for one in recovered]},
        text=[table if rows else "no operation was cut off"],
        main=table,
    )


def moment(seconds: float | None) -> str | None:
    """Return a time as ``2026-11-28 09:00:12``, UTC."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}"


def _head(operation: Operation) -> list[str]:
    if operation.id == 0:
        return [f"{operation.request}: 0 to change, it is so already"]
    held = sum(reading.holds for reading in operation.readings)
    lines = [
        f"Operation {operation.id}: {operation.request}",
        f"  state      {_state(operation)} since {moment(operation.changed_at)} UTC: {operation.state.meaning}",
        f"  written    {operation.written:,} of {count_words(operation.to_change)}",
    ]
    if operation.readings:
        lines.append(f"  read back  {held:,} of {len(operation.readings):,} values as planned")
    elif operation.state.ended:
        lines.append("  read back  nothing: this plan knows no value that the hardware would show")
    if operation.reason:
        lines.append(f"  because    {operation.reason}")
    return lines + [f"  next       {step}" for step in _next(operation)]


def _state(operation: Operation) -> str:
    at_work = operation.state in (State.APPLYING, State.ROLLING_BACK)
    return f"{operation.state}, cut off" if at_work and not operation.alive else operation.state


def _next(operation: Operation) -> list[str]:
    number = operation.id
    if operation.state is State.UNCONFIRMED:
        return [f"fabctl offload confirm {number}, by {moment(operation.deadline_at)} UTC; else the old values come back"]
    if operation.state is State.APPLIED:
        return [f"fabctl offload rollback {number} takes it back"]
    if operation.state is State.ROLLED_BACK or operation.alive:
        return []
    return ["fabctl offload recover"]


def _history_row(operation: Operation) -> Row:
    return {
        **_data(operation),
        "state": _state(operation),
        "read_back": len(operation.readings),
        "hold": sum(reading.holds for reading in operation.readings),
    }


def _data(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "plan": operation.plan,
        "fabric": operation.fabric,
        "feature": operation.feature,
        "request": operation.request,
        "state": operation.state,
        "meaning": operation.state.meaning,
        "ended": operation.state.ended,
        "alive": operation.alive,
        "began": moment(operation.begun_at),
        "changed": moment(operation.changed_at),
        "deadline": moment(operation.deadline_at),
        "to_change": operation.to_change,
        "written": operation.written,
        "holds": operation.holds,
        "reason": operation.reason,
    }


def reading_row(reading: Reading) -> dict[str, Any]:
    """Return a reading for people, its values cut, its evidence on one line without the tools' dots."""
    shown = {"expected": short(reading.expected), "found": short(reading.found) if reading.answered else "no answer"}
    return {**reading_data(reading), **shown, "evidence": re.sub(r"\.{3,}", "..", " ".join(reading.evidence.split()))}


def reading_data(reading: Reading) -> dict[str, Any]:
    """Return a reading for JSON and CSV."""
    return {
        "label": reading.label,
        "driver": reading.place.driver,
        "target": reading.place.target,
        "key": reading.place.key,
        "expected": value_text(reading.expected),
        "found": value_text(reading.found),
        "answered": reading.answered,
        "holds": reading.holds,
        "evidence": reading.evidence,
    }


def _failures(operation: Operation) -> list[dict[str, str]]:
    return [{"label": failure.label, "why": failure.why} for failure in operation.failures]
