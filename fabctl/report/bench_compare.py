"""What ``fabctl bench compare`` prints: settings side by side, the baseline marked, and what is published of a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabctl.model.bench_comparison import COMMUNICATION, STEP, BenchComparison, Fact, Outcome, Point, ScenarioFacts
from fabctl.report.bench_words import closing, entry, job_words, limit_words, size_words, unknown_hosts
from fabctl.report.output import Column, Report, Table, rounded, short_names

MAIN = (
    Column("offloads", "offloads"),
    Column("routes", "routes"),
    Column("placement", "placement"),
    Column("baseline", "baseline"),
    Column("operation", "operation"),
    Column("size_bytes", "size(B)", right=True),
    Column("time_us", "time(us)", right=True, digits=2),
    Column("busbw_gb_s", "busbw(GB/s)", right=True, digits=2),
    Column("ratio", "ratio", right=True, digits=2),
    Column("algorithm", "algo"),
    Column("phase", "waits most for"),
    Column("binds", "binds"),
    Column("binds_at", "at"),
    Column("exposed_us", "exposed(us)", right=True, digits=2),
    Column("tokens_per_s", "tokens/s", right=True, digits=0),
    Column("refusal", "refused because"),
)
SCENARIOS = (Column("name", "NAME"), Column("title", "WHAT IT IS"))
REFUSED = "refused, see below"
WIDTH = 10
"""Of the labels in the head."""
TITLES = {
    STEP: "A training's step",
    COMMUNICATION: "A training's communication alone: how long it computes is unknown (--efficiency, --compute-ms)",
}


def compare_report(
    comparison: BenchComparison,
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    fitting: Sequence[str] = (),
) -> Report:
    """Return the report of a comparison.

    Parameters
    ----------
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    fitting : sequence of str
        What hosts of unknown type could be.
    """
    facts = comparison.scenario
    routes = list(dict.fromkeys(outcome.routes for outcome in comparison.outcomes))
    job = job_words(comparison.hosts, comparison.n_hosts, comparison.ranks_per_host)
    text: list[str | Table] = [
        *(entry("Scenario", facts.title, width=WIDTH) if facts else []),
        *entry("Job", job, width=WIDTH),
        *entry("Hosts", *([comparison.node] if comparison.node else unknown_hosts(fitting)), width=WIDTH),
        *entry("Routes", ", ".join(routes), *remarks, width=WIDTH),
        *_tables(comparison),
        "(*) the baseline; ratio: how many times as fast as it",
        *_refusals(comparison),
        *_worth(comparison),
    ]
    if facts:
        text += ["\nPublished", *_fact_lines(facts.published, "source"), "\nAssumed", *_fact_lines(facts.assumed, "because")]
    text += closing(comparison.assumptions, comparison.notes, "Assumptions of the model")
    rows = [row for outcome in comparison.outcomes for row in _main_rows(comparison, outcome)]
    return Report("BenchComparison", _data(comparison), text, Table("", MAIN, rows), inputs)


def scenarios_report(scenarios: Sequence[ScenarioFacts]) -> Report:
    """Return the list of the scenarios that ship."""
    rows = [{"name": facts.name, "title": facts.title} for facts in scenarios]
    table = Table("", SCENARIOS, rows)
    text: list[str | Table] = [table, "\nNext: fabctl bench compare --scenario NAME"]
    return Report("ScenarioList", {"scenarios": rows}, text, table)


def _tables(comparison: BenchComparison) -> Iterator[Table]:
    """Yield one table for each operation: a row for each setting, two columns for each size."""
    points = comparison.baseline.points
    for operation in dict.fromkeys(point.operation for point in points):
        indices = [index for index, point in enumerate(points) if point.operation == operation]
        columns = (*_setting_columns(comparison), *_value_columns(operation, [points[index] for index in indices]))
        yield Table(
            TITLES.get(operation, operation), columns, [_cells(comparison, outcome, indices) for outcome in comparison.outcomes]
        )


def _setting_columns(comparison: BenchComparison) -> Iterator[Column]:
    yield Column("mark", "")
    yield Column("offloads", "offloads")
    for key in ("routes", "placement"):
        if len({getattr(outcome, key) for outcome in comparison.outcomes}) > 1:
            yield Column(key, key)


def _value_columns(operation: str, points: Sequence[Point]) -> Iterator[Column]:
    training = operation in (STEP, COMMUNICATION)
    for number, point in enumerate(points):
        yield Column(f"time_{number}", f"{operation}(ms)" if training else f"{size_words(point.size_bytes)}(us)", right=True)
        yield Column(f"ratio_{number}", "ratio", right=True, digits=2)
    if training:
        yield Column("exposed_ms", "exposed(ms)", right=True, digits=1)
        yield Column("tokens_per_s", "tokens/s", right=True)
        yield Column("binds", "waits most for")
    else:
        yield Column("busbw_gb_s", "busbw(GB/s)", right=True, digits=1)
        yield Column("algorithm", "algo")
        yield Column("binds", f"binds at {size_words(points[-1].size_bytes)}")


def _cells(comparison: BenchComparison, outcome: Outcome, indices: Sequence[int]) -> dict[str, Any]:
    short = short_names(list(dict.fromkeys(other.routes for other in comparison.outcomes)))
    mark = "*" if outcome is comparison.baseline else ""
    cells: dict[str, Any] = {
        "mark": mark,
        "offloads": outcome.offloads,
        "routes": short[outcome.routes],
        "placement": outcome.placement,
    }
    if not outcome.points:
        return {**cells, "binds": REFUSED}
    for number, index in enumerate(indices):
        point = outcome.points[index]
        cells[f"time_{number}"] = _time(point)
        cells[f"ratio_{number}"] = comparison.ratio(outcome, index)
    last = outcome.points[indices[-1]]
    return cells | {
        "busbw_gb_s": last.busbw_gb_s,
        "algorithm": last.algorithm,
        "binds": _binds(last),
        "exposed_ms": None if last.exposed_us is None else last.exposed_us / 1e3,
        "tokens_per_s": None if last.tokens_per_s is None else f"{last.tokens_per_s:,.0f}",
    }


def _binds(point: Point) -> str:
    """Return what most of the time goes to; of a training, which phase it waits for and what bounds that."""
    if point.operation not in (STEP, COMMUNICATION):
        return limit_words(point.binds, point.binds_at)
    return f"{point.phase}: {limit_words(point.binds, point.binds_at)}" if point.phase else "compute"


def _refusals(comparison: BenchComparison) -> Iterator[str]:
    refused = {(outcome.offloads or outcome.routes, outcome.refusal, outcome.instead): None for outcome in comparison.outcomes}
    for what, why, instead in refused:
        if why:
            yield f"{what} is refused: {why}"
        if instead:
            yield f"  instead: {instead}"


def _worth(comparison: BenchComparison) -> Iterator[str]:
    """Yield what the fastest setting gains in each operation."""
    yield "\nWhat the intelligent interconnect is worth here" if comparison.scenario else "\nFastest"
    points = comparison.baseline.points
    for operation in dict.fromkeys(point.operation for point in points):
        gains = []
        for index, point in enumerate(points):
            if point.operation == operation:
                best = comparison.best(index)
                size = f"{size_words(point.size_bytes)} " if point.size_bytes else ""
                ratio = comparison.ratio(best, index)
                gain = "nothing is left of it" if ratio is None else f"{ratio:.2f}x"
                gains.append(f"{size}{gain} ({_name(comparison, best)})")
        yield f"  {operation}: {'; '.join(gains)}"


def _name(comparison: BenchComparison, outcome: Outcome) -> str:
    """Return what sets an outcome apart from the others."""
    keys = [key for key in ("routes", "placement") if len({getattr(other, key) for other in comparison.outcomes}) > 1]
    return ", ".join([outcome.offloads, *(getattr(outcome, key) for key in keys)])


def _fact_lines(facts: Sequence[Fact], why: str) -> Iterator[str]:
    return (line for fact in facts for line in (f"  {fact.text}", f"    {why}: {fact.why}"))


def _main_rows(comparison: BenchComparison, outcome: Outcome) -> Iterator[dict[str, Any]]:
    row = {
        "offloads": outcome.offloads,
        "routes": outcome.routes,
        "placement": outcome.placement,
        "baseline": outcome is comparison.baseline,
        "refusal": outcome.refusal or None,
    }
    if not outcome.points:
        yield row
    for index, point in enumerate(outcome.points):
        yield row | _point_data(point) | {"ratio": _optional(comparison.ratio(outcome, index))}


def _point_data(point: Point) -> dict[str, Any]:
    return {
        "operation": point.operation,
        "size_bytes": point.size_bytes,
        "time_us": rounded(point.time_us),
        "busbw_gb_s": _optional(point.busbw_gb_s),
        "algorithm": point.algorithm,
        "phase": point.phase,
        "binds": point.binds,
        "binds_at": point.binds_at,
        "exposed_us": _optional(point.exposed_us),
        "tokens_per_s": _optional(point.tokens_per_s),
    }


def _optional(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _data(comparison: BenchComparison) -> dict[str, Any]:
    facts = comparison.scenario
    return {
        "scenario": facts
        and {
            "name": facts.name,
            "title": facts.title,
            "published": [{"fact": fact.text, "source": fact.why} for fact in facts.published],
            "assumed": [{"fact": fact.text, "why": fact.why} for fact in facts.assumed],
        },
        "job": {
            "hosts": comparison.hosts,
            "n_hosts": comparison.n_hosts,
            "ranks_per_host": comparison.ranks_per_host,
            "n_ranks": comparison.n_hosts * comparison.ranks_per_host,
        },
        "node": comparison.node,
        "outcomes": [
            {
                "routes": outcome.routes,
                "placement": outcome.placement,
                "offloads": outcome.offloads,
                "enabled": list(outcome.enabled),
                "baseline": outcome is comparison.baseline,
                "refusal": outcome.refusal or None,
                "instead": outcome.instead or None,
                "points": [
                    _point_data(point) | {"ratio": _optional(comparison.ratio(outcome, index))}
                    for index, point in enumerate(outcome.points)
                ],
            }
            for outcome in comparison.outcomes
        ],
        "assumptions": list(comparison.assumptions),
        "notes": list(comparison.notes),
    }


def _time(point: Point) -> str:
    if point.operation in (STEP, COMMUNICATION):
        return f"{point.time_us / 1e3:,.1f}"
    return f"{point.time_us:,.{0 if point.time_us >= 1000 else 1}f}"
