"""What a collective of NCCL should have reached: its ranks on its hosts, by the settings that its log names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fabctl.bench.predict import Setup, Walked, predict, predict_inside, with_ranks
from fabctl.bench.pricing import ON_FABRIC
from fabctl.bench.validation.ground import Expected, Ground
from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import BenchTable
from fabctl.model.validation import Predicted, Run
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.placement import Job, place
from fabctl.traffic.roster import listed, usual_hosts


def expect_nccl(run: Run, ground: Ground) -> Expected:
    """Return what NCCL should have reached.

    Raises
    ------
    InputError
        If the job or its hosts do not fit the run or the fabric, or a flow has no route.
    RefusedError, UsageError
        As `fabctl.bench.predict.predict` does.
    """
    if not run.n_ranks:
        return Expected(notes=("the log does not say how many ranks it ran: keep its lines '#  Rank  0 ...'",))
    collective, sizes = COLLECTIVES.load(run.operation), sorted({_whole_size(run, sample.size_bytes) for sample in run.samples})
    offloads, algorithm, notes = _settings(run, ground)
    if _one_host(run, ground):
        if ground.node is None:
            return Expected(notes=(*notes, "one host, of unknown type: --node NODE says what is in it"))
        node = ground.node

        def inside(chosen: Offloads) -> BenchTable:
            return predict_inside(node, run.n_ranks, [collective], sizes, chosen)

        return _of_table(inside(offloads), notes, offloads, inside)
    if ground.tables is None or ground.rates is None:
        over = f"{len(run.hosts)} hosts" if run.hosts else "several hosts"
        return Expected(notes=(*notes, f"this ran over {over}: --fabric SOURCE lays a prediction beside it"))
    job, job_notes = _job(run, ground)
    tables, rates, walked = ground.tables, ground.rates, Walked(job, ground.rates)
    setup = Setup(ground.node, offloads, algorithm)

    def over_fabric(chosen: Offloads) -> BenchTable:
        return predict(job, [tables], [collective], sizes, rates, replace(setup, offloads=chosen), walked=walked)

    return replace(_of_table(over_fabric(offloads), (*notes, *job_notes), offloads, over_fabric), job=job)


def _of_table(table: BenchTable, notes: tuple[str, ...], offloads: Offloads, again: Callable[[Offloads], BenchTable]) -> Expected:
    return Expected(
        sizes=_sizes(table),
        notes=(*notes, *table.notes),
        assumptions=table.assumptions,
        prediction=table.predictions[0],
        otherwise=lambda chosen: _sizes(again(chosen)),
        offloads=offloads,
    )


def _sizes(table: BenchTable) -> dict[int, Predicted]:
    return {
        row.size_bytes: Predicted(
            row.time_us, row.busbw_gb_s, row.latency_us, row.algorithm, row.protocol, row.binds, row.binds_at
        )
        for row in table.predictions[0].rows
    }


def _whole_size(run: Run, size_bytes: int) -> int:
    return size_bytes * run.n_ranks if run.per_piece else size_bytes


def _settings(run: Run, ground: Ground) -> tuple[Offloads, str, tuple[str, ...]]:
    """Return the offloads and the algorithm that the log's own variables leave, and what to say of them."""
    variables, notes = run.nccl.variables, []
    offloads, algorithm = ground.offloads, ""
    asked = variables.get("NCCL_ALGO", "")
    named = {name.lower(): known for name, known in ON_FABRIC.items()}
    if asked.lower() in named and ground.node is not None:
        algorithm = named[asked.lower()]
        notes.append(f"NCCL_ALGO={asked}, as in the log")
    elif asked:
        notes.append(f"the log's NCCL_ALGO={asked} is not counted on here")
    if variables.get("NCCL_NVLS_ENABLE") == "0" and offloads.nvls:
        offloads = replace(offloads, nvls=False)
        notes.append("without nvls, as in the log (NCCL_NVLS_ENABLE=0)")
    if variables.get("NCCL_COLLNET_ENABLE") == "1" and not offloads.sharp:
        notes.append("the log asks for SHARP (NCCL_COLLNET_ENABLE=1): --with sharp counts on it")
    if any(port.endswith("RoCE") for port in run.nccl.hcas):
        notes.append("this ran over RoCE, not over InfiniBand")
    return offloads, algorithm, tuple(notes)


def _one_host(run: Run, ground: Ground) -> bool:
    if run.hosts:
        return len(run.hosts) == 1
    return ground.tables is None and ground.node is not None and run.n_ranks <= len(ground.node.gpus)


def _job(run: Run, ground: Ground) -> tuple[Job, tuple[str, ...]]:
    """Place a run on the fabric: on the job's hosts, else on the log's, else on hosts that stand for them."""
    fabric = ground.fabric
    assert fabric is not None  # noqa: S101
    spec, notes = (ground.spec, ()) if ground.spec else _spec(run, ground.node, fabric)
    if spec.ranks_per_host is None:
        n_hosts = place(replace(spec, ranks_per_host=None), fabric).n_hosts
        even = run.n_ranks % n_hosts == 0
        spec = replace(spec, ranks_per_host=run.n_ranks // n_hosts) if even else with_ranks(spec, ground.node)
    job = place(spec, fabric)
    if job.n_ranks != run.n_ranks:
        raise InputError(
            f"this ran {run.n_ranks} ranks, and {job.n_hosts} hosts of {job.ranks_per_host} make {job.n_ranks}",
            where=f"{run.path}:{run.line}",
            hint="--job FILE says which hosts it ran on: hosts, ranks_per_host (fabctl help job)",
        )
    return job, notes


def _spec(run: Run, node: NodeGraph | None, fabric: Fabric) -> tuple[JobSpec, tuple[str, ...]]:
    where = f"{run.path}:{run.line}"
    per_host = run.ranks_per_host or None
    if run.hosts and set(run.hosts) <= set(fabric.hosts.name):
        return JobSpec(hosts=tuple(Placed(name, where) for name in run.hosts), ranks_per_host=per_host), ()
    usual, _ = usual_hosts(fabric)
    per_host = per_host or (len(node.gpus) if node else None)
    n_hosts = len(run.hosts) or (run.n_ranks // per_host if per_host and run.n_ranks % per_host == 0 else len(usual))
    strange = f"the log's hosts ({listed(run.hosts)}) are not on this fabric" if run.hosts else "the log does not name its hosts"
    if n_hosts == len(usual):
        return JobSpec(ranks_per_host=per_host), (f"{strange}: its {n_hosts} hosts stand for them",)
    if n_hosts > len(usual):
        raise InputError(
            f"this ran on {n_hosts} hosts, and the fabric has {len(usual)} compute hosts like its typical one",
            where=where,
            hint="is it the log's fabric? --job FILE says which hosts it ran on",
        )
    spec = JobSpec(hosts=(Placed(str(n_hosts), where),), count=n_hosts, placement="packed", ranks_per_host=per_host)
    return spec, (f"{strange}: {n_hosts} of its hosts, packed, stand for them; --job FILE says which they were",)
