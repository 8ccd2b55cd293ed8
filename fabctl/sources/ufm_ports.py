"""UFM's list of ports, the answer to ``GET /ufmRest/resources/ports``: JSON, one object per port, with what its cable leads to.

UFM calls a switch by its node GUID and each port of an HCA by its port GUID, so an HCA with two ports is two nodes here. Vendor
and device ids are not in it, nor who the subnet manager is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fabctl.errors import InputError
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.loading import Source
from fabctl.model.results import ParseReport
from fabctl.sources.scan import SPEEDS, Scan
from fabctl.units import Speed

_GUID = re.compile(r"(?:0x)?([0-9a-fA-F]{16})")
_PEER = re.compile(r"(?:0x)?([0-9a-fA-F]{16})_(\d{1,3})")
_WIDTH = re.compile(r"(?:IB_)?(\d{1,2})x", re.IGNORECASE)
_HIGHEST_PORT = 254
_HIGHEST_LID = 0xFFFF
_HINT = "ask again for all of it: GET /ufmRest/resources/ports"
_SHOWN = 60
_BLANK = re.compile(r"\s*")


class _Port(NamedTuple):
    """What one object says."""

    kind: NodeKind
    guid: int
    number: int
    name: str
    lid: int
    lanes: int
    speed: int
    peer: tuple[int, int] | None
    peer_kind: NodeKind
    peer_name: str


def recognises(head: str) -> bool:
    """Return whether a text looks like UFM's list of ports."""
    return bool(re.match(r"\s*\[\s*\{", head)) and '"systemID"' in head and '"peer_guid"' in head


def parse(text: str, path: str) -> tuple[Fabric, ParseReport]:
    """Read the ports.

    Raises
    ------
    InputError
        If the text is no JSON list, ends too early, or holds no port.
    """
    scan = Scan("ufm", path, text, re.compile(r"(?!)"), "GET /ufmRest/resources/ports")
    builder = FabricBuilder()
    ports: list[tuple[int, _Port]] = []
    for line, entry in _objects(text, path):
        port = _port(entry)
        if port is None:
            scan.reject(line, json.dumps(entry)[:_SHOWN])
        else:
            ports.append((line, port))
    if not ports:
        raise InputError("no port found", where=path, hint=_HINT)
    highest: dict[int, int] = {}
    for _, port in ports:
        highest[port.guid] = max(port.number, highest.get(port.guid, 0))
    declared: set[int] = set()
    for line, port in ports:
        if port.guid not in declared:
            declared.add(port.guid)
            builder.node(port.kind, port.guid, port.name, ports=highest[port.guid], line=line)
        own = 0 if port.kind == NodeKind.SWITCH else port.number
        builder.port(port.guid, own, port_guid=port.guid, lid=port.lid, line=line)
        if port.peer is None:
            builder.port(port.guid, port.number, line=line)
        else:
            builder.link(
                port.guid,
                port.number,
                *port.peer,
                lanes=port.lanes,
                speed=port.speed,
                peer_kind=port.peer_kind,
                peer_name=port.peer_name,
                line=line,
            )
    return scan.finish(builder)


SOURCE = Source(recognises, parse)


def _objects(text: str, path: str) -> Iterator[tuple[int, Any]]:
    """Yield each element of a JSON list, and the line on which it begins.

    Raises
    ------
    InputError
        Where the text is no such list.
    """
    decoder = json.JSONDecoder()
    at = _past("[", text, _skip(text, 0), path)
    closed = text[at : at + 1] == "]"
    line, counted = 1, 0
    while not closed:
        line, counted = line + text.count("\n", counted, at), at
        try:
            entry, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _wrong(text, error.pos, path) from error
        except (RecursionError, ValueError) as error:
            raise _wrong(text, at, path) from error
        yield line, entry
        at = _skip(text, end)
        closed = text[at : at + 1] == "]"
        if not closed:
            at = _past(",", text, at, path)
    after = _skip(text, at + 1)
    if after != len(text):
        raise _wrong(text, after, path)


def _past(mark: str, text: str, at: int, path: str) -> int:
    if text[at : at + 1] != mark:
        raise _wrong(text, at, path)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return at if match is None else match.end()


def _wrong(text: str, at: int, path: str) -> InputError:
    message = "the text ends in the middle of the list" if at >= len(text.rstrip()) else "this is no list of JSON objects"
    return InputError(message, where=f"{path}:{text.count(chr(10), 0, at) + 1}", hint=_HINT)


def _port(entry: Any) -> _Port | None:
    """Return what an object says; None if it is no port."""
    if not isinstance(entry, dict):
        return None
    guid, number = _GUID.fullmatch(str(entry.get("guid"))), entry.get("number")
    if guid is None or not isinstance(number, int) or not 0 < number <= _HIGHEST_PORT:
        return None
    is_switch = str(entry.get("description")).startswith("Switch")
    kind = NodeKind.SWITCH if is_switch else NodeKind.CA
    peer = _PEER.fullmatch(str(entry.get("peer")))
    peer_name, peer_kind = str(entry.get("peer_node_description") or ""), NodeKind.CA
    if peer is not None and peer_name.endswith(f":{int(peer[2])}"):
        peer_name, peer_kind = peer_name.rpartition(":")[0], NodeKind.SWITCH
    name = str(entry.get("node_description") or "")
    lid, width = entry.get("lid"), _WIDTH.fullmatch(str(entry.get("active_width")))
    return _Port(
        kind,
        int(guid[1], 16),
        number,
        name.removesuffix(f":{number}") if is_switch else name,
        lid if isinstance(lid, int) and 0 <= lid <= _HIGHEST_LID else 0,
        int(width[1]) if width else 0,
        SPEEDS.get(str(entry.get("active_speed")), Speed.UNKNOWN),
        (int(peer[1], 16), int(peer[2])) if peer and 0 < int(peer[2]) <= _HIGHEST_PORT else None,
        peer_kind,
        peer_name,
    )
