"""Files that OpenSM reads: forwarding tables for ``opensm -R file -U FILE``.

The grammar is what OpenSM 3.3.23 accepts: one heading per switch with its GUID, one line per LID with the output port. A
``portguid`` on the line lets OpenSM find the LID again if it has moved. OpenSM checks nothing else: a switch left out ends with
an empty table, a port that a switch does not have makes it fall back to minhop in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, RefusedError
from fabctl.model.fabric import NodeKind
from fabctl.model.routes import Assessment
from fabctl.model.tables import NO_ROUTE, RoutingTables

_KIND = {NodeKind.SWITCH: "Switch", NodeKind.CA: "Channel Adapter", NodeKind.ROUTER: "Router"}


def lft_dump(tables: RoutingTables) -> Iterator[str]:
    """Yield the text for ``opensm -R file -U FILE``, one piece per switch.

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


def export_opensm(assessment: Assessment, folder: str) -> None:
    """Write a folder from which OpenSM installs the tables: ``opensm-lfts.dump``, and a README with the commands.

    Raises
    ------
    RefusedError
        If the tables are not safe: OpenSM would install them as they are.
    InputError
        If the folder cannot be made or written.
    """
    tables = assessment.tables
    if not assessment.verification.safe:
        raise RefusedError(
            "these routes are not exported: they lose traffic, loop or may deadlock (see the findings)",
            where=folder,
            hint="--engine updn is free of credit loops on any fabric",
        )
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder: {error.strerror}", where=folder) from error
    write_atomic(target / "opensm-lfts.dump", lft_dump(tables))
    write_atomic(target / "README", _README.format(origin=tables.origin, switches=tables.fabric.n_switches))


_README = """\
Forwarding tables by engine {origin} for {switches} switches, computed by fabctl.

Try them once:        opensm -o -R file,no_fallback -U opensm-lfts.dump
Keep them installed:  in opensm.conf: routing_engine file,no_fallback and lfts_file /path/to/opensm-lfts.dump
After a new export:   replace the file, then kill -HUP the running opensm
Read them back:       dump_fts > installed.txt; fabctl route fabric.txt --tables installed.txt

OpenSM checks nothing but port numbers: run fabctl route on the tables first. It says on its log, not with its exit code,
whether it took them: look for "file tables configured on all switches". Make a new export whenever the fabric changes.
"""
