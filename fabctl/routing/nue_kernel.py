"""The sequential heart of `fabctl.routing.engines.nue`, compiled by numba: trees within an acyclic dependency graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import njit

UNDECIDED, USED, BLOCKED, TENTATIVE = 0, 1, 2, 3
"""States of a dependency. Once a lane's traffic uses it, it stays used; what would then close a cycle stays blocked."""

NOVELTY = 0.1
"""What it costs to use a dependency that the lane does not use yet, as a share of all sources' traffic: what is used blocks."""

KINSHIP = 2.0
"""How much more traffic to the same switch weighs, where trees are grown again: shifts send to its HCAs at the same time."""

FIRST, STRICT, AGAIN = 0, 1, 2
"""Modes of `route_lane`: as the paper has it; the same, but stop at the first path that is longer than the shortest; every tree
anew, against the traffic of all others.
"""


HOP = np.dtype(
    [
        ("source", np.int64),
        ("far", np.int64),
        ("back", np.int64),
        ("row", np.int64),
        ("port", np.int64),
        ("place", np.int64),
        ("at", np.int64),
        ("stacked", np.int64),
        ("reached", np.int64),
        ("toll", np.float64),
    ],
    align=True,
)
"""A channel between switches.

``source``, ``far``: the switches at its ends. ``back``: the same cable's hop in the other direction. ``port``: the output port.
``row``: hop `a` followed by hop `b` is dependency ``row[a] + b``. ``toll``: weight that one source's traffic adds.
``place``: its place in the lane's topological order. ``at[i]``: the hop at place `i`. ``stacked``, ``reached``: scratch, the
latter zero between searches.
"""

SWITCH = np.dtype(
    [
        ("first", np.int64),
        ("up", np.int64),
        ("below", np.int64),
        ("label", np.int64),
        ("chosen", np.int64),
        ("queued", np.int64),
        ("asked", np.int64),
        ("escape", np.int64),
        ("on_escape", np.int64),
        ("useful", np.int64),
        ("total", np.float64),
    ],
    align=True,
)
"""A switch; one more stands at the end.

``first``: its first hop, so that hops are a CSR. ``up``: hop to the parent in the lane's escape tree; -1 at the root, -2 out of
its reach. ``below``: sources at it and below it in that tree. Of the tree that is being grown, ``label``: hops to the
destination, -1 where not reached; ``chosen``: its hop; ``total``: weight from there on. ``escape``: its hop in the escape tree;
``on_escape``: whether it takes that. ``useful``: on a shortest path of some source. ``queued``, ``asked``: scratch.
"""

_inner: Any = partial(njit, cache=True, error_model="numpy", no_cpython_wrapper=True)
"""For what only kernels call: without a wrapper for Python it compiles faster."""


