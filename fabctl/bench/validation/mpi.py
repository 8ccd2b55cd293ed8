"""What a collective of MPI should have reached: all-reduce of host memory, one rank per host, with and without SHARP."""

from __future__ import annotations

from dataclasses import replace

from fabctl.bench.sharp import sharp_plan
from fabctl.bench.sharp_time import HCOLL_BYTES, host_based_us, low_latency_us, streaming_us
from fabctl.bench.validation.ground import Expected, Ground, payload_share
from fabctl.model.validation import Predicted, Run
from fabctl.traffic.placement import place


def expect_mpi(run: Run, ground: Ground) -> Expected:
    """Return what MPI's all-reduce should have taken; of its other collectives nothing is known.

    Raises
    ------
    InputError
        If the job does not fit the fabric.
    RefusedError
        If SHARP is counted on, and the fabric's switches have none.
    """
    if run.operation != "all_reduce" or "device" in run.buffers:
        return Expected(notes=("of MPI's collectives only all-reduce of host memory is predicted",))
    if ground.tables is None or ground.rates is None or ground.spec is None:
        return Expected(notes=("the log does not say how many ranks it ran: --fabric SOURCE and --job FILE do",))
    job = place(replace(ground.spec, ranks_per_host=ground.spec.ranks_per_host or 1), ground.tables.fabric)
    if job.ranks_per_host != 1:
        return Expected(notes=(f"MPI's all-reduce is predicted for one rank per host, and the job has {job.ranks_per_host}",))
    wire = float(ground.rates[job.fabric.channel_of_port[job.ports[:, 0]]].min()) / 8 * payload_share(run)
    plan = sharp_plan(job) if ground.offloads.sharp else None

    def time_us(size: int) -> tuple[float, str]:
        software = host_based_us(job.n_hosts, size, wire)
        if plan and size <= HCOLL_BYTES and plan.payload_bytes:
            return min((low_latency_us(plan.depth, plan.payload_bytes, size), "SHARP"), (software, "MPI"))
        if plan and size > HCOLL_BYTES and plan.streaming:
            return min((streaming_us(size, wire), "SHARP"), (software, "MPI"))
        return software, "MPI"

    sizes = {sample.size_bytes: time_us(sample.size_bytes) for sample in run.samples}
    return Expected(
        sizes={size: Predicted(time_us=time, algorithm=how) for size, (time, how) in sizes.items()},
        notes=job.notes,
        assumptions=(
            "MPI's own times are those of HCOLL in 2016 (docs/models.md): shown, not judged",
            *(plan.reasons if plan else ()),
        ),
        job=job,
        judged=False,
    )
