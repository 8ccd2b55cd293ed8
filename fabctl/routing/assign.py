"""From allowed paths to forwarding tables: each destination's place in the order chooses among equal next hops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.options import DEFAULTS, Options
from fabctl.routing.order import counted_ports, destination_ranks, plane_order
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import Paths, switch_channels

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


def assign(fabric: Fabric, paths: Paths, engine: str, options: Options = DEFAULTS, *, spread: bool = True) -> RoutingTables:
    """Return tables that spread destinations over the allowed next hops by mixed-radix digits of their rank.

    A switch of tier `l` takes digit `l` of the rank in the radices of the tiers below it, so that what one tier has sorted
    apart the next does not bring together again (round-robin at every switch, as OpenSM's minhop does it, uses one digit
    for all tiers and leaves 7 of 8 up-links of a clean three-level tree idle). On a whole XGFT this is D-mod-k.
    Destinations that carry a job's traffic are ranked first, then other HCAs, then switches, each kind on its own count.

    Parameters
    ----------
    spread : bool
        False: all destinations take the first allowed next hop, which makes few turns.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or some leaves have no allowed path between them, not even over another.

    Complexity
    ----------
    O(n_switches x (n_switches x degree + n_lids)).
    """
    destinations = _Destinations(fabric, counted_ports(fabric, options), spread=spread)
    hops = Hops(fabric, paths)
    tiers = np.maximum(fabric.tiers, 0)
    radix = _tier_radices(hops, tiers)
    stride = np.concatenate([[1], np.cumprod(radix)])[: len(radix)]
    lft = np.full((fabric.n_switches, len(fabric.port_of_lid)), NO_ROUTE, dtype=np.uint8)
    for switch in range(fabric.n_switches):
        _fill(lft[switch], destinations, paths, hops, switch, int(stride[tiers[switch]]))
    lft[destinations.home, destinations.lid] = destinations.home_port
    notes = _detour(fabric, paths, destinations, lft, engine)
    return RoutingTables(fabric, lft, engine, notes=notes)


class _Destinations:
    """Every LID with the switch it hangs from, the port there, and its rank.

    Attributes
    ----------
    lid, home, home_port, rank : int arrays of shape (n_destinations,)
        In order of LID.
    lids : slice or int array
        Index of all LIDs in a table's row.
    favour : uint16 array of shape (n_switches,)
        256 for switches that many destinations hang from, 1 for the others.
    """

    def __init__(self, fabric: Fabric, counted: Int32, *, spread: bool) -> None:
        lids = np.flatnonzero(fabric.port_of_lid >= 0)
        ports = fabric.port_of_lid[lids]
        nodes = fabric.port_node[ports]
        is_switch = nodes < fabric.n_switches
        attached = is_switch | (fabric.port_peer[ports] >= 0)
        lids, ports, nodes, is_switch = lids[attached], ports[attached], nodes[attached], is_switch[attached]
        far = np.where(is_switch, ports, fabric.port_peer[ports])
        at_switch = fabric.port_node[far] < fabric.n_switches
        self.lid = lids[at_switch]
        ports, is_switch, far = ports[at_switch], is_switch[at_switch], far[at_switch]
        self.home = fabric.port_node[far]
        self.home_port = np.where(is_switch, 0, fabric.port_number[far])
        self.rank = self._ranks(fabric, ports, is_switch, counted) if spread else np.zeros(len(ports), dtype=np.int64)
        population = np.bincount(self.home, minlength=fabric.n_switches)
        self.favour = np.where(2 * population > population.max(initial=0), 256, 1).astype(np.uint16)
        dense = len(self.lid) and self.lid[-1] - self.lid[0] + 1 == len(self.lid)
        self.lids = slice(int(self.lid[0]), int(self.lid[-1]) + 1) if dense else self.lid
        self._cells: dict[tuple[int, int], Int64] = {}

    def cell(self, stride: int, radix: int) -> Int64:
        """Return ``home * radix + rank // stride % radix`` of all destinations."""
        if (stride, radix) not in self._cells:
            self._cells[stride, radix] = self.home.astype(np.int64) * radix + self.rank // stride % radix
        return self._cells[stride, radix]

    def _ranks(self, fabric: Fabric, ports: Int32, is_switch: NDArray[np.bool_], counted: Int32) -> Int64:
        rank = np.zeros(len(ports), dtype=np.int64)
        first = np.isin(ports, counted)
        for kind in (first, ~first & ~is_switch):
            several, which = np.unique(ports[kind], return_inverse=True)
            rank[kind] = destination_ranks(fabric, several)[which]
        rank[is_switch] = np.arange(int(is_switch.sum()))
        return rank + (self.lid - fabric.port_lid[ports])


