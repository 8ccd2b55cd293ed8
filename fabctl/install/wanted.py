"""What the switches should hold after an installation, and how what they hold differs from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError, RefusedError
from fabctl.install.bundle import Bundle
from fabctl.model.binding import bind_tables
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Verification
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.verify import verify
from fabctl.sources.qos_policy import service_levels

BLOCK = 64
"""LIDs in a block of a forwarding table: what a switch is sent at once."""

_AGAIN = "make a new export of the fabric as it is: fabctl route --live --engine NAME --export opensm DIR"


@dataclass(frozen=True)
class Difference:
    """Entries that differ between tables: how many, in how many blocks and switches, and the first."""

    entries: int
    blocks: int
    switches: int
    first: str


def wanted_tables(bundle: Bundle, fabric: Fabric) -> RoutingTables:
    """Return an export's tables on the fabric as it is now, proved safe on it.

    Raises
    ------
    RefusedError
        If the fabric has changed so that the tables do not fit it, or are not safe on it any more.
    """
    try:
        tables = bind_tables(fabric, bundle.tables(), str(bundle.folder))
        policy = bundle.policy()
        if policy is not None:
            tables = replace(tables, service_level=service_levels(policy, fabric, tables.lft.shape[1]))
    except InputError as error:
        raise RefusedError(
            f"these routes do not fit the fabric as it is: {error.message}", where=error.where, hint=_AGAIN
        ) from error
    found = verify(tables)
    if found.unlisted:
        port = found.unlisted[0]
        raise RefusedError(
            f"the fabric has {len(found.unlisted)} LIDs that these routes do not know, as LID {fabric.port_lid[port]}"
            f" of {fabric.port_label(port)}",
            where=str(bundle.folder),
            hint=_AGAIN,
        )
    if not found.safe:
        raise RefusedError(
            f"on the fabric as it is these routes {_danger(found)}: has a cable or switch gone since the export?",
            where=str(bundle.folder),
            hint=_AGAIN,
        )
    return tables


def refuse_unsafe(tables: RoutingTables, origin: str) -> None:
    """Raise `RefusedError` if tables lose traffic, loop or may deadlock: a subnet manager would install them as they are."""
    found = verify(tables)
    if not found.safe:
        raise RefusedError(f"routes of {origin} {_danger(found)}", hint="--set engine=updn is free of credit loops on any fabric")


def _danger(found: Verification) -> str:
    return f"lose {found.lost_hca} paths" if found.lost_hca else "loop" if found.loop else "may deadlock"


def compared_lids(fabric: Fabric, held: RoutingTables) -> NDArray[np.int64]:
    """Return the LIDs whose entries can be compared.

    ``dump_fts`` leaves out the highest LID if it is a multiple of 64; what it does not show cannot be compared.
    """
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    top = int(lids[-1]) if len(lids) else 0
    hidden = top % BLOCK == 0 and (top >= held.lft.shape[1] or (held.lft[:, top] == NO_ROUTE).all())
    return lids[:-1] if hidden else lids


def difference(held: RoutingTables, wanted: RoutingTables) -> Difference:
    """Compare what the switches hold with what they should."""
    fabric = wanted.fabric
    lids = compared_lids(fabric, held)
    here, there = _columns(held, lids), _columns(wanted, lids)
    differs = here != there
    first = ""
    if differs.any():
        switch, column = (int(index) for index in np.argwhere(differs)[0])
        lid = int(lids[column])
        first = (
            f"switch '{fabric.labels[switch]}' sends LID {lid} to {_port(here[switch, column])},"
            f" not to {_port(there[switch, column])}"
        )
    switches, columns = np.nonzero(differs)
    blocks = np.unique(switches * (1 << 16) + lids[columns] // BLOCK)
    return Difference(len(switches), len(blocks), len(np.unique(switches)), first)


def _columns(tables: RoutingTables, lids: NDArray[np.int64]) -> NDArray[np.uint8]:
    out = np.full((tables.lft.shape[0], len(lids)), NO_ROUTE, dtype=np.uint8)
    inside = lids < tables.lft.shape[1]
    out[:, inside] = tables.lft[:, lids[inside]]
    return out


def _port(number: int) -> str:
    return "no port" if number == NO_ROUTE else f"port {number}"


def sample_paths(tables: RoutingTables) -> list[tuple[int, int, int]]:
    """Return the LIDs of a sender and a receiver, and the SL, for one path between HCAs of each SL in use."""
    fabric, level = tables.fabric, tables.service_level
    if level is None:
        return []
    ports = fabric.endpoints[fabric.port_lid[fabric.endpoints] > 0]
    leaf = fabric.port_node[fabric.port_peer[ports]]
    ports, leaf = ports[leaf < fabric.n_switches], leaf[leaf < fabric.n_switches]
    lids = fabric.port_lid[ports]
    found: dict[int, tuple[int, int, int]] = {}
    for port, switch in zip(ports.tolist(), leaf.tolist(), strict=True):
        own = lids != fabric.port_lid[port]
        levels, first = np.unique(level[switch, lids[own]], return_index=True)
        for sl, column in zip(levels.tolist(), first.tolist(), strict=True):
            found.setdefault(sl, (int(fabric.port_lid[port]), int(lids[own][column]), sl))
    return [found[sl] for sl in sorted(found)]
