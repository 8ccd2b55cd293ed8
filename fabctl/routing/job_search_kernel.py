"""The sequential heart of `fabctl.routing.job_search`, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fabctl.routing.demand import GOAL

GAIN = 1e-3
"""A move must lower the cost by more than this share of what it touches."""
OVER = 1000.0
"""How many times its power a load above the goal costs, once worst moments count."""
TRIALS = 64
"""Chains that are tried off a hot channel: the first as costs have it, the others as these and chance have it."""
NOISE = 4.0
"""How many times its cost chance adds to a channel at most."""
KERNEL: Any = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
HELPER: Any = {**KERNEL, "no_cpython_wrapper": True}
"""How functions that only kernels call are compiled: quickly. For the same reason loops over parts of arrays are written out, and
a helper is always handed the same type of number, for it would be compiled for each."""


@njit(**KERNEL)
def lay_out(net, state):  # type: ignore[no-untyped-def]
    """Count in `state.behind` the sending switches whose traffic passes each switch."""
    for d in range(len(net.home)):
        last = -1
        for entry in range(net.first[d], net.first[d + 1]):
            if net.leaf[entry] != last:
                last = net.leaf[entry]
                switch = last
                while switch != net.home[d]:
                    state.behind[switch, d] += 1
                    switch = net.dst[state.next_channel[switch, d]]


@njit(**KERNEL)
def cool(channel, net, state, work):  # type: ignore[no-untyped-def]
    """Move traffic off one hot channel, in place, until it is at the goal or no single move lowers the cost.

    A move takes all traffic that passes a switch for a destination to the path on which it costs least. Switches there that
    carry no traffic of the jobs for that destination take the entries that suit it; the others keep theirs.

    Returns
    -------
    int
        Number of moves.
    """
    switch, moves = net.src[channel], 0
    for d in range(len(net.home)):
        if work.effort[0] >= work.effort[1] or not _is_hot(channel, state, work):
            break
        if state.next_channel[switch, d] != channel or state.behind[switch, d] == 0:
            continue
        starts = _starts(switch, d, net, state, work)
        for index in range(starts):
            start = work.starts[index]
            if state.behind[switch, d] == 0 or state.next_channel[switch, d] != channel:
                break
            if net.label[net.home[d], start] < 0 or not _passes(start, switch, d, net, state):
                continue
            kinds, leaves = _gather(start, d, net, state, work)
            old = _lift(start, d, kinds, leaves, net, state, work)
            filled = _search(start, d, kinds, old * (1 - GAIN), 0.0, net, state, work)
            target = net.home[d]
            if work.via[target] >= 0:
                _redirect(start, target, d, 0, net, state, work)
                moves += 1
            _clear(filled, work)
            _lay(start, d, kinds, leaves, net, state, work)
    return moves


@njit(**KERNEL)
def chain(channel, net, state, work):  # type: ignore[no-untyped-def]
    """Try chains of moves: one off a hot channel, one off each channel that this makes hot, and so on, while all cost too much.

    No move takes the channel that it is to relieve, nor, in every other chain, one that the chain has relieved before: where all
    flows are equal that leads on, where they are not it may bar the way. The first chain that lowers the cost stays; else
    everything is as it was.

    Returns
    -------
    int
        Number of moves that stay.
    """
    for trial in range(TRIALS):
        made, replaced, waiting, total, old, noise = 0, 0, 1, 0.0, 0.0, NOISE if trial else 0.0
        work.waiting[0] = channel
        while waiting > 0 and made < len(work.moved) and work.effort[0] < work.effort[1]:
            waiting -= 1
            at = work.waiting[waiting]
            if not _is_hot(at, state, work) or work.barred[at]:
                continue
            if trial % 2 and made > 0:
                work.barred[work.moved[made - 1, 3]] = False
            work.barred[at] = True
            work.moved[made, 3] = at
            d, start = _best(at, made, noise, net, state, work)
            if d < 0:
                break
            kinds, leaves = _gather(start, d, net, state, work)
            old = _lift(start, d, kinds, leaves, net, state, work)
            filled = _search(start, d, kinds, np.inf, noise, net, state, work)
            more = _redirect(start, net.home[d], d, replaced + 1, net, state, work)
            work.moved[made, 0], work.moved[made, 1], work.moved[made, 2] = d, start, more
            replaced += more
            made += 1
            _clear(filled, work)
            total += _lay(start, d, kinds, leaves, net, state, work) - old
            if total < -GAIN * max(old, 1.0):
                break
            while start != net.home[d]:
                work.waiting[waiting] = state.next_channel[start, d]
                start = net.dst[work.waiting[waiting]]
                waiting += 1
        for index in range(min(made + 1, len(work.moved))):
            work.barred[work.moved[index, 3]] = False
        if total < -GAIN * max(old, 1.0):
            return made
        _undo(made, replaced, net, state, work)
        if made == 0:
            break
    return 0


@njit(**HELPER)
def _power(x):  # type: ignore[no-untyped-def]
    square = x * x
    fourth = square * square
    return fourth * fourth


@njit(**HELPER)
def _price(x, work):  # type: ignore[no-untyped-def]
    return _power(x) * (OVER if work.effort[2] and x > GOAL else 1.0)


@njit(**HELPER)
def _is_hot(channel, state, work):  # type: ignore[no-untyped-def]
    if work.effort[2]:
        return state.worst[channel] > GOAL
    hot = state.mean[channel] > GOAL
    for phase in range(state.part.shape[1]):
        hot |= state.part[channel, phase] > GOAL
    return hot


@njit(**HELPER)
def _added(channel, kinds, net, state, work):  # type: ignore[no-untyped-def]
    """Return what the gathered traffic costs on a channel: by how much it raises the eighth powers."""
    worst, mean, cost, more, most = state.worst[channel], state.mean[channel], 0.0, 0.0, 0.0
    for index in range(kinds):
        job = work.kinds[index]
        before, after = 0.0, 0.0
        for phase in range(net.jobs[job], net.jobs[job + 1]):
            now = state.part[channel, phase]
            then = now + work.sums[phase] * net.slowness[channel]
            before, after = max(before, now), max(after, then)
            if then != now:
                cost += net.share[phase] * (_price(then, work) - _price(now, work))
                more += net.share[phase] * (then - now)
        most += after - before
    cost += _price(mean + more, work) - _price(mean, work)
    return cost + _power(worst + most) - _power(worst) if work.effort[2] else cost


@njit(**HELPER)
def _load(channel, kinds, sign, net, state, work):  # type: ignore[no-untyped-def]
    """Put the gathered traffic on a channel, or take it off."""
    for index in range(kinds):
        job = work.kinds[index]
        before, after = 0.0, 0.0
        for phase in range(net.jobs[job], net.jobs[job + 1]):
            load = sign * work.sums[phase] * net.slowness[channel]
            before = max(before, state.part[channel, phase])
            state.part[channel, phase] += load
            state.mean[channel] += net.share[phase] * load
            after = max(after, state.part[channel, phase])
        state.worst[channel] += after - before


@njit(**HELPER)
def _starts(switch, d, net, state, work):  # type: ignore[no-untyped-def]
    """List switches from which a destination's traffic through a switch may be moved: those that send, and where paths meet."""
    found, last = 0, -1
    for entry in range(net.first[d], net.first[d + 1]):
        leaf = net.leaf[entry]
        if leaf != last:
            last = leaf
            if _passes(leaf, switch, d, net, state):
                work.starts[found] = leaf
                found += 1
    senders = found
    for index in range(senders):
        at = work.starts[index]
        while at != net.home[d]:
            work.seen[at] += 1
            if work.seen[at] == 2:
                work.starts[found] = at
                found += 1
            if at == switch or work.seen[at] > 1:
                break
            at = net.dst[state.next_channel[at, d]]
    for index in range(senders):
        at = work.starts[index]
        while work.seen[at] > 0:
            work.seen[at] = 0
            if at == switch:
                break
            at = net.dst[state.next_channel[at, d]]
    return found


