"""The sequential heart of `fabctl.bench.place_search`, compiled by numba: loads of a placement, and moves that lower them."""

from __future__ import annotations

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


@njit(cache=True, error_model="numpy")
def lay_flows(routes, flows, ports, place, load, count):  # type: ignore[no-untyped-def]
    """Add all flows' bytes and numbers to the channels of a placement.

    Parameters
    ----------
    routes : (lft, channel_at, channel_dst, channel_of_port, port_peer, port_lid, channel_port)
        As `fabctl.model.tables.RoutingTables` and `fabctl.model.fabric.Fabric` hold them.
    flows : (phase, src, src_column, dst, dst_column, size_bytes)
        Arrays of shape (n_flows,): places in the job, and columns of `ports`.
    ports : int32 array of shape (n_hosts, n_columns)
        HCA ports of each host that may be chosen.
    place : int32 array of shape (n_places,)
        Row of `ports` at each place of the job.
    load, count : float64 arrays of shape (n_phases, n_channels)
        Changed in place.

    Returns
    -------
    int
        Channels on the longest route; -1 if a flow has none.
    """
    path = np.empty(LONGEST, dtype=np.int32)
    longest = 0
    for flow in range(len(flows[0])):
        length = _walk(routes, flows, ports, place, flow, path)
        if length < 0:
            return -1
        longest = max(longest, length)
        for step in range(length):
            load[flows[0][flow], path[step]] += flows[5][flow]
            count[flows[0][flow], path[step]] += 1.0
    return longest


@njit(cache=True, error_model="numpy")
def drain_times(load, count, channels):  # type: ignore[no-untyped-def]
    """Return each phase's longest time to drain a channel.

    Parameters
    ----------
    channels : (seconds_per_byte, background, taken)
        Float64 arrays of shape (n_channels,): inverse rate, endless flows of others, and the share of the rate that these take
        without the job. The job gets what they leave, or what falls to its flows if all had the same, whichever is more.
    """
    longest = np.zeros(load.shape[0])
    for phase in range(load.shape[0]):
        for at in range(load.shape[1]):
            longest[phase] = max(longest[phase], _drain(load[phase, at], count[phase, at], channels, at))
    return longest


@njit(cache=True, error_model="numpy")
def improve(routes, flows, of_place, ports, group, place, spare, phases, channels, hops, seed):  # type: ignore[no-untyped-def]
    """Swap hosts, or exchange them for spare ones, while that makes the hottest channels cooler.

    Each move takes a host of a flow on the hottest channel of a phase and gives its place to another host, half of the time one
    of the other end's leaf. It stays unless the sum over the phases of times x 16-norm of the drain times grows.

    Parameters
    ----------
    routes, flows, ports
        As for `lay_flows`.
    of_place : (int64 array of shape (n_places + 1,), int32 array)
        CSR of the flows that each place sends or receives.
    group : (int32 array of shape (n_hosts,), int64 array of shape (n_leaves + 1,), int32 array of shape (n_hosts,))
        Leaf of each host, and the hosts of each leaf as a CSR.
    place : int32 array of shape (n_places,)
        Where to start; changed in place. Every flow has a route.
    spare : int32 array
        Hosts that no place has; changed in place.
    phases : (times, bound_s)
        Float64 arrays of shape (n_phases,): runs of each phase, and the drain time below which no placement gets.
    channels
        As for `drain_times`.
    hops : int
        Budget, in hops walked.
    seed : int

    Returns
    -------
    (int32 array of shape (n_places,), float)
        The best placement met, and the sum over its phases of times x longest drain time in seconds.
    """
    times, bound_s = phases
    load, count = np.zeros((len(times), len(channels[0]))), np.zeros((len(times), len(channels[0])))
    longest_route = lay_flows(routes, flows, ports, place, load, count)
    unit = drain_times(load, count, channels)
    powers = _powers(load, count, channels, unit)
    score = _score(times, unit, powers)
    best, best_cost = place.copy(), np.sum(times * unit)
    seat = np.full(len(ports), -1, dtype=np.int64)
    seat[place] = np.arange(len(place))
    spot = np.full(len(ports), -1, dtype=np.int64)
    spot[spare] = np.arange(len(spare))
    width = 4 * (longest_route + 2) * np.max(np.diff(of_place[0])) if len(of_place[1]) else 1
    journal = np.empty(width, dtype=np.int64), np.empty(width), np.empty(width)
    crowd = np.empty(len(flows[0]), dtype=np.int32)
    crowded, phase, hot, tries, stale = 0, 0, 0, 0, 0
    state = np.uint64(seed) * np.uint64(2) + np.uint64(88172645463325253)
    longest = unit.copy()
    while hops > 0 and stale < TRIES:
        if tries % BURST == 0 or not crowded:
            state, draw = _random(state)
            phase = _pick_phase(times, longest - bound_s, draw)
            if phase < 0:
                break
            state, draw = _random(state)
            hot = _pick_channel(load[phase], count[phase], channels, draw)
            crowded = _flows_on(routes, flows, ports, place, phase, hot, crowd)
            hops -= 4 * len(crowd)
        tries += 1
        stale += 1
        state, draw = _random(state)
        at = int(draw * crowded)
        flow = crowd[at]
        if not _passes(routes, flows, ports, place, flow, hot):
            crowded -= 1
            crowd[at] = crowd[crowded]
            hops -= 8
            continue
        state, draw = _random(state)
        mover, partner = (flows[1][flow], flows[3][flow]) if draw < 0.5 else (flows[3][flow], flows[1][flow])
        state, draw = _random(state)
        state, chance = _random(state)
        host, newcomer = place[mover], _pick_host(group, ports, place[partner], draw, chance)
        if newcomer == host or (seat[newcomer] < 0 and spot[newcomer] < 0):
            hops -= 1
            continue
        other = seat[newcomer]
        before = powers.copy()
        written = _move(
            routes, flows, of_place, ports, place, mover, other, newcomer, load, count, channels, unit, powers, journal
        )
        hops -= max(written, 8)
        if written < 0 or _score(times, unit, powers) > score:
            _undo(load, count, journal, abs(written))
            powers[:] = before
            place[mover] = host
            if other >= 0:
                place[other] = newcomer
            continue
        seat[newcomer], seat[host] = mover, other
        if other < 0:
            spare[spot[newcomer]] = host
            spot[host], spot[newcomer] = spot[newcomer], -1
        new_score = _score(times, unit, powers)
        if new_score < score * (1.0 - 1e-9):
            stale = 0
            longest = drain_times(load, count, channels)
            hops -= load.size // 8
            unit = longest.copy()
            powers = _powers(load, count, channels, unit)
            new_score = _score(times, unit, powers)
            if np.sum(times * longest) < best_cost:
                best, best_cost = place.copy(), np.sum(times * longest)
        score = new_score
    return best, best_cost


