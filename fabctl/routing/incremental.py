"""Routes of before a fault, changed as little as the fault asks for: the library call behind ``fabctl route --previous``.

An entry stays if its path still arrives; or if it arrives again once entries behind it have moved, closes no credit loop, and is
no longer than on the engine's own new routes. What must move takes the least loaded of the shortest ways that are left. A
destination that cannot be mended so takes the engine's new routes; where even those do not go together with the old ones, all
of them are taken. The result is proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.changes import BLOCK_LIDS, Change, MovedLid, Rewrite
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Verification
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.arrival import attached_lids, carried, homes, hop_counts, source_counts
from fabctl.routing.channel_order import channel_order
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.repair import Repair
from fabctl.routing.verify import verify

Lft = NDArray[np.uint8]
Int64 = NDArray[np.int64]

ROUNDS = 16
"""How often destinations in a credit loop are given to the engine before it gets all of them."""


def change(previous: RoutingTables, engine: RoutingTables, options: Options) -> Change:
    """Change routes as little as their fabric asks for.

    Parameters
    ----------
    previous : RoutingTables
        Routes of before, bound to the fabric of now; switches that they did not know have no route at all.
    engine : RoutingTables
        The engine's own routes for the fabric of now.
    options : Options
        Those that the engine was given.

    Raises
    ------
    RefusedError
        Never for want of virtual lanes: the engine's routes are taken then.

    Complexity
    ----------
    O(switches x LIDs x hops), vectorised, and O(switches x ports x hops) for each destination that the fault has touched.
    """
    fabric = engine.fabric
    old, new = _same_shape(fabric, previous.lft, engine.lft)
    lids = attached_lids(fabric)
    lane_of = _lane_of(engine, lids)
    mended, by_engine = _mended(fabric, old, new, lids, lane_of)
    tables, by_engine, fallback = _proved(previous, engine, old, mended, by_engine, lids, options)
    gone = np.flatnonzero((old != NO_ROUTE).any(axis=0))
    return Change(
        tables=tables,
        previous=previous.origin,
        rewritten=_rewrite(old, tables.lft, lids),
        whole=_rewrite(old, new, lids),
        moved=_moved(fabric, old, tables.lft, lids),
        engine_lids=() if fallback else tuple(sorted(by_engine)),
        fallback=fallback,
        gone=int(np.count_nonzero(~np.isin(gone, lids))),
    )


def difference(previous: RoutingTables, now: RoutingTables) -> Change:
    """Return what a subnet manager has changed: tables of before against those of now, both bound to the fabric of now."""
    old, new = _same_shape(now.fabric, previous.lft, now.lft)
    lids = attached_lids(now.fabric)
    kept = np.flatnonzero((old != NO_ROUTE).any(axis=0) & (new != NO_ROUTE).any(axis=0))
    return Change(
        tables=now,
        previous=previous.origin,
        rewritten=_rewrite(old, new, lids),
        whole=None,
        moved=_moved(now.fabric, old, new, lids),
        engine_lids=(),
        fallback="",
        gone=int(np.count_nonzero(~np.isin(kept, lids))),
    )


def _same_shape(fabric: Fabric, *tables: Lft) -> list[Lft]:
    width = max(len(fabric.port_of_lid), *(lft.shape[1] for lft in tables))
    return [np.pad(lft, ((0, 0), (0, width - lft.shape[1])), constant_values=NO_ROUTE) for lft in tables]


def _lane_of(engine: RoutingTables, lids: Int64) -> Lft | None:
    """Return the virtual lane of each LID, if the engine has one for each LID, whoever sends; else None."""
    if engine.service_level is None:
        return np.zeros(len(lids), dtype=np.uint8)
    levels = engine.service_level[source_counts(engine.fabric) > 0][:, lids]
    return levels[0] if len(levels) and (levels == levels[0]).all() else None


def _mended(fabric: Fabric, old: Lft, new: Lft, lids: Int64, lane_of: Lft | None) -> tuple[Lft, set[int]]:
    """Return the old tables with every destination mended, and the LIDs that had to take the engine's routes.

    Parameters
    ----------
    lane_of : uint8 array of shape (n_lids,), optional
        Virtual lane of each LID, on which its paths must close no cycle with those of its lane; None: they may, as lanes are
        chosen afterwards.
    """
    arrives, bound = hop_counts(fabric, old, lids), hop_counts(fabric, new, lids)
    sources = source_counts(fabric)
    touched = (arrives < 0).any(axis=0) & (bound >= 0).any(axis=0)
    is_hca = fabric.is_hca[fabric.port_node[fabric.port_of_lid[lids]]]
    repair = Repair(fabric, sources, carried(fabric, old, lids[is_hca], arrives[:, is_hca]))
    out = old.copy()
    by_engine: set[int] = set()
    for lane in [0] if lane_of is None else np.unique(lane_of).tolist():
        members = np.ones(len(lids), dtype=bool) if lane_of is None else lane_of == lane
        order = None if lane_of is None else _order(fabric, ((old, arrives), (new, bound)), lids, members)
        columns = np.flatnonzero(touched & members)
        for column in columns[np.argsort(~is_hca[columns], kind="stable")].tolist():
            lid = int(lids[column])
            ends = arrives[:, column], bound[:, column]
            entries = _column(fabric, old[:, lid], new[:, lid], *ends, lid, repair, sources, order)
            if entries is None:
                by_engine.add(lid)
                entries = new[:, lid]
            out[:, lid] = entries
    return out, by_engine


def _order(
    fabric: Fabric, routes: Sequence[tuple[Lft, NDArray[np.int16]]], lids: Int64, members: NDArray[np.bool_]
) -> list[int] | None:
    """Return the order of channels by which old and new routes of a lane go together, or else one of the old routes alone."""
    own = [(lft, hops[:, members]) for lft, hops in routes]
    order = channel_order(fabric, own, lids[members])
    if order is None:
        order = channel_order(fabric, own[:1], lids[members])
    return None if order is None else order.tolist()


def _column(
    fabric: Fabric,
    old: Lft,
    new: Lft,
    arrives: NDArray[np.int16],
    bound: NDArray[np.int16],
    lid: int,
    repair: Repair,
    sources: Int64,
    order: list[int] | None,
) -> Lft | None:
    """Return the entries for one LID, or None if some switch with HCAs finds no way."""
    home = int(homes(fabric, np.array([lid]))[0])
    entries = old.copy()
    hops: list[int] = arrives.tolist()
    if hops[home] < 0:
        entries[home], hops[home] = new[home], int(bound[home])
    if hops[home] < 0:
        return None
    every = np.arange(fabric.n_switches)
    channel = fabric.channel_at[every, entries].tolist()
    stranded = repair.mend(home, channel, hops, bound.tolist(), order)
    if any(sources[switch] for switch in stranded):
        return None
    for switch in every[arrives < 0].tolist():
        if switch not in stranded and switch != home:
            entries[switch] = fabric.port_number[fabric.channel_port[channel[switch]]]
    _strand(fabric, entries, new, bound, hops, stranded)
    return entries


def _strand(fabric: Fabric, entries: Lft, new: Lft, bound: NDArray[np.int16], hops: list[int], stranded: set[int]) -> None:
    """Give switches that nothing sends through the engine's entry where it arrives, or drop what leads into a dead port."""
    for switch in sorted(stranded, key=lambda switch: (int(bound[switch]), switch)):
        channel = int(fabric.channel_at[switch, new[switch]])
        far = int(fabric.channel_dst[channel]) if channel >= 0 else fabric.n_nodes
        if bound[switch] >= 0 and far < fabric.n_switches and hops[far] >= 0:
            entries[switch], hops[switch] = new[switch], hops[far] + 1
        elif fabric.channel_at[switch, entries[switch]] < 0:
            entries[switch] = NO_ROUTE


