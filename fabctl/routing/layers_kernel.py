"""The sequential heart of `fabctl.routing.layers`, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit

UNDECIDED, ACCEPTED, BLOCKED = 0, 1, 2


@njit(cache=True, error_model="numpy")
def fill_layer(next_channel, home, first, turn, leaves, layer, number, state, order, ptr, dst, reverse, slot):  # type: ignore[no-untyped-def]
    """Take as many paths as fit into one layer without a cycle of channel dependencies.

    A dependency is decided once: it is accepted, or it would close a cycle with those accepted and is blocked for good, since the
    accepted only grow. The paths from a switch to all LIDs of a port are taken together, if all their dependencies are accepted;
    else none of those that they would have added is.

    Parameters
    ----------
    next_channel : int32 array of shape (n_destinations, n_switches)
        Channel to the next switch; -1 at home.
    home : int32 array of shape (n_destinations,)
    first : int array of shape (n_ports + 1,)
        Port `p` has the destinations ``first[p]:first[p + 1]``.
    turn : int array
        The ports to try, in order.
    leaves : int32 array of shape (n_leaves,)
        Switches that send.
    layer : uint8 array of shape (n_ports, n_leaves)
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
        How many pairs of a sending switch and a port are left.
    """
    seen = np.zeros(len(dst), dtype=np.bool_)
    found = np.empty((2, len(dst)), dtype=np.int32)
    trial = np.empty((np.max(np.diff(first)) * next_channel.shape[1], 2), dtype=np.int32)
    left = 0
    for position in range(len(turn)):
        port = turn[position]
        for index in range(len(leaves)):
            if layer[port, index] != 255:
                continue
            tried, fits, refused, beyond = 0, True, -1, -1
            for destination in range(first[port], first[port + 1]):
                before = next_channel[destination, leaves[index]]
                while fits and before >= 0 and dst[before] != home[destination]:
                    after = next_channel[destination, dst[before]]
                    verdict = ACCEPTED if after < 0 else state[before, slot[after]]
                    if verdict == UNDECIDED:
                        if _insert(before, after, state, order, ptr, dst, reverse, slot, seen, found):
                            state[before, slot[after]] = ACCEPTED
                            trial[tried, 0], trial[tried, 1] = before, slot[after]
                            tried += 1
                        else:
                            fits, refused, beyond = False, before, after
                    elif verdict == BLOCKED:
                        fits = False
                    before = after
            if fits:
                layer[port, index] = number
            else:
                left += 1
                for added in range(tried):
                    state[trial[added, 0], trial[added, 1]] = UNDECIDED
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
