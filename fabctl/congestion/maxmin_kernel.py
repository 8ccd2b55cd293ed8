"""The sequential heart of `fabctl.congestion.maxmin`, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

TIE = 1e-12
"""What differs by less than this share is equal: ends that rounding keeps apart, and levels at which channels fill."""
ROUNDING = 1e-15
"""What rounding may leave of a channel, as a share of its capacity."""
FULL = 1.0 - 1e-9
"""A channel that carries less than this share of its capacity fixes no flow, whatever rounding has done to the sum."""
BLOCK = 128
"""Flows of which one number says when the next ends."""
ENDED = -1
KERNEL: Any = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
HELPER: Any = {**KERNEL, "no_cpython_wrapper": True}
"""How functions that only kernels call are compiled: quickly. For the same reason no literal number is handed to them, which
would compile them for this number as well, and arrays are made outside."""

ROUNDS = 500
"""Rounds between two looks at whether the user wants to stop."""
TURN, SEEDS, FLOOR, NOW, SOLVES = range(5)
"""Entries of the clock."""
RATE, NEXT_RATE, LEFT, SINCE, FINISH = range(5)
"""Columns of flows: bytes per second now and after this filling; bytes left at a time; when they end at this rate."""
CAPACITY, USED, BASE, LOAD, LEVEL, HELD = range(6)
"""Columns of channels: what it can carry, and does; what is left of it by flows below a level, and the shares fixed at that
level, which use ``LEVEL x HELD`` more, so that many flows at one level cost one rounding, not one each; the shares of the flows
to be filled."""


@njit(**KERNEL)
def run_flows(paths, state, clock, seconds, first_rate, bottleneck, to_the_end):  # type: ignore[no-untyped-def]
    """Fill channels progressively, end the flows that are first, fill again what that touches, and so on, for `ROUNDS` rounds.

    Parameters
    ----------
    paths : Paths
    state : State
    clock : float64 array of shape (5,)
        Zeros at the start; how far the flows have come after the last call, ``SOLVES`` being how often channels were filled.
    seconds, first_rate, bottleneck : float64, float64 and int32 arrays of shape (n_flows,)
        Changed in place: when each flow ends, where it does; its rate and the channel that fixed it at the start, if it runs.
    to_the_end : bool
        Whether flows end; else only their rates at the start are wanted.

    Returns
    -------
    bool
        Whether that was the end.
    """
    if clock[TURN] == 0.0:
        clock[TURN], clock[SEEDS] = 1.0, _list_flows(paths, state)
    turn, n_seeds, floor, now = np.int64(clock[TURN]), np.int64(clock[SEEDS]), clock[FLOOR], clock[NOW]
    for _ in range(ROUNDS):
        n_reached, n_touched = _reach(paths, state, turn, floor, n_seeds)
        if n_touched:
            n_suspects = _fill(paths, state, turn, floor, n_reached)
            n_full = _full_ones(state, n_seeds, n_reached, n_suspects)
            if n_full:
                _take_back(paths, state, turn, n_touched)
                turn, n_seeds = turn + 1, n_seeds + n_full
                for position in range(n_seeds):
                    state.channel_turn[state.reached[position]] = turn
                continue
            clock[SOLVES] += 1.0
            _take_rates(state, n_touched, now)
        if turn == 1:
            for position in range(n_touched):
                flow = state.touched[position]
                first_rate[flow], bottleneck[flow] = state.flows[flow, RATE], state.limit[flow]
        now = _next_end(state)
        if now == np.inf or not to_the_end:
            return True
        turn += 1
        n_seeds, floor = _end_flows(paths, state, turn, now, seconds)
    clock[TURN], clock[SEEDS], clock[FLOOR], clock[NOW] = turn, n_seeds, floor, now
    return False


@njit(**HELPER)
def _list_flows(paths, state):  # type: ignore[no-untyped-def]
    """List the running flows of each channel, reach all channels that have any, and return their number."""
    ptr, index, share = paths
    first, end = state.first, state.end
    for flow in range(len(ptr) - 1):
        if state.flow_turn[flow] != ENDED:
            for edge in range(ptr[flow], ptr[flow + 1]):
                first[index[edge] + 1] += 1
    n_reached = 0
    for channel in range(len(end)):
        if first[channel + 1]:
            state.reached[n_reached], state.channel_turn[channel] = channel, 1
            n_reached += 1
        end[channel] = first[channel]
        first[channel + 1] += first[channel]
    for flow in range(len(ptr) - 1):
        if state.flow_turn[flow] != ENDED:
            for edge in range(ptr[flow], ptr[flow + 1]):
                at = end[index[edge]]
                end[index[edge]] = at + 1
                state.flow_at[at] = flow
                if len(share):
                    state.share_at[at] = share[edge]
    return n_reached


@njit(**HELPER)
def _reach(paths, state, turn, floor, n_reached):  # type: ignore[no-untyped-def]
    """Follow flows at rates of `floor` and more over channels that fix flows; return the number of channels and of flows.

    Flows at lower rates keep them: they are taken off the capacity. Lists of flows lose those that have ended.
    """
    flow_at, share_at, flow_turn, flows = state.flow_at, state.share_at, state.flow_turn, state.flows
    position, n_touched = 0, 0
    while position < n_reached:
        channel = state.reached[position]
        position += 1
        kept, count, spent, wanted = state.first[channel], 0, 0.0, 0.0
        for at in range(state.first[channel], state.end[channel]):
            flow = flow_at[at]
            if flow_turn[flow] == ENDED:
                continue
            part = 1.0
            if len(share_at):
                part = share_at[at]
                share_at[kept] = part
            flow_at[kept] = flow
            kept += 1
            if flows[flow, RATE] < floor:
                spent += part * flows[flow, RATE]
                continue
            wanted += part
            count += 1
            if flow_turn[flow] == turn:
                continue
            flow_turn[flow] = turn
            state.touched[n_touched] = flow
            n_touched += 1
            n_reached = _reach_channels(paths, state, turn, np.int64(flow), n_reached)
        state.end[channel], state.unfixed[channel] = kept, count
        state.channels[channel, BASE], state.channels[channel, LOAD] = state.channels[channel, CAPACITY] - spent, wanted
        state.channels[channel, LEVEL], state.channels[channel, HELD] = 0.0, 0.0
    return n_reached, n_touched


@njit(**HELPER)
def _reach_channels(paths, state, turn, flow, n_reached):  # type: ignore[no-untyped-def]
    """Reach the channels of a flow that fix any flow and were not reached in this turn; return the number of all that were."""
    for edge in range(paths.ptr[flow], paths.ptr[flow + 1]):
        channel = paths.channel[edge]
        if state.channel_turn[channel] != turn and state.limits[channel] > 0:
            state.reached[n_reached], state.channel_turn[channel] = channel, turn
            n_reached += 1
    return n_reached


@njit(**HELPER)
def _fill(paths, state, turn, floor, n_reached):  # type: ignore[no-untyped-def]
    """Fill channels: the one that leaves the least to each of its flows that are not fixed yet fixes them, then the next.

    Channels that fixed no flow until now are left out; return how many of them became full in passing, listed behind the reached.
    """
    heap, heap_level, channels, flow_turn = state.heap, state.heap_level, state.channels, state.flow_turn
    count, top, n_listed = np.int64(0), np.int64(0), n_reached
    for position in range(n_reached):
        channel = state.reached[position]
        if state.unfixed[channel] > 0:
            heap[count], heap_level[count] = channel, channels[channel, BASE] / channels[channel, LOAD]
            count += 1
    for position in range(count // 2 - 1, -1, -1):
        _sink(heap, heap_level, position, count)
    level = 0.0
    while count > 0:
        channel = heap[top]
        if state.unfixed[channel] > 0:
            left = channels[channel, BASE] - channels[channel, LEVEL] * channels[channel, HELD]
            load = _load(state, turn, channel)
            if level == 0.0 or left > level * load * (1.0 + TIE) + ROUNDING * channels[channel, CAPACITY]:
                if left / load > heap_level[top] * (1.0 + TIE):
                    heap_level[top] = left / load
                    _sink(heap, heap_level, top, count)
                    continue
                level = max(left / load, floor)
            for at in range(state.first[channel], state.end[channel]):
                flow = state.flow_at[at]
                if flow_turn[flow] == turn:
                    flow_turn[flow] = 0
                    state.flows[flow, NEXT_RATE], state.next_limit[flow] = level, channel
                    n_listed = _hold(paths, state, turn, flow, level, n_listed)
        count -= 1
        heap[top], heap_level[top] = heap[count], heap_level[count]
        _sink(heap, heap_level, top, count)
    for position in range(n_reached):
        channel = state.reached[position]
        left = channels[channel, BASE] - channels[channel, LEVEL] * channels[channel, HELD]
        channels[channel, USED] = channels[channel, CAPACITY] - left
    return n_listed - n_reached


@njit(**HELPER)
def _load(state, turn, channel):  # type: ignore[no-untyped-def]
    """Return the shares on a channel of the flows that are not fixed, added up anew: differences would drown small ones."""
    if not len(state.share_at):
        return float(state.unfixed[channel])
    load = 0.0
    for at in range(state.first[channel], state.end[channel]):
        if state.flow_turn[state.flow_at[at]] == turn:
            load += state.share_at[at]
    return load


@njit(**HELPER)
def _hold(paths, state, turn, flow, level, n_listed):  # type: ignore[no-untyped-def]
    """Take a flow that is fixed at a level off its channels; add the change of its rate to those that are left out."""
    channels, channel_turn = state.channels, state.channel_turn
    for edge in range(paths.ptr[flow], paths.ptr[flow + 1]):
        channel = paths.channel[edge]
        part = paths.share[edge] if len(paths.share) else 1.0
        if channel_turn[channel] == turn:
            if channels[channel, LEVEL] != level:
                channels[channel, BASE] -= channels[channel, LEVEL] * channels[channel, HELD]
                channels[channel, LEVEL], channels[channel, HELD] = level, 0.0
            channels[channel, HELD] += part
            state.unfixed[channel] -= 1
            continue
        channels[channel, USED] += part * (level - state.flows[flow, RATE])
        if channel_turn[channel] != -turn and channels[channel, USED] > channels[channel, CAPACITY] * FULL:
            state.reached[n_listed], channel_turn[channel] = channel, -turn
            n_listed += 1
    return n_listed


@njit(**HELPER)
def _full_ones(state, n_seeds, n_reached, n_suspects):  # type: ignore[no-untyped-def]
    """Make the suspects that are full at last seeds, behind those that there are, and return how many."""
    n_full = np.int64(0)
    for position in range(n_reached, n_reached + n_suspects):
        channel = state.reached[position]
        if state.channels[channel, USED] > state.channels[channel, CAPACITY] * FULL:
            state.reached[n_seeds + n_full] = channel
            n_full += 1
    return n_full


@njit(**HELPER)
def _take_back(paths, state, turn, n_touched):  # type: ignore[no-untyped-def]
    """Take what the next rates changed back from the channels that were left out."""
    for position in range(n_touched):
        flow = state.touched[position]
        change = state.flows[flow, NEXT_RATE] - state.flows[flow, RATE]
        for edge in range(paths.ptr[flow], paths.ptr[flow + 1]):
            if state.channel_turn[paths.channel[edge]] != turn:
                part = paths.share[edge] if len(paths.share) else 1.0
                state.channels[paths.channel[edge], USED] -= part * change


@njit(**HELPER)
def _sink(heap, key, position, count):  # type: ignore[no-untyped-def]
    """Let an entry of a binary heap sink to its place."""
    entry, entry_key = heap[position], key[position]
    while 2 * position + 1 < count:
        child = 2 * position + 1
        if child + 1 < count and key[child + 1] < key[child]:
            child += 1
        if not key[child] < entry_key:
            break
        heap[position], key[position] = heap[child], key[child]
        position = child
    heap[position], key[position] = entry, entry_key


@njit(**HELPER)
def _take_rates(state, n_touched, now):  # type: ignore[no-untyped-def]
    """Let flows run at their next rates from now on."""
    flows = state.flows
    for position in range(n_touched):
        flow = state.touched[position]
        rate, limit = flows[flow, NEXT_RATE], state.limit[flow]
        if limit >= 0:
            state.limits[limit] -= 1
        state.limit[flow] = state.next_limit[flow]
        state.limits[state.limit[flow]] += 1
        if rate != flows[flow, RATE]:
            flows[flow, LEFT] = max(flows[flow, LEFT] - flows[flow, RATE] * (now - flows[flow, SINCE]), 0.0)
            flows[flow, SINCE], flows[flow, RATE] = now, rate
            flows[flow, FINISH] = now + flows[flow, LEFT] / rate
            state.stale[flow // BLOCK] = True


@njit(**HELPER)
def _next_end(state):  # type: ignore[no-untyped-def]
    """Return when the next flow ends."""
    flows, now = state.flows, np.inf
    for block in range(len(state.earliest)):
        if state.stale[block]:
            state.stale[block], soonest = False, np.inf
            for flow in range(block * BLOCK, min(len(flows), (block + 1) * BLOCK)):
                soonest = min(soonest, flows[flow, FINISH])
            state.earliest[block] = soonest
        now = min(now, state.earliest[block])
    return now


@njit(**HELPER)
def _end_flows(paths, state, turn, now, seconds):  # type: ignore[no-untyped-def]
    """End the flows whose time has come, and reach the channels that they relieve; return their number, and the lowest rate."""
    flows, n_reached, floor = state.flows, np.int64(0), np.inf
    for block in range(len(state.earliest)):
        if state.earliest[block] > now * (1.0 + TIE):
            continue
        state.stale[block] = True
        for flow in range(block * BLOCK, min(len(flows), (block + 1) * BLOCK)):
            if flows[flow, FINISH] > now * (1.0 + TIE):
                continue
            seconds[flow], flows[flow, FINISH], state.flow_turn[flow] = flows[flow, FINISH], np.inf, ENDED
            floor = min(floor, flows[flow, RATE])
            state.limits[state.limit[flow]] -= 1
            for edge in range(paths.ptr[flow], paths.ptr[flow + 1]):
                part = paths.share[edge] if len(paths.share) else 1.0
                state.channels[paths.channel[edge], USED] -= part * flows[flow, RATE]
            n_reached = _reach_channels(paths, state, turn, flow, n_reached)
    return n_reached, floor * (1.0 - TIE)
