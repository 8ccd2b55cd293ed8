"""What ibdmchk needs to judge routes without a subnet manager: the fabric, its tables, and the SL of each path.

The grammars are those of OpenSM's dumps ``opensm-subnet.lst`` and ``opensm.fdbs``, and of ibdmchk's ``-c`` file: node GUID of the
sender, destination LID in decimal (a hex one is misread in silence), SL. Without a ``-d`` file ibdmchk sends SL n on VL n.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.routes import Assessment
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.exports.bundle import Pieces, refuse_unsafe, write_bundle
from fabctl.routing.options import Options
from fabctl.units import RAW_LANE_GBPS

SUBNET = "fabric.lst"
FDBS = "fabric.fdbs"
MCFDBS = "fabric.mcfdbs"
PSL = "psl"

_KIND = {NodeKind.SWITCH: "SW", NodeKind.CA: "CA", NodeKind.ROUTER: "Rt"}
_PRINTABLE = str.maketrans({"{": "(", "}": ")", "\n": " ", "\r": " "})


def ibdm(assessment: Assessment, folder: str, _options: Options) -> None:
    """Write the folder.

    Raises
    ------
    RefusedError
        If the tables are not safe, or ibdmchk cannot be told their SLs.
    InputError
        If the folder cannot be made or written.
    """
    refuse_unsafe(assessment, folder)
    tables = assessment.tables
    command = ["ibdmchk", "-s", SUBNET, "-f", FDBS, "-m", MCFDBS]
    files: dict[str, Pieces] = {SUBNET: subnet_lst(tables.fabric), FDBS: fdbs(tables), MCFDBS: ""}
    if tables.service_level is not None:
        refuse_split_nodes(tables)
        files[PSL] = path_levels(tables)
        command += ["-c", PSL]
    readme = _README.format(
        origin=tables.origin,
        switches=tables.fabric.n_switches,
        command=" ".join(command),
        lanes=tables.n_vls,
        lmc=_LMC if tables.fabric.port_lmc.any() else "",
    )
    write_bundle(folder, "ibdm", assessment, {**files, "README": readme})


def subnet_lst(fabric: Fabric) -> Iterator[str]:
    """Yield ``opensm-subnet.lst``: a line for each cable and direction."""
    ends = [_end(fabric, port) for port in range(len(fabric.port_node))]
    lanes, speed = fabric.channel_lanes.tolist(), fabric.channel_speed.tolist()
    for channel, port in enumerate(fabric.channel_port.tolist()):
        width = f"{lanes[channel]}x" if lanes[channel] else "??"
        rate = f"{RAW_LANE_GBPS[speed[channel]]:g}" if speed[channel] else "??"
        yield f"{ends[port]} {ends[fabric.port_peer[port]]} PHY={width} LOG=ACT SPD={rate}\n"


def _end(fabric: Fabric, port: int) -> str:
    node, number = int(fabric.port_node[port]), int(fabric.port_number[port])
    kind = NodeKind(fabric.node_kind[node])
    node_guid = int(fabric.node_guid[node])
    if kind == NodeKind.SWITCH:
        port_guid, lid = node_guid, fabric.node_lid(node)
    else:
        port_guid, lid = int(fabric.port_guid[port]) or node_guid + number, int(fabric.port_lid[port])
    name = fabric.node_name[node].translate(_PRINTABLE)
    return (
        f"{{ {_KIND[kind]} Ports:{max(int(fabric.node_port_count[node]), number):02X}"
        f" SystemGUID:{int(fabric.system_guid[node]):016X} NodeGUID:{node_guid:016X} PortGUID:{port_guid:016X}"
        f" VenID:{int(fabric.vendor_id[node]):06X} DevID:{int(fabric.device_id[node]):04X} Rev:00000000"
        f" {{{name}}} LID:{lid:04X} PN:{number:02X} }}"
    )


def fdbs(tables: RoutingTables) -> Iterator[str]:
    """Yield ``opensm.fdbs``, one piece per switch; hops are left at 0, ibdmchk counts its own."""
    lids = np.flatnonzero(tables.fabric.port_of_lid[: tables.lft.shape[1]] >= 0)
    heads = [f"0x{lid:04X} : " for lid in lids.tolist()]
    numbers = [f"{port:03d}  : 00   : yes\n" for port in range(256)]
    numbers[NO_ROUTE] = "UNREACHABLE\n"
    for switch in range(tables.fabric.n_switches):
        row = tables.lft[switch, lids].tolist()
        lines = [head + numbers[port] for head, port in zip(heads, row, strict=True)]
        yield f"dump_ucast_routes: Switch {tables.fabric.guid_text(switch)}\nLID    : Port : Hops : Optimal\n" + "".join(lines)


def path_levels(tables: RoutingTables) -> Iterator[str]:
    """Yield ibdmchk's ``-c`` file, one piece per sending node: the SL of each of its paths.

    Complexity
    ----------
    O(HCAs x LIDs of HCAs); 28 bytes per path.
    """
    fabric, level = tables.fabric, tables.service_level
    if level is None:
        raise ValueError("these tables use SL 0 alone")
    owner = fabric.port_of_lid[: level.shape[1]]
    lids = np.flatnonzero((owner >= 0) & (fabric.port_node[owner] >= fabric.n_switches))
    tails = [[f" {lid} {sl}\n" for sl in range(16)] for lid in lids.tolist()]
    done = -1
    for port in _senders(fabric).tolist():
        node = int(fabric.port_node[port])
        if node != done:
            row = level[fabric.port_node[fabric.port_peer[port]], lids].tolist()
            guid = fabric.guid_text(node)
            yield "".join([guid + tail[sl] for tail, sl in zip(tails, row, strict=True)])
        done = node


def refuse_split_nodes(tables: RoutingTables) -> None:
    """Refuse SLs that differ between the ports of an adapter: ibdmchk tells senders apart by node."""
    fabric, level = tables.fabric, tables.service_level
    if level is None:
        return
    senders = _senders(fabric)
    leaf = fabric.port_node[fabric.port_peer[senders]]
    same = fabric.port_node[senders[1:]] == fabric.port_node[senders[:-1]]
    for first in np.flatnonzero(same & (leaf[1:] != leaf[:-1])).tolist():
        if (level[leaf[first]] != level[leaf[first + 1]]).any():
            one, other = (fabric.port_label(int(port)) for port in senders[first : first + 2])
            raise RefusedError(
                f"the ports {one} and {other} of one adapter send with different SLs, and ibdmchk tells senders apart by node",
                hint="fabctl's own proof tells them apart; --export opensm can say it",
            )


def _senders(fabric: Fabric) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the ports of adapters and routers that hang from a switch, by node."""
    at_switch = (fabric.port_node >= fabric.n_switches) & (fabric.port_peer >= 0)
    at_switch &= fabric.port_node[fabric.port_peer] < fabric.n_switches
    return np.flatnonzero(at_switch)


_LMC = """\
Only the first LID of each port is walked: with -l, ibdmchk 1.5.7 finds ports unreachable, in OpenSM's own dumps as well.
fabctl's own proof walks all of them.
"""

_README = """\
Routes by engine {origin} for {switches} switches, computed by fabctl, for ibdmchk (Debian package ibutils).

    {command}

Virtual lanes: {lanes}; SL n travels on VL n, as ibdmchk assumes without -d.
{lmc}
ibdmchk's exit status says nothing: it crashes after printing its verdict (139), with credit loops and without. Read its text:

    "Fail to find a path", "Found N missing paths", "loop in LFT?"    traffic is lost
    "Found credit loop on", "credit loops in routing"                 a deadlock is possible
    "Scanned:N CA to CA paths" and "no credit loops found"            all is well
"""
