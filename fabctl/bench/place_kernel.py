"""The sequential heart of `fabctl.bench.place_search`, compiled by numba: moves of hosts that make hot channels cooler.

Arrays are made outside, each kind of number has one array with a column for each of its kinds, and loops are written out: all
that is less to compile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LONGEST = 64
"""Channels on a walk; more is a loop (`fabctl.congestion.load.MAX_HOPS`)."""
BURST = 64
"""Moves tried on one channel before another is looked at."""
TRIES = 4096
"""Moves in a row that change nothing, after which the search gives up."""
NEAR = 0.999
"""Share of the longest time from which on a channel counts as hottest."""
KERNEL: Any = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
HELPER: Any = {**KERNEL, "no_cpython_wrapper": True}

PHASE, SRC, SRC_COLUMN, DST, DST_COLUMN = range(5)
"""Columns of flows: phase, and place in the job and column of ports of both ends."""
NUMBER, LID, EXIT = range(3)
"""What is known of a port: its number, which nothing arrives at if it has no LID; its LID; the channel that leaves it."""
SEAT, BEGIN, END, MEMBER = range(4)
"""Columns of hosts: place in the job or -1; the others of its leaf, as a part of the last column, which lists all by leaf."""
NODE, ARRIVES = range(2)
"""Columns of the channels' ends: node and port."""
SECONDS, BACKGROUND, LEFT = range(3)
"""Columns of channels: seconds per byte, endless flows of others, the share of the rate that these leave without the job."""
BYTES, FLOWS = range(2)
"""Columns of loads."""
TIMES, BOUND, UNIT, POWERS, BEFORE = range(5)
"""Columns of phases: runs in a step, drain time below which no placement gets; longest drain time when it was last measured, and
the sum of the 16th powers of all in units of that, now and before the move."""


@njit(**KERNEL)
def improve(  # type: ignore[no-untyped-def]
    flows,
    size,
    ptr,
    touched,
    ports,
    hop,
    ends,
    hosts,
    channels,
    phases,
    load,
    place,
    best,
    crowd,
    path,
    cells,
    old,
    state,
    hops,
):
    """Swap hosts, or exchange them for spare ones, while that makes the hottest channels cooler.

    Each move takes a host of a flow on the hottest channel of a phase and gives its place to another host, half of the time one
    of the other end's leaf. It stays unless the sum over the phases of times x 16-norm of the drain times grows.

    Parameters
    ----------
    flows, size : int32 and float64 arrays of shapes (n_flows, 5) and (n_flows,)
        Columns `PHASE` to `DST_COLUMN`, and bytes.
    ptr, touched : int32 and int64 arrays
        CSR of the flows that each place sends or receives.
    ports : int32 array of shape (n_hosts, n_columns, 3)
        `NUMBER`, `LID` and `EXIT` of the HCA ports of each host that may be chosen.
    hop, ends : int32 arrays of shapes (n_switches, n_lids) and (n_channels, 2)
        `fabctl.model.tables.RoutingTables.next_channel`, and columns `NODE` and `ARRIVES`.
    hosts : int32 array of shape (n_hosts, 4)
        Columns `SEAT` to `MEMBER`; seats are changed in place.
    channels, phases : float64 arrays of shapes (n_channels, 3) and (n_phases, 5)
        Columns `SECONDS` to `LEFT`, and `TIMES` to `BEFORE`.
    load : float64 array of shape (n_phases * n_channels, 2)
        Columns `BYTES` and `FLOWS`, of `place`; changed in place.
    place, best : int32 arrays of shape (n_places,)
        Row of `ports` at each place of the job, where every flow has a route; changed in place. The best placement met.
    crowd, path, cells, old : int64 arrays of shapes (n_flows,), (LONGEST,), (n,), and float64 array of shape (n, 2)
        Scratch. A move that changes the load more than `n` times is not made.
    state : uint64 array of shape (1,)
        Of the random numbers; changed in place.
    hops : int
        Budget, in hops walked.

    Returns
    -------
    float
        The sum over the phases of times x longest drain time in seconds, of `best`.
    """
    best_cost = _measure(load, channels, phases)
    score = _score(phases)
    crowded, phase, hot, tries, stale = 0, 0, 0, 0, 0
    while hops > 0 and stale < TRIES:
        if tries % BURST == 0 or crowded == 0:
            phase = _pick_phase(phases, state)
            if phase < 0:
                break
            hot = _pick_channel(phase, load, channels, state)
            crowded = _list_crowd(phase, hot, flows, place, ports, hop, ends, path, crowd)
            hops -= 4 * len(crowd)
        tries += 1
        stale += 1
        at = int(_random(state) * crowded)
        flow = crowd[at]
        if not _passes(hot, flow, flows, place, ports, hop, ends, path):
            crowded -= 1
            crowd[at] = crowd[crowded]
            hops -= 8
            continue
        mover, partner = flows[flow, SRC], place[flows[flow, DST]]
        if not _random(state) < 0.5:
            mover, partner = flows[flow, DST], place[flows[flow, SRC]]
        host, newcomer = place[mover], _pick_host(partner, hosts, state)
        if newcomer == host:
            hops -= 1
            continue
        other = hosts[newcomer, SEAT]
        written = _move(
            mover, other, newcomer, flows, size, ptr, touched, ports, hop, ends, channels, phases, load, place, path, cells, old
        )
        hops -= max(written, 8)
        new_score = _score(phases)
        if written < 0 or new_score > score:
            _undo(written, phases, load, cells, old)
            place[mover] = host
            if other >= 0:
                place[other] = newcomer
            continue
        hosts[newcomer, SEAT], hosts[host, SEAT] = mover, other
        if new_score < score * (1.0 - 1e-9):
            stale = 0
            hops -= len(load) // 8
            cost = _measure(load, channels, phases)
            new_score = _score(phases)
            if cost < best_cost:
                best_cost = cost
                for row in range(len(place)):
                    best[row] = place[row]
        score = new_score
    return best_cost


