"""Local search for the traffic of jobs: hot channels give traffic away, move by move, on the allowed paths of some tables.

A move takes all of the jobs' traffic that passes a switch for a destination from its path to the cheapest one; destination-based
tables let no less be moved. The cost is the sum over channels of the eighth powers of their loads, by each phase and on the mean
(`fabctl.routing.demand`), so a few hot channels weigh more than many warm ones. Where no single move lowers it, chains of moves
are tried (ejection chains, Glover, Discrete Applied Mathematics 65, 1996): traffic takes a channel that is taken, what was there
goes elsewhere, and so on. Where flows are a permutation on a tree, such chains are the alternating paths of edge colouring, and
end with one flow a channel. A second search does the same for the channels' worst moments, and leaves what the first has won.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.jit import announce_compiling
from fabctl.model.tables import RoutingTables
from fabctl.routing.demand import GOAL, Demand, loads
from fabctl.routing.job_search_state import Net, State, Work
from fabctl.routing.paths import Paths, switch_channels

DEPTH = 64
"""Moves in a chain at most."""
ROUNDS = 1000
EFFORT = (1_500_000_000, 750_000_000)
"""Hops that either search may look at: some ten seconds each."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search found.

    Parameters
    ----------
    tables : RoutingTables
    pinned : bool array of shape (n_switches, n_destinations)
        Entries for the demand's destinations that carry traffic of the jobs.
    moves : int
        Moves made, those of chains included.
    spent : bool
        Whether the search ended before it had tried everything.
    """

    tables: RoutingTables
    pinned: NDArray[np.bool_]
    moves: int
    spent: bool


def search(tables: RoutingTables, paths: Paths, wanted: Demand) -> Searched:
    """Move traffic of jobs off hot channels until no move and no chain of moves lowers the cost.

    Parameters
    ----------
    tables : RoutingTables
        On the allowed paths, but for switches between which there are none: these keep their entries.
    paths : Paths
        Without lengths and dimensions.

    Complexity
    ----------
    O(`EFFORT`) at worst; per round, hot channels x destinations x allowed hops.
    """
    from fabctl.routing.job_search_kernel import chain, cool, lay_out

    announce_compiling(cool)
    fabric = wanted.fabric
    n = fabric.n_switches
    down = paths.goes_down is not None and paths.channel_down is not None
    net = Net(
        fabric.channel_ptr,
        fabric.channel_src,
        fabric.channel_dst,
        wanted.slowness,
        np.ascontiguousarray(paths.label.T),
        np.ascontiguousarray(paths.goes_down.T) if down and paths.goes_down is not None else np.zeros((0, 0), dtype=bool),
        paths.channel_down if down and paths.channel_down is not None else np.zeros(0, dtype=bool),
        wanted.home,
        wanted.first,
        wanted.leaf,
        wanted.phase,
        wanted.amount,
        wanted.jobs,
        np.repeat(np.arange(len(wanted.jobs) - 1, dtype=np.int32), np.diff(wanted.jobs)),
        wanted.share,
    )
    lids = fabric.port_lid[wanted.ports]
    start = loads(tables, wanted)
    state = State(
        np.ascontiguousarray(tables.next_channel[:, lids]),
        np.zeros((n, len(lids)), dtype=np.int32),
        start.worst,
        start.mean,
        start.part.copy(),
    )
    longest = int(paths.label.max(initial=0)) + 2
    work = Work(
        cost=np.zeros(n),
        via=np.full(n, -1, dtype=np.int32),
        queue=np.zeros(n, dtype=np.int32),
        seen=np.zeros(n, dtype=np.int32),
        starts=np.zeros(2 * n, dtype=np.int32),
        kinds=np.zeros(len(wanted.jobs), dtype=np.int32),
        sums=np.zeros(len(wanted.share)),
        moved=np.zeros((DEPTH, 4), dtype=np.int32),
        replaced=np.zeros((DEPTH * longest, 2), dtype=np.int32),
        waiting=np.zeros(DEPTH * longest, dtype=np.int32),
        barred=np.zeros(len(fabric.channel_port), dtype=bool),
        effort=np.zeros(3, dtype=np.int64),
        chance=np.ones(1, dtype=np.uint64),
    )
    lay_out(net, state)
    between = switch_channels(fabric)
    moves, spent = 0, False
    for worst, limit in zip((False, True), EFFORT, strict=True):
        work.effort[:] = 0, limit, worst
        for _ in range(ROUNDS):
            heat = (state.worst if worst else np.maximum(state.mean, state.part.max(axis=1, initial=0)))[between]
            hot = between[heat > GOAL][np.argsort(-heat[heat > GOAL], kind="stable")].tolist()
            made = sum(cool(channel, net, state, work) for channel in hot)
            made = made or sum(chain(channel, net, state, work) for channel in hot)
            moves += made
            if not made:
                break
        spent = spent or bool(work.effort[0] >= limit)
    lft = tables.lft.copy()
    port = fabric.port_number[fabric.channel_port].astype(np.uint8)
    lft[:, lids] = np.where(state.next_channel >= 0, port[state.next_channel], lft[:, lids])
    return Searched(replace(tables, lft=lft), state.behind > 0, moves, spent)
