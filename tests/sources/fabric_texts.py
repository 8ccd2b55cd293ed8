"""A subnet in plain Python, random ones by hypothesis, and writers of the formats that describe it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.units import RAW_LANE_GBPS, Speed

LETTERS = {NodeKind.SWITCH: "S", NodeKind.CA: "H", NodeKind.ROUTER: "R"}
WORDS = {NodeKind.SWITCH: "Switch", NodeKind.CA: "Ca", NodeKind.ROUTER: "Rt"}
SHORT = {NodeKind.SWITCH: "SW", NodeKind.CA: "CA", NodeKind.ROUTER: "RT"}
GUID_KEYS = {NodeKind.SWITCH: "switchguid", NodeKind.CA: "caguid", NodeKind.ROUTER: "rtguid"}


@dataclass(frozen=True)
class Device:
    """A node; a switch has one LID, other nodes one per port, counted up from `lid`."""

    kind: NodeKind
    guid: int
    name: str
    ports: int
    lid: int
    lmc: int = 0
    system_guid: int = 0
    vendor_id: int = 0
    device_id: int = 0

    def port_guid(self, number: int) -> int:
        return self.guid + (15 if self.kind == NodeKind.SWITCH else number)

    def port_lid(self, number: int) -> int:
        return self.lid if self.kind == NodeKind.SWITCH else self.lid + (number << self.lmc)


@dataclass(frozen=True)
class HalfLink:
    """A cable as one end reports it."""

    node: Device
    number: int
    peer: Device
    peer_number: int
    lanes: int
    speed: Speed


@dataclass
class Subnet:
    """Nodes and cables."""

    nodes: list[Device]
    links: list[HalfLink] = field(default_factory=list)

    def links_of(self, node: Device) -> list[HalfLink]:
        return [link for link in self.links if link.node == node]

    def fabric(self) -> Fabric:
        """Build the fabric without any text."""
        builder = FabricBuilder()
        for node in self.nodes:
            builder.node(
                node.kind,
                node.guid,
                node.name,
                ports=node.ports,
                system_guid=node.system_guid,
                vendor_id=node.vendor_id,
                device_id=node.device_id,
            )
            if node.kind == NodeKind.SWITCH:
                builder.port(node.guid, 0, port_guid=node.port_guid(0), lid=node.lid, lmc=node.lmc)
        for link in self.links:
            node, peer = link.node, link.peer
            if node.kind != NodeKind.SWITCH:
                builder.port(
                    node.guid, link.number, port_guid=node.port_guid(link.number), lid=node.port_lid(link.number), lmc=node.lmc
                )
            builder.link(node.guid, link.number, peer.guid, link.peer_number, lanes=link.lanes, speed=link.speed)
        return builder.build()


def write_ibnetdiscover(subnet: Subnet, shuffle: random.Random) -> str:
    """Write the plain form, records and links in random order."""
    records = []
    for node in subnet.nodes:
        head = [f"vendid=0x{node.vendor_id:x}", f"devid=0x{node.device_id:x}"]
        head += [f"sysimgguid=0x{node.system_guid:x}"] if node.system_guid else []
        guid = f"{GUID_KEYS[node.kind]}=0x{node.guid:x}"
        title = f'{WORDS[node.kind]}\t{node.ports} "{LETTERS[node.kind]}-{node.guid:016x}"\t\t# "{node.name}"'
        if node.kind == NodeKind.SWITCH:
            guid += f"({node.port_guid(0):x})"
            title += f" base port 0 lid {node.lid} lmc {node.lmc}"
        links = [_ibnetdiscover_link(link) for link in subnet.links_of(node)]
        shuffle.shuffle(links)
        records.append("\n".join([*head, guid, title, *links]) + "\n")
    shuffle.shuffle(records)
    first = subnet.nodes[0]
    return f"#\n# Topology file: generated on a day\n#\n# Initiated from node {first.guid:016x} port 1\n\n" + "\n".join(records)


def _ibnetdiscover_link(link: HalfLink) -> str:
    node, peer = link.node, link.peer
    near = f"[{link.number}]" + (f"({node.port_guid(link.number):x}) " if node.kind != NodeKind.SWITCH else "")
    far = f'"{LETTERS[peer.kind]}-{peer.guid:016x}"[{link.peer_number}]'
    far += f"({peer.port_guid(link.peer_number):x}) " if peer.kind != NodeKind.SWITCH else ""
    own = "" if node.kind == NodeKind.SWITCH else f"lid {node.port_lid(link.number)} lmc {node.lmc} "
    return f'{near}\t{far}\t\t# {own}"{peer.name}" lid {peer.port_lid(link.peer_number)} {link.lanes}x{link.speed.name}'


def write_ports_report(subnet: Subnet, shuffle: random.Random) -> str:
    """Write ``ibnetdiscover -p``: all ports of switches, the connected ports of other nodes."""
    lines = []
    for node in subnet.nodes:
        links = {link.number: link for link in subnet.links_of(node)}
        for number in range(node.ports, 0, -1):
            end = f"{SHORT[node.kind]} {node.port_lid(number):5d} {number:2d} 0x{node.port_guid(number):016x}"
            link = links.get(number)
            if link is not None:
                peer = link.peer
                far = f"{SHORT[peer.kind]} {peer.port_lid(link.peer_number):5d} {link.peer_number:2d}"
                guid = f"0x{peer.port_guid(link.peer_number):016x}"
                lines.append(f"{end} {link.lanes}x {link.speed.name} - {far} {guid} ( '{node.name}' - '{peer.name}' )")
            elif node.kind == NodeKind.SWITCH:
                lines.append(f"{end} 4x SDR{'':36}'{node.name}'")
    shuffle.shuffle(lines)
    return "\n".join(lines) + "\n"


def write_iblinkinfo(subnet: Subnet, shuffle: random.Random) -> str:
    """Write ``iblinkinfo -l``: all ports of switches, the connected ports of other nodes."""
    lines = []
    for node in subnet.nodes:
        links = {link.number: link for link in subnet.links_of(node)}
        for number in range(1, node.ports + 1):
            near = f'0x{node.port_guid(number):016x} "{node.name:>30}" {node.port_lid(number):6d} {number:4d}[  ]'
            link = links.get(number)
            if link is not None:
                peer = link.peer
                rate = "10.0 Gbps (FDR10)" if link.speed == Speed.FDR10 else f"{RAW_LANE_GBPS[link.speed]} Gbps"
                far = f"0x{peer.port_guid(link.peer_number):016x} {peer.port_lid(link.peer_number):6d} {link.peer_number:4d}[  ]"
                lines.append(f'{near} ==({link.lanes:2d}X {rate:>18} Active/  LinkUp)==>  {far} "{peer.name}" ( )')
            elif node.kind == NodeKind.SWITCH:
                lines.append(f'{near} ==(                Down/ Polling)==>             [  ] "" ( )')
    shuffle.shuffle(lines)
    return "\n".join(lines) + "\n"


def write_subnet_lst(subnet: Subnet, shuffle: random.Random) -> str:
    """Write ``opensm-subnet.lst``."""
    lines = [
        f"{{ {_subnet_end(link.node, link.number)} }} {{ {_subnet_end(link.peer, link.peer_number)} }} "
        f"PHY={link.lanes}x LOG=ACT SPD={'FDR10' if link.speed == Speed.FDR10 else f'{RAW_LANE_GBPS[link.speed]:g}'}"
        for link in subnet.links
    ]
    shuffle.shuffle(lines)
    return "\n".join(lines) + "\n"


def _subnet_end(node: Device, number: int) -> str:
    kind = "Rt" if node.kind == NodeKind.ROUTER else SHORT[node.kind]
    return (
        f"{kind} Ports:{node.ports:02X} SystemGUID:{node.system_guid:016x} NodeGUID:{node.guid:016x} "
        f"PortGUID:{node.port_guid(number):016x} VenID:{node.vendor_id:06X} DevID:{node.device_id:04X} Rev:000000A1 "
        f"{{{node.name}}} LID:{node.port_lid(number):04X} PN:{number:02X}"
    )


def cables(fabric: Fabric) -> list[tuple[tuple[int, int], tuple[int, int], int, int]]:
    """Return every channel as (port GUID, number) of both ends, lanes and speed, in any format's terms."""
    of_switch = np.zeros(fabric.n_nodes, dtype=np.uint64)
    zero = fabric.port_number == 0
    of_switch[fabric.port_node[zero]] = fabric.port_guid[zero]
    guid = np.where(fabric.port_guid > 0, fabric.port_guid, of_switch[fabric.port_node]).tolist()
    number, lanes, speed = fabric.port_number.tolist(), fabric.port_lanes.tolist(), fabric.port_speed.tolist()
    return sorted(
        ((guid[port], number[port]), (guid[peer], number[peer]), lanes[port], speed[port])
        for port, peer in enumerate(fabric.port_peer.tolist())
        if peer >= 0
    )


