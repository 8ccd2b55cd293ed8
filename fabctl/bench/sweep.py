"""A grid of predictions over scales, routes, offloads and sizes, unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fabctl.bench.predict import predict, setup_of
from fabctl.bench.sweep_file import SweepFile
from fabctl.bench.walked import Walked
from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import offload_set
from fabctl.model.predictions import Prediction, Row
from fabctl.model.rates import Float64
from fabctl.model.sweep import Grid, SweepPoint, Unit
from fabctl.model.tables import RoutingTables
from fabctl.traffic.collective import Collective
from fabctl.traffic.collectives import COLLECTIVES
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.placement import Job, place

FEWEST_HOSTS = 2


@dataclass(frozen=True, eq=False)
class Case:
    """What stays the same in a sweep.

    Parameters
    ----------
    spec : JobSpec
    fabric : Fabric
    rates : float64 array of shape (n_channels,)
        Gb/s, see `fabctl.model.rates.data_rates`.
    node : NodeGraph, optional
        What the hosts are; None: unknown.
    """

    spec: JobSpec
    fabric: Fabric
    rates: Float64
    node: NodeGraph | None = None


def scales_of(case: Case, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the scales of a sweep, ascending: those wanted, else 2, 4, 8 ... and the whole job.

    Raises
    ------
    InputError
        If the job has fewer hosts.
    """
    whole = place(case.spec, case.fabric).n_hosts
    beyond = [scale for scale in wanted if not FEWEST_HOSTS <= scale <= whole]
    if beyond:
        raise InputError(f"a scale of {beyond[0]} hosts: a job has {FEWEST_HOSTS} at least, and this one {whole}")
    doubling = [1 << bit for bit in range(1, whole.bit_length()) if 1 << bit < whole]
    return tuple(sorted(set(wanted) or {*doubling, whole}))


def units(grid: Grid) -> list[Unit]:
    """Return the units of a grid in the order in which they are written: by routes, then scales, then offloads."""
    return [Unit(routes, scale, offloads) for routes in grid.routes for scale in grid.scales for offloads in grid.offloads]


def run(case: Case, grid: Grid, route: Callable[[str], RoutingTables], file: SweepFile, done: Callable[[], None]) -> int:
    """Predict the units that a file lacks, and add each to it as soon as it stands; return how many there were.

    Parameters
    ----------
    route : callable
        Name of an engine or a file of tables to the tables; called once for each that is needed.
    done : callable
        Called after each unit.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    rest = units(grid)[len(file.units) :]
    for name, wanted in groupby(rest, key=lambda unit: unit.routes):
        tables = route(name)
        for points in _points(case, grid, tables, wanted):
            file.add(points)
            done()
    return len(rest)


def _points(case: Case, grid: Grid, tables: RoutingTables, wanted: Iterable[Unit]) -> Iterator[list[SweepPoint]]:
    """Yield the points of each of some units of one set of routes."""
    collectives: list[Collective] = [COLLECTIVES.load(name) for name in grid.collectives]
    whole = place(case.spec, case.fabric)
    for n_hosts, of_scale in groupby(wanted, key=lambda unit: unit.n_hosts):
        job = _at_scale(case, whole, n_hosts)
        walked = Walked(job, case.rates)
        for unit in of_scale:
            offloads, asked = offload_set(unit.offloads)
            offloads = replace(offloads, pxn=offloads.pxn or job.pxn)
            try:
                setup = setup_of(case.spec, case.node, offloads, asked)
                table = predict(job, [tables], collectives, grid.sizes, case.rates, setup, walked=walked)
            except (RefusedError, UsageError) as error:
                yield [SweepPoint(unit.routes, unit.offloads, n_hosts, job.n_ranks, refusal=error.message)]
                continue
            yield [_point(unit, job, prediction, row) for prediction in table.predictions for row in prediction.rows]


def _point(unit: Unit, job: Job, prediction: Prediction, row: Row) -> SweepPoint:
    return SweepPoint(
        routes=unit.routes,
        offloads=unit.offloads,
        n_hosts=unit.n_hosts,
        n_ranks=job.n_ranks,
        collective=prediction.collective,
        size_bytes=row.size_bytes,
        time_us=row.time_us,
        algbw_gb_s=row.algbw_gb_s,
        busbw_gb_s=row.busbw_gb_s,
        algorithm=row.algorithm,
        protocol=row.protocol,
        binds=row.binds,
        binds_at=row.binds_at,
    )


def _at_scale(case: Case, whole: Job, n_hosts: int) -> Job:
    """Return the job on the first of its hosts."""
    hosts = tuple(Placed(host, "--scales") for host in whole.hosts[:n_hosts])
    return place(replace(case.spec, hosts=hosts, count=0, placement="given", order="as-given"), case.fabric)
