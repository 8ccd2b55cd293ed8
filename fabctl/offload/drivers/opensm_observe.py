"""What switches, HCAs and the subnet manager answer, through infiniband-diags, in a text that is equal whenever they are.

Ports with equal tables are folded: ``P1-4: 0,1,2; P5: 0,0,0``. Ports without a cable are left out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from fabctl.errors import RefusedError, SourceError
from fabctl.install.wanted import compared_lids
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.nodeset import fold
from fabctl.offload.at_once import at_once
from fabctl.offload.driver import Observed
from fabctl.sources.lft_dump import SOURCE as LFT_DUMP
from fabctl.sources.live import LEVEL, PATH, run_tool

_TRIES = 3
_SL2VL = re.compile(r"^ports: in +(\d+), out +(\d+): \|(.*)\|\s*$", re.MULTILINE)
_CELLS = re.compile(r"^(?:VL +|WEIGHT): \|(.*)\|\s*$", re.MULTILINE)
_PKEYS = re.compile(r"^ *\d+: ((?:0x[0-9a-f]{4} ?)+)", re.MULTILINE)
_GROUP = re.compile(r"^\s*(mlid|mtu|rate|pkey|SL)\.+(0x[0-9a-f]+)", re.MULTILINE)


def observe_node(fabric: Fabric, guid: str, key: str) -> Observed:
    """Read what a switch or an HCA holds.

    Parameters
    ----------
    fabric : Fabric
        As it is now: LIDs and cables are taken from it.
    guid : str
        As plans write it.
    key : str
        ``sl2vl``, ``vlarb``, ``pkeys`` or ``lft``.

    Raises
    ------
    SourceError
        If the node is gone, or does not answer.
    RefusedError
        If there is nothing of that name.
    """
    node = _node(fabric, guid)
    lid = fabric.node_lid(node) if node < fabric.n_switches else 0
    if key == "lft" and node < fabric.n_switches:
        return _lft(fabric, node)
    if key not in _READERS:
        raise RefusedError(f"OpenSM's driver does not observe {key!r}")
    read = _READERS[key]
    ports = [port for port in np.flatnonzero(fabric.port_node == node).tolist() if fabric.port_peer[port] >= 0]
    asked = [(lid or int(fabric.port_lid[port]), int(fabric.port_number[port])) for port in ports]
    values = at_once(lambda port: read(*port), asked)
    by_value: dict[str, list[int]] = {}
    for (_, number), value in zip(asked, values, strict=True):
        by_value.setdefault(value, []).append(number)
    return Observed(folded(by_value), f"smpquery {key} {asked[0][0] if asked else 0} PORT, {len(ports)} ports")


def folded(ports: Mapping[str, Iterable[int]]) -> str:
    """Return the text for values and the ports that have them."""
    rows = sorted((sorted(numbers), value) for value, numbers in ports.items())
    return "; ".join(f"P{_ranges(numbers)}: {value}" for numbers, value in rows)


def unfolded(text: str) -> dict[int, str]:
    """Return the value of each port: the inverse of `folded`."""
    out = {}
    for group in text.split("; ") if text else ():
        numbers, _, value = group.partition(": ")
        for part in numbers[1:].split(","):
            first, _, last = part.partition("-")
            out.update(dict.fromkeys(range(int(first), int(last or first) + 1), value))
    return out


def lft_value(tables: RoutingTables, switch: int, lids: Sequence[int]) -> str:
    """Return what observing a switch's forwarding table gives if it is that of `tables`."""
    row = tables.lft[switch]
    ports = [int(row[lid]) if lid < len(row) else NO_ROUTE for lid in lids]
    text = "".join(f"{lid} {port}\n" for lid, port in zip(lids, ports, strict=True) if port != NO_ROUTE)
    return f"{text.count(chr(10))} entries, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def observe_level(source: int, destination: int) -> Observed:
    """Ask the subnet manager for the SL of a path between LIDs."""
    arguments = ("-p", "--slid", str(source), "--dlid", str(destination))
    found = LEVEL.search(_asked_manager(*arguments))
    evidence = f"saquery {' '.join(arguments)}: {found[0] if found else 'no path'}"
    return Observed(str(int(found[1], 0)) if found else None, evidence)


def is_ip_group(group: str) -> bool:
    """Return whether a multicast GID is of IPv4 or IPv6 over InfiniBand (RFC 4391)."""
    return ipaddress.IPv6Address(group).exploded.split(":")[1] in ("401b", "601b")


