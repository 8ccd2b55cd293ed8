"""ibsim's network file: ``Switch N "name"``, ``Hca N "name"`` and port lines ``[p] "peer"[q]``.

The simulator gives out GUIDs in the order of the file: switches from 0x200000 in steps of one, adapters from 0x100000 in
steps of their port count plus one, routers from 0; an adapter's port GUID is the node GUID plus the port number. A line
``switchguid=``, ``caguid=`` or ``rtguid=`` sets the next GUID, ``switchguid+`` counts from the last one set. Links are 4x SDR
unless ``width=`` and ``speed=`` (bit masks as in PortInfo) or ``w=`` and ``s=`` behind a port say otherwise; the ends use the
best that both allow. All this is ibsim 0.10's reading of its files, checked against the simulator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.sources.scan import GUID, LID, PORT, Scan
from fabctl.units import Speed

_NODE = re.compile(r'^(Switch|Hca|Ca|Rt)\s*(\d{1,3})\s*"([^"]*)"\s*(?:#\s*(.*))?$')
_COMMENT = re.compile(r'^(?:"(?P<quoted>[^"]*)"|(?P<bare>.*?)(?=\s+(?:enhanced|base) port\b|\s+lid\b|\s+lmc\b|$))(?P<rest>.*)$')
_CABLE = re.compile(rf'^\[{PORT}\]\s*"([^"]*)"(?:\[{PORT}\])?((?:\s+[ws]=\d{{1,2}})*)\s*(?:#\s*(.*))?$')
_GUID_BASE = re.compile(rf"^(switchguid|hcaguids|caguid|rtguid)\s*([=+])\s*0x{GUID}(?:\(.*\))?$")
_DEFAULT = re.compile(r"^(devid|width|speed)\s*=\s*(0x[0-9a-fA-F]{1,4}|\d{1,5})$")
_UNUSED = re.compile(r"^(vendid|sysimgguid|pdebug)\s*=")
_REFUSED = re.compile(r"^(include|module|do)\b|^(@)")
_RECORD = re.compile(r"^(Switch|Hca|Ca|Rt)\b|^\[|^\w+guids?\b")
_LID, _LMC = re.compile(rf"\blid {LID}\b"), re.compile(r"\blmc ([0-7])\b")
_KINDS = {"Switch": NodeKind.SWITCH, "Hca": NodeKind.CA, "Ca": NodeKind.CA, "Rt": NodeKind.ROUTER}
_GUID_KINDS = {"switchguid": NodeKind.SWITCH, "hcaguids": NodeKind.CA, "caguid": NodeKind.CA, "rtguid": NodeKind.ROUTER}
_FIRST_GUIDS = {NodeKind.SWITCH: 0x200000, NodeKind.CA: 0x100000, NodeKind.ROUTER: 0}
_WIDTHS = {8: 12, 4: 8, 2: 4, 1: 1}
_SPEEDS: dict[int, int] = {4: Speed.QDR, 2: Speed.DDR, 1: Speed.SDR}


def recognises(head: str) -> bool:
    """Return whether a text looks like an ibsim network file."""
    return bool(re.search(r'^(Switch|Hca|Ca|Rt)\s*\d+\s*"', head, re.MULTILINE))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read a network file.

    Raises
    ------
    InputError
        Where the simulator would refuse the file: a name or GUID used twice, a peer that is not in the file, a port that a
        node does not have, ends without a common width or speed. Where it includes other files, renames nodes or runs
        commands, which fabctl does not follow. Where the text ends inside a line.
    """
    return _Parser(path, text).run()


SOURCE = Source(recognises, parse)


@dataclass(slots=True)
class _Node:
    name: str
    kind: NodeKind
    guid: int
    ports: int


@dataclass(slots=True)
class _Cable:
    node: _Node
    number: int
    peer: str
    peer_number: int
    enabled: dict[str, int]  # bit masks of width and speed
    line: int


