"""The sequential heart of `fabctl.routing.layers`, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

UNDECIDED, ACCEPTED, BLOCKED = 0, 1, 2


@njit(cache=True, error_model="numpy")
def fill_layer(next_channel, home, turn, leaves, layer, number, state, order, ptr, dst, reverse, slot):  # type: ignore[no-untyped-def]
    """Take as many paths as fit into one layer without a cycle of channel dependencies.

    A dependency is decided once: it is accepted, or it would close a cycle with those accepted and is blocked for good, since the
    accepted only grow. A path is taken if all its dependencies are accepted, else none of those that it would have added is.

    Parameters
    ----------
    next_channel : int32 array of shape (n_destinations, n_switches)
        Channel to the next switch; -1 at home.
    home : int32 array of shape (n_destinations,)
    turn : int32 array of shape (n_destinations,)
        The order in which destinations are tried.
    leaves : int32 array of shape (n_leaves,)
        Switches that send.
    layer : uint8 array of shape (n_destinations, n_leaves)
        Changed in place: what is 255 and fits becomes `number`.
    number : int
        The layer.
    state : uint8 array of shape (n_channels, most channels of a switch)
        Of the dependency of each channel on each channel of the switch behind it; changed in place.
    order : int32 array of shape (n_channels,)
        A topological order of the channels; changed in place.
    ptr, dst, reverse, slot : int32 arrays
        Channels between switches, as a CSR by sending switch; `slot` is a channel's place there, `reverse` the way back.

    Returns
    -------
    int
        How many paths are left.
    """
    seen = np.zeros(len(dst), dtype=np.bool_)
    found = np.empty((2, len(dst)), dtype=np.int32)
    trial = np.empty(len(dst), dtype=np.int32)
    left = 0
    for position in range(len(turn)):
        destination = turn[position]
        for index in range(len(leaves)):
            if layer[destination, index] != 255:
                continue
            before = next_channel[destination, leaves[index]]
            tried, fits, refused, beyond = 0, before >= 0, before, before
            while fits and dst[before] != home[destination]:
                after = next_channel[destination, dst[before]]
                if after < 0:
                    break
                verdict = state[before, slot[after]]
                if verdict == UNDECIDED:
                    if _insert(before, after, state, order, ptr, dst, reverse, slot, seen, found):
                        state[before, slot[after]] = ACCEPTED
                        trial[tried] = before
                        tried += 1
                    else:
                        fits, refused, beyond = False, before, after
                elif verdict == BLOCKED:
                    fits = False
                before = after
            if fits:
                layer[destination, index] = number
            elif before >= 0:
                left += 1
                for added in range(tried):
                    channel = trial[added]
                    state[channel, slot[next_channel[destination, dst[channel]]]] = UNDECIDED
                if refused != beyond and not _insert(refused, beyond, state, order, ptr, dst, reverse, slot, seen, found):
                    state[refused, slot[beyond]] = BLOCKED
    return left


@njit(cache=True, error_model="numpy")
def _insert(before, after, state, order, ptr, dst, reverse, slot, seen, found):  # type: ignore[no-untyped-def]
    """Make room in the topological order for a dependency; return whether it closes no cycle.

    Pearce and Kelly, A Dynamic Topological Sort Algorithm for Directed Acyclic Graphs, ACM JEA 11, 2007: only what lies in the
    order between the two channels is searched and moved.
    """
    low, high = order[after], order[before]
    if low > high:
        return True
    if before == after:
        return False
    n_after = _reach(after, high, True, state, order, ptr, dst, reverse, slot, seen, found[0])
    closes = seen[before]
    n_before = 0 if closes else _reach(before, low, False, state, order, ptr, dst, reverse, slot, seen, found[1])
    for index in range(n_after):
        seen[found[0, index]] = False
    for index in range(n_before):
        seen[found[1, index]] = False
    if closes:
        return False
    first, last = found[1, :n_before], found[0, :n_after]
    moved = np.concatenate((first[np.argsort(order[first])], last[np.argsort(order[last])]))
    order[moved] = np.sort(order[moved])
    return True


@njit(cache=True, error_model="numpy")
def _reach(start, limit, onward, state, order, ptr, dst, reverse, slot, seen, found):  # type: ignore[no-untyped-def]
    """List in `found` and mark in `seen` what a channel leads to (`onward`), or what leads to it, up to a place in the order."""
    found[0], filled, position = start, 1, 0
    seen[start] = True
    while position < filled:
        channel = found[position]
        position += 1
        node = dst[channel] if onward else dst[reverse[channel]]
        for hop in range(ptr[node], ptr[node + 1]):
            if onward:
                other, accepted = hop, state[channel, slot[hop]] == ACCEPTED
                inside = order[other] <= limit
            else:
                other = reverse[hop]
                accepted, inside = state[other, slot[channel]] == ACCEPTED, order[other] >= limit
            if accepted and inside and not seen[other]:
                seen[other] = True
                found[filled] = other
                filled += 1
    return filled
