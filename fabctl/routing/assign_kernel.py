"""The inner loop of `fabctl.routing.assign`, compiled by numba: 21 million entries at 11,664 hosts."""

from __future__ import annotations

from numba import njit


@njit(cache=True, error_model="numpy")
def fill_tables(  # type: ignore[no-untyped-def]
    lft,
    lid,
    digit,
    tier,
    members,
    first_member,
    label,
    goes_down,
    pair_ptr,
    neighbour,
    pair_down,
    first_cable,
    cables,
    port,
    choice,
):
    """Fill forwarding tables in place: of the neighbours that a destination's switch allows, the destination's digit picks one.

    Parameters
    ----------
    lft : uint8 array of shape (n_switches, top)
        Changed in place; entries of unreachable destinations and of a switch's own are left as they are.
    lid : int32 array of shape (n_destinations,)
    digit : uint32 array of shape (n_tiers, n_destinations)
        Rank of each destination, divided by the tier's stride.
    tier : int8 array of shape (n_switches,)
    members, first_member : int32 arrays of shapes (n_destinations,) and (n_switches + 1,)
        Destinations by switch: those of `t` are ``members[first_member[t]:first_member[t + 1]]``.
    label, goes_down : arrays of shape (n_switches, n_switches)
        As in `fabctl.routing.paths.Paths`, but by target first; `goes_down` is empty where direction does not matter.
    pair_ptr, neighbour, pair_down, first_cable, cables, port : arrays
        As in `fabctl.routing.assign.Hops`.
    choice : int32 array
        Scratch, as long as the largest number of neighbours.
    """
    for target in range(label.shape[0]):
        begin, end = first_member[target], first_member[target + 1]
        if begin == end:
            continue
        for switch in range(label.shape[0]):
            below = label[target, switch] - 1
            if below < 0:
                continue
            count = 0
            for pair in range(pair_ptr[switch], pair_ptr[switch + 1]):
                far = neighbour[pair]
                if label[target, far] != below:
                    continue
                down = pair_down[pair]
                if len(goes_down) == 0 or (down == goes_down[target, switch] and (not down or goes_down[target, far])):
                    choice[count] = pair
                    count += 1
            for position in range(begin, end):
                destination = members[position]
                place = digit[tier[switch], destination]
                pair = choice[place % count] if count > 1 else choice[0]
                cable = first_cable[pair]
                if cables[pair] > 1:
                    cable += place // count % cables[pair]
                lft[switch, lid[destination]] = port[cable]