class _Parser:
    def __init__(self, path: str, text: str) -> None:
        self.scan = Scan("ibsim", path, text, _RECORD, "what wrote it")
        self.builder = FabricBuilder()
        self.next_guid = dict(_FIRST_GUIDS)
        self.base_guid = dict(_FIRST_GUIDS)
        self.defaults = {"devid": 0, "width": 2, "speed": 1}
        self.nodes: dict[str, _Node] = {}
        self.guids: set[int] = set()
        self.cables: dict[tuple[int, int], _Cable] = {}
        self.current: _Node | None = None
        self.last_line = 0

    def run(self) -> tuple[Fabric, ParseReport]:
        for number, line in self.scan:
            if self.scan.is_indented(number) or not self._line(line, number):
                self.scan.reject(number, line)
            self.last_line = number
        if not self.nodes:
            raise InputError("no node in this network file", where=self.scan.path)
        for cable in self.cables.values():
            self._link(cable)
        return self.scan.finish(self.builder)

    def _line(self, line: str, number: int) -> bool:
        if line[0] == "#":
            return True
        if line[0] == "[":
            if number != self.last_line + 1:
                self.current = None  # a blank line ends the record
            return self._cable(line, number)
        self.current = None
        refused = _REFUSED.match(line)
        if refused:
            raise self._error(
                number, f"fabctl does not follow ibsim's '{refused[1] or refused[2]}' lines", "write one plain file"
            )
        if _UNUSED.match(line):
            self.scan.heading(number, line)
            return True
        return self._node(line, number) or self._setting(line)

    def _setting(self, line: str) -> bool:
        base, default = _GUID_BASE.match(line), _DEFAULT.match(line)
        if base is not None:
            kind, value = _GUID_KINDS[base[1]], int(base[3], 16)
            if base[2] == "=":
                self.base_guid[kind], value = value, 0
            self.next_guid[kind] = self.base_guid[kind] + value
        elif default is not None:
            self.defaults[default[1]] = int(default[2], 0)
        return base is not None or default is not None

    def _node(self, line: str, number: int) -> bool:
        match = _NODE.match(line)
        if match is None:
            return False
        word, ports, name, comment = match.groups()
        kind = _KINDS[word]
        node = _Node(name, kind, self.next_guid[kind], int(ports))
        if name in self.nodes:
            raise self._error(number, f"a second node is called '{name}'", "ibsim tells nodes apart by name")
        if node.guid in self.guids:
            raise self._error(number, f"a second node gets GUID 0x{node.guid:016x}", "set another switchguid= or caguid=")
        self.nodes[name] = self.current = node
        self.guids.add(node.guid)
        self.next_guid[kind] += 1 if kind == NodeKind.SWITCH else node.ports + 1
        described = _COMMENT.match(comment or "")
        description = described and (described["quoted"] or described["bare"])
        self.builder.node(
            kind,
            node.guid,
            description or name,
            ports=node.ports,
            system_guid=node.guid,
            device_id=self.defaults["devid"],
            line=number,
        )
        if kind == NodeKind.SWITCH:
            self._address(node, 0, comment or "", number)
        return True

    def _cable(self, line: str, number: int) -> bool:
        match = _CABLE.match(line)
        if match is None or self.current is None or (self.scan.is_cut(number) and match[3] is None):
            return False
        port_text, peer, peer_port, options, comment = match.groups()
        node, port = self.current, int(port_text)
        if not 0 < port <= node.ports:
            raise self._error(number, f"'{node.name}' has ports 1 to {node.ports}, not {port}")
        if (node.guid, port) in self.cables:
            raise self._error(number, f"port {port} of '{node.name}' has a second line")
        enabled = {"w": self.defaults["width"], "s": self.defaults["speed"]}
        enabled |= {option: int(mask) for option, mask in (item.split("=") for item in options.split())}
        self.cables[node.guid, port] = _Cable(node, port, peer, int(peer_port or 1), enabled, number)
        if node.kind != NodeKind.SWITCH:
            self._address(node, port, comment or "", number)
        return True

    def _address(self, node: _Node, port: int, comment: str, line: int) -> None:
        """Declare a port with LID and LMC, which ibsim takes from anywhere in the comment."""
        lid, lmc = _LID.search(comment), _LMC.search(comment)
        self.builder.port(
            node.guid,
            port,
            port_guid=node.guid + port,
            lid=int(lid[1]) if lid else 0,
            lmc=int(lmc[1]) if lmc else 0,
            line=line,
        )

    def _link(self, cable: _Cable) -> None:
        node, peer = cable.node, self.nodes.get(cable.peer)
        if peer is None:
            raise self._error(cable.line, f"there is no node '{cable.peer}' in this file", "was it cut short?")
        if cable.peer_number > peer.ports:
            raise self._error(cable.line, f"'{peer.name}' has ports 1 to {peer.ports}, not {cable.peer_number}")
        far = self.cables.get((peer.guid, cable.peer_number), cable)
        width, speed = (_best(bits, cable.enabled[key] & far.enabled[key]) for key, bits in (("w", _WIDTHS), ("s", _SPEEDS)))
        if not width or not speed:
            raise self._error(cable.line, f"'{node.name}' and '{peer.name}' have no {'speed' if width else 'width'} in common")
        self.builder.link(
            node.guid,
            cable.number,
            peer.guid,
            cable.peer_number,
            lanes=width,
            speed=speed,
            peer_kind=peer.kind,
            peer_name=peer.name,
            line=cable.line,
        )

    def _error(self, line: int, message: str, hint: str = "") -> InputError:
        return InputError(message, where=f"{self.scan.path}:{line}", hint=hint)


def _best(bits: dict[int, int], mask: int) -> int:
    return next((value for bit, value in bits.items() if mask & bit), 0)
