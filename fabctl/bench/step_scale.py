"""Weak scaling of a training: more replicas on more hosts, each with as many sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fabctl.bench.step import predict_step
from fabctl.errors import InputError
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.rates import Float64
from fabctl.model.step_view import BUBBLE, COMPUTING, Compute, ScaleRow, StepView
from fabctl.model.tables import RoutingTables
from fabctl.traffic.job import JobSpec
from fabctl.traffic.parallelism import Grid, grid
from fabctl.traffic.placement import Job


def scale_step(
    spec: JobSpec,
    job: Job,
    tables: RoutingTables,
    rates: Float64,
    node: NodeGraph | None = None,
    offloads: Offloads | None = None,
    compute: Compute | None = None,
) -> tuple[ScaleRow, ...]:
    """Predict a training with 1, 2, 4 ... replicas, and with all, on the job's first hosts.

    Parameters and errors are those of `fabctl.bench.step.predict_step`. Numbers of replicas that do not fill whole hosts, or over
    which the experts do not divide, are left out.

    Complexity
    ----------
    That of predicting the whole step, at most three times.
    """
    rows: list[ScaleRow] = []
    for part_spec, cut in _smaller(spec, job):
        n_hosts = cut.n_ranks // job.ranks_per_host
        part = replace(job, hosts=job.hosts[:n_hosts], ports=job.ports[:n_hosts])
        rows.append(_row(predict_step(part_spec, part, tables, rates, node, offloads, compute), cut.dp))
    return tuple(replace(row, efficiency=_efficiency(rows[0], row)) for row in rows)


def _smaller(spec: JobSpec, job: Job) -> Iterator[tuple[JobSpec, Grid]]:
    """Return the training with fewer replicas, the least first, and last with all."""
    training = spec.training
    if training is None:
        return
    whole = grid(training.parallelism, job.n_ranks)
    doubled = [1 << power for power in range(whole.dp.bit_length()) if 1 << power < whole.dp]
    for dp in (*doubled, whole.dp):
        n_ranks = dp * whole.n_ranks // whole.dp
        parallelism = replace(training.parallelism, dp=dp)
        if n_ranks % job.ranks_per_host == 0:
            try:
                yield replace(spec, training=replace(training, parallelism=parallelism)), grid(parallelism, n_ranks)
            except InputError:
                continue


def _row(view: StepView, dp: int) -> ScaleRow:
    waits = {part.name: part.seconds for part in view.path_segments if part.name not in (*COMPUTING, BUBBLE)}
    return ScaleRow(
        n_hosts=view.n_hosts,
        n_ranks=view.n_ranks,
        dp=dp,
        step_seconds=view.step_seconds,
        exposed_seconds=view.exposed_seconds,
        tokens_per_s=view.tokens_per_s,
        efficiency=None,
        waits_for=max(waits, key=waits.__getitem__, default=""),
    )


def _efficiency(first: ScaleRow, row: ScaleRow) -> float | None:
    """Return throughput per rank against the first row's: every rank does as much in each step."""
    return first.step_seconds / row.step_seconds if first.step_seconds and row.step_seconds else None
