"""The ends of a pair as people name them, and the HCA ports that belong together: rail to rail."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_hca_port


@dataclass(frozen=True)
class End:
    """One end of a pair.

    Parameters
    ----------
    host : int
    ports : tuple of int
        Cabled HCA ports that are meant, by rail.
    whole : bool
        Whether the host as a whole was named, and not one of its HCAs.
    """

    host: int
    ports: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class RailPair:
    """Two ports that talk to each other.

    Parameters
    ----------
    rail : int
        -1 where it is unknown, or not the same at both ends.
    ports : (int, int)
        Of the first end and of the second.
    """

    rail: int
    ports: tuple[int, int]


def find_end(fabric: Fabric, text: str, where: str = "") -> End:
    """Return what a text names: a host, ``HOST/DEVICE``, an HCA or a port by name or GUID, or a LID.

    Raises
    ------
    InputError
        If nothing has that name (the nearest are offered), it is no HCA's, or no HCA of the host has a cable.
    """
    hosts = fabric.hosts
    if text in hosts.name:
        return _whole_host(fabric, hosts.name.index(text), where)
    if text.isdecimal():
        return _of_port(fabric, _port_of_lid(fabric, int(text), where))
    host, slash, device = text.rpartition("/")
    if slash and host in hosts.name:
        return _device(fabric, hosts.name.index(host), device, where)
    if text not in fabric.labels and "/P" not in text and not text.startswith("0x"):
        raise _unknown(fabric, text, where)
    return _of_port(fabric, find_hca_port(fabric, text, where))


def rail_pairs(fabric: Fabric, first: End, second: End) -> tuple[RailPair, ...]:
    """Return the ports of two ends that talk to each other, by rail.

    An HCA that was named alone goes with the HCA of its rail, or with the other HCA that was named alone. Where hosts have no
    rail in common, or their rails are unknown, ports go together by their order.

    Raises
    ------
    InputError
        If both ends are one host, or a host has no HCA of the rail that was named.
    """
    names = fabric.hosts.name
    if first.host == second.host:
        raise InputError(f"both ends are on {names[first.host]}", hint="what stays inside a host does not cross the fabric")
    if not first.whole and not second.whole and len(first.ports) == len(second.ports) == 1:
        return (_pair(fabric, first.ports[0], second.ports[0]),)
    here, there = _by_socket(fabric, first), _by_socket(fabric, second)
    common = sorted(set(here) & set(there))
    if common and min(common)[0] >= 0:
        return tuple(RailPair(socket[0], (here[socket], there[socket])) for socket in common)
    if not (first.whole and second.whole):
        alone, other = (first, second) if not first.whole else (second, first)
        raise InputError(
            f"{names[other.host]} has no HCA on the rail of {fabric.port_label(alone.ports[0])}",
            hint=f"name one of its HCAs: {', '.join(fabric.labels[fabric.port_node[port]] for port in other.ports)}",
        )
    return tuple(_pair(fabric, a, b) for a, b in zip(first.ports, second.ports, strict=False))


def _pair(fabric: Fabric, first: int, second: int) -> RailPair:
    rails = fabric.hosts.node_rail[fabric.port_node[[first, second]]].tolist()
    return RailPair(rails[0] if rails[0] == rails[1] else -1, (first, second))


def _by_socket(fabric: Fabric, end: End) -> dict[tuple[int, int], int]:
    rail = fabric.hosts.node_rail
    return {(int(rail[fabric.port_node[port]]), int(fabric.port_number[port])): port for port in end.ports}


def _whole_host(fabric: Fabric, host: int, where: str) -> End:
    ports = fabric.endpoints[fabric.hosts.node_host[fabric.port_node[fabric.endpoints]] == host]
    if not len(ports):
        raise InputError(f"no HCA of {fabric.hosts.name[host]} has a cable", where=where)
    return End(host, tuple(ports.tolist()), whole=True)


def _of_port(fabric: Fabric, port: int) -> End:
    return End(int(fabric.hosts.node_host[fabric.port_node[port]]), (port,), whole=False)


def _device(fabric: Fabric, host: int, device: str, where: str) -> End:
    hosts = fabric.hosts
    nodes = np.flatnonzero(hosts.node_host == host)
    devices = {hosts.node_device[node]: int(node) for node in nodes.tolist()}
    if device not in devices:
        known = ", ".join(name or fabric.labels[node] for name, node in devices.items())
        raise InputError(f"{hosts.name[host]} has no HCA '{device}'", where=where, hint=f"it has {known}")
    ports = fabric.endpoints[fabric.port_node[fabric.endpoints] == devices[device]]
    if not len(ports):
        raise InputError(f"{hosts.name[host]}/{device} has no cable", where=where)
    return End(host, tuple(ports.tolist()), whole=False)


def _port_of_lid(fabric: Fabric, lid: int, where: str) -> int:
    owners = fabric.port_of_lid
    port = int(owners[lid]) if 0 < lid < len(owners) else -1
    if port < 0:
        raise InputError(f"no port has LID {lid}", where=where, hint=f"LIDs go up to {len(owners) - 1}")
    if not fabric.is_hca[fabric.port_node[port]]:
        raise InputError(f"LID {lid} is {fabric.labels[fabric.port_node[port]]}, which is no HCA of a host", where=where)
    if fabric.port_peer[port] < 0:
        raise InputError(f"{fabric.port_label(port)}, which has LID {lid}, has no cable", where=where)
    return port


def _unknown(fabric: Fabric, text: str, where: str) -> InputError:
    hosts = fabric.hosts
    known = dict.fromkeys([*hosts.name, *(fabric.labels[node] for node in np.flatnonzero(fabric.is_hca).tolist())])
    near = get_close_matches(text, known, n=3)
    names = ", ".join(near or hosts.name[:3])
    hint = f"did you mean {names}?" if near else f"there are {names} ..." if names else ""
    return InputError(f"no host or HCA '{text}' in this fabric", where=where, hint=hint)