def _detour(fabric: Fabric, paths: Paths, destinations: _Destinations, lft: NDArray[np.uint8], engine: str) -> tuple[str, ...]:
    """Send what the engine's own paths do not join over one leaf, and return a note if HCAs are concerned.

    Switches of one upper tier, and leaves that hang from odd places, may have no way up and down between them. If all such
    traffic turns at one leaf, credit loops are rare; the engines ask `fabctl.routing.verify`.
    """
    joined: NDArray[np.bool_] = np.asarray(paths.label >= 0)
    if joined.all():
        return ()
    homes = np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]])
    homes = homes[homes < fabric.n_switches]
    meets = joined[:, homes].sum(axis=0) + joined[homes].sum(axis=1)
    turn = int(homes[np.argmax(meets)]) if len(homes) else int(destinations.home[0])
    towards = lft[:, destinations.lid[destinations.home == turn][0]].copy()
    concerned = ~np.all(joined, axis=0)[destinations.home]
    lids, targets = destinations.lid[concerned], destinations.home[concerned]
    rows = np.flatnonzero(~np.all(joined, axis=1))
    over = (joined[rows, turn] & (rows != turn))[:, None] & joined[turn, targets]
    block = np.ix_(rows, lids)
    filled = np.where(joined[np.ix_(rows, targets)], lft[block], np.where(over, towards[rows][:, None], NO_ROUTE))
    lft[block] = filled
    _join_rest(fabric, lft, lids[(filled == NO_ROUTE).any(axis=0)])
    lost = np.argwhere(~joined[np.ix_(homes, homes)])
    if not len(lost):
        return ()
    names = " and ".join(fabric.labels[homes[end]] for end in lost[0])
    if not (joined[homes, turn].all() and joined[turn, homes].all()):
        refuse_parts(fabric)
        raise RefusedError(
            f"{engine} finds no way between {names}, nor a leaf to join them over", hint="--engine updn routes any fabric"
        )
    return (f"{len(lost)} leaf pairs ({names}, ...) have no way up and down; {engine} joins them over {fabric.labels[turn]}",)


def _join_rest(fabric: Fabric, lft: NDArray[np.uint8], lids: Int64) -> None:
    """Send what has no entry yet to the nearest neighbour that has one: management of switches that hang from odd places."""
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    port = fabric.port_number[fabric.channel_port[channels]].astype(np.uint8)
    for lid in lids.tolist():
        while True:
            missing = lft[:, lid] == NO_ROUTE
            joins = np.flatnonzero(missing[src] & ~missing[dst])
            if not len(joins):
                break
            rows, first = np.unique(src[joins], return_index=True)
            lft[rows, lid] = port[joins[first]]


def _tier_radices(hops: Hops, tiers: NDArray[np.int8]) -> Int64:
    """Return, per tier, how many next hops its switches typically choose among on the way up: the mode over the tier."""
    src = np.repeat(np.arange(len(tiers)), np.diff(hops.ptr))
    above = np.bincount(src[tiers[hops.neighbour] == tiers[src] + 1], minlength=len(tiers))
    counts = [above[(tiers == tier) & (above > 0)] for tier in range(int(tiers.max(initial=0)) + 1)]
    return np.array([np.argmax(np.bincount(count)) if len(count) else 1 for count in counts], dtype=np.int64)


class Hops:
    """Channels between switches in the order in which next hops are counted: by switch, then plane, then port.

    Attributes
    ----------
    neighbour, first, cables : int32 arrays of shape (n_pairs,)
        Per (switch, neighbour): the neighbour, its first cable's place in `port`, and the number of its cables.
    down : bool array of shape (n_pairs,)
        Direction of the first cable; False where the engine knows none.
    length : int16 array of shape (n_pairs,)
        Hops that its cables count for; cables of different length to one neighbour are pairs of their own.
    dimension : int16 array of shape (n_pairs,)
        Dimension of the first cable; 0 where the engine knows none.
    ptr : int array of shape (n_switches + 1,)
        Switch `s` has the pairs ``ptr[s]:ptr[s + 1]``.
    port : uint8 array of shape (n_channels,)
        Output ports.
    code : int array of shape (n_switches or 2 * n_switches, n_switches)
        Labels of a next hop by destination. With directions, first those of hops up, raised by `up`, above all labels, then those
        of hops down, -3 where the next switch goes up itself: one comparison tells whether a hop is allowed.
    up : int
    row : int array of shape (n_pairs,)
        The row of `code` that stands for each pair.
    """

    def __init__(self, fabric: Fabric, paths: Paths) -> None:
        channels = switch_channels(fabric)
        plane = plane_order(fabric)
        src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
        number = fabric.port_number[fabric.channel_port[channels]]
        length = np.ones(len(channels), dtype=np.int16) if paths.length is None else paths.length[channels]
        order = np.lexsort((number, length, plane[dst], src))
        channels, src, dst, number, length = channels[order], src[order], dst[order], number[order], length[order]
        change = (src[1:] != src[:-1]) | (dst[1:] != dst[:-1]) | (length[1:] != length[:-1])
        new = np.append(True, change) if len(src) else np.zeros(0, dtype=bool)
        first = np.flatnonzero(new)
        self.first = first.astype(np.int32)
        self.neighbour = dst[first]
        self.length = length[first]
        self.cables = np.diff(np.append(first, len(src))).astype(np.int32)
        self.down = np.zeros(len(first), dtype=bool) if paths.channel_down is None else paths.channel_down[channels[first]]
        dimension = np.zeros(len(fabric.channel_port), dtype=np.int16)
        self.dimension = (dimension if paths.channel_dimension is None else paths.channel_dimension)[channels[first]]
        self.ptr = np.searchsorted(src[first], np.arange(fabric.n_switches + 1))
        self.port = number.astype(np.uint8)
        self.row = self.neighbour + fabric.n_switches * self.down
        self.code = paths.label
        self.up = int(paths.label.max(initial=0)) + 1
        if paths.goes_down is not None:
            falling = np.where(paths.goes_down, paths.label, -3)
            self.code = np.concatenate([np.where(paths.label < 0, -3, paths.label + self.up), falling])
        if 2 * self.up <= np.iinfo(np.int8).max:
            self.code = self.code.astype(np.int8)


