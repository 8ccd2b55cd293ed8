"""``ibnetdiscover`` output, in every dialect that its versions, other vendors' builds and terminals have produced.

Read besides the plain form: tabs lost or turned into blanks, CRLF and bare CRs, banners and prompts, no blank lines between
records, missing ``sysimgguid``, ``Switch41 "S-..."#`` glued, links without width or port GUID, chassis headings and
``[ext n]`` ports (``-g``), ``s=1 w=2 v=4`` (``--full``), split ports (``2xNDR``), routers, and libibnetdisc's stderr in between.
The grammar is that of infiniband-diags 44's output.
"""

from __future__ import annotations

import re

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport, Remark
from fabctl.sources.scan import GUID, LID, PORT, SPEED, SPEEDS, Scan

_ATTRIBUTE = re.compile(
    rf"^(?:(vendid|devid)=(?:0x)?([0-9a-fA-F]{{1,8}})|(sysimgguid|switchguid|caguid|rtguid)=(?:0x)?{GUID}(?:\({GUID}\))?)(?:\s*#.*)?$"
)
_NODE = re.compile(rf'^(Switch|Ca|Rt|Router)\s*(\d{{1,3}})\s+"([SHR])-{GUID}"\s*#\s*"(.*)"(.*)$')
_NODE_TAIL = re.compile(rf"^\s*(?:(?:base|enhanced)\s+port\s+0\s+lid\s+{LID}\s+lmc\s+([0-7])|\(scp\))?$")
_RATE = rf"(?:\s+(?:(\d{{1,2}})x|\?\?){SPEED})?(?:\s+[swve]=\w+)*(?:\s+slot \d+|\s+\(scp\))?$"
_FAR_END = rf'"([SHR])-{GUID}"\s*\[{PORT}\](?:\[ext \d+\])?\s*(?:\({GUID}\))?\s*'
_PEER = rf"\[{PORT}\](?:\[ext \d+\])?\s*(?:\({GUID}\))?\s*{_FAR_END}"
_SWITCH_LINK = re.compile(rf'^{_PEER}(?:#\s*"(.*)"(?:\s+lid\s+{LID})?{_RATE}|$)')
_CA_LINK = re.compile(rf'^{_PEER}#\s*lid\s+{LID}\s+lmc\s+([0-7])\s*"(.*)"(?:\s+lid\s+{LID})?{_RATE}')
_HEADING = re.compile(r"^(Chassis\s+(0x)?[0-9a-fA-F]+|Non-Chassis Nodes|Hostname: |DR path .* -> (new|known|processing) )")
_RECORD = re.compile(r"^(vendid|devid|sysimgguid|switchguid|caguid|rtguid)=|^(Switch|Ca|Rt|Router)\s*\d|^\[\d")
_TOPOLOGY_FILE = "# Topology file:"
_INITIATOR = re.compile(rf"^# Initiated from node {GUID}\b")
_KINDS = {"S": NodeKind.SWITCH, "H": NodeKind.CA, "R": NodeKind.ROUTER}


