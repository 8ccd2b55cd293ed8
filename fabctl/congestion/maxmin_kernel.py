"""The sequential heart of `fabctl.congestion.maxmin`, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

TIE = 1e-12
"""What differs by this share is equal: completion times that rounding keeps apart, and levels at which channels fill."""
ROUNDING = 1e-15
"""Of a channel's capacity: what rounding leaves of it, or takes too much."""
BLOCK = 512


@njit(cache=True, error_model="numpy")
def run_flows(ptr, index, share, size, capacity, to_the_end):  # type: ignore[no-untyped-def]
    """Fill channels progressively, end the flows that are first, fill again what that touches, and so on.

    Parameters
    ----------
    ptr, index : int64 and int32 arrays
        Channels of each flow, as a CSR.
    share : float64 array of shape (len(index),) or (0,)
        Bytes on each channel per byte of the flow; empty: 1.
    size : float64 array of shape (n_flows,)
    capacity : float64 array of shape (n_channels,)
        Above zero for every channel in use.
    to_the_end : bool
        Whether flows end; else only their rates at the start are wanted.

    Returns
    -------
    seconds, first_rate : float64 arrays of shape (n_flows,)
    bottleneck : int32 array of shape (n_flows,)
    solves : int
    """
    n, m = len(size), len(capacity)
    weighted = len(share) > 0
    runs = np.empty(n, dtype=np.bool_)
    for flow in range(n):
        runs[flow] = size[flow] > 0.0 and ptr[flow + 1] > ptr[flow]
    first, end, flow_at, share_at = _flows_by_channel(ptr, index, share, runs, m)
    rate, new_rate = np.zeros(n), np.zeros(n)
    left, since = size.copy(), np.zeros(n)
    finish = np.full(n, np.inf)
    seconds = np.where(size == np.inf, np.inf, 0.0)
    limit = np.full(n, -1, dtype=np.int32)
    flow_turn, channel_turn = np.zeros(n, dtype=np.int32), np.zeros(m, dtype=np.int32)
    touched, reached = np.empty(n, dtype=np.int32), np.empty(m, dtype=np.int32)
    base, load, held, at_level = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    unfilled = np.empty(m, dtype=np.int32)
    heap_key, heap_channel = np.empty(m), np.empty(m, dtype=np.int32)
    earliest, stale = np.full(n // BLOCK + 1, np.inf), np.zeros(n // BLOCK + 1, dtype=np.bool_)
    turn, now, floor = 1, 0.0, 0.0
    solves, n_reached = 0, 0
    for channel in range(m):
        if end[channel] > first[channel]:
            reached[n_reached] = channel
            channel_turn[channel] = turn
            n_reached += 1
    first_rate = np.full(n, np.inf)
    bottleneck = limit
    while True:
        # What the end of flows at rates of `floor` and more can change: flows at such rates, from channel to channel.
        n_touched, position = 0, 0
        while position < n_reached:
            channel = reached[position]
            position += 1
            spent, wanted, count, kept = 0.0, 0.0, 0, first[channel]
            for at in range(first[channel], end[channel]):
                flow = flow_at[at]
                if not runs[flow]:
                    continue
                part = share_at[at] if weighted else 1.0
                flow_at[kept] = flow
                if weighted:
                    share_at[kept] = part
                kept += 1
                if rate[flow] < floor:
                    spent += part * rate[flow]
                    continue
                wanted += part
                count += 1
                if flow_turn[flow] != turn:
                    flow_turn[flow] = turn
                    touched[n_touched] = flow
                    n_touched += 1
                    for edge in range(ptr[flow], ptr[flow + 1]):
                        other = index[edge]
                        if channel_turn[other] != turn:
                            channel_turn[other] = turn
                            reached[n_reached] = other
                            n_reached += 1
            end[channel] = kept
            base[channel], load[channel], unfilled[channel] = capacity[channel] - spent, wanted, count
            held[channel], at_level[channel] = 0.0, 0.0
        solves += n_touched > 0
        # Progressive filling of these flows: the channel with the least for each of its flows decides for them.
        n_heap = 0
        for position in range(n_reached):
            channel = reached[position]
            if unfilled[channel] > 0:
                heap_key[n_heap], heap_channel[n_heap] = base[channel] / load[channel], channel
                n_heap += 1
        for position in range(n_heap // 2 - 1, -1, -1):
            _sink(heap_key, heap_channel, position, n_heap)
        level = 0.0
        while n_heap > 0:
            channel = heap_channel[0]
            if unfilled[channel] > 0:
                remaining = base[channel] - at_level[channel] * held[channel]
                if level == 0.0 or remaining > level * load[channel] * (1.0 + TIE) + ROUNDING * capacity[channel]:
                    fair = remaining / load[channel]
                    if fair > heap_key[0] * (1.0 + TIE):
                        heap_key[0] = fair
                        _sink(heap_key, heap_channel, 0, n_heap)
                        continue
                    level = max(fair, floor)
                for at in range(first[channel], end[channel]):
                    flow = flow_at[at]
                    if flow_turn[flow] != turn:
                        continue
                    flow_turn[flow] = -turn
                    new_rate[flow], limit[flow] = level, channel
                    for edge in range(ptr[flow], ptr[flow + 1]):
                        other = index[edge]
                        part = share[edge] if weighted else 1.0
                        if at_level[other] != level:
                            base[other] -= at_level[other] * held[other]
                            held[other], at_level[other] = 0.0, level
                        held[other] += part
                        load[other] -= part
                        unfilled[other] -= 1
            n_heap -= 1
            heap_key[0], heap_channel[0] = heap_key[n_heap], heap_channel[n_heap]
            _sink(heap_key, heap_channel, 0, n_heap)
        for position in range(n_touched):
            flow = touched[position]
            if new_rate[flow] != rate[flow]:
                left[flow] = max(left[flow] - rate[flow] * (now - since[flow]), 0.0)
                since[flow], rate[flow] = now, new_rate[flow]
                finish[flow] = now + left[flow] / rate[flow]
                stale[flow // BLOCK] = True
        if turn == 1:
            bottleneck = limit.copy()
            for position in range(n_touched):
                first_rate[touched[position]] = rate[touched[position]]
            if not to_the_end:
                break
        # The next flows to end, and the channels that they leave.
        now = np.inf
        for block in range(len(earliest)):
            if stale[block]:
                stale[block] = False
                earliest[block] = np.inf
                for flow in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
                    earliest[block] = min(earliest[block], finish[flow])
            now = min(now, earliest[block])
        if now == np.inf:
            break
        turn += 1
        n_reached, floor = 0, np.inf
        for block in range(len(earliest)):
            if earliest[block] > now * (1.0 + TIE):
                continue
            stale[block] = True
            for flow in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
                if finish[flow] > now * (1.0 + TIE):
                    continue
                seconds[flow], finish[flow] = finish[flow], np.inf
                runs[flow] = False
                floor = min(floor, rate[flow])
                for edge in range(ptr[flow], ptr[flow + 1]):
                    channel = index[edge]
                    if channel_turn[channel] != turn:
                        channel_turn[channel] = turn
                        reached[n_reached] = channel
                        n_reached += 1
        floor *= 1.0 - TIE
    for flow in range(n):
        if runs[flow]:
            seconds[flow] = np.inf
    return seconds, first_rate, bottleneck, solves


@njit(cache=True, error_model="numpy")
def _flows_by_channel(ptr, index, share, runs, m):  # type: ignore[no-untyped-def]
    """Return the running flows of each channel: where each list begins and ends, the flows, and their shares."""
    first = np.zeros(m + 1, dtype=np.int64)
    for flow in range(len(runs)):
        if runs[flow]:
            for edge in range(ptr[flow], ptr[flow + 1]):
                first[index[edge] + 1] += 1
    first = np.cumsum(first)
    end = first[:-1].copy()
    flow_at = np.empty(first[-1], dtype=np.int32)
    share_at = np.empty(first[-1] if len(share) else 0)
    for flow in range(len(runs)):
        if runs[flow]:
            for edge in range(ptr[flow], ptr[flow + 1]):
                at = end[index[edge]]
                flow_at[at] = flow
                if len(share):
                    share_at[at] = share[edge]
                end[index[edge]] = at + 1
    return first, end, flow_at, share_at


@njit(cache=True, error_model="numpy")
def _sink(key, channel, position, count):  # type: ignore[no-untyped-def]
    """Let an entry of a binary heap sink to its place."""
    held_key, held_channel = key[position], channel[position]
    while True:
        child = 2 * position + 1
        if child >= count:
            break
        if child + 1 < count and key[child + 1] < key[child]:
            child += 1
        if not key[child] < held_key:
            break
        key[position], channel[position] = key[child], channel[child]
        position = child
    if count > 0:
        key[position], channel[position] = held_key, held_channel
