"""What a collective of NCCL should have reached: its ranks on its hosts, by the settings that its log names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fabctl.bench.predict import Walked, predict, predict_inside
from fabctl.bench.pricing import ON_FABRIC
from fabctl.bench.scene import setup_of
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
    return _inside(run, ground) if _one_host(run, ground) else _over_fabric(run, ground)


def _inside(run: Run, ground: Ground) -> Expected:
    offloads, _, notes = _settings(run, ground, one_host=True)
    if ground.node is None:
        return Expected(notes=(*notes, "one host, of unknown type: --node NODE says what is in it"))
    node, collective, sizes = ground.node, COLLECTIVES.load(run.operation), _whole_sizes(run)
    if not run.hosts:
        fit = f"{run.n_ranks} ranks fit into one {node.name}"
        notes = (*notes, f"the log does not name its hosts: {fit}; --job FILE says otherwise")

    def predicted(chosen: Offloads) -> BenchTable:
        return predict_inside(node, run.n_ranks, [collective], sizes, chosen, ground.required)

    return _of_table(predicted(offloads), notes, offloads, predicted)


def _over_fabric(run: Run, ground: Ground) -> Expected:
    offloads, algorithm, notes = _settings(run, ground, one_host=False)
    if ground.tables is None or ground.rates is None:
        if not run.hosts and ground.node is None:
            return Expected(notes=(*notes, "the log does not name its hosts: --node NODE predicts one, --fabric SOURCE several"))
        over = f"{len(run.hosts)} hosts" if run.hosts else "several hosts"
        return Expected(notes=(*notes, f"this ran over {over}: --fabric SOURCE lays a prediction beside it"))
    job, job_notes = _job(run, ground)
    collective, sizes = COLLECTIVES.load(run.operation), _whole_sizes(run)
    tables, rates, walked = ground.tables, ground.rates, Walked(job, ground.rates)
    setup = setup_of(ground.spec or JobSpec(), ground.node, offloads, ground.required)
    setup = replace(setup, algorithm=algorithm or setup.algorithm)
    crossing = run.nccl.variables.get("NCCL_CROSS_NIC", "")
    if crossing in ("0", "1", "2"):
        setup = replace(setup, cross_nic=int(crossing))
        notes = (*notes, f"NCCL_CROSS_NIC={crossing}, as in the log")

    def predicted(chosen: Offloads) -> BenchTable:
        return predict(job, [tables], [collective], sizes, rates, replace(setup, offloads=chosen), walked=walked)

    return replace(_of_table(predicted(setup.offloads), (*notes, *job_notes), setup.offloads, predicted), job=job)


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


def _whole_sizes(run: Run) -> list[int]:
    """Return the sizes of whole messages, ascending."""
    pieces = run.n_ranks if run.per_piece else 1
    return sorted({sample.size_bytes * pieces for sample in run.samples})


def _settings(run: Run, ground: Ground, *, one_host: bool) -> tuple[Offloads, str, tuple[str, ...]]:
    """Return the offloads and the algorithm that the log's own variables leave, and what to say of them."""
    variables, notes = run.nccl.variables, []
    offloads, algorithm = ground.offloads, ""
    asked = variables.get("NCCL_ALGO", "")
    named = {name.lower(): known for name, known in ON_FABRIC.items()}
    if asked.lower() == "ring" and one_host:
        offloads = replace(offloads, nvls=False)
        notes.append(f"NCCL_ALGO={asked} in the log: without nvls")
    elif asked.lower() in named and ground.node is not None and not one_host:
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
    """Tell whether a run stayed inside a host: by its list of ranks, else because they fit into one."""
    if run.hosts:
        return len(run.hosts) == 1
    return ground.spec is None and ground.node is not None and run.n_ranks <= len(ground.node.gpus)


def _job(run: Run, ground: Ground) -> tuple[Job, tuple[str, ...]]:
    """Place a run on the fabric: on the job's hosts, else on the log's, else on hosts that stand for them."""
    fabric = ground.fabric
    assert fabric is not None  # noqa: S101
    spec, notes = (ground.spec, ()) if ground.spec else _spec(run, ground.node, fabric)
    if spec.ranks_per_host is None:
        n_hosts = place(spec, fabric).n_hosts
        spec = replace(spec, ranks_per_host=_per_host(run, ground.node, n_hosts))
    job = place(spec, fabric)
    if not run.fits(job.n_ranks):
        raise InputError(
            f"this ran {run.ranks_text} ranks, and {job.n_hosts} hosts of {job.ranks_per_host} make {job.n_ranks}",
            where=f"{run.path}:{run.line}",
            hint="--job FILE says which hosts it ran on: hosts, ranks_per_host (fabctl help job)",
        )
    return job, notes


def _per_host(run: Run, node: NodeGraph | None, n_hosts: int) -> int:
    """Return how many ranks a host ran: as the log lists them, one for each GPU, or what goes into all ranks."""
    guesses = [run.ranks_per_host, len(node.gpus) if node else 0, round(run.n_ranks / n_hosts)]
    return next((guess for guess in guesses if guess and run.fits(guess * n_hosts)), max(1, run.n_ranks // n_hosts))


def _spec(run: Run, node: NodeGraph | None, fabric: Fabric) -> tuple[JobSpec, tuple[str, ...]]:
    where = f"{run.path}:{run.line}"
    per_host = run.ranks_per_host or (len(node.gpus) if node else 0)
    if run.hosts and set(run.hosts) <= set(fabric.hosts.name):
        return JobSpec(hosts=tuple(Placed(name, where) for name in run.hosts), ranks_per_host=run.ranks_per_host or None), ()
    usual, _ = usual_hosts(fabric)
    if run.hosts or not per_host or run.fits(len(usual) * per_host):
        n_hosts = len(run.hosts) or len(usual)
    else:
        n_hosts = max(1, round(run.n_ranks / per_host))
    strange = f"the log's hosts ({listed(run.hosts)}) are not on this fabric" if run.hosts else "the log does not name its hosts"
    if n_hosts == len(usual):
        return JobSpec(), (f"{strange}: its {n_hosts} hosts stand for them",)
    if n_hosts > len(usual):
        raise InputError(
            f"this ran on {n_hosts} hosts, and the fabric has {len(usual)} compute hosts like its typical one",
            where=where,
            hint="is it the log's fabric? --job FILE says which hosts it ran on",
        )
    spec = JobSpec(hosts=(Placed(str(n_hosts), where),), count=n_hosts, placement="packed")
    return spec, (f"{strange}: {n_hosts} of its hosts, packed, stand for them; --job FILE says which they were",)
