"""The sequential hearts of adaptive routing, compiled by numba: each walks cells in an order in which traffic only moves on.

`Ways` of `fabctl.congestion.adaptive` number the cells in that order: the group of cell `i` is ``ptr[i]:ptr[i + 1]``, with the
`channel` of each port and the cell `far` behind it; the last cell, without a group, stands for all destinations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEAST = 1e-12
"""Weights stay above this while they are steered, so that each can come back."""
SMALL = 1e-4
"""Below this, exp(-x) is 1 - x."""


@njit(cache=True, error_model="numpy")
def gather(order, ptr, channel, far, met):  # type: ignore[no-untyped-def]
    """Return the cells that traffic may meet, whatever the split, and their groups.

    Parameters
    ----------
    order : int64 array
        Cells, those that send before those that receive; destinations left out.
    ptr, channel, far : int arrays
        Groups of all cells, as in `fabctl.congestion.adaptive_groups.Groups`.
    met : bool array of shape (n_cells,)
        Where traffic begins. Changed in place to where it may pass.

    Returns
    -------
    cells, ptr, channel, far : int arrays
        As in `fabctl.congestion.adaptive.Ways`.
    """
    n_cells, n_edges = 0, 0
    for cell in order:
        if met[cell]:
            n_cells += 1
            n_edges += ptr[cell + 1] - ptr[cell]
            for edge in range(ptr[cell], ptr[cell + 1]):
                met[far[edge]] = True
    place = np.full(len(ptr) - 1, n_cells, dtype=np.int32)
    cells = np.empty(n_cells, dtype=np.int64)
    first = np.zeros(n_cells + 1, dtype=np.int64)
    at = 0
    for cell in order:
        if met[cell]:
            cells[at] = cell
            place[cell] = at
            first[at + 1] = first[at] + ptr[cell + 1] - ptr[cell]
            at += 1
    channels = np.empty(n_edges, dtype=np.int32)
    behind = np.empty(n_edges, dtype=np.int32)
    for at in range(n_cells):
        begin = ptr[cells[at]]
        for edge in range(first[at + 1] - first[at]):
            channels[first[at] + edge] = channel[begin + edge]
            behind[first[at] + edge] = place[far[begin + edge]]
    return cells, first, channels, behind


@njit(cache=True, error_model="numpy")
def hops_left(ptr, far):  # type: ignore[no-untyped-def]
    """Return the fewest hops from each cell on, int64 array of shape (n_cells + 1,)."""
    left = np.zeros(len(ptr), dtype=np.int64)
    for cell in range(len(ptr) - 2, -1, -1):
        fewest = 1 << 30
        for edge in range(ptr[cell], ptr[cell + 1]):
            fewest = min(fewest, 1 + left[far[edge]])
        left[cell] = fewest
    return left


@njit(cache=True, error_model="numpy")
def spread(ptr, channel, far, fraction, amount, load):  # type: ignore[no-untyped-def]
    """Move all traffic on by the fractions.

    Parameters
    ----------
    fraction : float64 array of shape (n_edges,)
        Share of a cell's traffic that takes each port; a cell's sum to one.
    amount : float64 array of shape (n_cells + 1,)
        Traffic that begins in each cell; changed in place to what passes it.
    load : float64 array of shape (n_channels,)
        Changed in place: what each channel carries more.
    """
    for cell in range(len(ptr) - 1):
        for edge in range(ptr[cell], ptr[cell + 1]):
            part = amount[cell] * fraction[edge]
            load[channel[edge]] += part
            amount[far[edge]] += part


@njit(cache=True, error_model="numpy")
def steer(ptr, channel, far, fraction, price, eagerness, toll, least):  # type: ignore[no-untyped-def]
    """Move weight from dear ports to cheap ones, at every cell, by multiplicative weights.

    Parameters
    ----------
    fraction : float64 array of shape (n_edges,)
        Changed in place.
    price : float64 array of shape (n_channels,)
        Of a unit on each channel.
    eagerness : float
        A weight falls by the factor e where a unit pays more than on the cell's cheapest port by one over this.
    toll, least : float64 arrays of shape (n_cells + 1,)
        Set in place: what a unit pays from each cell on, by the new fractions, and on the cheapest way; 0 at destinations.
    """
    for cell in range(len(ptr) - 2, -1, -1):
        begin, end = ptr[cell], ptr[cell + 1]
        cheapest, shortest = np.inf, np.inf
        for edge in range(begin, end):
            here = price[channel[edge]]
            cheapest = min(cheapest, here + toll[far[edge]])
            shortest = min(shortest, here + least[far[edge]])
        least[cell] = shortest
        if end == begin + 1:
            toll[cell] = cheapest
            continue
        total = 0.0
        for edge in range(begin, end):
            dearer = price[channel[edge]] + toll[far[edge]] - cheapest
            if fraction[edge] > LEAST:
                much = eagerness * dearer
                fraction[edge] = max(LEAST, fraction[edge] * (1 - much if much < SMALL else np.exp(-much)))
            total += fraction[edge]
        paid = 0.0
        for edge in range(begin, end):
            fraction[edge] /= total
            paid += fraction[edge] * (price[channel[edge]] + toll[far[edge]])
        toll[cell] = paid


@njit(cache=True, error_model="numpy")
def unit_shares(starts, last, ptr, channel, far, fraction, n_channels):  # type: ignore[no-untyped-def]
    """Return the channels of one unit from each start, as a CSR, with the share of it on each; a channel met twice is there once.

    Parameters
    ----------
    starts, last : int64 arrays of shape (n,)
        First cell of each, and the cell behind the last of its class.
    """
    count = np.zeros(len(starts) + 1, dtype=np.int64)
    owner = np.full(n_channels, -1, dtype=np.int64)
    place = np.zeros(n_channels, dtype=np.int64)
    amount = np.zeros(len(ptr))
    index = np.empty(0, dtype=np.int32)
    share = np.empty(0)
    for fill in range(2):
        for turn in range(len(starts)):
            at = count[turn]
            amount[starts[turn]] = 1.0
            for cell in range(starts[turn], last[turn]):
                passing = amount[cell]
                amount[cell] = 0.0
                if passing == 0:
                    continue
                for edge in range(ptr[cell], ptr[cell + 1]):
                    part = passing * fraction[edge]
                    if part == 0:
                        continue
                    here = channel[edge]
                    amount[far[edge]] += part
                    if owner[here] != turn:
                        owner[here], place[here] = turn, at
                        at += 1
                        if fill:
                            index[place[here]], share[place[here]] = here, 0.0
                    if fill:
                        share[place[here]] += part
            amount[-1] = 0.0
            count[turn + 1] = at
        if not fill:
            index = np.empty(count[-1], dtype=np.int32)
            share = np.empty(count[-1])
            owner[:] = -1
    return count, index, share


@njit(cache=True, error_model="numpy")
def least_loaded(starts, last, weight, load, slowness, rounds, ptr, channel, far, stretch, seed, longest):  # type: ignore[no-untyped-def]
    """Route unsplit flows in turn, each at every cell to the port whose load drains first; then each anew, some rounds.

    Between equal ports chance decides. A port on a longer way must drain earlier by as much as the way is longer.

    Parameters
    ----------
    starts : int64 array of shape (n_flows,)
        First cell of each flow, the last cell for one that meets no choice.
    last : int64 array of shape (n_flows,)
        Flows see as far ahead as the cells before this one: from `starts` on nothing but the ports, to the end of their class
        the most loaded channel of each whole way.
    weight : float64 array of shape (n_flows,)
    load : float64 array of shape (n_channels,)
        What the channels carry besides; changed in place.
    slowness : float64 array of shape (n_channels,)
        Time that a unit of load takes.
    stretch : float64 array of shape (n_edges,)
        Length of the way over each port, over that of the shortest.
    seed : uint64
    longest : int
        Most hops of a flow.

    Returns
    -------
    path : int32 array of shape (n_flows, longest)
        Channels of each flow; -1 behind its last.
    """
    path = np.full((len(starts), longest), -1, dtype=np.int32)
    ahead = np.zeros(len(ptr))
    state = seed | np.uint64(1)
    for _ in range(rounds):
        for flow in range(len(starts)):
            hop = 0
            while hop < longest and path[flow, hop] >= 0:
                load[path[flow, hop]] -= weight[flow]
                path[flow, hop] = -1
                hop += 1
            for cell in range(last[flow] - 1, starts[flow], -1):
                ahead[cell] = np.inf
                for edge in range(ptr[cell], ptr[cell + 1]):
                    here = (load[channel[edge]] + weight[flow]) * slowness[channel[edge]]
                    ahead[cell] = min(ahead[cell], max(here, ahead[far[edge]]) * stretch[edge])
            cell, hop = starts[flow], 0
            while cell < len(ptr) - 1:
                lightest, ties, chosen = np.inf, 0, -1
                for edge in range(ptr[cell], ptr[cell + 1]):
                    here = (load[channel[edge]] + weight[flow]) * slowness[channel[edge]]
                    here = max(here, ahead[far[edge]]) * stretch[edge]
                    if here < lightest:
                        lightest, ties, chosen = here, 1, edge
                    elif here == lightest:
                        ties += 1
                        state ^= state << np.uint64(13)
                        state ^= state >> np.uint64(7)
                        state ^= state << np.uint64(17)
                        if state % np.uint64(ties) == 0:
                            chosen = edge
                path[flow, hop] = channel[chosen]
                load[channel[chosen]] += weight[flow]
                cell = far[chosen]
                hop += 1
    return path
