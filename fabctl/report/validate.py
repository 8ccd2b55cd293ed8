"""`Validation` to a report: what was measured and what is predicted in columns of their own, then what may explain the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fabctl.model.results import Finding
from fabctl.model.validation import LATENCY, PAIRS, Cause, Compared, Run, Validation, Verdict
from fabctl.report.bench_words import KINDS, closing, cut, entry, time_words, unknown_hosts
from fabctl.report.output import Column, Report, Table, findings_table, rounded
from fabctl.report.validate_many import DETAILED, heading, overview, together
from fabctl.units import size_text

MAIN = (
    Column("log", "log"),
    Column("line", "line", right=True),
    Column("test", "test"),
    Column("size_bytes", "size(B)", right=True),
    Column("measured_us", "measured(us)", right=True),
    Column("in_place_us", "in place(us)", right=True),
    Column("measured_gb_s", "measured(GB/s)", right=True),
    Column("predicted_us", "predicted(us)", right=True),
    Column("predicted_gb_s", "predicted(GB/s)", right=True),
    Column("ratio", "ratio", right=True, digits=2),
    Column("flag", "flag"),
    Column("algorithm", "algo"),
    Column("protocol", "proto"),
    Column("binds", "binds"),
    Column("binds_at", "at", wide=True),
)
OF_RUN = ("log", "line", "test")
HOSTS_SHOWN = 60


def validate_report(
    validation: Validation, *, inputs: Sequence[Mapping[str, Any]] = (), remarks: Sequence[str] = (), fitting: Sequence[str] = ()
) -> Report:
    """Return the report of one or more logs.

    Parameters
    ----------
    inputs : sequence of dict
        ``path``, ``sha256`` and ``parser`` of each input.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    fitting : sequence of str
        Node types that the fabric's hosts could be, where they are unknown.
    """
    findings = [finding for verdict in validation.verdicts for finding in _findings(verdict, validation.threshold)]
    many = len(validation.verdicts) > DETAILED
    text = (_at_a_glance if many else _in_full)(validation, remarks, fitting)
    if findings:
        text += [findings_table(findings)]
    return Report(
        kind="Validation",
        data=_data(validation),
        text=text,
        main=Table("", MAIN, [_row(verdict.run, row) for verdict in validation.verdicts for row in verdict.rows]),
        inputs=inputs,
        findings=findings,
    )


# ---- text --------------------------------------------------------------------------------------------------------------


def _in_full(validation: Validation, remarks: Sequence[str], fitting: Sequence[str]) -> list[str | Table]:
    text: list[str | Table] = []
    for verdict in validation.verdicts:
        text += [*(["\n" + "-" * 8] if text else []), *_about(verdict), *_ground(verdict, remarks, fitting), *_table(verdict)]
        text += _summary(verdict, validation.threshold)
        text += _causes("\nLikely causes", verdict.causes)
        text += closing(_with_allowance(verdict, validation), verdict.notes)
    return text + _causes("\nOf all runs together", validation.causes)


def _at_a_glance(validation: Validation, remarks: Sequence[str], fitting: Sequence[str]) -> list[str | Table]:
    verdicts = validation.verdicts
    grounds = dict.fromkeys(line for verdict in verdicts for line in _ground(verdict, remarks, fitting))
    assumptions = together([_with_allowance(verdict, validation) for verdict in verdicts])
    notes = together([verdict.notes for verdict in verdicts])
    return [
        heading(validation),
        *grounds,
        *overview(validation),
        *_causes("\nOf all runs together", validation.causes),
        *closing(assumptions, notes),
    ]


def _about(verdict: Verdict) -> Iterator[str]:
    run, facts = verdict.run, verdict.run.nccl
    yield f"Log     {run.path}:{run.line}: {run.tool}, {run.test}{_ranks(run)}"
    known = [run.gpu, f"NCCL {facts.version}" if facts.version else "", f"network {facts.network}" if facts.network else ""]
    if run.operation in PAIRS and run.tool == "osu":
        known.append(f"from {run.buffers[0]} to {run.buffers[1]} memory")
    if any(known):
        yield f"        {'; '.join(word for word in known if word)}"


def _ground(verdict: Verdict, remarks: Sequence[str], fitting: Sequence[str]) -> Iterator[str]:
    run = verdict.run
    if not any(row.predicted for row in verdict.rows):
        return
    if verdict.node:
        yield from entry("Hosts", verdict.node)
    elif run.operation not in PAIRS:
        yield from entry("Hosts", *unknown_hosts(fitting))
    if verdict.routes:
        yield from entry("Routes", verdict.routes, *remarks)


def _ranks(run: Run) -> str:
    if not run.n_ranks:
        return ""
    names = cut(",".join(run.hosts), HOSTS_SHOWN)
    hosts = f" on {len(run.hosts)} host{'s' if len(run.hosts) > 1 else ''} ({names})" if run.hosts else ""
    return f", {run.ranks_text} ranks{hosts}"


def _table(verdict: Verdict) -> Iterator[Table]:
    rows = [_row(verdict.run, row) for row in verdict.rows]
    for row in rows:
        row |= {key: time_words(row[key]) for key in ("measured_us", "in_place_us", "predicted_us") if row[key] is not None}
        row |= {key: _rate(row[key]) for key in ("measured_gb_s", "predicted_gb_s") if row[key] is not None}
        row["binds"] = KINDS.get(row["binds"] or "", row["binds"])
    filled = [column for column in MAIN if column.key not in OF_RUN and any(row[column.key] not in (None, "") for row in rows)]
    title = f"{verdict.run.operation}, measured{' beside predicted' if any(row.predicted for row in verdict.rows) else ''}"
    yield Table(title, tuple(filled), rows)


def _summary(verdict: Verdict, threshold: float) -> Iterator[str]:
    compared = [row for row in verdict.rows if row.ratio is not None]
    if not compared:
        if verdict.run.operation != LATENCY:
            best = max(verdict.rows, key=lambda row: row.sample.best_gb_s).sample
            yield f"Highest bandwidth {best.best_gb_s:.2f} GB/s, at {size_text(best.size_bytes)}; nothing is predicted"
        return
    if not verdict.judged:
        ratios = [row.ratio or 0.0 for row in compared]
        yield f"Measured speed is {min(ratios):.2f} to {max(ratios):.2f} of what is predicted; this model is shown, not judged by"
        return
    slow, fast = verdict.flagged("slow"), verdict.flagged("fast")
    off = "".join(f"; {_which(word, rows)}" for word, rows in (("slower", slow), ("faster", fast)) if rows)
    yield f"{len(compared) - len(slow) - len(fast)} of {len(compared)} sizes as predicted, within {threshold:.0%}{off}"
    last = compared[-1]
    if last.predicted and last.predicted.gb_s:
        measured, predicted = f"measured {last.sample.best_gb_s:.2f} GB/s", f"predicted {last.predicted.gb_s:.2f}"
        yield f"{size_text(last.sample.size_bytes)}: {measured}, {predicted}, ratio {last.ratio:.2f}"


def _which(word: str, rows: Sequence[Compared]) -> str:
    sizes = [row.sample.size_bytes for row in rows]
    worst = (min if word == "slower" else max)(rows, key=lambda row: row.ratio or 1.0)
    span = size_text(sizes[0]) if len(sizes) == 1 else f"{size_text(min(sizes))} to {size_text(max(sizes))}"
    return f"{len(rows)} {word} ({span}; {worst.ratio:.2f} at {size_text(worst.sample.size_bytes)})"


def _causes(title: str, causes: Sequence[Cause]) -> list[str]:
    if not causes:
        return []
    lines = [title]
    for number, cause in enumerate(causes, 1):
        lines += [f"  {number}. {cause.title} ({cause.certainty})", *(f"     {line}" for line in cause.evidence)]
        lines.append(f"     next: {cause.next_step}")
    return lines


def _with_allowance(verdict: Verdict, validation: Validation) -> tuple[str, ...]:
    if not any(row.predicted and row.predicted.latency_us for row in verdict.rows):
        return verdict.assumptions
    return (
        *verdict.assumptions,
        f"sizes between latency and bandwidth may be {validation.allowance:.0%} slower besides: NCCL's model is optimistic there",
        "ratio: measured over predicted speed, of the faster of out of place and in place",
    )


def _rate(gb_s: float) -> str:
    """Return a bandwidth with nccl-tests' two decimals, or three digits where these would show nothing."""
    return f"{gb_s:.2f}" if gb_s >= 1 or not gb_s else f"{gb_s:.3g}"


