"""From allowed paths to forwarding tables: each destination's place in the order chooses among equal next hops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.order import destination_ranks, plane_order
from fabctl.routing.paths import Paths

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


def assign(fabric: Fabric, paths: Paths, engine: str) -> RoutingTables:
    """Return tables that spread destinations over the allowed next hops by mixed-radix digits of their rank.

    A switch of tier `l` takes digit `l` of the rank in the radices of the tiers below it, so that what one tier has sorted
    apart the next does not bring together again (round-robin at every switch, as OpenSM's minhop does it, uses one digit
    for all tiers and leaves 7 of 8 up-links of a clean three-level tree idle). On a whole XGFT this is D-mod-k.
    Destinations that carry a job's traffic are ranked first, then other HCAs, then switches, each kind on its own count.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.

    Complexity
    ----------
    O(n_switches x (n_switches x degree + n_lids)), vectorised per switch.
    """
    destinations = _Destinations(fabric)
    radix = _tier_radices(fabric)
    tiers = np.maximum(fabric.tiers, 0)
    stride = np.concatenate([[1], np.cumprod(radix)])[tiers]
    plane = plane_order(fabric)
    lft = np.full((fabric.n_switches, len(fabric.port_of_lid)), NO_ROUTE, dtype=np.uint8)
    for switch in range(fabric.n_switches):
        _fill(fabric, paths, destinations, plane, int(stride[switch]), switch, lft[switch])
    lft[destinations.home, destinations.lid] = destinations.home_port
    notes = _detour(fabric, paths, destinations, lft, engine)
    return RoutingTables(fabric, lft, engine, notes=notes)


class _Destinations:
    """Every LID with the switch it hangs from, the port there, and its rank.

    Attributes
    ----------
    lid, home, home_port, rank : int64 arrays of shape (n_destinations,)
    """

    def __init__(self, fabric: Fabric) -> None:
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
        self.home = fabric.port_node[far].astype(np.int64)
        self.home_port = np.where(is_switch, 0, fabric.port_number[far])
        self.rank = self._ranks(fabric, ports, is_switch)

    def _ranks(self, fabric: Fabric, ports: Int32, is_switch: NDArray[np.bool_]) -> Int64:
        rank = np.zeros(len(ports), dtype=np.int64)
        compute = np.isin(ports, fabric.compute_endpoints)
        for kind in (compute, ~compute & ~is_switch):
            rank[kind] = destination_ranks(fabric, ports[kind])
        rank[is_switch] = np.arange(int(is_switch.sum()))
        return rank + (self.lid - fabric.port_lid[ports])


def _detour(fabric: Fabric, paths: Paths, destinations: _Destinations, lft: NDArray[np.uint8], engine: str) -> tuple[str, ...]:
    """Send what the engine's own paths do not join over one leaf, and return a note if HCAs are concerned.

    Switches of one upper tier, and leaves that hang from odd places, may have no way up and down between them. If all such
    traffic turns at one leaf, credit loops stay unlikely; `fabctl.routing.verify` decides.
    """
    homes = np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]])
    homes = homes[homes < fabric.n_switches]
    joined = paths.label >= 0
    if joined.all() or not len(homes):
        return ()
    meets = joined[:, homes].sum(axis=0) + joined[homes].sum(axis=1)
    turn = int(homes[np.argmax(meets)])
    towards = int(destinations.lid[destinations.home == turn][0])
    for switch in range(fabric.n_switches):
        if switch != turn:
            missing = ~joined[switch, destinations.home] & joined[turn, destinations.home]
            lft[switch, destinations.lid[missing]] = lft[switch, towards]
    lost = np.argwhere(~joined[np.ix_(homes, homes)])
    if not len(lost):
        return ()
    names = " and ".join(fabric.labels[homes[end]] for end in lost[0])
    if not (joined[homes, turn].all() and joined[turn, homes].all()):
        raise RefusedError(f"no path joins {names}: the fabric is in parts", hint="fabctl discover names the parts")
    return (f"{len(lost)} leaf pairs ({names}, ...) have no way up and down; {engine} joins them over {fabric.labels[turn]}",)


def _tier_radices(fabric: Fabric) -> Int64:
    """Return, per tier, how many next hops its switches typically choose among on the way up: the mode over the tier."""
    tiers = np.maximum(fabric.tiers, 0)
    radices = []
    src, dst = fabric.channel_src, fabric.channel_dst
    for tier in range(int(tiers.max(initial=0)) + 1):
        between = (src < fabric.n_switches) & (dst < fabric.n_switches)
        between[between] = (tiers[src[between]] == tier) & (tiers[dst[between]] == tier + 1)
        pairs = np.unique(src[between].astype(np.int64) * fabric.n_nodes + dst[between])
        count = np.bincount(pairs // fabric.n_nodes)
        radices.append(int(np.argmax(np.bincount(count[count > 0]))) if len(pairs) else 1)
    return np.array(radices, dtype=np.int64)


def _fill(
    fabric: Fabric, paths: Paths, destinations: _Destinations, plane: Int64, stride: int, switch: int, row: NDArray[np.uint8]
) -> None:
    """Fill one switch's table: per destination switch its allowed neighbours in plane order, one picked by digit."""
    hops = _next_hops(fabric, paths, plane, switch)
    if hops is None:
        return
    allowed, cables, first_port, ports = hops
    target, choice = np.nonzero(allowed.T)
    n_choices = np.bincount(target, minlength=fabric.n_switches)
    start = np.cumsum(n_choices) - n_choices
    home, rank = destinations.home, destinations.rank // stride
    routed = n_choices[home] > 0
    home, rank = home[routed], rank[routed]
    count = n_choices[home]
    picked = choice[start[home] + rank % count]
    cable = rank // count % cables[picked] if cables.max() > 1 else 0
    row[destinations.lid[routed]] = ports[first_port[picked] + cable]


def _next_hops(fabric: Fabric, paths: Paths, plane: Int64, switch: int) -> tuple[NDArray[np.bool_], Int64, Int64, Int32] | None:
    """Return a switch's neighbours in plane order, which of them each destination allows, and the cables to each.

    Returns
    -------
    allowed : bool array of shape (n_neighbours, n_switches)
    cables, first : int64 arrays of shape (n_neighbours,)
        Neighbour `i` is behind ``ports[first[i]:first[i] + cables[i]]``.
    ports : int32 array
        Port numbers, ascending per neighbour.
    """
    channels = np.arange(fabric.channel_ptr[switch], fabric.channel_ptr[switch + 1])
    far = fabric.channel_dst[channels]
    keep = (far < fabric.n_switches) & (far != switch)
    channels, far = channels[keep], far[keep]
    if not len(channels):
        return None
    order = np.lexsort((fabric.port_number[fabric.channel_port[channels]], plane[far]))
    channels, far = channels[order], far[order]
    first = np.flatnonzero(np.append(True, far[1:] != far[:-1]))
    cables = np.diff(np.append(first, len(far)))
    neighbours = far[first]
    label = paths.label
    allowed = label[neighbours] == label[switch] - 1
    allowed &= label[switch] > 0
    if paths.goes_down is not None and paths.channel_down is not None:
        allowed &= paths.channel_down[channels[first]][:, None] == paths.goes_down[switch][None, :]
    return allowed, cables, first, fabric.port_number[fabric.channel_port[channels]]
