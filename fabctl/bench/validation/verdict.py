"""Runs of benchmarks beside what they should have reached: sizes flagged, causes ranked."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.bench.validation.causes import likely_causes
from fabctl.bench.validation.ground import ALLOWANCE, Expected, Ground, flag_of, speed_ratio
from fabctl.bench.validation.mpi import expect_mpi
from fabctl.bench.validation.nccl import expect_nccl
from fabctl.bench.validation.pairs import expect_bandwidth, expect_latency
from fabctl.bench.validation.several import slow_hosts
from fabctl.model.validation import LATENCY, PAIRS, Compared, Run, Sample, Validation, Verdict
from fabctl.traffic.collectives import COLLECTIVES


def validate(runs: Sequence[Run], ground: Ground, threshold: float) -> Validation:
    """Lay predictions beside runs.

    Parameters
    ----------
    threshold : float
        Relative: a size whose speed is off by more is flagged.

    Raises
    ------
    InputError
        If the job or its hosts do not fit a run or the fabric, or a flow has no route.
    RefusedError, UsageError
        As `fabctl.bench.predict.predict` does.
    """
    verdicts = tuple(_verdict(run, ground, threshold) for run in runs)
    return Validation(verdicts, threshold, ALLOWANCE, slow_hosts(verdicts, threshold))


def expect(run: Run, ground: Ground) -> Expected:
    """Return what a run should have reached, or why that is not predicted; raises as `validate` does."""
    if run.copies > 1:
        return Expected(notes=(f"{run.copies} processes printed this, each of its own run: there is nothing to compare it with",))
    if run.operation in PAIRS:
        return (expect_latency if run.operation == LATENCY else expect_bandwidth)(run, ground)
    if run.operation not in COLLECTIVES.entries:
        return Expected(notes=(f"'{run.operation}' is not predicted; predicted are {', '.join(COLLECTIVES.names())}",))
    return (expect_mpi if run.mpi else expect_nccl)(run, ground)


def _verdict(run: Run, ground: Ground, threshold: float) -> Verdict:
    expected = expect(run, ground)
    rows = tuple(_compared(run, sample, expected, threshold) for sample in run.samples)
    over_fabric = ground.tables is not None and (expected.job is not None or run.operation in PAIRS)
    return Verdict(
        run=run,
        rows=rows,
        routes=ground.tables.origin if ground.tables and over_fabric and expected.sizes else "",
        node=ground.node.name if ground.node and expected.sizes else "",
        causes=likely_causes(run, rows, expected, ground, threshold),
        assumptions=expected.assumptions,
        notes=(*run.notes, *expected.notes),
        judged=expected.judged,
    )


def _compared(run: Run, sample: Sample, expected: Expected, threshold: float) -> Compared:
    predicted = expected.at(sample.size_bytes * run.n_ranks if run.per_piece else sample.size_bytes)
    ratio = speed_ratio(sample, predicted)
    if ratio is None or predicted is None or not expected.judged:
        return Compared(sample, predicted, ratio)
    return Compared(sample, predicted, ratio, flag_of(ratio, predicted, threshold))
