"""The sequential heart of `fabctl.routing.weighted`, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def route_in_turn(lft, lids, homes, label, ptr, far, length, port, place, toll, sources, weight, slack):  # type: ignore[no-untyped-def]
    """Route destinations one after the other on allowed hops of least accumulated weight, and add their traffic to the weights.

    Parameters
    ----------
    lft : uint8 array of shape (n_switches, max LID + 1)
        Changed in place. The port that an entry has is kept where no other is better by more than `slack`.
    lids, homes : int32 arrays of shape (n_destinations,)
        LIDs in the order in which they are routed, and the switches that they hang from; best with those of one switch in a row.
    label : int16 array of shape (n_switches, n_switches)
        As in `fabctl.routing.paths.Paths`, but by target first.
    ptr, far, length, port : int arrays
        Hops, as a CSR by switch: the switch behind each, how many hops it counts for, its output port.
    place : int32 array of shape (n_switches, 256)
        Hop behind a switch's port; -1 where there is none.
    toll : float64 array of shape (n_hops,)
        Weight that one source's traffic adds to a hop.
    sources : int32 array of shape (n_switches,)
        Sources at each switch.
    weight : float64 array of shape (n_hops,)
        Changed in place.
    """
    n = label.shape[0]
    order = np.empty(n, dtype=np.int32)
    first = np.empty(n + 1, dtype=np.int32)
    allowed = np.empty(len(far), dtype=np.int32)
    total = np.zeros(n)
    flow = np.empty(n)
    chosen = np.empty(n, dtype=np.int32)
    home, filled = -1, 0
    for turn in range(len(lids)):
        lid = lids[turn]
        if homes[turn] != home:
            home = homes[turn]
            filled = _by_label(label[home], order)
            _allowed_hops(label[home], order[:filled], ptr, far, length, first, allowed)
        total[home] = 0.0
        for position in range(1, filled):
            switch = order[position]
            best, least = -1, np.inf
            for at in range(first[position], first[position + 1]):
                hop = allowed[at]
                cost = weight[hop] + total[far[hop]]
                if cost < least:
                    best, least = hop, cost
            kept = place[switch, lft[switch, lid]]
            if weight[kept] + total[far[kept]] > least + slack:
                kept = best
                lft[switch, lid] = port[best]
            total[switch], chosen[switch], flow[switch] = weight[kept] + total[far[kept]], kept, sources[switch]
        for position in range(filled - 1, 0, -1):
            switch = order[position]
            hop = chosen[switch]
            weight[hop] += flow[switch] * toll[hop]
            flow[far[hop]] += flow[switch]


@njit(cache=True, error_model="numpy")
def _by_label(label, order):  # type: ignore[no-untyped-def]
    """Sort the switches that have a label by it into `order`; return how many there are."""
    count = np.zeros(label.max() + 2, dtype=np.int32)
    for switch in range(len(label)):
        count[label[switch] + 1] += 1
    unreached, count[0] = count[0], 0
    count = np.cumsum(count)
    for switch in range(len(label)):
        if label[switch] >= 0:
            order[count[label[switch]]] = switch
            count[label[switch]] += 1
    return len(label) - unreached


@njit(cache=True, error_model="numpy")
def _allowed_hops(label, order, ptr, far, length, first, allowed):  # type: ignore[no-untyped-def]
    """List the hops of each switch of `order` along which the label falls by their length: a CSR of `first` and `allowed`."""
    filled = 0
    for position in range(len(order)):
        switch = order[position]
        first[position] = filled
        for hop in range(ptr[switch], ptr[switch + 1]):
            below = label[far[hop]]
            if below >= 0 and below + length[hop] == label[switch]:
                allowed[filled] = hop
                filled += 1
    first[len(order)] = filled
