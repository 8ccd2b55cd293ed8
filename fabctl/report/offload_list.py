"""A `Survey` as one table, features by switches: what is alike is one number, what differs is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from fabctl.model.assessment import Alike, Kind, Status, Survey
from fabctl.model.naming import natural_key
from fabctl.nodeset import folded
from fabctl.report.output import Column, Report, Row, Table

_FEATURE, _WHERE, _STATUS = Column("feature", "FEATURE"), Column("where", "WHERE"), Column("status", "STATUS")
_BECAUSE = (Column("fact", "BECAUSE"), Column("source", "SOURCE", wide=True))
_SUMMARY = (_FEATURE, _WHERE, _STATUS, *_BECAUSE)
_DIFFERENT = (_FEATURE, _STATUS, _WHERE, *_BECAUSE)
_MAIN = (Column("target", "WHERE"), Column("kind", "KIND"), _FEATURE, _STATUS, *_BECAUSE)
_SHOWN_CHARS = 48
"""Longer node sets are cut in tables for people."""

_SHOWN_ROWS = 40


def survey_report(survey: Survey, inputs: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Return the report of a survey."""
    by_kind = [(name, list(alike)) for name, alike in groupby(survey.alike, key=lambda group: (group.feature, group.kind))]
    text: list[str | Table] = [_head(survey), "", Table("", _SUMMARY, [_summary(alike) for _, alike in by_kind])]
    different = [_different(group) for _, alike in by_kind for group in alike[1:]]
    if different:
        text.append(first_rows("Those that differ", _DIFFERENT, different))
    text += _per_place(survey)
    rows = list(_rows(survey))
    return Report(
        kind="OffloadList",
        data={
            "switches": survey.counts[Kind.SWITCH],
            "hcas": survey.counts[Kind.HCA],
            "hosts": survey.counts[Kind.HOST],
            "drivers": list(survey.drivers),
            "features": list(survey.features),
            "alike": [
                {
                    "feature": group.feature,
                    "kind": group.kind,
                    "status": group.status,
                    "fact": group.fact,
                    "source": group.source,
                    "targets": list(group.targets),
                }
                for group in survey.alike
            ],
            "unread": [{"feature": feature, "why": why} for feature, why in survey.unread.items()],
        },
        text=text,
        main=Table("Features", _MAIN, rows),
        inputs=inputs,
        warnings=[f"{feature} could not be read: {why}" for feature, why in survey.unread.items()],
    )


def some(names: Sequence[str]) -> str:
    """Return names as a node set, the first three and a count where that is long."""
    text = folded(names)
    if len(text) <= _SHOWN_CHARS or len(names) <= 3:
        return text
    return f"{', '.join(sorted(names, key=natural_key)[:3])} and {len(names) - 3:,} more"


def first_rows(title: str, columns: tuple[Column, ...], rows: Sequence[Row]) -> Table:
    """Return a table of the first rows, for people."""
    cut = f", the first {_SHOWN_ROWS} of {len(rows):,}: -o csv has all" if len(rows) > _SHOWN_ROWS else ""
    return Table(title + cut, columns, rows[:_SHOWN_ROWS])


def _head(survey: Survey) -> str:
    counts = ", ".join(f"{survey.counts[kind]:,} {kind.plural}" for kind in (Kind.SWITCH, Kind.HCA, Kind.HOST))
    if survey.drivers:
        return f"{counts}; asked through {', '.join(survey.drivers)}"
    return f"{counts}; no driver: what is on is not known (fabctl help drivers)"


def _summary(alike: Sequence[Alike]) -> Row:
    first = alike[0]
    counts: Counter[Status] = Counter()
    for group in alike:
        counts[group.status] += len(group.targets)
    words = [f"{count:,} {status}" for status, count in counts.most_common()]
    return {
        "feature": first.feature,
        "where": first.kind.plural,
        "status": first.status if first.kind is Kind.FABRIC else ", ".join(words),
        "fact": first.fact,
        "source": first.source,
    }


def _different(group: Alike) -> Row:
    return {
        "feature": group.feature,
        "status": f"{len(group.targets):,} {group.status}",
        "where": some(group.targets),
        "fact": group.fact,
        "source": group.source,
    }


def _rows(survey: Survey) -> Iterator[Row]:
    for group in survey.alike:
        for target in group.targets:
            yield {
                "target": target,
                "kind": group.kind,
                "feature": group.feature,
                "status": group.status,
                "fact": group.fact,
                "source": group.source,
            }


def _per_place(survey: Survey) -> list[Table]:
    """Return one table per kind of place, a row for each, a column for each feature."""
    tables = []
    for kind in (Kind.SWITCH, Kind.HCA, Kind.HOST):
        rows: dict[str, dict[str, str]] = defaultdict(dict)
        groups = [group for group in survey.alike if group.kind is kind]
        for group in groups:
            for target in group.targets:
                rows[target] = {**rows[target], "target": target, group.feature: group.status}
        features = dict.fromkeys(group.feature for group in groups)
        columns = (Column("target", kind.upper()), *(Column(name, name.upper()) for name in features))
        if rows:
            ordered = [rows[target] for target in sorted(rows, key=natural_key)]
            tables.append(Table(kind.plural[0].upper() + kind.plural[1:], columns, ordered, wide=True))
    return tables