@njit(cache=True, error_model="numpy")
def route_lane(lft, lids, homes, kinds, hops, switches, state, sources, distance, hop_at, weight, mode):  # type: ignore[no-untyped-def]
    """Route a lane's destinations one after the other, each on a tree whose dependencies keep the lane acyclic.

    Parameters
    ----------
    lft : uint8 array of shape (n_switches, max LID + 1)
        Changed in place.
    lids, homes : int64 arrays of shape (n_destinations,)
        LIDs in the order in which they are routed, and the switches that they hang from.
    kinds : int8 array of shape (n_destinations,)
        Row of `sources` whose traffic for the destination adds to the weights.
    hops, switches : HOP and SWITCH arrays of shapes (n_hops,) and (n_switches + 1,)
        The lane's; changed in place, as is the next.
    state : uint8 array of shape (n_dependencies,)
        `USED` where the escape paths use a dependency.
    sources : int64 array of shape (3, n_switches)
        Sources at each switch: those of the job's traffic, all HCAs, none.
    distance, hop_at : int arrays of shapes (n_switches, n_switches) and (n_switches, 256)
        Hops between switches; hop behind a switch's port.
    weight : float64 array of shape (n_hops,)
        Traffic that all lanes' trees have added up to; changed in place.
    mode : int
        `FIRST`, `STRICT` or `AGAIN`.

    Returns
    -------
    int
        Pairs of a switch with HCAs and an HCA's LID that have a path longer than the shortest.
    """
    decided = np.empty(len(state) + 1, dtype=np.int64)
    cost = np.empty(len(weight))
    kinship = KINSHIP if mode == AGAIN else 0.0
    novelty, reachable, idle, longer = 0.0, 0, 0, 0
    for switch in range(len(switches) - 1):
        reachable += switches[switch].up > -2
        idle += sources[1, switch] == 0
        novelty += NOVELTY * sources[0, switch]
    for turn in range(len(lids)):
        home = homes[turn]
        decided[-1] = 0
        if turn == 0 or (kinship > 0.0 and homes[turn - 1] != home):
            for hop in range(len(hops)):
                cost[hop] = weight[hop]
        if mode == AGAIN:
            _withdraw(lft, lids[turn], home, sources[kinds[turn]], hops, hop_at, weight, cost)
        shy, settled = idle > 0, 0
        if shy and (turn == 0 or homes[turn - 1] != home):
            _mark_useful(sources[1], distance[home], hops, switches)
        while settled == 0 or (shy and _misses(sources[1], switches)):
            shy = shy and settled == 0
            settled = _grow(home, shy, hops, switches, state, cost, novelty, decided)
        if settled < reachable:
            _take_escapes(home, sources[1], hops, switches, state, decided)
        far = _commit(home, sources[kinds[turn]], sources[1], hops, switches, state, distance, weight, cost, kinship, decided)
        longer += far if kinds[turn] < 2 else 0
        if mode == STRICT and longer > 0:
            break
        for switch in range(len(switches) - 1):
            if switch != home and switches[switch].chosen >= 0:
                lft[switch, lids[turn]] = hops[switches[switch].chosen].port
    return longer


@_inner()
def _withdraw(lft, lid, home, units, hops, hop_at, weight, cost):  # type: ignore[no-untyped-def]
    """Take a destination's traffic off the weights."""
    for source in range(len(units)):
        switch = source
        while units[source] > 0 and switch != home:
            hop = hop_at[switch, lft[switch, lid]]
            weight[hop] -= units[source] * hops[hop].toll
            cost[hop] -= units[source] * hops[hop].toll
            switch = hops[hop].far


@_inner()
def _mark_useful(sources, distance, hops, switches):  # type: ignore[no-untyped-def]
    """Mark the switches on shortest paths from sources to a destination's switch."""
    depth = np.int64(0)
    for switch in range(len(sources)):
        switches[switch].useful = sources[switch] > 0
        if sources[switch] > 0:
            switches[depth].queued = switch
            depth += 1
    while depth > 0:
        depth -= 1
        switch = switches[depth].queued
        for hop in range(switches[switch].first, switches[switch + 1].first):
            near = hops[hop].far
            if distance[near] == distance[switch] - 1 and not switches[near].useful:
                switches[near].useful = 1
                switches[depth].queued = near
                depth += 1


@_inner()
def _misses(sources, switches):  # type: ignore[no-untyped-def]
    """Return whether a tree has not reached a switch with sources."""
    missed = 0
    for switch in range(len(sources)):
        missed += sources[switch] > 0 and switches[switch].label < 0
    return missed > 0


