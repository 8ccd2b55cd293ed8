"""What a job's collectives will reach: sizes, routes and hosts in; times, bandwidths and what binds out."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.bench.advice import advice
from fabctl.bench.assumptions import assumptions
from fabctl.bench.mpi_scene import scene_of
from fabctl.bench.nccl.ring import Ranks
from fabctl.bench.pricing import ON_FABRIC, Priced
from fabctl.bench.scene import Scene, Setup, setup_of, with_ranks
from fabctl.bench.sizes import rounding_notes, shapes
from fabctl.bench.walked import Walked
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import BenchTable, Prediction, Row, Way
from fabctl.model.rates import Float64
from fabctl.model.tables import RoutingTables
from fabctl.nodeset import folded
from fabctl.traffic.collective import Collective
from fabctl.traffic.placement import Job

__all__ = ["Setup", "Walked", "predict", "predict_inside", "setup_of", "with_ranks"]

ENDLESS_BYTES = 1 << 50
"""A message whose latency does not show."""


def predict(
    job: Job,
    routes: Sequence[RoutingTables],
    collectives: Sequence[Collective],
    sizes: Sequence[int],
    rates: Float64,
    setup: Setup | None = None,
    *,
    walked: Walked | None = None,
) -> BenchTable:
    """Predict the times of `collectives` for all sizes, on each of several sets of routes.

    Parameters
    ----------
    sizes : sequence of int
        Message sizes in bytes, ascending.
    rates : float64 array of shape (n_channels,)
        See `fabctl.model.rates.data_rates`.
    setup : Setup, optional
        By default nothing is known of the hosts.
    walked : Walked, optional
        Of `job` and `rates`: what was walked for it before is not walked again.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a used cable's rate is unknown, all sizes are too small to be split over the ranks, or an offload cannot work here.
    UsageError
        If the node type has fewer GPUs or HCAs than the job uses, or an offload needs to know it.
    """
    setup = setup or Setup(offloads=Offloads(pxn=job.pxn))
    ranks = Ranks(job.n_hosts, job.ranks_per_host, job.ports.shape[1])
    scene = scene_of(setup, ranks, walked or Walked(job, rates))
    return BenchTable(
        hosts=folded(job.hosts),
        n_hosts=job.n_hosts,
        ranks_per_host=job.ranks_per_host,
        n_ranks=job.n_ranks,
        rails=job.rails,
        routes=tuple(tables.origin for tables in routes),
        predictions=tuple(_prediction(scene, collective, tables, sizes) for collective in collectives for tables in routes),
        assumptions=assumptions(scene, collectives),
        notes=(*job.notes, *scene.notes, *rounding_notes(collectives)),
        node=setup.node.name if setup.node else "",
        offloads=scene.offloads,
    )


def predict_inside(
    node: NodeGraph,
    n_gpus: int,
    collectives: Sequence[Collective],
    sizes: Sequence[int],
    offloads: Offloads | None = None,
    required: tuple[str, ...] = (),
) -> BenchTable:
    """Predict `collectives` of the first `n_gpus` GPUs of one host; `required` as in `Setup`.

    Raises
    ------
    RefusedError
        If all sizes are too small to be split over the ranks, or an offload cannot work here.
    UsageError
        If the node has fewer GPUs.
    """
    setup = Setup(node, offloads or Offloads(), required)
    scene = scene_of(setup, Ranks(1, n_gpus, 0))
    return BenchTable(
        hosts="",
        n_hosts=1,
        ranks_per_host=n_gpus,
        n_ranks=n_gpus,
        rails=(),
        routes=(),
        predictions=tuple(_prediction(scene, collective, None, sizes) for collective in collectives),
        assumptions=assumptions(scene, collectives),
        notes=(*scene.notes, *rounding_notes(collectives)),
        node=node.name,
        offloads=scene.offloads,
    )


def _prediction(scene: Scene, collective: Collective, tables: RoutingTables | None, sizes: Sequence[int]) -> Prediction:
    n_ranks = scene.ranks.total
    pricer, bus_factor = scene.pricer(collective, tables), collective.bus_factor(n_ranks)
    options = [(pricer.options(size), count) for size, count in shapes(collective, n_ranks, sizes)]
    endless = pricer.options(ENDLESS_BYTES)
    largest = endless[0].algorithm
    algorithm = ON_FABRIC.get(largest, largest) if tables else largest.lower()
    cost = scene.cost(collective, tables, algorithm) if tables else None
    peak = bus_factor * endless[0].limits[0].algbw_gb_s
    return Prediction(
        routes=tables.origin if tables else "",
        collective=collective.name,
        algorithm="chain" if collective.algorithm == "chain" else algorithm,
        redop=collective.redop,
        root=collective.root,
        rows=tuple(_row(ways[0], count, bus_factor) for ways, count in options),
        bound=cost.bound if cost else None,
        peak_busbw_gb_s=peak,
        host_busbw_gb_s=bus_factor / cost.host_us_per_byte / 1e3 if cost else peak,
        ways=_ways(endless, [ways[0].algorithm for ways, _ in options], bus_factor),
        advice=advice([ways for ways, _ in options]),
    )


def _row(way: Priced, count: int, bus_factor: float) -> Row:
    algbw = way.size_bytes / way.time_us / 1e3
    binds, binds_at = way.binds
    return Row(
        size_bytes=way.size_bytes,
        count=count,
        time_us=way.time_us,
        latency_us=way.latency_us,
        algbw_gb_s=algbw,
        busbw_gb_s=algbw * bus_factor,
        algorithm=way.algorithm,
        protocol=way.protocol,
        binds=binds,
        binds_at=binds_at,
    )


def _ways(endless: list[Priced], taken: list[str], bus_factor: float) -> tuple[Way, ...]:
    """Return what bounds large messages with each algorithm taken that does them, by its best protocol."""
    found = []
    for algorithm in dict.fromkeys([*taken, endless[0].algorithm]):
        ways = [way for way in endless if way.algorithm == algorithm]
        if ways:
            best = min(ways, key=lambda way: way.time_us)
            found.append(Way(algorithm, best.protocol, best.limits, bus_factor * best.limits[0].algbw_gb_s))
    return tuple(found)
