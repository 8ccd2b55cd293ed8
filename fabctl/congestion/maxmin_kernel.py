"""The sequential heart of `fabctl.congestion.maxmin`, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

TIE = 1e-12
"""What differs by less than this share is equal: ends that rounding keeps apart, and levels at which channels fill."""
ROUNDING = 1e-15
"""What rounding may leave of a channel, as a share of its capacity."""
HELPER = {"cache": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How functions that only kernels call are compiled: quickly. For the same reason no literal number is handed to them, which
would compile them for this number as well."""
BLOCK = 512
"""Flows of which one number says when the next ends."""
ENDED = -1

RATE, NEXT_RATE, LEFT, SINCE, FINISH = range(5)
"""Columns of flows: bytes per second now and after this filling; bytes left at a time; when they end at this rate."""
CAPACITY, BASE, LOAD, LEVEL, HELD = range(5)
"""Columns of channels: what it carries; what is left of it below a level, and the shares fixed at that level, which use ``LEVEL x
HELD`` more; the shares of the flows that are not fixed. Many flows at one level cost one rounding, not one each."""


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
    seconds, first_rate = np.zeros(n), np.empty(n)
    flows, channels = np.zeros((n, 5)), np.zeros((m, 5))
    limit, first_limit = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    flow_turn, channel_turn = np.zeros(n, dtype=np.int32), np.zeros(m, dtype=np.int32)
    touched, reached = np.empty(n, dtype=np.int32), np.empty(m, dtype=np.int32)
    unfixed, heap = np.empty(m, dtype=np.int32), np.empty(m, dtype=np.int32)
    heap_level = np.empty(m)
    earliest, stale = np.empty(n // BLOCK + 1), np.ones(n // BLOCK + 1, dtype=np.bool_)
    for flow in range(n):
        limit[flow] = -1
        flows[flow, LEFT], flows[flow, FINISH] = size[flow], np.inf
        if not size[flow] > 0.0 or ptr[flow] == ptr[flow + 1]:
            flow_turn[flow] = ENDED
            seconds[flow] = np.inf if size[flow] == np.inf else 0.0
    first, end, flow_at, share_at = _flows_by_channel(ptr, index, share, flow_turn, m)
    n_reached = np.int64(0)
    for channel in range(m):
        channels[channel, CAPACITY] = capacity[channel]
        if end[channel] > first[channel]:
            reached[n_reached], channel_turn[channel] = channel, 1
            n_reached += 1
    turn, solves, now, floor = np.int64(1), 0, 0.0, 0.0
    while True:
        n_reached, n_touched = _reach(
            turn, floor, n_reached, reached, channel_turn, touched, flow_turn, ptr, index, first, end, flow_at, share_at, flows,
            channels, unfixed,
        )  # fmt: skip
        if n_touched:
            solves += 1
            _fill(
                turn, floor, reached[:n_reached], flow_turn, ptr, index, share, first, end, flow_at, flows, channels, unfixed,
                limit, heap, heap_level,
            )  # fmt: skip
            _take_rates(touched[:n_touched], now, flows, stale)
        if turn == 1:
            for flow in range(n):
                first_limit[flow] = limit[flow]
                first_rate[flow] = np.inf if flow_turn[flow] == ENDED else flows[flow, RATE]
        now = _next_end(flows, earliest, stale)
        if now == np.inf or not to_the_end:
            break
        turn += 1
        n_reached, floor = _end_flows(turn, now, ptr, index, reached, channel_turn, flow_turn, flows, seconds, earliest, stale)
    for flow in range(n):
        if flow_turn[flow] != ENDED:
            seconds[flow] = np.inf
    return seconds, first_rate, first_limit, solves


@njit(**HELPER)
def _flows_by_channel(ptr, index, share, flow_turn, m):  # type: ignore[no-untyped-def]
    """Return the running flows of each channel: where each list begins and ends, the flows, and their shares."""
    first = np.zeros(m + 1, dtype=np.int64)
    for flow in range(len(flow_turn)):
        if flow_turn[flow] != ENDED:
            for edge in range(ptr[flow], ptr[flow + 1]):
                first[index[edge] + 1] += 1
    end = np.empty(m, dtype=np.int64)
    for channel in range(m):
        end[channel] = first[channel]
        first[channel + 1] += first[channel]
    flow_at = np.empty(first[m], dtype=np.int32)
    share_at = np.empty(first[m] if len(share) else 0)
    for flow in range(len(flow_turn)):
        if flow_turn[flow] != ENDED:
            for edge in range(ptr[flow], ptr[flow + 1]):
                at = end[index[edge]]
                end[index[edge]] = at + 1
                flow_at[at] = flow
                if len(share):
                    share_at[at] = share[edge]
    return first, end, flow_at, share_at


@njit(**HELPER)
def _reach(  # type: ignore[no-untyped-def]
    turn, floor, n_reached, reached, channel_turn, touched, flow_turn, ptr, index, first, end, flow_at, share_at, flows,
    channels, unfixed,
):  # fmt: skip
    """Follow flows at rates of `floor` and more from channel to channel; return the number of channels and of flows.

    Flows at lower rates keep them: they are taken off the capacity. Lists of flows lose those that have ended.
    """
    position, n_touched = 0, 0
    while position < n_reached:
        channel = reached[position]
        position += 1
        kept, count, spent, wanted = first[channel], 0, 0.0, 0.0
        for at in range(first[channel], end[channel]):
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
            touched[n_touched] = flow
            n_touched += 1
            for edge in range(ptr[flow], ptr[flow + 1]):
                other = index[edge]
                if channel_turn[other] != turn:
                    reached[n_reached], channel_turn[other] = other, turn
                    n_reached += 1
        end[channel], unfixed[channel] = kept, count
        channels[channel, BASE], channels[channel, LOAD] = channels[channel, CAPACITY] - spent, wanted
        channels[channel, LEVEL], channels[channel, HELD] = 0.0, 0.0
    return n_reached, n_touched


@njit(**HELPER)
def _fill(  # type: ignore[no-untyped-def]
    turn, floor, reached, flow_turn, ptr, index, share, first, end, flow_at, flows, channels, unfixed, limit, heap, heap_level
):
    """Fill channels: the one that leaves the least to each of its flows that are not fixed yet fixes them, then the next."""
    count, top = np.int64(0), np.int64(0)
    for channel in reached:
        if unfixed[channel] > 0:
            heap[count], heap_level[count] = channel, channels[channel, BASE] / channels[channel, LOAD]
            count += 1
    for position in range(count // 2 - 1, -1, -1):
        _sink(heap, heap_level, position, count)
    level = 0.0
    while count > 0:
        channel = heap[top]
        if unfixed[channel] > 0:
            left = channels[channel, BASE] - channels[channel, LEVEL] * channels[channel, HELD]
            load = channels[channel, LOAD]
            if level == 0.0 or left > level * load * (1.0 + TIE) + ROUNDING * channels[channel, CAPACITY]:
                if left / load > heap_level[top] * (1.0 + TIE):
                    heap_level[top] = left / load
                    _sink(heap, heap_level, top, count)
                    continue
                level = max(left / load, floor)
            for at in range(first[channel], end[channel]):
                flow = flow_at[at]
                if flow_turn[flow] == turn:
                    flow_turn[flow] = 0
                    flows[flow, NEXT_RATE], limit[flow] = level, channel
                    _hold(flow, level, ptr, index, share, channels, unfixed)
        count -= 1
        heap[top], heap_level[top] = heap[count], heap_level[count]
        _sink(heap, heap_level, top, count)


@njit(**HELPER)
def _hold(flow, level, ptr, index, share, channels, unfixed):  # type: ignore[no-untyped-def]
    """Take a flow that is fixed at a level off its channels."""
    for edge in range(ptr[flow], ptr[flow + 1]):
        channel = index[edge]
        part = share[edge] if len(share) else 1.0
        if channels[channel, LEVEL] != level:
            channels[channel, BASE] -= channels[channel, LEVEL] * channels[channel, HELD]
            channels[channel, LEVEL], channels[channel, HELD] = level, 0.0
        channels[channel, HELD] += part
        channels[channel, LOAD] -= part
        unfixed[channel] -= 1


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
def _take_rates(touched, now, flows, stale):  # type: ignore[no-untyped-def]
    """Let flows run at their next rates from now on."""
    for flow in touched:
        rate = flows[flow, NEXT_RATE]
        if rate != flows[flow, RATE]:
            flows[flow, LEFT] = max(flows[flow, LEFT] - flows[flow, RATE] * (now - flows[flow, SINCE]), 0.0)
            flows[flow, SINCE], flows[flow, RATE] = now, rate
            flows[flow, FINISH] = now + flows[flow, LEFT] / rate
            stale[flow // BLOCK] = True


@njit(**HELPER)
def _next_end(flows, earliest, stale):  # type: ignore[no-untyped-def]
    """Return when the next flow ends."""
    now = np.inf
    for block in range(len(earliest)):
        if stale[block]:
            stale[block], soonest = False, np.inf
            for flow in range(block * BLOCK, min(len(flows), (block + 1) * BLOCK)):
                soonest = min(soonest, flows[flow, FINISH])
            earliest[block] = soonest
        now = min(now, earliest[block])
    return now


@njit(**HELPER)
def _end_flows(turn, now, ptr, index, reached, channel_turn, flow_turn, flows, seconds, earliest, stale):  # type: ignore[no-untyped-def]
    """End the flows whose time has come; return the number of their channels, and the lowest rate among them."""
    n_reached, floor = 0, np.inf
    for block in range(len(earliest)):
        if earliest[block] > now * (1.0 + TIE):
            continue
        stale[block] = True
        for flow in range(block * BLOCK, min(len(flows), (block + 1) * BLOCK)):
            if flows[flow, FINISH] > now * (1.0 + TIE):
                continue
            seconds[flow], flows[flow, FINISH], flow_turn[flow] = flows[flow, FINISH], np.inf, ENDED
            floor = min(floor, flows[flow, RATE])
            for edge in range(ptr[flow], ptr[flow + 1]):
                channel = index[edge]
                if channel_turn[channel] != turn:
                    reached[n_reached], channel_turn[channel] = channel, turn
                    n_reached += 1
    return n_reached, floor * (1.0 - TIE)
