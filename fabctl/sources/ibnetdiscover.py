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
from fabctl.units import Speed

_ATTRIBUTE = re.compile(
    r"^(vendid|devid|sysimgguid|switchguid|caguid|rtguid)=(?:0x)?([0-9a-fA-F]+)(?:\(([0-9a-fA-F]+)\))?(?:\s*#.*)?\s*$"
)
_NODE = re.compile(r'^(Switch|Ca|Rt|Router)\s*(\d+)\s+"([SHR])-([0-9a-fA-F]+)"\s*#\s*"(.*)"(.*)$')
_NODE_TAIL = re.compile(r"^\s*(?:(?:base|enhanced)\s+port\s+0\s+lid\s+(\d+)\s+lmc\s+(\d+))?\s*$")
_RATE = r"(?:\s+(\d+)x([A-Z0-9]+|\?\?\?))?(?:\s+[swve]=\w+)*\s*$"
_FAR_END = r'"([SHR])-([0-9a-fA-F]+)"\s*\[(\d+)\](?:\[ext \d+\])?\s*(?:\(([0-9a-fA-F]+)\))?\s*'
_PEER = r"\[(\d+)\](?:\[ext \d+\])?\s*(?:\(([0-9a-fA-F]+)\))?\s*" + _FAR_END
_SWITCH_LINK = re.compile(rf'^{_PEER}(?:#\s*"(.*)"(?:\s+lid\s+(\d+))?{_RATE}|$)')
_CA_LINK = re.compile(rf'^{_PEER}#\s*lid\s+(\d+)\s+lmc\s+(\d+)\s*"(.*)"(?:\s+lid\s+(\d+))?{_RATE}')
_HEADING = re.compile(r"^(Chassis\s+(0x)?[0-9a-fA-F]+|Non-Chassis Nodes|# ?Chassis\b)")
_TOOL = re.compile(r"^(?:src/)?\w+\.c:\d+|^ibwarn:|^ibpanic:|^ibdebug:|bad status \d+|^DR path slid|umad .*status")
_RECORD_START = re.compile(r"^(vendid|devid|sysimgguid|switchguid|caguid|rtguid)?=|^(Switch|Ca|Rt)\b|^\[\d")
_SPEEDS = {speed.name: speed for speed in Speed if speed} | {"FDR10": Speed.FDR10}
_KINDS = {"S": NodeKind.SWITCH, "H": NodeKind.CA, "R": NodeKind.ROUTER}


def recognises(head: str) -> bool:
    """Return whether a text looks like ``ibnetdiscover`` output."""
    return bool(
        re.search(r"^(switchguid|caguid|rtguid)=", head, re.MULTILINE)
        or re.search(r'^\s*(Switch|Ca|Rt)\s*\d+\s+"[SHR]-', head, re.MULTILINE)
        or re.search(r"^# Topology file: generated", head, re.MULTILINE)
    )


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
    return _Parser(path).run(text)


SOURCE = Source(recognises, parse)