@njit(**HELPER)
def _walk(flow, flows, place, ports, hop, ends, path):  # type: ignore[no-untyped-def]
    """Write the channels of a flow into `path` and return how many; -1 without a route."""
    source, target = place[flows[flow, SRC]], place[flows[flow, DST]]
    channel = ports[source, flows[flow, SRC_COLUMN], EXIT]
    number, lid = ports[target, flows[flow, DST_COLUMN], NUMBER], ports[target, flows[flow, DST_COLUMN], LID]
    for length in range(LONGEST):
        if channel < 0:
            return -1
        path[length] = channel
        node = ends[channel, NODE]
        if node >= len(hop):
            return length + 1 if ends[channel, ARRIVES] == number else -1
        channel = hop[node, lid]
    return -1


@njit(**HELPER)
def _passes(channel, flow, flows, place, ports, hop, ends, path):  # type: ignore[no-untyped-def]
    """Return whether a flow's route has a channel."""
    found = False
    for step in range(_walk(flow, flows, place, ports, hop, ends, path)):
        found |= path[step] == channel
    return found


@njit(**HELPER)
def _list_crowd(phase, channel, flows, place, ports, hop, ends, path, crowd):  # type: ignore[no-untyped-def]
    """Write a phase's flows on a channel into `crowd` and return how many."""
    found = 0
    for flow in range(len(crowd)):
        if flows[flow, PHASE] == phase and _passes(channel, flow, flows, place, ports, hop, ends, path):
            crowd[found] = flow
            found += 1
    return found


@njit(**HELPER)
def _drain(amount, count, channels, at):  # type: ignore[no-untyped-def]
    """Return the time that a channel takes. The job gets what others leave, or what falls to its flows if all had the same."""
    if not count > 0.0:
        return 0.0
    share = count / (count + channels[at, BACKGROUND])
    if channels[at, LEFT] > share:
        share = channels[at, LEFT]
    return amount * channels[at, SECONDS] / share


@njit(**HELPER)
def _power(ratio):  # type: ignore[no-untyped-def]
    """Return the 16th power."""
    ratio *= ratio
    ratio *= ratio
    ratio *= ratio
    return ratio * ratio


@njit(**HELPER)
def _measure(load, channels, phases):  # type: ignore[no-untyped-def]
    """Set `UNIT` and `POWERS`; return the sum over the phases of times x longest drain time."""
    cost, n_channels = 0.0, len(channels)
    for phase in range(len(phases)):
        longest, powers = 0.0, 0.0
        for turn in range(2):
            for at in range(n_channels):
                count = load[phase * n_channels + at, FLOWS]
                if count > 0.0:
                    time = _drain(load[phase * n_channels + at, BYTES], count, channels, at)
                    if turn == 1:
                        powers += _power(time / longest)
                    elif time > longest:
                        longest = time
        phases[phase, UNIT], phases[phase, POWERS] = longest, powers
        cost += phases[phase, TIMES] * longest
    return cost


@njit(**HELPER)
def _score(phases):  # type: ignore[no-untyped-def]
    score = 0.0
    for phase in range(len(phases)):
        if phases[phase, UNIT] > 0.0 and phases[phase, POWERS] > 0.0:
            score += phases[phase, TIMES] * phases[phase, UNIT] * phases[phase, POWERS] ** 0.0625
    return score