def _proved(
    previous: RoutingTables,
    engine: RoutingTables,
    old: Lft,
    mended: Lft,
    by_engine: set[int],
    lids: Int64,
    options: Options,
) -> tuple[RoutingTables, set[int], str]:
    """Return tables that are as safe as the engine's own, the LIDs that took its routes, and why if all of them did."""
    origin = f"{engine.origin}, changed from {previous.origin}"
    new = _same_shape(engine.fabric, engine.lft, mended)[0]
    notes = (*engine.notes, *(note for note in previous.notes if note not in engine.notes))
    aim = verify(engine)
    for _ in range(ROUNDS):
        tables = RoutingTables(engine.fabric, mended, origin, notes=notes)
        if engine.service_level is None and np.array_equal(old, mended):
            tables = replace(tables, service_level=previous.service_level)
        if engine.service_level is not None:
            try:
                tables = _on_lanes(tables, engine, aim, lids, options)
            except RefusedError as error:
                return engine, by_engine, error.message
        found = verify(tables)
        if found.lost_hca > aim.lost_hca or (found.loop and not aim.loop):
            return engine, by_engine, "some HCAs cannot be reached by a smaller change"
        if not found.credit_loop or aim.credit_loop:
            return tables, by_engine, ""
        caught = _through(tables, found.credit_loop, lids) - by_engine
        if not caught:
            break
        by_engine = by_engine | caught
        columns = sorted(caught)
        mended = mended.copy()
        mended[:, columns] = new[:, columns]
    return engine, by_engine, "any smaller change could deadlock together with the old routes"


