"""The tables that the twin's switches hold, read back from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import SourceError
from fabctl.model.binding import bind_tables
from fabctl.model.changes import BLOCK_LIDS
from fabctl.model.fabric import Fabric
from fabctl.model.loading import RawTables
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.sources import lft_dump
from fabctl.twin.ibsim import Ibsim
from fabctl.twin.netfile import simulated_guids

_LFT_ATTRIBUTE = "0x19"


def read_tables(sim: Ibsim, fabric: Fabric, origin: str) -> RoutingTables:
    """Read the tables of all switches that can be reached; the notes say how many cannot.

    Parameters
    ----------
    sim : Ibsim
        Running, with a subnet that a subnet manager has brought up.
    fabric : Fabric
        As it was before any fault.
    origin : str
        What the tables call themselves.

    Raises
    ------
    SourceError
        If ``dump_fts`` is not installed or cannot read a switch.

    Notes
    -----
    ``dump_fts`` reads one block too few where a subnet's highest LID begins a block; that block is read by ``smpdump``.
    """
    text, complaints = sim.output("dump_fts", "-n")
    failed = [line for line in complaints.splitlines() if "failed" in line.lower()]
    if failed:
        raise SourceError(f"dump_fts could not read all tables: {failed[0].strip()}")
    raw = lft_dump.SOURCE.parse(text, origin)
    top = len(fabric.port_of_lid) - 1
    present = set(raw.switch_guid.tolist())
    missing = [switch for switch in range(fabric.n_switches) if int(fabric.node_guid[switch]) not in present]
    tables = bind_tables(fabric, _with_empty_rows(raw, fabric, missing), origin)
    if top % BLOCK_LIDS == 0:
        tables = replace(tables, lft=_with_last_block(sim, tables, set(missing), top))
    if missing:
        note = f"{len(missing)} switches ({fabric.labels[missing[0]]}, ...) are cut off: their tables count as empty"
        tables = replace(tables, notes=(*tables.notes, note))
    return tables


def refuse_moved_lids(fabric: Fabric, guid2lid: Path) -> None:
    """Raise `SourceError` if OpenSM's own list of LIDs gives a port another LID than the fabric does."""
    words = [line.split() for line in guid2lid.read_text().splitlines() if line.strip()]
    given = {int(guid, 16): int(lid, 16) for guid, lid, _ in words}
    ports = np.flatnonzero(fabric.port_lid > 0)
    for port, guid in zip(ports.tolist(), simulated_guids(fabric)[ports].tolist(), strict=True):
        if given.get(guid, int(fabric.port_lid[port])) != fabric.port_lid[port]:
            raise SourceError(f"OpenSM gave {fabric.port_label(port)} LID {given[guid]}; it had {fabric.port_lid[port]}")


def _with_empty_rows(raw: RawTables, fabric: Fabric, missing: list[int]) -> RawTables:
    empty = np.full((len(missing), raw.lft.shape[1]), NO_ROUTE, dtype=np.uint8)
    return replace(
        raw,
        switch_guid=np.concatenate((raw.switch_guid, fabric.node_guid[missing])),
        switch_name=(*raw.switch_name, *(fabric.node_name[switch] for switch in missing)),
        lft=np.concatenate((raw.lft, empty)),
    )


def _with_last_block(sim: Ibsim, tables: RoutingTables, missing: set[int], top: int) -> NDArray[np.uint8]:
    lft = tables.lft.copy()
    for switch in range(tables.fabric.n_switches):
        if switch not in missing:
            lft[switch, top] = _entry(sim, tables.fabric.node_lid(switch), top)
    return lft


def _entry(sim: Ibsim, switch_lid: int, lid: int) -> int:
    text, _ = sim.output("smpdump", str(switch_lid), _LFT_ATTRIBUTE, str(lid // BLOCK_LIDS))
    words = text.split()[: BLOCK_LIDS // 2]
    data = bytes.fromhex("".join(words))
    if len(data) != BLOCK_LIDS or not any(data):  # smpdump prints zeros where nothing answered
        raise SourceError(f"smpdump could not read the last block of the table of the switch with LID {switch_lid}")
    return data[lid % BLOCK_LIDS]
