"""`StepView` to a report: how long a step takes, its critical path, its collectives, and how it scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fabctl.model.step_view import BACKWARD, BUBBLE, FORWARD, ScaleRow, Segment, StepPhase, StepView
from fabctl.report.bench_words import KINDS, closing, counting_on, entry, job_words, unknown_hosts
from fabctl.report.job import readable_bytes
from fabctl.report.output import Column, Report, Table, rounded

PATH = (
    Column("part", "PART"),
    Column("seconds", "TIME(s)", right=True),
    Column("share", "SHARE", right=True),
    Column("what", "WHAT IT IS"),
)
PHASES = (
    Column("kind", "KIND", wide=True),
    Column("name", "WHAT"),
    Column("operation", "COLLECTIVE"),
    Column("algorithm", "ALGO"),
    Column("protocol", "PROTO", wide=True),
    Column("groups", "GROUPS", right=True),
    Column("group_size", "RANKS", right=True),
    Column("message_bytes", "MESSAGE", right=True),
    Column("times", "TIMES", right=True),
    Column("seconds", "TIME(s)", right=True, wide=True),
    Column("step_seconds", "STEP(s)", right=True),
    Column("exposed_seconds", "WAITED(s)", right=True),
    Column("inside", "INSIDE", wide=True),
    Column("overlapped", "MAY HIDE", wide=True),
    Column("binds", "BOUND BY"),
    Column("binds_at", "AT"),
)
SCALE = (
    Column("n_hosts", "HOSTS", right=True),
    Column("n_ranks", "GPUS", right=True),
    Column("dp", "DP", right=True),
    Column("step_seconds", "STEP(s)", right=True),
    Column("exposed_seconds", "WAITED(s)", right=True),
    Column("tokens_per_s", "TOKENS/S", right=True),
    Column("efficiency", "EFFICIENCY", right=True),
    Column("waits_for", "WAITS MOST FOR"),
)
MEANING = {
    FORWARD: "the fullest stage, all microbatches",
    BACKWARD: "the same",
    "tp": "tensor parallel exchanges",
    "cp": "context parallel exchanges",
    "ep": "tokens to experts and back",
    "pp": "transfers between stages",
    "dp": "gradients and parameters of the replicas",
    "embedding": "tied embeddings",
    BUBBLE: "filling and draining the pipeline",
}
SAID = (
    *("name", "path", "routes", "node", "gpu", "precision", "peak_tflops", "hosts", "n_hosts", "ranks_per_host", "n_ranks"),
    *("model", "source", "parameters", "sequences", "tokens"),
)
DERIVED = (
    *("step_seconds", "compute_seconds", "exposed_seconds", "bubble_seconds", "hidden_seconds"),
    *("tokens_per_s", "tflops_per_gpu", "mfu", "model_flops"),
)
TELLING = 0.01
"""Share of the step below which nothing is said about what is waited for."""


def step_report(
    view: StepView,
    *,
    scale: Sequence[ScaleRow] = (),
    inputs: Sequence[Mapping[str, Any]] = (),
    remarks: Sequence[str] = (),
    fitting: Sequence[str] = (),
    next_step: str = "",
) -> Report:
    """Return a step as a report.

    Parameters
    ----------
    scale : sequence of ScaleRow
        Smallest first; empty if not asked for.
    remarks : sequence of str
        Lines for people about how the command came to its routes.
    fitting : sequence of str
        Node types whose HCAs fit hosts that are unknown.
    next_step : str
        The command that says what other engines and offloads are worth here.
    """
    text: list[str | Table] = [*_head(view, remarks, fitting), "", *_verdict(view)]
    text += [f"Next    {next_step}"] if next_step else []
    if view.path_segments:
        text.append(Table("Critical path", PATH, [_path_row(view, segment) for segment in view.path_segments]))
    text += [Table("Communication", PHASES, [_shown(phase) for phase in view.phases])]
    if view.hidden_seconds:
        meant = "" if view.step_seconds else ", if there is as much of it"
        text.append(f"{_seconds(view.hidden_seconds)} s of it hide behind computing{meant}")
    if scale:
        known = tuple(column for column in SCALE if any(getattr(row, column.key) is not None for row in scale))
        text.append(Table("Weak scaling", known, [_scale_shown(row) for row in scale]))
    text += closing(view.assumptions, view.notes)
    return Report(
        kind="StepReport",
        data=_data(view, scale),
        text=text,
        main=Table("", PHASES, [_row(phase) for phase in view.phases]),
        inputs=inputs,
    )


def _head(view: StepView, remarks: Sequence[str], fitting: Sequence[str]) -> Iterator[str]:
    yield from entry("Job", f"{view.name}, {job_words(view.hosts, view.n_hosts, view.ranks_per_host)}")
    if view.node:
        peak = f", {view.peak_tflops:g} TFLOPS peak in {view.precision}" if view.peak_tflops else ""
        yield from entry("Hosts", f"{view.node}{peak}; {counting_on(view.offloads)}")
    else:
        yield from entry("Hosts", *unknown_hosts(fitting))
    yield from entry("Model", f"{view.model}: {view.parameters:,} parameters")
    yield from entry("Cut", ", ".join(f"{key} {value}" for key, value in view.parallelism.items()))
    if view.tokens:
        yield from entry("Batch", f"{view.sequences:,} sequences, {view.tokens:,} tokens a step")
    yield from entry("Routes", view.routes, *remarks)


def _verdict(view: StepView) -> Iterator[str]:
    """Say how long a step takes, or what it waits for, and what would help most."""
    whole = all(phase.seconds is not None for phase in view.phases)
    if view.step_seconds is None:
        waited = _seconds(view.exposed_seconds + view.bubble_seconds)
        yield f"A step waits {waited} s for {'communication' if whole else 'the fabric'}; how long it computes is not known"
        yield "        --efficiency SHARE (of the GPUs' peak, as they compute) or --compute-ms MS gives the whole step"
        return
    reached = []
    if view.tokens_per_s:
        reached.append(f"{view.tokens_per_s:,.0f} tokens/s")
    if view.tflops_per_gpu:
        reached.append(f"{view.tflops_per_gpu:.0f} TFLOPS per GPU")
    if view.mfu:
        reached.append(f"{view.mfu:.1%} of the peak (MFU)")
    takes = f"A step takes {'' if whole else 'at least '}{_seconds(view.step_seconds)} s"
    yield f"{takes}: {', '.join(reached)}" if reached else takes
    waits = [segment for segment in view.path_segments if segment.name not in (FORWARD, BACKWARD)]
    longest = max(waits, key=lambda segment: segment.seconds, default=None)
    if longest and longest.seconds > TELLING * view.step_seconds:
        yield f"        it waits longest, {longest.seconds / view.step_seconds:.0%} of it, for {_cause(view, longest)}"


def _cause(view: StepView, segment: Segment) -> str:
    if segment.name == BUBBLE:
        return "the pipeline to fill and drain: more microbatches, or interleave, make that shorter"
    phase = max((phase for phase in view.phases if phase.kind == segment.name), key=lambda phase: phase.exposed_seconds)
    at = f" ({phase.binds_at})" if phase.binds_at else ""
    return f"{phase.name}, bound by {KINDS.get(phase.binds, phase.binds)}{at}"


def _path_row(view: StepView, segment: Segment) -> dict[str, Any]:
    whole = sum(part.seconds for part in view.path_segments)
    return {
        "part": segment.name,
        "seconds": _seconds(segment.seconds),
        "share": f"{segment.seconds / whole:.1%}",
        "what": MEANING[segment.name],
    }


def _row(phase: StepPhase) -> dict[str, Any]:
    row = asdict(phase)
    row["message_bytes"] = round(phase.message_bytes)
    return row | {key: _rounded(getattr(phase, key)) for key in ("seconds", "step_seconds", "exposed_seconds")}


def _shown(phase: StepPhase) -> dict[str, Any]:
    row = _row(phase)
    times = {key: _seconds(row[key]) for key in ("seconds", "step_seconds", "exposed_seconds")}
    bound = {"binds": KINDS.get(phase.binds, phase.binds) or "-", "protocol": phase.protocol or "-"}
    return row | times | bound | {"message_bytes": readable_bytes(phase.message_bytes)}


def _scale_row(row: ScaleRow) -> dict[str, Any]:
    keys = ("step_seconds", "exposed_seconds", "tokens_per_s", "efficiency")
    return asdict(row) | {key: _rounded(getattr(row, key)) for key in keys}


def _scale_shown(row: ScaleRow) -> dict[str, Any]:
    return asdict(row) | {
        "step_seconds": _seconds(row.step_seconds),
        "exposed_seconds": _seconds(row.exposed_seconds),
        "tokens_per_s": "-" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",
        "efficiency": "-" if row.efficiency is None else f"{row.efficiency:.1%}",
        "waits_for": row.waits_for or "-",
    }


def _data(view: StepView, scale: Sequence[ScaleRow]) -> dict[str, Any]:
    return {
        **{key: getattr(view, key) for key in SAID},
        "offloads": list(view.offloads),
        "parallelism": dict(view.parallelism),
        "efficiency": view.compute.efficiency or None,
        "compute_ms": view.compute.ms or None,
        **{key: _rounded(getattr(view, key)) for key in DERIVED},
        "critical_path": [{"part": segment.name, "seconds": rounded(segment.seconds)} for segment in view.path_segments],
        "phases": [_row(phase) for phase in view.phases],
        "scale": [_scale_row(row) for row in scale],
        "assumptions": list(view.assumptions),
        "notes": list(view.notes),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
