"""Forwarding tables as OpenSM dumps them and reads them again: ``opensm -R file -U FILE``.

The grammar is what OpenSM 3.3.23 accepts: one heading per switch with its GUID, one line per LID with the output port. A
``portguid`` on the line lets OpenSM find the LID again if it has moved. OpenSM checks nothing else: a switch left out ends with
an empty table, a port that a switch does not have makes it fall back to minhop in silence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fabctl.model.fabric import NodeKind
from fabctl.model.tables import NO_ROUTE, RoutingTables

_KIND = {NodeKind.SWITCH: "Switch", NodeKind.CA: "Channel Adapter", NodeKind.ROUTER: "Router"}


def lft_dump(tables: RoutingTables) -> Iterator[str]:
    """Yield the text, one piece per switch.

    Complexity
    ----------
    O(entries); 40 bytes per entry.
    """
    fabric = tables.fabric
    lids = np.flatnonzero(fabric.port_of_lid >= 0)
    lids = lids[lids < tables.lft.shape[1]]
    heads = [f"0x{lid:04x} " for lid in lids.tolist()]
    tails = [_owner(tables, int(port)) for port in fabric.port_of_lid[lids]]
    numbers = [f"{port:03d}" for port in range(256)]
    for switch in range(fabric.n_switches):
        row = tables.lft[switch, lids].tolist()
        lines = [head + numbers[port] + tail for head, port, tail in zip(heads, row, tails, strict=True) if port != NO_ROUTE]
        name = fabric.node_name[switch].replace("'", "")
        where = f"switch Lid {fabric.node_lid(switch)} guid {fabric.guid_text(switch)} ('{name}')"
        yield f"Unicast lids [0-{int(lids[-1])}] of {where}:\n" + "".join(lines) + f"{len(lines)} lids dumped\n"


def _owner(tables: RoutingTables, port: int) -> str:
    fabric = tables.fabric
    guid = int(fabric.port_guid[port])
    if not guid:
        return "\n"
    return f" # {_KIND[NodeKind(fabric.node_kind[fabric.port_node[port]])]} portguid 0x{guid:016x}\n"
