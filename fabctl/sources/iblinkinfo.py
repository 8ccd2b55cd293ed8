"""``iblinkinfo -l``: one line per port, with or without ``-p`` (switch settings) and ``--switches-only``.

A connected port's line is ``0x...3 "leaf-3" 6 4[  ] ==( 4X 2.5 Gbps Active/ LinkUp)==> 0x...5 9 4[  ] "spine-1" ( )``: port GUID,
description, LID, port number, width, lane rate and state, then the other end. The format does not tell switches from
adapters; a GUID with several ports is a switch. The grammar is that of infiniband-diags 44.
"""

from __future__ import annotations

import re
from collections import defaultdict

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.sources.port_lines import End, PortLine, assemble
from fabctl.sources.scan import GUID, LID, PORT, RATE_GBPS, Scan
from fabctl.units import Speed, speed_from_gbps

_WIDTH = r"(?:(?P<lanes>\d{1,2})X|undefined \(\d+\))"
_RATE = rf"(?:(?P<gbps>{RATE_GBPS}) Gbps(?P<fdr10> \(FDR10\))?|undefined \(\d+\))"
_PORT = re.compile(
    rf'^0x(?P<guid>{GUID}) "\s*(?P<name>.*)"\s+(?P<lid>{LID})\s+(?P<number>{PORT})\[[ \d]*\]\s+'
    rf"==\(\s*(?:{_WIDTH}\s+{_RATE})?\s*\w+/\s*\S+?\)(?: \(HOQ:\d+ VL_Stall:\d+\))?==>\s+"
    rf'(?:0x(?P<far_guid>{GUID})\s+(?P<far_lid>{LID})\s+(?P<far_number>{PORT})\[[ \d]*\] "(?P<far_name>.*)" \(.*\)'
    r'|\[\s*\] "" \( \)|"Port not available")$'
)
_RECORD = re.compile(r'^0x[0-9a-fA-F]*( "|$)')
_NOT_LINE_MODE = re.compile(r"^(Switch: 0x[0-9a-fA-F]+ .*|(CA|Router): .*):$")
_MOST_ADAPTER_PORTS = 2


def recognises(head: str) -> bool:
    """Return whether a text looks like ``iblinkinfo`` output."""
    return bool(re.search(r"==\(.*/.*\)(?: \(HOQ:.*\))?==>", head))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read the links.

    Raises
    ------
    InputError
        If GUIDs are redacted, the text ends inside a line, it holds no port, or it was written without ``-l``.
    """
    scan = Scan("iblinkinfo", path, text, _RECORD, "iblinkinfo -l")
    ports: list[PortLine] = []
    for number, line in scan:
        match = _PORT.match(line)
        if match is not None:
            ports.append(_port(number, match))
        elif _NOT_LINE_MODE.match(line):
            raise InputError(
                "this iblinkinfo output does not say which GUIDs the cables lead to",
                where=f"{path}:{number}",
                hint="write it with: iblinkinfo -l",
            )
        else:
            scan.reject(number, line)
    _tell_switches(ports)
    return assemble(scan, ports)


SOURCE = Source(recognises, parse)


def _port(number: int, match: re.Match[str]) -> PortLine:
    near = End(NodeKind.CA, int(match["guid"], 16), int(match["number"]), int(match["lid"]), match["name"])
    if match["far_guid"] is None:
        return PortLine(number, near)
    far = End(NodeKind.CA, int(match["far_guid"], 16), int(match["far_number"]), int(match["far_lid"]), match["far_name"])
    speed = Speed.FDR10 if match["fdr10"] else speed_from_gbps(float(match["gbps"] or 0))
    return PortLine(number, near, far, int(match["lanes"] or 0), speed)


def _tell_switches(ports: list[PortLine]) -> None:
    """Mark the ends that are switches: GUIDs with several ports, or with a port number that no adapter has."""
    ends = [end for port in ports for end in (port.near, port.far) if end is not None]
    numbers: defaultdict[int, set[int]] = defaultdict(set)
    for end in ends:
        numbers[end.guid].add(end.number)
    for end in ends:
        if len(numbers[end.guid]) > 1 or end.number > _MOST_ADAPTER_PORTS:
            end.kind = NodeKind.SWITCH