class _Parser:
    def __init__(self, path: str) -> None:
        self.path = path
        self.builder = FabricBuilder()
        self.attributes: dict[str, int] = {}
        self.port_zero_guid = 0
        self.attribute_line = 0
        self.node = -1
        self.kind = NodeKind.CA
        self.header_line = 0
        self.unknown: list[Remark] = []
        self.headings: list[Remark] = []
        self.tool_messages: list[Remark] = []
        self.rated_links = 0

    def run(self, text: str) -> tuple[Fabric, ParseReport]:
        lines = text.split("\n")
        complete = lines[-1].strip() == ""
        last = len(lines)
        for number, raw in enumerate(lines, 1):
            line = raw.strip()
            if not line:
                continue
            understood = self._line(line, number, final=number == last and not complete)
            if not understood:
                self._not_understood(line, number, final=number == last and not complete)
        if self.attributes:
            raise self._truncated(self.attribute_line, "the text ends inside a node's record: the node line is missing")
        fabric = self.builder.build()
        if not fabric.n_nodes:
            raise InputError(
                "no node found in this ibnetdiscover output", where=self.path, hint="did the discovery fail? look at its stderr"
            )
        builder = self.builder
        return fabric, ParseReport(
            source="ibnetdiscover",
            path=self.path,
            lines=len(lines) - (1 if complete else 0),
            unknown=tuple(self.unknown),
            headings=tuple(self.headings),
            tool_messages=tuple(self.tool_messages),
            one_sided=tuple(builder.one_sided),
            undeclared=tuple(builder.undeclared),
            disagreements=tuple(builder.disagreements),
            duplicates=tuple(builder.duplicates),
        )

    def _line(self, line: str, number: int, *, final: bool) -> bool:
        first = line[0]
        if first == "[":
            return self._link(line, number, final=final)
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
            self.headings.append(Remark(number, line))
            return True
        if _TOOL.search(line) and not _RECORD_START.match(line):
            self.tool_messages.append(Remark(number, line))
            return True
        return False

    def _comment(self, line: str, number: int) -> bool:
        if line.startswith("# Topology file:"):
            if self.header_line:
                raise InputError(
                    f"a second discovery begins here (the first began at line {self.header_line})",
                    where=f"{self.path}:{number}",
                    hint="split the file: one subnet and one discovery per file",
                )
            self.header_line = number
        return True

    def _attribute(self, match: re.Match[str], number: int) -> None:
        name, value, port_guid = match.groups()
        self.attributes[name] = int(value, 16)
        self.attribute_line = number
        self.node = -1
        if name == "switchguid":
            self.port_zero_guid = int(port_guid, 16) if port_guid else self.attributes[name]

    def _declare(self, match: re.Match[str], number: int) -> bool:
        word, ports, prefix, guid_text, name, tail = match.groups()
        tail_match = _NODE_TAIL.match(tail)
        if tail_match is None:
            return False
        guid = int(guid_text, 16)
        self.kind = _KINDS[prefix]
        self.node = guid
        self.builder.node(
            self.kind,
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

    def _link(self, line: str, number: int, *, final: bool) -> bool:
        if self.node < 0:
            if self.attributes:
                raise self._truncated(number, "a link line inside a node's header: lines are missing before it")
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
        if lanes is None and final and self.rated_links:
            raise self._truncated(number, "the last line is cut: its width and speed are missing")
        self.rated_links += lanes is not None
        code = _SPEEDS.get(speed or "", Speed.UNKNOWN)
        if speed and not code and speed != "???":
            if final:
                raise self._truncated(number, f"the last line is cut: '{speed}' is no speed")
            return False
        guid, peer_guid = self.node, int(peer, 16)
        builder = self.builder
        if port_guid or own_lid:
            builder.port(
                guid, int(port), port_guid=int(port_guid or "0", 16), lid=int(own_lid or 0), lmc=int(lmc or 0), line=number
            )
        kind = _KINDS[prefix]
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
            speed=code,
            peer_kind=kind,
            peer_name=name or "",
            line=number,
        )
        return True

    def _not_understood(self, line: str, number: int, *, final: bool) -> None:
        if re.search(r"redact|<[^>]*>|\bX{4,}\b|\*{3,}", line, re.IGNORECASE) and _RECORD_START.match(line.lstrip()):
            raise InputError(
                f"a GUID is redacted: {line[:60]}",
                where=f"{self.path}:{number}",
                hint="fabctl needs real GUIDs to join the two ends of a cable; replace each by its own number",
            )
        if final and _RECORD_START.match(line):
            raise self._truncated(number, "the text ends in the middle of this line")
        self.unknown.append(Remark(number, line))

    def _truncated(self, number: int, message: str) -> InputError:
        return InputError(message, where=f"{self.path}:{number}", hint="the dump was cut short: run ibnetdiscover again")