@njit(**HELPER)
def _passes(leaf, switch, d, net, state):  # type: ignore[no-untyped-def]
    at = leaf
    while at != net.home[d]:
        if at == switch:
            return True
        at = net.dst[state.next_channel[at, d]]
    return False


@njit(**HELPER)
def _gather(start, d, net, state, work):  # type: ignore[no-untyped-def]
    """Sum up by phase what passes a switch for a destination; return the number of jobs and of sending switches."""
    kinds, leaves, last, passes = 0, 0, -1, False
    for entry in range(net.first[d], net.first[d + 1]):
        if net.leaf[entry] != last:
            last = net.leaf[entry]
            passes = _passes(last, start, d, net, state)
            leaves += passes
        if passes:
            job = net.job[net.phase[entry]]
            known = False
            for index in range(kinds):
                known |= work.kinds[index] == job
            if not known:
                work.kinds[kinds] = job
                kinds += 1
            work.sums[net.phase[entry]] += net.amount[entry]
    return kinds, leaves


@njit(**HELPER)
def _lift(start, d, kinds, leaves, net, state, work):  # type: ignore[no-untyped-def]
    """Take the gathered traffic off its path; return what it cost there."""
    cost, switch = 0.0, start
    while switch != net.home[d]:
        hop = np.int64(state.next_channel[switch, d])
        _load(hop, kinds, -1.0, net, state, work)
        cost += _added(hop, kinds, net, state, work)
        state.behind[switch, d] -= leaves
        switch = net.dst[hop]
    return cost


