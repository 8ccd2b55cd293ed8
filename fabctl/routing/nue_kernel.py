"""The sequential heart of `fabctl.routing.engines.nue`, compiled by numba: trees within an acyclic dependency graph."""

from __future__ import annotations

import numpy as np
from numba import njit

UNDECIDED, USED, BLOCKED, TENTATIVE = 0, 1, 2, 3
"""States of a dependency. Once a lane's traffic uses it, it stays used; what would then close a cycle stays blocked."""


HOP = np.dtype(
    [
        ("source", np.int32),
        ("far", np.int32),
        ("back", np.int32),
        ("row", np.int32),
        ("port", np.int32),
        ("place", np.int32),
        ("at", np.int32),
        ("stacked", np.int32),
        ("reached", np.int32),
        ("toll", np.float64),
        ("weight", np.float64),
    ]
)
"""A channel between switches.

``source``, ``far``: the switches at its ends. ``back``: the same cable's hop in the other direction. ``port``: the output port.
``row``: hop `a` followed by hop `b` is dependency ``row[a] + b``. ``toll``: weight that one source's traffic adds.
``weight``: what it has added up to. ``place``: its place in the lane's topological order. ``at[i]``: the hop at place `i`.
``stacked``, ``reached``: scratch, the latter zero between searches.
"""

SWITCH = np.dtype(
    [
        ("first", np.int32),
        ("up", np.int32),
        ("below", np.int32),
        ("label", np.int32),
        ("chosen", np.int32),
        ("queued", np.int32),
        ("asked", np.int32),
        ("escape", np.int32),
        ("on_escape", np.int32),
        ("total", np.float64),
    ]
)
"""A switch; one more stands at the end.

``first``: its first hop, so that hops are a CSR. ``up``: hop to the parent in the lane's escape tree; -1 at the root, -2 out of
its reach. ``below``: sources at it and below it in that tree. Of the tree that is being grown, ``label``: hops to the
destination, -1 where not reached; ``chosen``: its hop; ``total``: weight from there on. ``escape``: its hop in the escape tree;
``on_escape``: whether it takes that. ``queued``, ``asked``: scratch.
"""


@njit(cache=True, error_model="numpy")
def route_lane(lft, lids, homes, kinds, hops, switches, state, sources):  # type: ignore[no-untyped-def]
    """Route a lane's destinations one after the other, each on a tree whose dependencies keep the lane acyclic.

    Parameters
    ----------
    lft : uint8 array of shape (n_switches, max LID + 1)
        Changed in place.
    lids, homes : int32 arrays of shape (n_destinations,)
        LIDs in the order in which they are routed, and the switches that they hang from.
    kinds : int8 array of shape (n_destinations,)
        Row of `sources` whose traffic for the destination adds to the weights.
    hops : HOP array of shape (n_hops,)
        Changed in place, as are the next two.
    switches : SWITCH array of shape (n_switches + 1,)
    state : uint8 array of shape (n_dependencies,)
        `USED` where the escape paths use a dependency.
    sources : int32 array of shape (3, n_switches)
        Sources at each switch; row 1 has all HCAs.
    """
    n = len(switches) - 1
    decided = np.empty(len(state) + 1, dtype=np.int32)
    reachable = 0
    for switch in range(n):
        reachable += switches[switch].up > -2
    for turn in range(len(lids)):
        home = homes[turn]
        decided[-1] = 0
        if _grow(home, hops, switches, state, decided) < reachable:
            _take_escapes(home, sources[1], hops, switches, state, decided)
        _commit(home, sources[kinds[turn]], sources[1], hops, switches, state, decided)
        for switch in range(n):
            if switch != home and switches[switch].chosen >= 0:
                lft[switch, lids[turn]] = hops[switches[switch].chosen].port


@njit(cache=True, error_model="numpy")
def _grow(home, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Grow a destination's tree level by level from its switch; return how many switches it reached.

    A switch takes the hop of least accumulated weight among those to the level before whose dependency can be used.
    """
    for switch in range(len(switches)):
        switches[switch].label = -1
        switches[switch].chosen = -1
        switches[switch].asked = -1
    switches[home].label = 0
    switches[home].total = 0.0
    switches[0].queued = home
    begin, end, level = 0, 1, 0
    while begin < end:
        filled = end
        for position in range(begin, end):
            switch = switches[position].queued
            for hop in range(switches[switch].first, switches[switch + 1].first):
                near = hops[hop].far
                if switches[near].label >= 0 or switches[near].asked == level:
                    continue
                switches[near].asked = level
                if _settle(near, level, hops, switches, state, decided) or _reconsider(
                    near, level, hops, switches, state, decided
                ):
                    switches[near].label = level + 1
                    switches[filled].queued = near
                    filled += 1
        begin, end = end, filled
        level += 1
    return end


@njit(cache=True, error_model="numpy")
def _settle(switch, level, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Choose a switch's hop among those to a level; return whether one can be used."""
    while True:
        best, least = -1, np.inf
        for hop in range(switches[switch].first, switches[switch + 1].first):
            near = hops[hop].far
            if switches[near].label != level:
                continue
            cost = hops[hop].weight + switches[near].total
            if cost < least and (level == 0 or state[hops[hop].row + switches[near].chosen] != BLOCKED):
                best, least = hop, cost
        if best < 0:
            return False
        if level == 0 or _connect(best, switches[hops[best].far].chosen, hops, switches, state, decided):
            switches[switch].chosen = best
            switches[switch].total = least
            return True


@njit(cache=True, error_model="numpy")
def _reconsider(switch, level, hops, switches, state, decided):  # type: ignore[no-untyped-def]
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
                switches[near].total = hops[other].weight + switches[onward].total
                switches[switch].chosen = hop
                switches[switch].total = hops[hop].weight + switches[near].total
                return True
    return False


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def _commit(home, units, sources, hops, switches, state, decided):  # type: ignore[no-untyped-def]
    """Add a destination's traffic to the weights, keep the dependencies that it uses, and let go of the others.

    What was refused because of those may be asked again.
    """
    for source in range(len(sources)):
        if sources[source] == 0:
            continue
        switch, before = source, -1
        while switch != home:
            hop = switches[switch].chosen
            hops[hop].weight += units[source] * hops[hop].toll
            if before >= 0:
                state[hops[before].row + hop] = USED
            switch, before = hops[hop].far, hop
    released = False
    for position in range(decided[-1]):
        released |= state[decided[position]] == TENTATIVE
    if released:
        for position in range(decided[-1]):
            if state[decided[position]] != USED:
                state[decided[position]] = UNDECIDED


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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
