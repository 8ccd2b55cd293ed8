"""What ``fabctl route --list-engines`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fabctl.report.output import Column, Report, Table

_COLUMNS = (
    Column("name", "ENGINE"),
    Column("summary", "WHAT IT DOES"),
    Column("deadlock", "CREDIT LOOPS"),
    Column("options", "OPTIONS"),
)
_REMARKS = """
auto picks one of them by the fabric's structure, and says why. fabctl route compare tries them all.
--engine opensm:NAME asks the real OpenSM for its engine of that name, on the twin (ibsim)."""


def engines_report(rows: Sequence[Mapping[str, Any]]) -> Report:
    """Return the report of engines: dicts of ``name``, ``summary``, ``deadlock`` and ``options``."""
    shown = [{**row, "options": [f"--{option}" for option in row["options"]]} for row in rows]
    table = Table("", _COLUMNS, shown)
    return Report(kind="EngineList", data={"engines": [dict(row) for row in rows]}, text=[table, _REMARKS], main=table)
