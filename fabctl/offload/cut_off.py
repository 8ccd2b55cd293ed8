"""What a fabric loses with some ports of its switches, and who must not be lost: whoever would have to switch them on again."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.components import components
from fabctl.model.fabric import Fabric

_SHOWN = 3


def refuse_cut(fabric: Fabric, ports: Collection[tuple[int, int]], local_guid: str = "") -> tuple[str, ...]:
    """Return which HCAs are lost without some ports; refuse what must not be lost.

    Parameters
    ----------
    ports : collection of (int, int)
        Switch and port number.
    local_guid : str
        Of the node on which fabctl runs; empty: it is not on the fabric, or needs it not.

    Raises
    ------
    RefusedError
        If the subnet manager would lose a switch, a host its last path, or fabctl the subnet manager; or if it is unknown where
        the subnet manager runs.
    """
    manager = _manager(fabric)
    before, after = reached(fabric, manager), reached(fabric, manager, ports)
    without = f"without {_named(fabric, ports)}"
    for node in np.flatnonzero(fabric.node_guid == int(local_guid or "0", 16)).tolist():
        if not after[node]:
            raise RefusedError(
                f"{without} fabctl, on {fabric.labels[node]}, is cut off from the subnet manager and could not undo it",
                hint="run it on the subnet manager's host",
            )
    lost = np.flatnonzero(before & ~after)
    switches = [f"'{fabric.labels[node]}'" for node in lost[lost < fabric.n_switches].tolist()]
    if switches:
        more = f" and {len(switches) - _SHOWN} more" if len(switches) > _SHOWN else ""
        raise RefusedError(
            f"{without} the subnet manager, on {fabric.labels[manager]}, is cut off from {', '.join(switches[:_SHOWN])}{more}",
            hint="leave a cable between them",
        )
    hosts, hcas = fabric.hosts, lost[fabric.is_hca[lost]]
    for host in np.unique(hosts.node_host[hcas]).tolist():
        if not after[hosts.node_host == host].any():
            raise RefusedError(
                f"{without} host '{hosts.name[host]}' has no path left", hint="drain the host, then unplug its cable"
            )
    return tuple(fabric.labels[node] for node in hcas.tolist())


def reached(fabric: Fabric, start: int, without: Collection[tuple[int, int]] = ()) -> NDArray[np.bool_]:
    """Return the mask of nodes that a node reaches without some switch ports; adapters pass nothing on."""
    at = fabric.port_node.astype(np.int64) * 256 + fabric.port_number
    gone = np.isin(at, [switch * 256 + number for switch, number in without])
    channels = fabric.channel_port
    kept = ~(gone[channels] | gone[fabric.port_peer[channels]])
    source, destination = fabric.channel_src[kept], fabric.channel_dst[kept]
    from_switch = source < fabric.n_switches
    inner, down = from_switch & (destination < fabric.n_switches), from_switch & (destination >= fabric.n_switches)
    part = components(fabric.n_switches, source[inner], destination[inner])
    home = part[[start]] if start < fabric.n_switches else part[source[down & (destination == start)]]
    mask = np.zeros(fabric.n_nodes, dtype=bool)
    mask[: fabric.n_switches] = np.isin(part, home)
    mask[destination[down & mask[source]]] = True
    mask[start] = True
    return mask


def _manager(fabric: Fabric) -> int:
    port = int(fabric.port_of_lid[fabric.sm_lid]) if 0 < fabric.sm_lid < len(fabric.port_of_lid) else -1
    if port < 0:
        raise RefusedError(
            "where the subnet manager runs is unknown, so what a port cuts off cannot be told", hint="read the fabric with --live"
        )
    return int(fabric.port_node[port])


def _named(fabric: Fabric, ports: Collection[tuple[int, int]]) -> str:
    names = [f"{fabric.labels[switch]}/P{number}" for switch, number in ports]
    return names[0] if len(names) == 1 else f"these {len(names)} ports"
