"""What the one-line-per-port formats share: port GUIDs and cables to a fabric.

``ibnetdiscover -p`` and ``iblinkinfo -l`` name ports, not nodes. All ports of a switch carry the switch's GUID; each port of
a channel adapter carries its own, so the adapter's node GUID is nowhere in the text and a port GUID stands for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.results import ParseReport
from fabctl.sources.scan import Scan

GUID_NOTE = (
    "this format has no node GUIDs: a channel adapter goes by the GUID of its first port, and ports with one description "
    "and GUIDs in a row are taken for one adapter"
)
SWITCHES_ONLY_NOTE = "only switches have lines of their own: adapters are known by their cables to switches"


@dataclass(slots=True)
class End:
    """One end of a cable, or an unconnected port."""

    kind: NodeKind
    guid: int
    number: int
    lid: int
    name: str


@dataclass(slots=True)
class PortLine:
    """One line: a port, what is at the other end of its cable if any, and the width and `Speed` it reports."""

    line: int
    near: End
    far: End | None = None
    lanes: int = 0
    speed: int = 0


def assemble(scan: Scan, ports: list[PortLine]) -> tuple[Fabric, ParseReport]:
    """Return the fabric that the lines describe, and the report.

    If no adapter has a line of its own although some are at the far end of a cable (``iblinkinfo --switches-only``), their
    cables count as listed by both ends.

    Raises
    ------
    InputError
        If there is no line.
    """
    if not ports:
        raise InputError("no port found", where=scan.path, hint=f"did {scan.tool} fail? look at its stderr")
    ends = [end for port in ports for end in (port.near, port.far) if end is not None]
    notes = [GUID_NOTE] if any(end.kind != NodeKind.SWITCH for end in ends) else []
    if notes and all(port.near.kind == NodeKind.SWITCH for port in ports):
        notes.append(SWITCHES_ONLY_NOTE)
        ports = ports + [
            PortLine(port.line, port.far, port.near, port.lanes, port.speed)
            for port in ports
            if port.far is not None and port.far.kind != NodeKind.SWITCH
        ]
    node_guid = _node_guids(ends)
    builder = FabricBuilder()
    partial = _declare_nodes(builder, ports, node_guid)
    if partial:
        notes.append(f"switches that do not list all their ports: {len(partial)}; the first is '{partial[0]}'")
    for port in ports:
        near, far = port.near, port.far
        _declare_port(builder, near, node_guid, port.line)
        if far is not None:
            _declare_port(builder, far, node_guid, port.line)
            builder.link(
                node_guid[near.guid],
                near.number,
                node_guid[far.guid],
                far.number,
                lanes=port.lanes,
                speed=port.speed,
                peer_kind=far.kind,
                peer_name=far.name,
                line=port.line,
            )
    return scan.finish(builder, tuple(notes))


def _node_guids(ends: list[End]) -> dict[int, int]:
    """Return the GUID that stands for each port GUID's node."""
    rows: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for end in ends:
        if end.kind != NodeKind.SWITCH:
            rows[end.name, end.guid - end.number].add(end.guid)
    first = {guid: min(row) for row in rows.values() for guid in row}
    return {end.guid: first.get(end.guid, end.guid) for end in ends}


def _declare_nodes(builder: FabricBuilder, ports: list[PortLine], node_guid: dict[int, int]) -> list[str]:
    """Declare the nodes that have lines; return the switches that lack some."""
    numbers: defaultdict[int, set[int]] = defaultdict(set)
    first: dict[int, PortLine] = {}
    for port in ports:
        guid = node_guid[port.near.guid]
        first.setdefault(guid, port)
        numbers[guid].add(port.near.number)
    partial = []
    for guid, port in first.items():
        near, listed, count = port.near, numbers[guid], 0
        if near.kind == NodeKind.SWITCH and len(listed) == max(listed):
            count = len(listed)  # the tools list every port of a switch
        elif near.kind == NodeKind.SWITCH:
            partial.append(near.name)
        builder.node(near.kind, guid, near.name, ports=count, line=port.line)
    return partial


def _declare_port(builder: FabricBuilder, end: End, node_guid: dict[int, int], line: int) -> None:
    guid = node_guid[end.guid]
    if end.kind == NodeKind.SWITCH:
        builder.port(guid, 0, port_guid=end.guid, lid=end.lid, line=line)
        builder.port(guid, end.number, line=line)
    else:
        builder.port(guid, end.number, port_guid=end.guid, lid=end.lid, line=line)