def _on_lanes(tables: RoutingTables, engine: RoutingTables, aim: Verification, lids: Int64, options: Options) -> RoutingTables:
    """Return tables with the engine's own service levels, where these do for them, else with new ones."""
    if engine.service_level is not None and _lane_of(engine, lids) is not None:
        level = np.zeros_like(tables.lft)
        level[:, : engine.service_level.shape[1]] = engine.service_level
        kept = replace(tables, service_level=level)
        found = verify(kept)
        if not found.credit_loop and bool(found.management_loop) <= bool(aim.management_loop):
            return kept
    return assign_layers(tables, options.max_vls, keep_entries=True)


def _through(tables: RoutingTables, loop: tuple[int, ...], lids: Int64) -> set[int]:
    """Return the LIDs whose traffic may take two channels of a loop in turn."""
    following = tables.next_channel[:, lids]
    caught = np.zeros(len(lids), dtype=bool)
    for before, after in zip(loop, (*loop[1:], loop[0]), strict=True):
        tail, middle = int(tables.fabric.channel_src[before]), int(tables.fabric.channel_src[after])
        caught |= (following[tail] == before) & (following[middle] == after)
    return set(lids[caught].tolist())


def _rewrite(old: Lft, new: Lft, lids: Int64) -> Rewrite:
    new = np.pad(new, ((0, 0), (0, old.shape[1] - new.shape[1])), constant_values=NO_ROUTE)
    switch, column = np.nonzero(old[:, lids] != new[:, lids])
    block = lids[column] // BLOCK_LIDS
    return Rewrite(
        switches=len(np.unique(switch)), entries=len(switch), blocks=len(np.unique(switch * (old.shape[1] + 1) + block))
    )


def _moved(fabric: Fabric, old: Lft, new: Lft, lids: Int64) -> tuple[MovedLid, ...]:
    moved = []
    for lid in lids.tolist():
        switches = np.flatnonzero(old[:, lid] != new[:, lid])
        if len(switches):
            before, after = old[switches, lid].tolist(), new[switches, lid].tolist()
            moved.append(MovedLid(lid, int(fabric.port_of_lid[lid]), tuple(switches.tolist()), tuple(before), tuple(after)))
    return tuple(moved)