ANY_NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=12)
PLAIN_NAME = st.text('abcXYZ019-_.:;/()[]#"{} é', max_size=12).map(str.strip)


@st.composite
def subnets(draw: st.DrawFn, names: st.SearchStrategy[str] = ANY_NAME, speeds: tuple[Speed, ...] = tuple(Speed)[1:]) -> Subnet:
    """Draw a subnet: up to 4 switches and 6 other nodes, cabled at random, parallel and self cables included."""
    kinds = [NodeKind.SWITCH] * draw(st.integers(1, 4)) + draw(
        st.lists(st.sampled_from([NodeKind.CA, NodeKind.ROUTER]), max_size=6)
    )
    # GUIDs and LIDs lie apart, so that a node's port GUIDs and LIDs cannot meet another's
    guids = draw(st.lists(st.integers(1, 2**60 - 1), min_size=len(kinds), max_size=len(kinds), unique=True))
    lids = draw(st.lists(st.integers(1, 0xBFFF // 64), min_size=len(kinds), max_size=len(kinds), unique=True))
    nodes = [
        Device(
            kind,
            16 * guid,
            draw(names),
            draw(st.integers(2, 5)) if kind == NodeKind.SWITCH else draw(st.integers(1, 2)),
            32 * lid,
            draw(st.integers(0, 3)),
            draw(st.integers(0, 2**64 - 1)),
            draw(st.integers(0, 0xFFFFFF)),
            draw(st.integers(0, 0xFFFF)),
        )
        for kind, guid, lid in zip(kinds, guids, lids, strict=True)
    ]
    sockets = draw(st.permutations([(node, number) for node in nodes for number in range(1, node.ports + 1)]))
    subnet = Subnet(nodes)
    for (a, at_a), (b, at_b) in zip(sockets[::2], sockets[1::2], strict=False):
        if draw(st.integers(0, 4)):
            lanes, speed = draw(st.sampled_from([1, 2, 4, 8, 12])), draw(st.sampled_from(speeds))
            subnet.links += [HalfLink(a, at_a, b, at_b, lanes, speed), HalfLink(b, at_b, a, at_a, lanes, speed)]
    return subnet
