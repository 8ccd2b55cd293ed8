"""`RoutingTables`: the linear forwarding tables of all switches, with service levels and virtual lanes where known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.loading import RawTables

NO_ROUTE = 255
"""LFT entry of a LID that a switch drops (InfiniBand Architecture Specification volume 1, section 14.2.5.6)."""


@dataclass(frozen=True, eq=False)
class RoutingTables:
    """Forwarding tables bound to a fabric.

    Parameters
    ----------
    fabric : Fabric
    lft : uint8 array of shape (n_switches, max LID + 1)
        Output port of each switch for each LID; `NO_ROUTE` where it has none, 0 for its own LID.
    origin : str
        Where they come from: an engine's name or a file.
    service_level : uint8 array of shape (n_switches, max LID + 1), optional
        SL by source leaf and destination LID, where the origin says; None means one SL.
    notes : tuple of str
        Assumptions worth printing.
    """

    fabric: Fabric
    lft: NDArray[np.uint8]
    origin: str
    service_level: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def next_channel(self) -> NDArray[np.int32]:
        """Channel that each switch forwards each LID to, shape (n_switches, max LID + 1); -1 where it forwards to none.

        Entry -1 stands for no route, for a port without cable and for the switch's own LID alike.
        """
        channel_at = self.fabric.channel_at
        out = np.empty(self.lft.shape, dtype=np.int32)
        for switch in range(self.fabric.n_switches):
            np.take(channel_at[switch], self.lft[switch], out=out[switch])
        return out


def bind_tables(fabric: Fabric, raw: RawTables, origin: str) -> RoutingTables:
    """Bind dumped tables to a fabric, refusing tables of another fabric.

    Raises
    ------
    InputError
        If a switch of the fabric has no table, a table's switch is not in the fabric, or a LID belongs to another port
        than the dump says.
    """
    index = {int(guid): switch for switch, guid in enumerate(fabric.node_guid[: fabric.n_switches])}
    missing = [switch for guid, switch in index.items() if guid not in raw.entries]
    strangers = [guid for guid in raw.entries if guid not in index]
    if len(missing) == len(index):
        raise InputError(
            f"these tables are for another fabric: none of their {len(raw.entries)} switches is in this one",
            where=origin,
            hint="dump fabric and tables in the same minute: ibnetdiscover > fabric.txt; dump_fts > tables.txt",
        )
    if strangers:
        names = ", ".join(f"0x{guid:016x} '{raw.names.get(guid, '')}'" for guid in strangers[:3])
        raise InputError(
            f"the tables hold {len(strangers)} switches that the fabric does not have: {names}",
            where=origin,
            hint="take fabric and tables from the same moment",
        )
    if missing:
        names = ", ".join(fabric.labels[switch] for switch in missing[:3])
        raise InputError(
            f"{len(missing)} of {len(index)} switches have no table: {names}",
            where=origin,
            hint="was the dump cut short? run dump_fts again",
        )
    _check_owners(fabric, raw, origin)
    top = max(len(fabric.port_of_lid), 1 + max((max(row, default=0) for row in raw.entries.values()), default=0))
    lft = np.full((fabric.n_switches, top), NO_ROUTE, dtype=np.uint8)
    for guid, row in raw.entries.items():
        if row:
            lids = np.fromiter(row.keys(), dtype=np.int64, count=len(row))
            lft[index[guid], lids] = np.fromiter(row.values(), dtype=np.uint8, count=len(row))
    notes = (f"{raw.unknown} lines of the tables were not understood",) if raw.unknown else ()
    return RoutingTables(fabric, lft, origin, notes=notes)


def _check_owners(fabric: Fabric, raw: RawTables, origin: str) -> None:
    lid_of_guid = {int(fabric.port_guid[port]): int(fabric.port_lid[port]) for port in np.flatnonzero(fabric.port_lid > 0)}
    for lid, guid in raw.owners.items():
        here = lid_of_guid.get(guid)
        if here is not None and lid != here and not _answers_to(fabric, guid, lid):
            raise InputError(
                f"LIDs have moved: port 0x{guid:016x} has LID {here} in the fabric and LID {lid} in the tables",
                where=origin,
                hint="take fabric and tables from the same moment",
            )


def _answers_to(fabric: Fabric, port_guid: int, lid: int) -> bool:
    ports = np.flatnonzero(fabric.port_guid == np.uint64(port_guid))
    spans = 1 << fabric.port_lmc[ports].astype(np.int64)
    return bool(np.any((fabric.port_lid[ports] <= lid) & (lid < fabric.port_lid[ports] + spans)))