@_inner()
def _grow(home, shy, hops, switches, state, cost, novelty, decided):  # type: ignore[no-untyped-def]
    """Grow a destination's tree level by level from its switch; return how many switches it reached.

    A switch takes the hop of least accumulated weight among those to the level before whose dependency can be used. If `shy`,
    switches that are on no source's shortest path are left out: most of their dependencies would be for nothing.
    """
    for switch in range(len(switches)):
        switches[switch].label = -1
        switches[switch].chosen = -1
        switches[switch].asked = -1
    switches[home].label = 0
    switches[home].total = 0.0
    switches[0].queued = home
    begin, end, level = 0, 1, switches[home].label
    while begin < end:
        filled = end
        for position in range(begin, end):
            switch = switches[position].queued
            for hop in range(switches[switch].first, switches[switch + 1].first):
                near = hops[hop].far
                if switches[near].label >= 0 or switches[near].asked == level or (shy and not switches[near].useful):
                    continue
                switches[near].asked = level
                if _settle(near, level, hops, switches, state, cost, novelty, decided) or _reconsider(
                    near, level, hops, switches, state, cost, decided
                ):
                    switches[near].label = level + 1
                    switches[filled].queued = near
                    filled += 1
        begin, end = end, filled
        level += 1
    return end


@_inner()
def _settle(switch, level, hops, switches, state, cost, novelty, decided):  # type: ignore[no-untyped-def]
    """Choose a switch's hop among those to a level; return whether one can be used."""
    while True:
        best, least = switches[switch].chosen, np.inf
        for hop in range(switches[switch].first, switches[switch + 1].first):
            near = hops[hop].far
            if switches[near].label != level:
                continue
            dependency = USED if level == 0 else state[hops[hop].row + switches[near].chosen]
            through = cost[hop] + switches[near].total + (novelty if dependency == UNDECIDED else 0.0)
            if through < least and dependency != BLOCKED:
                best, least = hop, through
        if best < 0:
            return False
        if level == 0 or _connect(best, switches[hops[best].far].chosen, hops, switches, state, decided):
            switches[switch].chosen = best
            switches[switch].total = least
            return True


@_inner()
def _reconsider(switch, level, hops, switches, state, cost, decided):  # type: ignore[no-untyped-def]
    """Let a switch of a level leave on another hop of the same distance, if its neighbour `switch` can then use it."""
    for hop in range(switches[switch].first, switches[switch + 1].first):
        near = hops[hop].far
        if level == 0 or switches[near].label != level:
            continue
        for other in range(switches[near].first, switches[near + 1].first):
            onward = hops[other].far
            if switches[onward].label != level - 1 or other == switches[near].chosen:
                continue
            if _fits(hop, near, other, switches[onward].chosen, hops, switches, state, decided):
                switches[near].chosen = other
                switches[near].total = cost[other] + switches[onward].total
                switches[switch].chosen = hop
                switches[switch].total = cost[hop] + switches[near].total
                return True
    return False