@njit(**HELPER)
def _random(state):  # type: ignore[no-untyped-def]
    """Return the next number in [0, 1): xorshift64 (Marsaglia, Xorshift RNGs, 2003)."""
    state[0] ^= state[0] << np.uint64(13)
    state[0] ^= state[0] >> np.uint64(7)
    state[0] ^= state[0] << np.uint64(17)
    return (state[0] >> np.uint64(11)) / 9007199254740992.0


@njit(**HELPER)
def _pick_phase(phases, state):  # type: ignore[no-untyped-def]
    """Return a phase at random, weighted by what it may still gain; -1 if none may."""
    threshold, last = -1.0, -1
    for turn in range(2):
        total = 0.0
        for phase in range(len(phases)):
            gain = phases[phase, TIMES] * (phases[phase, UNIT] - phases[phase, BOUND])
            if gain > 0.0:
                total += gain
                if turn == 1:
                    last = phase
                    threshold -= gain
                    if threshold < 0.0:
                        return last
        if turn == 0:
            threshold = _random(state) * total
    return last


@njit(**HELPER)
def _pick_channel(phase, load, channels, state):  # type: ignore[no-untyped-def]
    """Return one of a phase's hottest channels at random."""
    n_channels, longest, skip, equals = len(channels), 0.0, 0, 0
    for turn in range(3):
        for at in range(n_channels):
            count = load[phase * n_channels + at, FLOWS]
            if not count > 0.0:
                continue
            time = _drain(load[phase * n_channels + at, BYTES], count, channels, at)
            if turn == 0:
                if time > longest:
                    longest = time
            elif time >= NEAR * longest:
                if turn == 1:
                    equals += 1
                elif skip == 0:
                    return at
                else:
                    skip -= 1
        if turn == 1:
            skip = int(_random(state) * equals)
    return 0


@njit(**HELPER)
def _pick_host(partner, hosts, state):  # type: ignore[no-untyped-def]
    """Return a host at random, of the partner's leaf in half of the cases."""
    draw = _random(state)
    if _random(state) < 0.5:
        begin = hosts[partner, BEGIN]
        return int(hosts[begin + int(draw * (hosts[partner, END] - begin)), MEMBER])
    return int(draw * len(hosts))


@njit(**HELPER)
def _move(  # type: ignore[no-untyped-def]
    mover, other, newcomer, flows, size, ptr, touched, ports, hop, ends, channels, phases, load, place, path, cells, old
):
    """Give `newcomer` the place `mover`, whose host takes the place `other` if that is not -1.

    Returns
    -------
    int
        Loads that were noted in `cells` and `old` before they were changed; minus that number and one more if the move cannot be
        made, for want of a route or of room to note.
    """
    for phase in range(len(phases)):
        phases[phase, BEFORE] = phases[phase, POWERS]
    written, sign = 0, -1.0
    for turn in range(4):
        owner = other if turn % 2 else mover
        if turn == 2:
            sign = 1.0
            if other >= 0:
                place[other] = place[mover]
            place[mover] = newcomer
        if owner < 0:
            continue
        for at in range(ptr[owner], ptr[owner + 1]):
            flow = touched[at]
            if turn % 2 and (flows[flow, SRC] == mover or flows[flow, DST] == mover):
                continue
            length = _walk(flow, flows, place, ports, hop, ends, path)
            if length < 0 or written + length > len(cells):
                return -written - 1
            phase = flows[flow, PHASE]
            for step in range(length):
                channel = path[step]
                cell = phase * len(channels) + channel
                amount, count = load[cell, BYTES], load[cell, FLOWS]
                cells[written], old[written, BYTES], old[written, FLOWS] = cell, amount, count
                written += 1
                load[cell, BYTES], load[cell, FLOWS] = (amount + sign * size[flow] if count + sign > 0.5 else 0.0), count + sign
                unit = phases[phase, UNIT]
                if unit > 0.0:
                    phases[phase, POWERS] -= _power(_drain(amount, count, channels, channel) / unit)
                    phases[phase, POWERS] += _power(_drain(load[cell, BYTES], count + sign, channels, channel) / unit)
    return written


@njit(**HELPER)
def _undo(written, phases, load, cells, old):  # type: ignore[no-untyped-def]
    """Take back what a move that returned `written` has changed, but for places."""
    for entry in range((written if written >= 0 else -written - 1) - 1, -1, -1):
        load[cells[entry], BYTES], load[cells[entry], FLOWS] = old[entry, BYTES], old[entry, FLOWS]
    for phase in range(len(phases)):
        phases[phase, POWERS] = phases[phase, BEFORE]