def _fill(row: NDArray[np.uint8], destinations: _Destinations, paths: Paths, hops: Hops, switch: int, stride: int) -> None:
    """Fill one switch's table: of the neighbours that a destination's switch allows, its digit picks one, then a cable.

    Entries for the switch itself, and for what it cannot reach, come out arbitrary: `assign` mends them.
    """
    begin, end = hops.ptr[switch], hops.ptr[switch + 1]
    if begin == end:
        return
    label = paths.label[switch]
    if paths.length is None:
        wanted = np.where(label > 0, label - 1 if paths.goes_down is None else label - 1 + hops.up * ~paths.goes_down[switch], -2)
        allowed = hops.code[hops.row[begin:end]] == wanted.astype(hops.code.dtype)
    else:
        length = hops.length[begin:end, None]
        allowed = hops.code[hops.row[begin:end]] == np.where(label >= length, label - length, -2)
    if paths.dimension is not None:
        allowed &= hops.dimension[begin:end, None] == paths.dimension[switch]
    count = np.add.reduce(allowed, axis=0, dtype=np.uint8)
    if not count.any():
        return
    usual = allowed[:, np.argmax(count * destinations.favour)]
    special = (allowed != usual[:, None]).any(axis=0)
    crowded = special & (count > 1)
    first, cables = hops.first[begin:end], hops.cables[begin:end]
    if (cables == cables[0]).all():
        table = _few_choices(allowed, usual, special & ~crowded, first, int(cables[0]), hops.port)
        row[destinations.lids] = table.ravel()[destinations.cell(stride, table.shape[1])]
    else:
        crowded[:] = True
    if crowded.any():
        others = np.flatnonzero(crowded[destinations.home])
        column = (np.cumsum(crowded) - 1)[destinations.home[others]]
        place = _many_choices(allowed[:, crowded], column, destinations.rank[others] // stride, first, cables)
        row[destinations.lid[others]] = hops.port[place]


def _few_choices(
    allowed: NDArray[np.bool_],
    usual: NDArray[np.bool_],
    single: NDArray[np.bool_],
    first: Int32,
    cables: int,
    port: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return the ports by destination switch and digit, where each allows the usual neighbours or a single one.

    So it is in whole trees: destinations are above, behind any of the switches there, or below, behind one.
    """
    above = first[usual]
    digit = np.arange(len(above) * cables)
    table = np.empty((len(single), len(digit)), dtype=np.uint8)
    table[:] = port[above[digit % len(above)] + digit // len(above)]
    if not single.any():
        return table
    below, target = np.divmod(np.flatnonzero(allowed & single), len(single))
    ports = port[first[below][:, None] + np.arange(cables)]
    table[target] = ports if cables == 1 else ports[:, digit % cables]
    return table


def _many_choices(allowed: NDArray[np.bool_], target: Int64, digit: Int64, first: Int32, cables: Int32) -> Int64:
    """Return each destination's place in `Hops.port`, whatever its switch allows.

    Parameters
    ----------
    allowed : bool array of shape (n_neighbours, n_targets)
    target, digit : int arrays of shape (n_destinations,)
    first, cables : int32 arrays of shape (n_neighbours,)
    """
    several: Int64 | int
    if (allowed == allowed[:, :1]).all():
        choice = np.flatnonzero(allowed[:, 0])
        several = len(choice)
        pair = choice[digit % several]
    else:
        choice = np.flatnonzero(allowed.T) % len(allowed)
        count = np.count_nonzero(allowed, axis=0)
        several = np.maximum(count, 1)[target]
        pair = np.append(choice, 0)[(np.cumsum(count) - count)[target] + digit % several]
    return first[pair] + digit // several % cables[pair]