@_inner()
def _fits(new, switch, hop, after, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Return whether a switch's `hop` can follow hop `new` and all that lead to the switch now, and be followed by `after`."""
    if after >= 0 and not _connect(hop, after, hops, switches, state, decided):
        return False
    for away in range(switches[switch].first, switches[switch + 1].first):
        arriving = hops[away].back
        comes = arriving == new or switches[hops[away].far].chosen == arriving
        if comes and not _connect(arriving, hop, hops, switches, state, decided):
            return False
    return True


@_inner()
def _take_escapes(home, sources, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Put the switches that a tree did not reach on their escape paths, and with them as few others as can be.

    The next switch of an escape path goes on along it; who goes over that switch follows it, where dependencies allow, or takes
    its own escape path. Switches without sources behind them in the escape tree have none: who goes over them leaves them.
    """
    n = len(switches) - 1
    filled, all_sources = 0, 0
    for switch in range(n):
        all_sources += sources[switch]
        switches[switch].escape = switches[switch].up
        switches[switch].on_escape = switch == home
        if switches[switch].label < 0 and switches[switch].up > -2 and sources[switch] > 0:
            switches[filled].queued = switch
            switches[switch].on_escape = 1
            filled += 1
    switch = home
    while switches[switch].up >= 0:
        hop = switches[switch].up
        switch = hops[hop].far
        switches[switch].escape = hops[hop].back
    while filled > 0:
        filled -= 1
        switch = switches[filled].queued
        onward = switches[switch].escape
        switches[switch].chosen = onward
        parent = hops[onward].far
        below = onward == switches[switch].up
        behind = switches[switch].below if below else all_sources - switches[parent].below
        if behind > 0 and not switches[parent].on_escape:
            switches[parent].on_escape = 1
            switches[filled].queued = parent
            filled += 1
        for away in range(switches[switch].first, switches[switch + 1].first):
            near, arriving = hops[away].far, hops[away].back
            if switches[near].chosen != arriving or switches[near].on_escape:
                continue
            if behind > 0 and _connect(arriving, onward, hops, switches, state, decided):
                continue
            switches[near].on_escape = 1
            switches[filled].queued = near
            filled += 1
    for switch in range(n):
        if switches[switch].chosen < 0 and switch != home:
            switches[switch].chosen = switches[switch].escape


@_inner()
def _commit(home, units, sources, hops, switches, state, distance, weight, cost, kinship, decided):  # type: ignore[no-untyped-def]
    """Add a destination's traffic to the weights, keep the dependencies that it uses, and let go of the others.

    What was refused because of those may be asked again. Returns how many switches have a path longer than the shortest.
    """
    longer = 0
    for source in range(len(sources)):
        if sources[source] == 0:
            continue
        switch, before, length = source, -1, 0
        while switch != home:
            hop = switches[switch].chosen
            load = units[source] * hops[hop].toll
            weight[hop] += load
            cost[hop] += load * (1.0 + kinship)
            if before >= 0:
                state[hops[before].row + hop] = USED
            switch, before, length = hops[hop].far, hop, length + 1
        longer += length > distance[home, source]
    released = False
    for position in range(decided[-1]):
        released |= state[decided[position]] == TENTATIVE
    if released:
        for position in range(decided[-1]):
            if state[decided[position]] != USED:
                state[decided[position]] = UNDECIDED
    return longer


@_inner()
def _connect(before, after, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Return whether one hop may follow another without a cycle, and if so, use their dependency."""
    dependency = hops[before].row + after
    if state[dependency] != UNDECIDED:
        return state[dependency] != BLOCKED
    acyclic = hops[before].place < hops[after].place or _move_behind(before, after, hops, switches, state)
    state[dependency] = TENTATIVE if acyclic else BLOCKED
    decided[decided[-1]] = dependency
    decided[-1] += 1
    return acyclic


@_inner()
def _move_behind(before, after, hops, switches, state):  # type: ignore[no-untyped-def]
    """Move hop `after`, and what depends on it, behind hop `before` in the order; False if `before` is among it.

    Marchetti-Spaccamela, Nanni, Rohnert: Maintaining a topological order under edge insertions, IPL 59(1), 1996.
    """
    start, last = hops[after].place, hops[before].place
    hops[0].stacked = after
    hops[after].reached = 1
    depth, acyclic = 1, True
    while depth > 0 and acyclic:
        depth -= 1
        hop = hops[depth].stacked
        switch, row = hops[hop].far, hops[hop].row
        for onward in range(switches[switch].first, switches[switch + 1].first):
            if state[row + onward] & USED and not hops[onward].reached and hops[onward].place <= last:
                if onward == before:
                    acyclic = False
                    break
                hops[onward].reached = 1
                hops[depth].stacked = onward
                depth += 1
    free, moved = start, 0
    for place in range(start, last + 1):
        hop = hops[place].at
        if hops[hop].reached:
            hops[hop].reached = 0
            hops[moved].stacked = hop
            moved += 1
        elif acyclic:
            hops[free].at = hop
            hops[hop].place = free
            free += 1
    if acyclic:
        for position in range(moved):
            hops[free + position].at = hops[position].stacked
            hops[hops[position].stacked].place = free + position
    return acyclic