def effective_group(group: str) -> str:
    """Return a group of the default partition as OpenSM makes it: IP groups carry the P_Key (opensm(8))."""
    words = ipaddress.IPv6Address(group).exploded.split(":")
    if is_ip_group(group) and words[2] == "0000":
        words[2] = "ffff"
    return str(ipaddress.IPv6Address(":".join(words)))


def observe_group(mgid: str) -> Observed:
    """Ask the subnet manager for a multicast group; None if there is no such group."""
    arguments = ("MCMR", "--mgid", mgid)
    text = _asked_manager(*arguments)
    found = {name: int(value, 16) for name, value in _GROUP.findall(text)}
    evidence = f"saquery {' '.join(arguments)}"
    if "pkey" not in found:
        return Observed(None, f"{evidence}: no such group")
    value = f"P_Key {found['pkey'] & 0x7FFF:#06x}, rate {found['rate'] & 0x3F}, MTU {found['mtu'] & 0x3F}, SL {found['SL']}"
    return Observed(value, f"{evidence}: MLID {found['mlid']:#x}")


def _asked_manager(*arguments: str) -> str:
    """Return what ``saquery`` prints; a subnet manager that has just started may leave a question unanswered."""
    for _ in range(_TRIES - 1):
        with suppress(SourceError):
            return _text(*run_tool("saquery", *arguments))
    return _text(*run_tool("saquery", *arguments))


def _lft(fabric: Fabric, switch: int) -> Observed:
    lid = fabric.node_lid(switch)
    raw = LFT_DUMP.parse(_text(*run_tool("ibroute", "-n", str(lid))), PATH)
    row = np.full((fabric.n_switches, raw.lft.shape[1]), NO_ROUTE, dtype=np.uint8)
    row[switch] = raw.lft[0]
    tables = RoutingTables(fabric, row, "ibroute")
    lids = compared_lids(fabric, tables).tolist()
    return Observed(lft_value(tables, switch, lids), f"ibroute -n {lid}: {raw.lft.shape[1]} LIDs")


def _sl2vl(lid: int, port: int) -> str:
    rows = _SL2VL.findall(_text(*run_tool("smpquery", "sl2vl", str(lid), str(port))))
    tables = {",".join(cell.strip() for cell in cells.split("|")) for _, _, cells in rows}
    if not tables:
        raise SourceError(f"smpquery sl2vl {lid} {port} printed no table")
    return " or ".join(sorted(tables))


def _vlarb(lid: int, port: int) -> str:
    rows = _CELLS.findall(_text(*run_tool("smpquery", "vlarb", str(lid), str(port))))
    if len(rows) % 2 or not rows:
        raise SourceError(f"smpquery vlarb {lid} {port} printed no tables")
    half = len(rows) // 2
    return f"low {_weights(rows[:half])} high {_weights(rows[half:])}"


def _weights(rows: Sequence[str]) -> str:
    cells = [[int(cell, 16) for cell in row.split("|")] for row in rows]
    pairs = [pair for lanes, weights in zip(cells[::2], cells[1::2], strict=True) for pair in zip(lanes, weights, strict=True)]
    return ",".join(f"{lane}:{weight}" for lane, weight in pairs)


def _pkeys(lid: int, port: int) -> str:
    blocks = _PKEYS.findall(_text(*run_tool("smpquery", "pkeys", str(lid), str(port))))
    if not blocks:
        raise SourceError(f"smpquery pkeys {lid} {port} printed no table")
    keys = {int(word, 16) for block in blocks for word in block.split()} - {0}
    return " ".join(f"{key:#06x}" for key in sorted(keys))


_READERS: dict[str, Callable[[int, int], str]] = {"sl2vl": _sl2vl, "vlarb": _vlarb, "pkeys": _pkeys}
"""What each connected port of a switch or an HCA has."""


def _node(fabric: Fabric, guid: str) -> int:
    nodes = np.flatnonzero(fabric.node_guid == int(guid, 16)).tolist()
    if not nodes:
        raise SourceError(f"the fabric has no {guid} any more", hint="fabctl discover --live shows what it has")
    return int(nodes[0])


def _text(data: bytes, complaints: Sequence[str]) -> str:
    text = data.decode("utf-8", "replace")
    if not text.strip() and complaints:
        raise SourceError(complaints[-1])
    return text


def _ranges(numbers: Sequence[int]) -> str:
    return fold(str(number) for number in numbers).strip("[]")