@njit(**HELPER)
def _lay(start, d, kinds, leaves, net, state, work):  # type: ignore[no-untyped-def]
    """Put the gathered traffic on its path, and forget it; return what it costs there."""
    cost, switch = 0.0, start
    while switch != net.home[d]:
        hop = np.int64(state.next_channel[switch, d])
        cost += _added(hop, kinds, net, state, work)
        _load(hop, kinds, 1.0, net, state, work)
        state.behind[switch, d] += leaves
        switch = net.dst[hop]
    for index in range(kinds):
        for phase in range(net.jobs[work.kinds[index]], net.jobs[work.kinds[index] + 1]):
            work.sums[phase] = 0.0
    return cost


@njit(**HELPER)
def _search(start, d, kinds, limit, noise, net, state, work):  # type: ignore[no-untyped-def]
    """Find the cheapest path below a limit: `work.cost` and `work.via` of the switches in `work.queue`; return their number.

    Every allowed hop lowers the label by one, so a breadth-first pass meets each switch after all that lead to it.
    """
    cost, via, queue, target = work.cost, work.via, work.queue, net.home[d]
    queue[0], filled, position = start, 1, 0
    cost[start] = 0.0
    while position < filled:
        switch = queue[position]
        position += 1
        if switch == target:
            continue
        begin, end, free = net.ptr[switch], net.ptr[switch + 1], state.behind[switch, d] == 0
        if not free:
            begin = state.next_channel[switch, d]
            end = begin + 1
        below = net.label[target, switch] - 1
        work.effort[0] += end - begin
        for hop in range(begin, end):
            far = net.dst[hop]
            if work.barred[hop] or (free and (far >= len(cost) or net.label[target, far] != below)):
                continue
            if free and len(net.channel_down) > 0:
                down = net.channel_down[hop]
                if down != net.goes_down[target, switch] or (down and not net.goes_down[target, far]):
                    continue
            added = _added(hop, kinds, net, state, work)
            through = cost[switch] + (added * (1 + noise * _chance(work)) if noise else added)
            if through >= limit:
                continue
            if via[far] < 0:
                queue[filled] = far
                filled += 1
            elif through >= cost[far]:
                continue
            cost[far], via[far] = through, hop
    return filled


@njit(**HELPER)
def _clear(filled, work):  # type: ignore[no-untyped-def]
    for position in range(filled):
        work.via[work.queue[position]] = -1


@njit(**HELPER)
def _redirect(start, target, d, noted, net, state, work):  # type: ignore[no-untyped-def]
    """Give the switches of the path found its entries; note those replaced from ``noted - 1`` on, unless 0; return how many."""
    switch, count = target, 0
    while switch != start:
        hop = work.via[switch]
        switch = net.src[hop]
        if noted:
            work.replaced[noted - 1 + count, 0] = switch
            work.replaced[noted - 1 + count, 1] = state.next_channel[switch, d]
        state.next_channel[switch, d] = hop
        count += 1
    return count


@njit(**HELPER)
def _best(channel, made, noise, net, state, work):  # type: ignore[no-untyped-def]
    """Return the destination and switch whose move off a channel costs least, of those that no move before has taken; else -1."""
    switch, best, least = net.src[channel], (-1, -1), np.inf
    for d in range(len(net.home)):
        if state.next_channel[switch, d] != channel or state.behind[switch, d] == 0 or (work.moved[:made, 0] == d).any():
            continue
        starts = _starts(switch, d, net, state, work)
        for index in range(starts):
            start = work.starts[index]
            if net.label[net.home[d], start] < 0:
                continue
            kinds, leaves = _gather(start, d, net, state, work)
            old = _lift(start, d, kinds, leaves, net, state, work)
            filled = _search(start, d, kinds, old + least, noise, net, state, work)
            if work.via[net.home[d]] >= 0:
                best, least = (d, start), work.cost[net.home[d]] - old
            _clear(filled, work)
            _lay(start, d, kinds, leaves, net, state, work)
    return best


@njit(**HELPER)
def _chance(work):  # type: ignore[no-untyped-def]
    """Return the next of a row of numbers between 0 and 1 (Knuth's linear congruential generator, MMIX)."""
    work.chance[0] = work.chance[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return (work.chance[0] >> np.uint64(40)) / 16777216.0


@njit(**HELPER)
def _undo(made, replaced, net, state, work):  # type: ignore[no-untyped-def]
    """Take back a chain's moves, the last first."""
    for index in range(made - 1, -1, -1):
        d, start = work.moved[index, 0], work.moved[index, 1]
        kinds, leaves = _gather(start, d, net, state, work)
        _lift(start, d, kinds, leaves, net, state, work)
        for _ in range(work.moved[index, 2]):
            replaced -= 1
            state.next_channel[work.replaced[replaced, 0], d] = work.replaced[replaced, 1]
        _lay(start, d, kinds, leaves, net, state, work)