@njit(cache=True, error_model="numpy")
def _walk(routes, flows, ports, place, flow, path):  # type: ignore[no-untyped-def]
    """Write the channels of a flow into `path` and return how many; -1 without a route."""
    lft, channel_at, channel_dst, channel_of_port, port_peer, port_lid, channel_port = routes
    source, target = ports[place[flows[1][flow]], flows[2][flow]], ports[place[flows[3][flow]], flows[4][flow]]
    lid = port_lid[target]
    channel = channel_of_port[source]
    for length in range(LONGEST):
        if channel < 0:
            return -1
        path[length] = channel
        node = channel_dst[channel]
        if node >= len(lft):
            return length + 1 if port_peer[channel_port[channel]] == target else -1
        channel = channel_at[node, lft[node, lid]] if 0 < lid < lft.shape[1] else -1
    return -1


@njit(cache=True, error_model="numpy")
def _passes(routes, flows, ports, place, flow, channel):  # type: ignore[no-untyped-def]
    path = np.empty(LONGEST, dtype=np.int32)
    length = _walk(routes, flows, ports, place, flow, path)
    return length > 0 and np.any(path[:length] == channel)


@njit(cache=True, error_model="numpy")
def _flows_on(routes, flows, ports, place, phase, channel, crowd):  # type: ignore[no-untyped-def]
    """Write a phase's flows on a channel into `crowd` and return how many."""
    found = 0
    for flow in range(len(flows[0])):
        if flows[0][flow] == phase and _passes(routes, flows, ports, place, flow, channel):
            crowd[found] = flow
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def _drain(load, count, channels, at):  # type: ignore[no-untyped-def]
    if not count > 0.0:
        return 0.0
    return load * channels[0][at] / max(1.0 - channels[2][at], count / (count + channels[1][at]))


@njit(cache=True, error_model="numpy")
def _power(ratio):  # type: ignore[no-untyped-def]
    """Return the 16th power."""
    ratio *= ratio
    ratio *= ratio
    ratio *= ratio
    return ratio * ratio


@njit(cache=True, error_model="numpy")
def _powers(load, count, channels, unit):  # type: ignore[no-untyped-def]
    """Return each phase's sum of the 16th powers of its drain times, in units of its `unit`."""
    powers = np.zeros(load.shape[0])
    for phase in range(load.shape[0]):
        for at in range(load.shape[1]):
            if count[phase, at] > 0.0:
                time = _drain(load[phase, at], count[phase, at], channels, at)
                powers[phase] += _power(time / unit[phase])
    return powers