# ---- findings and data -------------------------------------------------------------------------------------------------


def _findings(verdict: Verdict, threshold: float) -> Iterator[Finding]:
    run = verdict.run
    subject = f"{run.path}:{run.line}"
    if run.copies > 1:
        yield Finding("VAL104", "error", subject, f"{run.copies} separate runs, none of them over the network")
    if run.wrong:
        yield Finding("VAL103", "error", subject, f"{run.wrong} values are wrong")
    if slow := verdict.flagged("slow"):
        message = _off(slow, verdict, threshold, "slower")
        yield Finding("VAL101", "error", subject, message, tuple(size_text(row.sample.size_bytes) for row in slow))
    if fast := verdict.flagged("fast"):
        message = _off(fast, verdict, threshold, "faster")
        yield Finding("VAL102", "info", subject, message, tuple(size_text(row.sample.size_bytes) for row in fast))


def _off(rows: Sequence[Compared], verdict: Verdict, threshold: float, word: str) -> str:
    are = "is" if len(rows) == 1 else "are"
    return f"{len(rows)} of {len(verdict.rows)} sizes {are} more than {threshold:.0%} {word} than predicted"


def _row(run: Run, row: Compared) -> dict[str, Any]:
    sample, predicted = row.sample, row.predicted
    return {
        "log": run.path,
        "line": sample.line,
        "test": run.test,
        "size_bytes": sample.size_bytes,
        "measured_us": sample.time_us or None,
        "in_place_us": sample.in_place_us or None,
        "measured_gb_s": sample.gb_s if sample.gb_s or not run.mpi else None,
        "predicted_us": rounded(predicted.time_us) if predicted and predicted.time_us else None,
        "predicted_gb_s": rounded(predicted.gb_s) if predicted and predicted.gb_s else None,
        "ratio": None if row.ratio is None else rounded(row.ratio),
        "flag": row.flag,
        "algorithm": predicted.algorithm if predicted else "",
        "protocol": predicted.protocol if predicted else "",
        "binds": predicted.binds if predicted else "",
        "binds_at": predicted.binds_at if predicted else "",
    }


