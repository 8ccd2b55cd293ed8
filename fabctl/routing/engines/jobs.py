"""``jobs``: tables for the jobs that run, free of credit loops.

The best engine for the structure gives the start (`auto`); then a local search (`fabctl.routing.job_search`) takes traffic of the
jobs off hot channels. On trees it searches the paths up and down, which are free of credit loops; elsewhere all shortest paths,
which get virtual lanes afterwards, and, beside these, the paths up and down from the most central switch. Of all that comes out,
the tables with the least hottest channel are taken, then those with the shortest phases, then those whose worst moments are
mildest; the start is one of them. `fabctl.routing.demand` tells how hot a channel is: as busy as the busiest host itself is 1.

Entries that carry no traffic of the jobs are then evened out for an all-to-all of the compute hosts (`fabctl.routing.rebalance`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.load import alltoall_loads
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.demand import GOAL, Demand, Loads, demand, loads
from fabctl.routing.demand_bound import HeatBound, heat_bound
from fabctl.routing.engines.auto import auto
from fabctl.routing.engines.sssp import sssp
from fabctl.routing.engines.updn import centre_heights, root_heights, tier_heights, updn
from fabctl.routing.job_search import Searched, search
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.order import counted_ports, is_tree
from fabctl.routing.paths import Paths, directions, shortest_paths, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def jobs(fabric: Fabric, options: Options) -> RoutingTables:
    """Route for the traffic of jobs; without any, as `auto`.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or given roots leave a credit loop.

    Complexity
    ----------
    That of the engines that give the starts, and of the searches.
    """
    start = updn(fabric, options) if options.roots else auto(fabric, options)
    wanted = demand(fabric, options.traffic)
    if not len(wanted.ports):
        why = "no traffic between switches was given" if options.traffic else "no job was given"
        return replace(start, origin="jobs", notes=(*start.notes, f"jobs: {why}; these are the tables of {start.origin}"))
    before = loads(start, wanted)
    best, rank, found = start, before.rank, None
    for tables, searched in _searched(fabric, wanted, options) if before.hot else ():
        now = loads(tables, wanted).rank
        if now < rank:
            best, rank, found = tables, now, searched
    after = loads(best, wanted)
    bound = heat_bound(wanted)
    notes = (
        *(note for note in best.notes if not note.startswith("auto:")),
        _heat_note(start, wanted, options, before, after),
        f"jobs: worst moment {before.worst.max():.3f} -> {after.worst.max():.3f}; {_ending(after, bound, found)}",
        _balance_note(start, best, options),
    )
    return replace(best, origin="jobs", notes=notes)


def _searched(fabric: Fabric, wanted: Demand, options: Options) -> Iterator[tuple[RoutingTables, Searched]]:
    """Yield tables that a search has changed, free of credit loops."""
    paths: Paths | None
    if not options.roots and not is_tree(fabric):
        paths = shortest_paths(fabric)
        searched = search(sssp(fabric, options, name="jobs"), paths, wanted)
        with suppress(RefusedError):
            yield assign_layers(_evened(searched, wanted, paths, options), options.max_vls), searched
    for height in _heights(fabric, options):
        paths = up_down_paths(fabric, directions(fabric, height))
        with suppress(RefusedError):
            tables = rebalance(assign(fabric, paths, "jobs", options), paths, options)
            searched = search(tables, paths, wanted)
            tables = _evened(searched, wanted, paths, options)
            if not (tables.notes and verify(tables).credit_loop):
                yield tables, searched
                return


def _heights(fabric: Fabric, options: Options) -> Iterator[NDArray[np.int64]]:
    """Yield the rankings of `updn`, the better first."""
    if options.roots:
        yield root_heights(fabric, options.roots)
    else:
        yield tier_heights(fabric)
        yield centre_heights(fabric)


def _evened(searched: Searched, wanted: Demand, paths: Paths, options: Options) -> RoutingTables:
    """Return the tables with the entries that carry nothing of the jobs evened out."""
    pinned = np.zeros((wanted.fabric.n_switches, len(wanted.fabric.port_node)), dtype=bool)
    pinned[:, wanted.ports] = searched.pinned
    return rebalance(searched.tables, paths, options, pinned)


def _heat_note(start: RoutingTables, wanted: Demand, options: Options, before: Loads, after: Loads) -> str:
    count = "one job" if len(options.traffic) == 1 else f"{len(options.traffic)} jobs"
    seconds = (
        f", {before.busy_s:.3g} s -> {after.busy_s:.3g} s a step"
        if before.busy_s
        else " (all cables count as equal: some have no known rate)"
    )
    return (
        f"jobs: {count}, {len(wanted.ports)} destinations; hottest channel {before.rank[0]:.3f} ({start.origin}) -> "
        f"{after.rank[0]:.3f} times as busy as the busiest host{seconds}"
    )


def _ending(after: Loads, bound: HeatBound, found: Searched | None) -> str:
    """Say why the search stopped."""
    hottest = after.rank[0]
    made = f"{found.moves} moves" if found else "no tables better than the start"
    if hottest <= max(bound.heat, GOAL) * (1 + 1e-9):
        return f"{made}; the bound is met ({bound.heat:.3f}, by {bound.why})"
    unmet = f"no tables below {bound.heat:.3f}, by {bound.why}"
    if found and found.spent:
        return f"{made}; the search was cut short: more might be found ({unmet})"
    return f"{made}; no move and no chain of moves makes it better ({unmet})"


def _balance_note(start: RoutingTables, best: RoutingTables, options: Options) -> str:
    """Say what an all-to-all of the compute hosts reaches, before and after."""
    ports = counted_ports(best.fabric, options)
    most, least = (int(alltoall_loads(tables, ports).max(initial=0)) for tables in (best, start))
    return (
        f"jobs: an all-to-all of all {len(ports)} compute HCAs puts {most} messages on its hottest channel "
        f"({start.origin}: {least}; each HCA's own: {len(ports) - 1})"
    )