@njit(cache=True, error_model="numpy")
def _score(times, unit, powers):  # type: ignore[no-untyped-def]
    score = 0.0
    for phase in range(len(times)):
        if unit[phase] > 0.0:
            score += times[phase] * unit[phase] * max(powers[phase], 0.0) ** 0.0625
    return score


@njit(cache=True, error_model="numpy")
def _random(state):  # type: ignore[no-untyped-def]
    """Return the next state and a number in [0, 1): xorshift64 (Marsaglia, Xorshift RNGs, 2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state, (state >> np.uint64(11)) / 9007199254740992.0


@njit(cache=True, error_model="numpy")
def _pick_phase(times, excess, draw):  # type: ignore[no-untyped-def]
    """Return a phase at random, weighted by what it may still gain; -1 if none may."""
    gain = np.maximum(times * excess, 0.0)
    total = gain.sum()
    if not total > 0.0:
        return -1
    threshold, last = draw * total, -1
    for phase in range(len(times)):
        if gain[phase] > 0.0:
            last = phase
            threshold -= gain[phase]
            if threshold < 0.0:
                break
    return last


@njit(cache=True, error_model="numpy")
def _pick_channel(load, count, channels, draw):  # type: ignore[no-untyped-def]
    """Return one of a phase's hottest channels at random."""
    longest, equals = 0.0, 0
    for at in range(len(load)):
        longest = max(longest, _drain(load[at], count[at], channels, at))
    for at in range(len(load)):
        equals += count[at] > 0.0 and _drain(load[at], count[at], channels, at) >= NEAR * longest
    skip = int(draw * equals)
    for at in range(len(load)):
        if count[at] > 0.0 and _drain(load[at], count[at], channels, at) >= NEAR * longest:
            if skip == 0:
                return at
            skip -= 1
    return 0


@njit(cache=True, error_model="numpy")
def _pick_host(group, ports, partner, draw, chance):  # type: ignore[no-untyped-def]
    """Return a host at random, of the partner's leaf in half of the cases."""
    leaf, ptr, members = group
    if chance < 0.5:
        first, last = ptr[leaf[partner]], ptr[leaf[partner] + 1]
        return members[first + int(draw * (last - first))]
    return int(draw * len(ports))


@njit(cache=True, error_model="numpy")
def _move(routes, flows, of_place, ports, place, mover, other, newcomer, load, count, channels, unit, powers, journal):  # type: ignore[no-untyped-def]
    """Give `newcomer` the place `mover`, whose host takes the place `other` if that is not -1.

    Returns
    -------
    int
        Entries of the journal; minus their number if the move cannot be made, for want of a route or of room in the journal.
    """
    written = _shift(routes, flows, of_place, ports, place, mover, other, load, count, channels, unit, powers, journal, 0, -1.0)
    if written < 0:
        return written
    if other >= 0:
        place[other] = place[mover]
    place[mover] = newcomer
    return _shift(routes, flows, of_place, ports, place, mover, other, load, count, channels, unit, powers, journal, written, 1.0)


@njit(cache=True, error_model="numpy")
def _shift(routes, flows, of_place, ports, place, mover, other, load, count, channels, unit, powers, journal, written, sign):  # type: ignore[no-untyped-def]
    """Add (`sign` 1) or take away (-1) the flows of one or two places; return the entries of the journal as `_move` does."""
    ptr, touched = of_place
    path = np.empty(LONGEST, dtype=np.int32)
    for turn in range(2):
        owner = mover if turn == 0 else other
        if owner < 0:
            continue
        for at in range(ptr[owner], ptr[owner + 1]):
            flow = touched[at]
            if turn == 1 and mover in (flows[1][flow], flows[3][flow]):
                continue
            length = _walk(routes, flows, ports, place, flow, path)
            if length < 0 or written + length > len(journal[0]):
                return -max(written, 1)
            phase = flows[0][flow]
            for step in range(length):
                channel = path[step]
                old, number = load[phase, channel], count[phase, channel]
                journal[0][written], journal[1][written], journal[2][written] = phase * load.shape[1] + channel, old, number
                written += 1
                count[phase, channel] = number + sign
                load[phase, channel] = old + sign * flows[5][flow] if number + sign > 0.5 else 0.0
                if unit[phase] > 0.0:
                    powers[phase] -= _power(_drain(old, number, channels, channel) / unit[phase])
                    powers[phase] += _power(_drain(load[phase, channel], number + sign, channels, channel) / unit[phase])
    return written


@njit(cache=True, error_model="numpy")
def _undo(load, count, journal, written):  # type: ignore[no-untyped-def]
    for entry in range(written - 1, -1, -1):
        phase, channel = divmod(journal[0][entry], load.shape[1])
        load[phase, channel], count[phase, channel] = journal[1][entry], journal[2][entry]
