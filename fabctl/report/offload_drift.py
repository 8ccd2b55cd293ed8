"""`Drift`: what is no longer as fabctl left it."""

from __future__ import annotations

from fabctl.model.operation import Drift
from fabctl.report.offload_diff import count_words
from fabctl.report.offload_operation import reading_data, reading_row
from fabctl.report.output import Column, Report, Table

_COLUMNS = (
    Column("label", "WHERE"),
    Column("key", "WHAT"),
    Column("kind", "KIND"),
    Column("expected", "AS LEFT"),
    Column("found", "NOW"),
    Column("operation", "BY", right=True),
    Column("evidence", "EVIDENCE", wide=True),
)
_UNREAD = (Column("label", "WHERE"), Column("why", "WHY"))


def drift_report(drift: Drift) -> Report:
    """Return the report of a comparison of what is with what was left."""
    unread = [{"label": failure.label, "why": failure.why} for failure in drift.unread]
    rows = [{**reading_data(one.reading), "kind": one.kind, "operation": one.operation} for one in drift.drifted]
    shown = [{**reading_row(one.reading), "kind": one.kind, "operation": one.operation} for one in drift.drifted]
    compared = f"compared: {count_words(drift.n_places)} as configured, {drift.n_checks:,} values of the hardware"
    text: list[str | Table] = [f"{compared}; {len(rows):,} drifted from what fabctl left"]
    if not drift.n_places:
        text = ["nothing that fabctl applied is in place"]
    text += [Table("", _COLUMNS, shown)] if rows else []
    text += [Table("Could not be read", _UNREAD, unread)] if unread else []
    return Report(
        kind="OffloadDrift",
        data={"places": drift.n_places, "checks": drift.n_checks, "drifted": rows, "unread": unread},
        text=text,
        main=Table("Drift", _COLUMNS, rows),
    )
