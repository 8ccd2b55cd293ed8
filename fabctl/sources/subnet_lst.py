"""OpenSM's ``opensm-subnet.lst``: one line per cable and direction, both ends in braces.

An end is ``{ SW Ports:04 SystemGUID:.. NodeGUID:.. PortGUID:.. VenID:.. DevID:.. Rev:.. {leaf-0} LID:0002 PN:03 }``, all its
numbers in hex; ``CA-SM`` and ``SW-SM`` mark the subnet manager's port. ``PHY=4x LOG=ACT SPD=2.5`` is the first end's width,
state and lane rate. Of the second end only identity and LID are taken: OpenSM 3.3.23 prints its device id shifted.
"""

from __future__ import annotations

import re

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.sources.scan import GUID, RATE_GBPS, Scan
from fabctl.units import Speed, speed_from_gbps

_END = (
    rf"\{{ (SW|CA|Rt)(-SM)? Ports:([0-9A-F]{{2}}) SystemGUID:{GUID} NodeGUID:{GUID} PortGUID:{GUID} "
    r"VenID:([0-9A-F]{1,8}) DevID:([0-9A-F]{1,8}) Rev:[0-9A-F]+ \{(.*)\} LID:([0-9A-F]{1,4}) PN:([0-9A-F]{2}) \}"
)
_LINK = re.compile(rf"^{_END} {_END} PHY=(?:(\d{{1,2}})x|\?\?) LOG=\w+ SPD=(?:{RATE_GBPS}|(FDR10)|\?\?)$")
_RECORD = re.compile(r"^\{ ?")
_KINDS = {"SW": NodeKind.SWITCH, "CA": NodeKind.CA, "Rt": NodeKind.ROUTER}
_FIELDS = 11


def recognises(head: str) -> bool:
    """Return whether a text looks like ``opensm-subnet.lst``."""
    return bool(re.search(r"^\s*\{ (SW|CA|Rt)(-SM)? Ports:[0-9A-F]+ SystemGUID:", head, re.MULTILINE))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read the links.

    Raises
    ------
    InputError
        If GUIDs are redacted, the text ends inside a line, or it holds no link.
    """
    scan = Scan("subnet-lst", path, text, _RECORD, "opensm -o")
    builder = FabricBuilder()
    declared: set[int] = set()
    for number, line in scan:
        match = _LINK.match(line)
        if match is None:
            scan.reject(number, line)
        else:
            _link(builder, declared, match.groups(), number)
    if not declared:
        raise InputError("no link found", where=path, hint="did OpenSM bring the subnet up? look at its log")
    return scan.finish(builder)


SOURCE = Source(recognises, parse)


def _link(builder: FabricBuilder, declared: set[int], fields: tuple[str, ...], line: int) -> None:
    kind, manager, ports, system_guid, guid_text, _, vendor_id, device_id, name, lid, number = fields[:_FIELDS]
    peer_kind, _, _, _, peer_text, _, _, _, peer_name, _, peer_number = fields[_FIELDS : 2 * _FIELDS]
    lanes, gbps, fdr10 = fields[2 * _FIELDS :]
    guid, peer_guid = int(guid_text, 16), int(peer_text, 16)
    if guid not in declared:
        declared.add(guid)
        builder.node(
            _KINDS[kind],
            guid,
            name,
            ports=int(ports, 16),
            system_guid=int(system_guid, 16),
            vendor_id=int(vendor_id, 16),
            device_id=int(device_id, 16),
            line=line,
        )
    _port(builder, fields[:_FIELDS], line)
    _port(builder, fields[_FIELDS : 2 * _FIELDS], line)
    if manager:
        builder.sm_lid = int(lid, 16)
    builder.link(
        guid,
        int(number, 16),
        peer_guid,
        int(peer_number, 16),
        lanes=int(lanes or 0),
        speed=Speed.FDR10 if fdr10 else speed_from_gbps(float(gbps or 0)),
        peer_kind=_KINDS[peer_kind],
        peer_name=peer_name,
        line=line,
    )


def _port(builder: FabricBuilder, end: tuple[str, ...], line: int) -> None:
    kind, guid, port_guid, lid, number = end[0], int(end[4], 16), int(end[5], 16), int(end[9], 16), int(end[10], 16)
    builder.port(guid, 0 if kind == "SW" else number, port_guid=port_guid, lid=lid, line=line)
