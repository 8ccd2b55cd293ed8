"""Engines, offloads and placements side by side for one job: the library call behind ``fabctl bench compare``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from fabctl.bench.ladder import Rung
from fabctl.bench.predict import predict, setup_of
from fabctl.bench.step import predict_step
from fabctl.bench.walked import Walked
from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.bench_comparison import COMMUNICATION, STEP, BenchComparison, Outcome, Point, ScenarioFacts
from fabctl.model.fabric import Fabric
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads, chosen_offloads
from fabctl.model.predictions import Prediction
from fabctl.model.rates import data_rates
from fabctl.model.step_view import Compute, StepView
from fabctl.model.tables import RoutingTables
from fabctl.nodeset import folded
from fabctl.traffic.collective import Collective
from fabctl.traffic.job import JobSpec, Placed, split_placement
from fabctl.traffic.placement import Job, place
from fabctl.units import Speed

GIVEN = "given"
"""The placement of the job itself."""


def placed_elsewhere(spec: JobSpec, placement: str, n_hosts: int) -> JobSpec:
    """Return a job on as many hosts, chosen by a placement (`fabctl.traffic.job.split_placement`); `GIVEN` leaves it as it is."""
    policy, seed = split_placement(placement)
    if policy == GIVEN:
        return spec
    where = "--placements"
    hosts = (Placed(str(n_hosts), where),)
    return replace(spec, hosts=hosts, count=n_hosts, placement=policy, placement_seed=seed, placement_where=where)


@dataclass(frozen=True, eq=False)
class Contest:
    """What stays the same in all outcomes.

    Parameters
    ----------
    spec : JobSpec
    fabric : Fabric
    node : NodeGraph, optional
        What the hosts are; None: unknown.
    collectives : sequence of Collective
        Of a job that is no training.
    sizes : sequence of int
        Bytes, ascending.
    compute : Compute
        Of a training.
    assumed : tuple of int and Speed, optional
        Lanes and speed of cables whose own are unknown.
    route : callable
        Routes the fabric: name of an engine or of tables, and the job.
    """

    spec: JobSpec
    fabric: Fabric
    node: NodeGraph | None
    collectives: Sequence[Collective]
    sizes: Sequence[int]
    compute: Compute
    assumed: tuple[int, Speed] | None
    route: Callable[[str, JobSpec], RoutingTables]


@dataclass
class _Said:
    """What the predictions of all outcomes say about themselves, and which of them say it."""

    offloads: list[str] = field(default_factory=list)
    assumptions: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, offloads: str, assumptions: Iterable[str], notes: Iterable[str]) -> None:
        self.offloads += [offloads] if offloads not in self.offloads else []
        for line in assumptions:
            self.assumptions.setdefault(line, []).append(offloads)
        self.notes |= dict.fromkeys(notes)

    def lines(self) -> Iterator[str]:
        """Yield the assumptions: those of all outcomes as they are, then the others with the offloads that they belong to."""
        partly = []
        for line, by in self.assumptions.items():
            which = [label for label in self.offloads if label in by]
            others = [label for label in self.offloads if label not in by]
            if not others:
                yield line
            elif len(others) < len(which):
                partly.append(f"all but {', '.join(others)}: {line}")
            else:
                partly.append(f"{', '.join(which)}: {line}")
        yield from partly


def compare(
    contest: Contest,
    routes: Sequence[str],
    ladder: Sequence[Rung],
    placements: Sequence[str] = (GIVEN,),
    scenario: ScenarioFacts | None = None,
) -> BenchComparison:
    """Predict a job for all placements, routes and offloads; what cannot run is kept with its reason.

    Parameters
    ----------
    routes : sequence of str
        Names for `Contest.route`.
    ladder : sequence of Rung

    Raises
    ------
    InputError
        If the job does not fit the fabric.
    RefusedError
        If nothing can run.
    """
    said = _Said()
    given = place(contest.spec, contest.fabric)
    outcomes: list[Outcome] = []
    for placement in placements:
        spec = placed_elsewhere(contest.spec, placement, given.n_hosts)
        job = given if spec is contest.spec else place(spec, contest.fabric)
        outcomes += _of_placement(replace(contest, spec=spec), job, placement, routes, ladder, said)
    if not any(outcome.points for outcome in outcomes):
        raise RefusedError(f"nothing of this can run: {outcomes[0].refusal}", hint=outcomes[0].instead)
    return BenchComparison(
        hosts=folded(given.hosts),
        n_hosts=given.n_hosts,
        ranks_per_host=given.ranks_per_host,
        node=contest.node.name if contest.node else "",
        outcomes=tuple(outcomes),
        assumptions=tuple(said.lines()),
        notes=tuple(said.notes),
        scenario=scenario,
    )


def _of_placement(
    contest: Contest, job: Job, placement: str, routes: Sequence[str], ladder: Sequence[Rung], said: _Said
) -> Iterator[Outcome]:
    walked = Walked(job, data_rates(contest.fabric, contest.assumed))
    for name in routes:
        try:
            tables = contest.route(name, contest.spec)
        except (RefusedError, SourceError, UsageError) as error:
            yield Outcome(name, placement, "", (), refusal=error.message, instead=error.hint)
            continue
        said.notes |= dict.fromkeys(tables.notes)
        below = ladder[0].base
        for rung in ladder:
            base = below if rung.cumulative else rung.base
            offloads = chosen_offloads(rung.names, (), replace(base, pxn=base.pxn or contest.spec.pxn))
            outcome = Outcome(tables.origin, placement, rung.label, offloads.names)
            try:
                points = _points(contest, job, tables, offloads, walked, rung, said)
            except RefusedError as error:
                yield replace(outcome, refusal=error.message, instead=error.hint)
                continue
            yield replace(outcome, points=points)
            below = offloads


def _points(
    contest: Contest, job: Job, tables: RoutingTables, offloads: Offloads, walked: Walked, rung: Rung, said: _Said
) -> tuple[Point, ...]:
    if contest.spec.training:
        view = predict_step(contest.spec, job, tables, walked.rates, contest.node, offloads, contest.compute, rung.names)
        said.add(rung.label, view.assumptions, view.notes)
        return (_step_point(view),)
    setup = setup_of(contest.spec, contest.node, offloads, rung.names)
    table = predict(job, [tables], contest.collectives, contest.sizes, walked.rates, setup, walked=walked)
    said.add(rung.label, table.assumptions, table.notes)
    return tuple(point for prediction in table.predictions for point in _collective_points(prediction))


def _collective_points(prediction: Prediction) -> Iterator[Point]:
    for row in prediction.rows:
        yield Point(
            prediction.collective,
            row.size_bytes,
            row.time_us,
            row.busbw_gb_s,
            row.algorithm,
            binds=row.binds,
            binds_at=row.binds_at,
        )


def _step_point(view: StepView) -> Point:
    waits = [phase for phase in view.phases if phase.exposed_seconds]
    longest = max(waits, key=lambda phase: phase.exposed_seconds, default=None)
    waited_s = view.exposed_seconds + view.bubble_seconds
    return Point(
        operation=COMMUNICATION if view.step_seconds is None else STEP,
        size_bytes=0,
        time_us=1e6 * (waited_s if view.step_seconds is None else view.step_seconds),
        phase=longest.name if longest else "",
        binds=longest.binds if longest else "",
        binds_at=longest.binds_at if longest else "",
        exposed_us=1e6 * view.exposed_seconds,
        tokens_per_s=view.tokens_per_s,
    )
