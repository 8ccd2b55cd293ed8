"""The network file of ibsim, the simulator of Debian's ``ibsim-utils``: what `twin` starts and ``discover -o ibsim`` prints.

Its grammar, read from ibsim 0.10 and its ``net-examples``: ``switchguid=``, ``caguid=`` and ``rtguid=`` set the GUID of the next
node, ``devid=`` its device id; ``Switch 41 "id" # "description" base port 0 lid 3 lmc 0`` opens a node;
``[1] "id"[7] s=4 w=2 # lid 5 lmc 0`` is a cable with PortInfo's bit masks of speed (SDR 1, DDR 2, QDR 4) and width (1x 1, 4x 2,
8x 4, 12x 8). It has no system image GUIDs, no speeds past QDR and no 2x; an adapter's port GUIDs are its node GUID plus the port
number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric, NodeKind, speed_name
from fabctl.units import Speed

ID_CHARS = 31
"""Longest node id that a tool can attach to: ``SIM_HOST`` is cut there, though ibsim itself keeps 64 characters."""

_WORDS = {NodeKind.SWITCH: ("switchguid", "Switch"), NodeKind.CA: ("caguid", "Hca"), NodeKind.ROUTER: ("rtguid", "Rt")}
_SPEEDS = {Speed.SDR: 1, Speed.DDR: 2}
_QDR = 4
_WIDTHS = {1: 1, 4: 2, 8: 4, 12: 8}
_DEFAULT_WIDTH = 2


def ibsim_net(fabric: Fabric) -> str:
    """Return the fabric as an ibsim network file.

    Node GUIDs, descriptions, LIDs and cables are kept. Links faster than QDR run at QDR and links of another width at 4x;
    their true rate stands in a comment.
    """
    ids = node_ids(fabric)
    counts = np.maximum(fabric.node_port_count, 1)
    np.maximum.at(counts, fabric.port_node, fabric.port_number)
    lines = [
        f"# {fabric.n_switches} switches, {fabric.n_nodes} nodes. Start it with:",
        f"# ibsim -s -N {fabric.n_nodes} -S {fabric.n_switches} -P {counts.sum() + fabric.n_switches} FILE",
    ]
    hcas = np.flatnonzero(fabric.is_hca)
    lines += [f'# and tools on an HCA with SIM_HOST="{ids[hcas[0]]}"'] if len(hcas) else []
    starts = np.searchsorted(fabric.port_node, np.arange(fabric.n_nodes + 1))
    for node in range(fabric.n_nodes):
        lines += ["", *_node(fabric, ids, node, int(counts[node]), range(starts[node], starts[node + 1]))]
    return "\n".join(lines) + "\n"


def _node(fabric: Fabric, ids: list[str], node: int, count: int, ports: range) -> list[str]:
    kind = NodeKind(fabric.node_kind[node])
    guid_word, word = _WORDS[kind]
    description = fabric.node_name[node].replace('"', "'")
    header = f'{word} {count} "{ids[node]}"\t# "{description}"'
    if kind == NodeKind.SWITCH:
        own = next((port for port in ports if fabric.port_number[port] == 0), -1)
        header += f" base port 0 lid {fabric.port_lid[own]} lmc {fabric.port_lmc[own]}" if own >= 0 else ""
    lines = [f"devid=0x{fabric.device_id[node]:x}", f"{guid_word}={fabric.guid_text(node)}", header]
    return lines + [_cable(fabric, ids, port, kind) for port in ports if fabric.port_peer[port] >= 0]


def _cable(fabric: Fabric, ids: list[str], port: int, kind: NodeKind) -> str:
    peer = int(fabric.port_peer[port])
    channel = fabric.channel_of_port[port]
    speed, lanes = int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel])
    options = f" s={_SPEEDS.get(Speed(speed), _QDR)}" if speed else ""
    options += f" w={_WIDTHS.get(lanes, _DEFAULT_WIDTH)}" if lanes else ""
    address = "" if kind == NodeKind.SWITCH else f"lid {fabric.port_lid[port]} lmc {fabric.port_lmc[port]} "
    return (
        f'[{fabric.port_number[port]}] "{ids[fabric.port_node[peer]]}"[{fabric.port_number[peer]}]{options}'
        f"\t# {address}{speed_name(speed, lanes)}"
    )


def simulated_guids(fabric: Fabric) -> NDArray[np.uint64]:
    """Return the GUID that ibsim gives each port, whatever the fabric's own: the node's, plus the number of an adapter's port."""
    number = np.where(fabric.port_node < fabric.n_switches, 0, fabric.port_number)
    return fabric.node_guid[fabric.port_node] + number.astype(np.uint64)


def node_ids(fabric: Fabric) -> list[str]:
    """Return ibsim's id of each node: its label where that is short and free of what ibsim reserves, else its GUID."""
    return [
        label if len(label.encode()) <= ID_CHARS and not set(label) & set('"#@[]') else fabric.guid_text(node)
        for node, label in enumerate(fabric.labels)
    ]