def _data(validation: Validation) -> dict[str, Any]:
    return {
        "threshold": validation.threshold,
        "allowance": validation.allowance,
        "runs": [_run_data(verdict) for verdict in validation.verdicts],
        "causes": [_cause_data(cause) for cause in validation.causes],
    }


def _run_data(verdict: Verdict) -> dict[str, Any]:
    run, facts = verdict.run, verdict.run.nccl
    return {
        "log": run.path,
        "line": run.line,
        "tool": run.tool,
        "test": run.test,
        "operation": run.operation,
        "n_ranks": run.n_ranks,
        "hosts": list(run.hosts),
        "ranks_per_host": run.ranks_per_host,
        "gpu": run.gpu,
        "nccl": {
            "version": facts.version,
            "variables": dict(facts.variables),
            "network": facts.network,
            "hcas": list(facts.hcas),
            "gdr_connections": dict(facts.gdr),
            "staged_connections": dict(facts.staged),
            "channels": dict(facts.channels),
        },
        "wrong_values": run.wrong,
        "separate_runs": run.copies if run.copies > 1 else 0,
        "routes": verdict.routes,
        "node": verdict.node,
        "rows": [{key: value for key, value in _row(run, row).items() if key not in ("log", "test")} for row in verdict.rows],
        "causes": [_cause_data(cause) for cause in verdict.causes],
        "assumptions": list(verdict.assumptions),
        "notes": list(verdict.notes),
    }


def _cause_data(cause: Cause) -> dict[str, Any]:
    return {
        "code": cause.code,
        "title": cause.title,
        "certainty": cause.certainty,
        "evidence": list(cause.evidence),
        "next": cause.next_step,
    }
