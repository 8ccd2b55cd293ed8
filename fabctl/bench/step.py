"""The step of a training: its collectives timed on a fabric and in its hosts, laid over the time that computing takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fabctl.bench.scene import setup_of
from fabctl.bench.step_calls import CallTimer
from fabctl.bench.step_compute import model_flops, peak_flops, stage_times
from fabctl.bench.step_overlap import Pipeline, schedule
from fabctl.errors import UsageError
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.rates import Float64
from fabctl.model.step_view import Compute, StepPhase, StepView
from fabctl.model.tables import RoutingTables
from fabctl.nodeset import folded
from fabctl.traffic.call import Call
from fabctl.traffic.job import JobSpec
from fabctl.traffic.parallelism import Grid, grid
from fabctl.traffic.placement import Job
from fabctl.traffic.step import job_calls
from fabctl.traffic.training import layers_of_stages
from fabctl.traffic.training_spec import TrainingSpec


def predict_step(
    spec: JobSpec,
    job: Job,
    tables: RoutingTables,
    rates: Float64,
    node: NodeGraph | None = None,
    offloads: Offloads | None = None,
    compute: Compute | None = None,
    required: tuple[str, ...] = (),
) -> StepView:
    """Predict one step of a training.

    Parameters
    ----------
    spec : JobSpec
        Of a training.
    job : Job
        `spec` placed on the fabric.
    rates : float64 array of shape (n_channels,)
        Data rate of each channel in Gb/s (`fabctl.model.rates.data_rates`).
    node : NodeGraph, optional
        None: what is inside the hosts is unknown, and groups within a host count as nothing.
    offloads : Offloads, optional
    compute : Compute, optional
        By default computing is unknown, and communication stands alone.
    required : tuple of str
        Names of offloads that are refused where the hosts lack them; others that are on by default are left out there.

    Raises
    ------
    UsageError
        If the job is no training, the node type has fewer GPUs or HCAs than the job uses, an offload needs hosts that are known,
        or an efficiency is given where the model's operations or the GPU are unknown.
    InputError
        If the ranks do not divide as the training is cut, NCCL has not the job's algorithm, or a flow has no route.
    RefusedError
        If an offload cannot work here, a used cable's rate is unknown, or the GPU lacks the precision.
    """
    training = spec.training
    if training is None:
        raise UsageError(
            f"'{spec.name}' is no training: it has no 'model'",
            hint="fabctl bench predicts collectives; a training: fabctl help job",
        )
    compute = compute or Compute()
    setup = setup_of(spec, node, offloads, required)
    spec = replace(spec, pxn=setup.offloads.pxn)
    cut = grid(training.parallelism, job.n_ranks)
    timer = CallTimer(spec, job, tables, rates, setup)
    phases = [_phase(call, timer) for call in job_calls(spec, job.n_ranks)]
    peak = peak_flops(training, node)
    laid = schedule(phases, _pipeline(training, cut), stage_times(training, cut, node, compute))
    sequences = training.parallelism.micro_batch_size * training.parallelism.microbatches * cut.dp
    degrees = {"tp": cut.tp, "cp": cut.cp, "ep": cut.ep, "dp": cut.dp, "pp": cut.pp, "zero": training.parallelism.zero}
    degrees |= {"microbatches": training.parallelism.microbatches, "interleave": training.parallelism.interleave}
    return StepView(
        name=spec.name,
        path=spec.path,
        routes=tables.origin,
        node=node.name if node else "",
        gpu=node.gpu_model if node else "",
        precision=training.precision.compute,
        peak_tflops=peak / 1e12,
        offloads=timer.scene.offloads if job.n_ranks > 1 else setup.offloads.names,
        hosts=folded(job.hosts),
        n_hosts=job.n_hosts,
        ranks_per_host=job.ranks_per_host,
        n_ranks=job.n_ranks,
        model=training.model.title or training.model.name,
        source=training.model.source,
        parameters=training.model.total_parameters(),
        parallelism=degrees,
        sequences=sequences,
        tokens=sequences * training.sequence_length,
        model_flops=model_flops(training, sequences),
        compute=compute,
        phases=laid.phases,
        path_segments=laid.segments,
        hidden_seconds=laid.hidden_seconds,
        notes=(*job.notes, *timer.scene.notes, *_notes(laid.phases, node)),
        assumptions=(*_assumptions(training, cut, node, compute), *timer.scene.reasons),
    )


def _phase(call: Call, timer: CallTimer) -> StepPhase:
    priced = timer.time(call)
    kind, name = priced.binds if priced else ("", "")
    return StepPhase(
        kind=call.kind,
        name=call.name,
        operation=call.operation,
        algorithm=priced.algorithm if priced else call.algorithm,
        protocol=priced.protocol if priced else "",
        groups=call.n_groups,
        group_size=call.group_size,
        message_bytes=float(call.size_bytes.max()),
        times=call.times,
        seconds=priced.time_us * 1e-6 if priced else None,
        binds=kind,
        binds_at=name,
        inside=timer.inside(call),
        overlapped=call.overlapped,
    )


def _pipeline(training: TrainingSpec, cut: Grid) -> Pipeline:
    layers = round(float(layers_of_stages(training, cut)[0].max())) if training.model.is_transformer else 0
    parallelism = training.parallelism
    return Pipeline(parallelism.microbatches, cut.pp, parallelism.interleave, layers, parallelism.zero)


def _notes(phases: Sequence[StepPhase], node: NodeGraph | None) -> Iterator[str]:
    unknown = sorted({phase.kind for phase in phases if phase.seconds is None})
    if unknown:
        yield f"{', '.join(unknown)}: within the hosts, whose inside is unknown: counted as no time"
    if node is None:
        yield "rings over the fabric, whatever NCCL would choose: that depends on what is inside the hosts"


def _assumptions(training: TrainingSpec, cut: Grid, node: NodeGraph | None, compute: Compute) -> Iterator[str]:
    yield "collectives follow one another, and all groups of one run at once; the slowest cable or link bounds; no other job"
    if node:
        yield "NCCL 2.30.7 chooses algorithms and protocols; all-to-all and transfers cost a hop and a post per further peer"
    if compute.efficiency:
        products = f"matrix products at {compute.efficiency:.3g} of the GPU's peak, which you gave"
        yield f"{products}; attention counts all scores, the optimizer and what is no matrix product nothing"
    if compute.efficiency or compute.ms:
        ratio = "backward computes twice what forward does"
        again = {"none": "", "selective": ", and attention's scores again", "full": ", and forward once more"}
        yield f"every rank of a stage computes alike: no stragglers; {ratio}{again[training.parallelism.recompute]}"
    if cut.pp > 1:
        yield "the pipeline runs one forward, one backward in turn (1F1B); filling and draining takes (p - 1) / v microbatches"
    if "dp" in training.overlap and training.parallelism.zero < 3:
        yield "dp hides behind the last microbatch's backward, gathered parameters behind the first's forward, but for one layer"
    if cut.ep > 1:
        yield "tokens spread evenly over the experts"
