"""Where should a job run, and in which rank order? Hosts that make its step's communication fastest beside the other jobs.

The search minimises, summed over the phases, times x the time that the slowest channel takes to drain
(`fabctl.bench.place_search`); what is proposed and reported is the max-min fair completion of every flow
(`fabctl.congestion.maxmin`) under the other jobs' busiest phases (`fabctl.congestion.slowdown`). The hosts given are one of the
candidates, so a proposal is never slower than they are.

Several jobs are placed one after the other, the one with the most hosts first: it is the hardest to fit. Each avoids the hosts of
the others and meets the traffic of those that have their places. Then each has two more turns among all; what counts is the round
after which the jobs are fastest on average, compared with the hosts given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.bench.place_search import HOPS, Ground, Template, bounds, search, template
from fabctl.congestion.maxmin import fair_rates
from fabctl.congestion.phases import phase_loads
from fabctl.congestion.slowdown import Laid, Lanes, beside, join_lanes, lay, step_s
from fabctl.errors import InputError
from fabctl.model.flows import Flows
from fabctl.model.naming import natural_key
from fabctl.model.neighbourhoods import neighbourhoods
from fabctl.model.phases import JobTraffic
from fabctl.model.proposals import Proposal, Proposals
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import routable
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.phases import placed_traffic
from fabctl.traffic.placement import Job, place
from fabctl.traffic.roster import usual_hosts

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

SAMPLES, SAMPLED_JOBS = 10, 80
"""Random placements that proposals are compared with; fewer, but two, where these make more jobs than the second number."""
STARTS = 2
"""Random placements among those where the search starts."""
SEARCHED_JOBS = 8
"""Jobs up to which each search has its whole budget; more share that of so many."""
WORTH = 1e-9
"""Relative gain below which the hosts given stay."""
ROUNDS = 3
"""How often each of several jobs is placed: once in turn, then among all, unless nothing moves any more."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A job with the hosts that it may take.

    Parameters
    ----------
    spec : JobSpec
    job : Job
        As given.
    pool : Job
        The hosts that may be chosen as if they were its own, for their ports; in natural order.
    given : int64 array of shape (n_hosts,)
        Rows of `pool` that `job` has.
    traffic : JobTraffic
        Of `job`.
    flows : Template
    """

    spec: JobSpec
    job: Job
    pool: Job
    given: Int64
    traffic: JobTraffic
    flows: Template

    def at(self, rows: Int64) -> JobTraffic:
        """Return its traffic with other hosts, rows of `pool` in rank order."""
        hosts, ports = tuple(self.pool.hosts[row] for row in rows.tolist()), self.pool.ports[rows]
        if self.flows.skipped:
            return placed_traffic(self.spec, replace(self.job, hosts=hosts, ports=ports))
        moved = np.arange(len(self.job.fabric.port_node), dtype=np.int32)
        moved[self.job.ports] = ports
        phases = (
            replace(phase, flows=Flows(moved[phase.flows.src], moved[phase.flows.dst], phase.flows.weight))
            for phase in self.traffic.phases
        )
        return replace(self.traffic, hosts=hosts, phases=tuple(phases))


def propose(
    tables: RoutingTables,
    requests: Sequence[tuple[JobSpec, Job]],
    rates: Float64,
    others: Sequence[JobTraffic] = (),
    *,
    hops: int = HOPS,
    seed: int = 1,
) -> Proposals:
    """Return hosts for jobs on these routes.

    Parameters
    ----------
    requests : sequence of (JobSpec, Job)
        Jobs to place, and as they are given. One whose spec has a `count` may take all usual hosts that are free; one whose hosts
        are named keeps them and changes their order.
    rates : float64 array of shape (n_channels,)
        Bytes per second (`fabctl.model.rates.payload_rates`).
    others : sequence of JobTraffic
        Jobs that stay where they are.
    hops : int
        Budget of each search, in hops walked; less where there are more than `SEARCHED_JOBS` jobs.
    seed : int
        Of the random placements and moves.

    Raises
    ------
    InputError
        If a flow has no route or loops, or a job cannot be moved.
    RefusedError
        If a channel in use has no known rate.
    """
    taken = {host for job in others for host in job.hosts} | {
        host for spec, job in requests if not spec.count for host in job.hosts
    }
    wanted = [_candidate(tables, spec, job, taken) for spec, job in requests]
    still = [lay(tables, job, rates) for job in others]
    given = [lay(tables, one.traffic, rates) for one in wanted]
    turns = sorted(range(len(wanted)), key=lambda number: (-wanted[number].job.n_hosts, number))
    budget = hops * SEARCHED_JOBS // max(SEARCHED_JOBS, len(wanted))
    before = after = _times(given, still, rates)
    best = given
    rows: dict[int, Int64] = {}
    placed: dict[int, Laid] = {}
    for _ in range(ROUNDS if len(wanted) > 1 else 1):
        last = dict(rows)
        for number in turns:
            near = [*still, *(laid for at, laid in placed.items() if at != number)]
            occupied = {host for at, laid in placed.items() if at != number for host in laid.job.hosts}
            one = wanted[number]
            rows[number], placed[number] = _turn(
                tables, one, near, occupied, rows.get(number, one.given), rates, hops=budget, seed=seed
            )
        moved = [placed[number] for number in range(len(wanted))]
        times = _times(moved, still, rates)
        if _mean_ratio(before, times) < _mean_ratio(before, after) * (1 - WORTH):
            best, after = moved, times
        if last and all(np.array_equal(last[number], rows[number]) for number in turns):
            break
    samples = [
        _at_random(tables, wanted, still, rates, seed + sample)
        for sample in range(max(2, min(SAMPLES, SAMPLED_JOBS // len(wanted))))
    ]
    return Proposals(
        routes=tables.origin,
        others=tuple(job.name for job in others),
        jobs=tuple(
            Proposal(
                name=one.spec.name,
                ranks_per_host=one.job.ranks_per_host,
                given=one.job.hosts,
                hosts=best[number].job.hosts,
                free=one.pool.n_hosts,
                given_s=before[number],
                proposed_s=after[number],
                random_s=tuple(sample[number] for sample in samples),
                bound_s=_bound_s(tables, one, rates),
                notes=_notes(one),
            )
            for number, one in enumerate(wanted)
        ),
        turns=tuple(wanted[number].spec.name for number in turns),
    )


def at_hosts(spec: JobSpec, hosts: Sequence[str]) -> JobSpec:
    """Return a job with hosts named one by one, in rank order."""
    where = spec.hosts[0].where
    named = tuple(Placed(host, where) for host in hosts)
    return replace(spec, hosts=named, count=0, placement="given", order="as-given")


def _candidate(tables: RoutingTables, spec: JobSpec, job: Job, taken: set[str]) -> Candidate:
    if spec.transfers:
        raise InputError(f"the transfers of '{spec.name}' name their hosts: they cannot be moved", where=spec.path)
    names = set(job.hosts)
    if spec.count:
        free, _ = usual_hosts(job.fabric)
        names |= (set(free) & _with_rails(tables, job)) - taken
    wide = at_hosts(spec, sorted(names, key=natural_key))
    wide = replace(wide, rails=job.rails, ranks_per_host=job.ranks_per_host)
    pool = place(wide, job.fabric)
    traffic = placed_traffic(spec, job)
    row = {host: number for number, host in enumerate(pool.hosts)}
    given = np.array([row[host] for host in job.hosts])
    return Candidate(spec, job, pool, given, traffic, template(traffic, job.ports))


def _with_rails(tables: RoutingTables, job: Job) -> set[str]:
    """Return the hosts that have a routed HCA on every rail of a job."""
    fabric = job.fabric
    node = fabric.port_node[routable(tables, fabric.endpoints)[0]]
    on_rail = [set(fabric.hosts.node_host[node[fabric.hosts.node_rail[node] == rail]].tolist()) for rail in job.rails]
    return {fabric.hosts.name[host] for host in set.intersection(*on_rail)}


def _turn(
    tables: RoutingTables,
    wanted: Candidate,
    near: Sequence[Laid],
    occupied: set[str],
    own: Int64,
    rates: Float64,
    *,
    hops: int,
    seed: int,
) -> tuple[Int64, Laid]:
    """Return the fastest rows of the pool for a job beside others, and the job there."""
    free = _free(wanted, occupied)
    background = [laid.busiest for laid in near]
    tree = neighbourhoods(tables.fabric, wanted.pool.ports[:, 0])
    ground = Ground(tables, wanted.pool.ports[free], tree.leaf[free], rates, *_background(background, rates))
    count = len(wanted.given)
    rng = np.random.default_rng(seed)
    starts = [own] if np.isin(own, free).all() else []
    starts += [tree.packed(free, count), tree.spread(free, count)]
    quiet = free[~np.isin(tree.leaf[free], tree.leaf[np.setdiff1d(np.arange(wanted.pool.n_hosts), free)])]
    if len(quiet) >= count:
        starts.append(tree.packed(quiet, count))
    starts += [rng.permutation(free)[:count] for _ in range(STARTS)]
    found, _ = search(ground, wanted.flows, [np.searchsorted(free, start) for start in starts], hops=hops, seed=seed)
    best, laid = starts[0], lay(tables, wanted.at(starts[0]), rates)
    rivals = [rows for rows in (free[found], *(starts if wanted.flows.skipped else ())) if not np.array_equal(rows, best)]
    least = step_s(laid.job, beside(laid, background, rates)) if rivals else 0.0
    for rows in rivals:
        rival = lay(tables, wanted.at(rows), rates)
        seconds = step_s(rival.job, beside(rival, background, rates))
        if seconds < least * (1 - WORTH):
            best, laid, least = rows, rival, seconds
    return best, laid


def _free(one: Candidate, occupied: set[str]) -> Int64:
    """Return the rows of a job's pool that no other job has."""
    free = np.flatnonzero([name not in occupied for name in one.pool.hosts])
    if len(free) < len(one.given):
        raise InputError(
            f"{len(free)} hosts are left for the {len(one.given)} of '{one.spec.name}' once the others have theirs",
            where=one.spec.path,
            hint="put it into a file of its own, and the others behind --with",
        )
    return free


