"""``ibnetdiscover -p``: one line per port, unconnected ports included.

A connected port's line is ``SW 6 4 0x...3 4x SDR - SW 9 4 0x...5 ( 'leaf-3' - 'spine-1' )``: kind, LID, port number, port GUID,
width and speed, the same of the other end, both descriptions. An unconnected port's line stops after the speed and
ends with its description. The grammar is that of infiniband-diags 44.
"""

from __future__ import annotations

import re

from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.sources.port_lines import End, PortLine, assemble
from fabctl.sources.scan import GUID, LID, PORT, SPEED, SPEEDS, Scan

_END = rf"(SW|CA|RT)\s+{LID}\s+{PORT}\s+0x{GUID}"
_PORT = re.compile(rf"^{_END}\s+(?:(\d{{1,2}})x|\?\?) {SPEED}\s+(?:-\s+{_END}\s+\( '(.*' - '.*)' \)|'(.*)')$")
_RECORD = re.compile(r"^(SW|CA|RT)\s")
_SEPARATOR = re.compile("' - '")
_KINDS = {"SW": NodeKind.SWITCH, "CA": NodeKind.CA, "RT": NodeKind.ROUTER}


def recognises(head: str) -> bool:
    """Return whether a text looks like ``ibnetdiscover -p`` output."""
    return bool(re.search(rf"^\s*{_END}\s+(\d+x|\?\?)\s+\S+\s+[-']", head, re.MULTILINE))


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read a ports report.

    Raises
    ------
    InputError
        If GUIDs are redacted, the text ends inside a line, or it holds no port.

    Notes
    -----
    Descriptions are not escaped: where one holds ``' - '`` itself, the names on other lines tell the two apart.
    """
    scan = Scan("ibnetdiscover-p", path, text, _RECORD, "ibnetdiscover -p")
    matches: list[tuple[int, re.Match[str]]] = []
    for number, line in scan:
        match = _PORT.match(line)
        if match is None:
            scan.reject(number, line)
        else:
            matches.append((number, match))
    names = dict(name for _, match in matches for name in _clear_names(match))
    return assemble(scan, [_port(number, match, names) for number, match in matches])


SOURCE = Source(recognises, parse)


def _port(number: int, match: re.Match[str], names: dict[str, str]) -> PortLine:
    near, far, both, alone = match.group(4, 10, 11, 12)
    lanes, speed = int(match[5] or 0), SPEEDS[match[6]]
    if both is None:
        return PortLine(number, _end(match.group(1, 2, 3, 4), alone), None, lanes, speed)
    splits = [(both[: cut.start()], both[cut.end() :]) for cut in _SEPARATOR.finditer(both)]
    near_name, far_name = next(
        (split for split in splits if split[0] == names.get(near) or split[1] == names.get(far)), splits[0]
    )
    return PortLine(number, _end(match.group(1, 2, 3, 4), near_name), _end(match.group(7, 8, 9, 10), far_name), lanes, speed)


def _clear_names(match: re.Match[str]) -> list[tuple[str, str]]:
    """Return (GUID, description) of each end where the line leaves no doubt."""
    near, far, both, alone = match.group(4, 10, 11, 12)
    if both is None:
        return [(near, alone)]
    parts = _SEPARATOR.split(both)
    return [(near, parts[0]), (far, parts[1])] if len(parts) == 2 else []


def _end(groups: tuple[str | None, ...], name: str) -> End:
    kind, lid, number, guid = (group or "" for group in groups)
    return End(_KINDS[kind], int(guid, 16), int(number), int(lid), name)
