"""Binding dumped forwarding tables to a fabric: the checks that keep another fabric's tables out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.loading import RawTables
from fabctl.model.tables import NO_ROUTE, RoutingTables

_SAME_MOMENT = "take fabric and tables from the same moment"


def bind_tables(fabric: Fabric, raw: RawTables, origin: str, *, lenient: bool = False) -> RoutingTables:
    """Bind dumped tables to a fabric, refusing tables of another fabric or of another moment.

    Parameters
    ----------
    fabric : Fabric
    raw : RawTables
    origin : str
        File name, for messages.
    lenient : bool
        Whether the tables are of an earlier moment: switches may have been lost or added since. A switch without a table gets one
        without routes; tables of switches that are gone are dropped. LIDs that have moved are refused all the same.

    Raises
    ------
    InputError
        If the fabric has no LIDs, a switch of the fabric has no table, a table's switch is not in the fabric, a LID belongs
        to another port than the dump says, or a switch forwards to a port that it does not have.
    """
    _check_switches(fabric, raw, origin, lenient=lenient)
    _check_owners(fabric, raw, origin)
    row_of = {guid: row for row, guid in enumerate(raw.switch_guid.tolist())}
    guids = fabric.node_guid[: fabric.n_switches].tolist()
    here = [switch for switch, guid in enumerate(guids) if guid in row_of]
    lft = np.full((fabric.n_switches, max(len(fabric.port_of_lid), raw.lft.shape[1])), NO_ROUTE, dtype=np.uint8)
    lft[here, : raw.lft.shape[1]] = raw.lft[[row_of[guids[switch]] for switch in here]]
    _check_ports(fabric, lft, origin)
    _check_own_lids(fabric, lft, origin)
    return RoutingTables(fabric, lft, origin, notes=_notes(fabric, raw, origin))


def _check_switches(fabric: Fabric, raw: RawTables, origin: str, *, lenient: bool) -> None:
    here, there = set(fabric.node_guid[: fabric.n_switches].tolist()), set(raw.switch_guid.tolist())
    if not here & there:
        raise InputError(
            f"these tables are for another fabric: none of their {len(there)} switches is in this one",
            where=origin,
            hint="dump fabric and tables in the same minute: ibnetdiscover > fabric.txt; dump_fts > tables.txt",
        )
    strangers = [
        f"0x{guid:016x} '{name}'"
        for guid, name in zip(raw.switch_guid.tolist(), raw.switch_name, strict=True)
        if guid not in here
    ]
    if strangers and not lenient:
        raise InputError(
            f"the tables hold {len(strangers)} switches that the fabric does not have: {', '.join(strangers[:3])}",
            where=origin,
            hint=_SAME_MOMENT,
        )
    missing = [fabric.labels[switch] for switch in range(fabric.n_switches) if int(fabric.node_guid[switch]) not in there]
    if missing and not lenient:
        raise InputError(
            f"{len(missing)} of {len(here)} switches have no table: {', '.join(missing[:3])}",
            where=origin,
            hint="was the dump cut short? run dump_fts again",
        )
    if not fabric.port_lid.any():
        raise InputError(
            "the fabric's ports have no LIDs, so its tables cannot be read",
            where=origin,
            hint="discover the fabric while its subnet manager runs: ibnetdiscover > fabric.txt",
        )


def _check_owners(fabric: Fabric, raw: RawTables, origin: str) -> None:
    """Compare who answers to each LID; ibsim's port GUIDs (node GUID plus port number) pass for the real ones, and back."""
    lids = np.flatnonzero(raw.owner_guid)
    owner = raw.owner_guid[lids]
    port = _port_of(fabric, lids)
    node, known = fabric.port_node[port], fabric.port_guid[port]
    simulated = fabric.node_guid[node] + fabric.port_number[port].astype(np.uint64)
    lone = np.bincount(fabric.channel_src, minlength=fabric.n_nodes)[node] == 1
    same = (owner == known) | (owner == simulated) | (lone & (known == simulated) & (owner == fabric.node_guid[node]))
    other = np.where(port >= 0, (known != 0) & ~same, np.isin(owner, fabric.port_guid))
    if other.any():
        first = int(np.argmax(other))
        here, there = int(port[first]), f"port 0x{int(owner[first]):016x}"
        whose = f"port 0x{int(known[first]):016x} ({fabric.port_label(here)})" if here >= 0 else "no port"
        raise InputError(
            f"LIDs have moved: LID {lids[first]} belongs to {whose} in the fabric and to {there} in the tables",
            where=origin,
            hint=_SAME_MOMENT,
        )


def _check_ports(fabric: Fabric, lft: NDArray[np.uint8], origin: str) -> None:
    count = fabric.node_port_count[: fabric.n_switches]
    highest = np.where(count > 0, np.minimum(count, NO_ROUTE), NO_ROUTE).astype(np.uint8)[:, np.newaxis]
    bad = (lft > highest) & (lft != NO_ROUTE)
    if bad.any():
        switch, lid = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise InputError(
            f"switch '{fabric.labels[switch]}' forwards LID {lid} to port {lft[switch, lid]}, but has ports 1 to {count[switch]}",
            where=origin,
        )


def _check_own_lids(fabric: Fabric, lft: NDArray[np.uint8], origin: str) -> None:
    """Refuse tables in which a switch forwards what is sent to its own LID: they know it under another LID."""
    ports = np.flatnonzero((fabric.port_number == 0) & (fabric.port_node < fabric.n_switches) & (fabric.port_lid > 0))
    switch, lid = fabric.port_node[ports], fabric.port_lid[ports]
    wrong = ~np.isin(lft[switch, lid], (0, NO_ROUTE))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"LIDs have moved: switch '{fabric.labels[switch[first]]}' has LID {lid[first]} in the fabric, "
            f"and forwards that LID to port {lft[switch[first], lid[first]]} in the tables",
            where=origin,
            hint=_SAME_MOMENT,
        )


def _notes(fabric: Fabric, raw: RawTables, origin: str) -> tuple[str, ...]:
    notes = []
    if raw.unknown:
        first = raw.unknown[0]
        notes.append(
            f"{len(raw.unknown)} lines of the tables were not understood; the first at {origin}:{first.line}: {first.text}"
        )
    routed = np.flatnonzero((raw.lft != NO_ROUTE).any(axis=0))
    strange = routed[_port_of(fabric, routed) < 0]
    if len(strange):
        notes.append(f"the tables route {len(strange)} LIDs that no port of the fabric has; the first is {strange[0]}")
    return tuple(notes)


def _port_of(fabric: Fabric, lids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the port that answers to each LID; -1 where none does."""
    inside = lids < len(fabric.port_of_lid)
    return np.where(inside, fabric.port_of_lid[np.where(inside, lids, 0)], np.int32(-1))