def _background(lanes: Sequence[Lanes], rates: Float64) -> tuple[Float64, Float64]:
    """Return endless flows on each channel, and the share of its rate that they take."""
    every = join_lanes(lanes)
    share = np.ones(len(every.index)) if every.share is None else every.share
    speed = fair_rates(every.channels, rates, every.share).rate[every.owner] * share
    count, taken = (np.bincount(every.index, weights=weight, minlength=len(rates)).astype(float) for weight in (share, speed))
    return count, np.divide(taken, rates, out=np.zeros(len(rates)), where=rates > 0).clip(0.0, 1.0)


def _times(jobs: Sequence[Laid], still: Sequence[Laid], rates: Float64) -> list[float]:
    """Return the communication time of a step of each job beside all others, in seconds."""
    background = [laid.busiest for laid in (*jobs, *still)]
    return [
        step_s(laid.job, beside(laid, [*background[:number], *background[number + 1 :]], rates))
        for number, laid in enumerate(jobs)
    ]


def _mean_ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the times of jobs over those of before, on average over the jobs."""
    return sum(late / early if early > 0 else 1.0 for early, late in zip(before, after, strict=True)) / len(before)


def _at_random(
    tables: RoutingTables, wanted: Sequence[Candidate], still: Sequence[Laid], rates: Float64, seed: int
) -> list[float]:
    """Return the times of all jobs on random hosts in random order; jobs with fewer to choose from choose first."""
    rng = np.random.default_rng(seed)
    occupied: set[str] = set()
    placed: dict[int, Laid] = {}
    for number in sorted(range(len(wanted)), key=lambda number: wanted[number].pool.n_hosts):
        one = wanted[number]
        free = _free(one, occupied)
        placed[number] = lay(tables, one.at(rng.permutation(free)[: len(one.given)]), rates)
        occupied |= set(placed[number].job.hosts)
    return _times([placed[number] for number in range(len(wanted))], still, rates)


def _bound_s(tables: RoutingTables, one: Candidate, rates: Float64) -> float:
    """Return the time of a step that no hosts get below: each phase at the fastest of the hosts' own cables."""
    nobody = np.zeros(len(rates))
    ground = Ground(tables, one.pool.ports, np.zeros(one.pool.n_hosts, dtype=np.int64), rates, nobody, nobody)
    fabric = tables.fabric
    at_host = np.maximum(fabric.channel_src, fabric.channel_dst) >= fabric.n_switches
    trees = sum(phase.times * phase_loads(tables, phase)[at_host].max(initial=0.0) for phase in one.flows.skipped)
    return float((one.flows.times * bounds(ground, one.flows)).sum()) + float(trees) * ground.fastest


def _notes(one: Candidate) -> tuple[str, ...]:
    trees = ", ".join(phase.name for phase in one.flows.skipped)
    return (*one.job.notes, f"few placements are tried for phases on trees of switches: {trees}") if trees else one.job.notes