def recognises(head: str) -> bool:
    """Return whether a text looks like ``ibnetdiscover`` output."""
    return bool(re.search(rf'^\s*(?:(?:Switch|Ca|Rt|Router)\s*\d+\s+"[SHR]-|{_TOPOLOGY_FILE})', head, re.MULTILINE))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read a dump.

    Raises
    ------
    InputError
        If GUIDs are redacted, the text ends inside a record, it holds two discoveries, or no node at all.

    Notes
    -----
    Linear in the number of lines; a line costs one or two regular expressions.
    """
    return _Parser(path, text).run()


SOURCE = Source(recognises, parse)


class _Parser:
    def __init__(self, path: str, text: str) -> None:
        self.scan = Scan("ibnetdiscover", path, text, _RECORD, "ibnetdiscover")
        self.builder = FabricBuilder()
        self.attributes: dict[str, int] = {}
        self.attribute_line = 0
        self.port_zero_guid = 0
        self.node = -1
        self.header_line = 0
        self.guids: set[int] = set()
        self.initiator: tuple[int, int] | None = None
        self.any_rated = False

    def run(self) -> tuple[Fabric, ParseReport]:
        for number, line in self.scan:
            if not self._line(line, number):
                self.scan.reject(number, line)
        if self.attributes:
            raise self.scan.truncated(self.attribute_line, "the text ends inside a node's record: the node line is missing")
        if not self.guids:
            raise InputError(
                "no node found in this ibnetdiscover output",
                where=self.scan.path,
                hint="did the discovery fail? look at its stderr",
            )
        if self.initiator is not None and self.initiator[0] not in self.guids:
            guid, number = self.initiator
            self.builder.undeclared.append(Remark(number, f"0x{guid:016x}, where the discovery began, has no record"))
        return self.scan.finish(self.builder)

    def _line(self, line: str, number: int) -> bool:
        first = line[0]
        if first == "[":
            return self._link(line, number)
        if first == "#":
            return self._comment(line, number)
        match = _ATTRIBUTE.match(line)
        if match is not None:
            self._attribute(match, number)
            return True
        match = _NODE.match(line)
        if match is not None:
            return self._declare(match, number)
        if _HEADING.match(line):
            self.scan.heading(number, line)
            return True
        return False

    def _comment(self, line: str, number: int) -> bool:
        if line.startswith(_TOPOLOGY_FILE):
            if self.header_line:
                raise InputError(
                    f"a second discovery begins here (the first began at line {self.header_line})",
                    where=f"{self.scan.path}:{number}",
                    hint="split the file: one subnet and one discovery per file",
                )
            self.header_line = number
        initiator = _INITIATOR.match(line)
        if initiator is not None:
            self.initiator = int(initiator[1], 16), number
        return True

    def _attribute(self, match: re.Match[str], number: int) -> None:
        id_name, id_value, guid_name, guid, port_guid = match.groups()
        self.attributes[id_name or guid_name] = int(id_value or guid, 16)
        self.attribute_line = number
        self.node = -1
        if guid_name == "switchguid":
            self.port_zero_guid = int(port_guid or guid, 16)

    def _declare(self, match: re.Match[str], number: int) -> bool:
        word, ports, prefix, guid_text, name, tail = match.groups()
        tail_match = _NODE_TAIL.match(tail)
        if tail_match is None:
            return False
        if word == "Switch" and tail_match[1] is None and self.scan.is_cut(number):
            return False
        self.node = guid = int(guid_text, 16)
        self.guids.add(guid)
        self.builder.node(
            _KINDS[prefix],
            guid,
            name,
            ports=int(ports),
            line=number,
            system_guid=self.attributes.get("sysimgguid", 0),
            vendor_id=self.attributes.get("vendid", 0),
            device_id=self.attributes.get("devid", 0),
        )
        if word == "Switch":
            lid, lmc = tail_match.groups()
            self.builder.port(guid, 0, port_guid=self.port_zero_guid or guid, lid=int(lid or 0), lmc=int(lmc or 0), line=number)
        self.attributes = {}
        self.port_zero_guid = 0
        return True

    def _link(self, line: str, number: int) -> bool:
        if self.node < 0:
            if self.attributes:
                raise self.scan.truncated(number, "a link line inside a node's header: lines are missing before it")
            return False
        match = _SWITCH_LINK.match(line)
        lmc = own_lid = None
        if match is not None:
            port, port_guid, prefix, peer, peer_port, peer_port_guid, name, peer_lid, lanes, speed = match.groups()
        else:
            match = _CA_LINK.match(line)
            if match is None:
                return False
            port, port_guid, prefix, peer, peer_port, peer_port_guid, own_lid, lmc, name, peer_lid, lanes, speed = match.groups()
        if speed is None and self.any_rated and self.scan.is_cut(number):
            return False
        self.any_rated |= speed is not None
        guid, peer_guid, kind = self.node, int(peer, 16), _KINDS[prefix]
        builder = self.builder
        if port_guid or own_lid:
            builder.port(
                guid, int(port), port_guid=int(port_guid or "0", 16), lid=int(own_lid or 0), lmc=int(lmc or 0), line=number
            )
        if peer_lid or peer_port_guid:
            builder.port(
                peer_guid,
                0 if kind == NodeKind.SWITCH else int(peer_port),
                port_guid=int(peer_port_guid or "0", 16),
                lid=int(peer_lid or 0),
                line=number,
            )
        builder.link(
            guid,
            int(port),
            peer_guid,
            int(peer_port),
            lanes=int(lanes or 0),
            speed=SPEEDS[speed or "???"],
            peer_kind=kind,
            peer_name=name or "",
            line=number,
        )
        return True
