"""`FabricBuilder`: records in any order, as sources and generators find them, to a `Fabric` and what did not fit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fabctl.model.fabric import MAX_UNICAST_LID, Fabric, NodeKind, speed_name
from fabctl.model.results import Remark


@dataclass(slots=True)
class _Node:
    kind: int
    name: str
    ports: int
    system_guid: int
    vendor_id: int
    device_id: int
    line: int


@dataclass(slots=True)
class _Port:
    guid: int = 0
    lid: int = 0
    lmc: int = 0
    lanes: int = 0
    speed: int = 0
    peer: tuple[int, int] | None = None
    line: int = 0


@dataclass(slots=True)
class FabricBuilder:
    """Collects nodes, ports and half links, then assembles the fabric.

    Nodes are named by GUID. A cable is reported by each of its ends (`link`), so that missing and contradicting ends
    are seen; what only one end says is kept and remarked.
    """

    sm_lid: int = 0
    one_sided: list[Remark] = field(default_factory=list)
    undeclared: list[Remark] = field(default_factory=list)
    disagreements: list[Remark] = field(default_factory=list)
    duplicates: list[Remark] = field(default_factory=list)
    _nodes: dict[int, _Node] = field(default_factory=dict)
    _ports: dict[tuple[int, int], _Port] = field(default_factory=dict)
    _peers: dict[int, tuple[int, str, int]] = field(default_factory=dict)

    def node(
        self,
        kind: int,
        guid: int,
        name: str,
        *,
        ports: int = 0,
        system_guid: int = 0,
        vendor_id: int = 0,
        device_id: int = 0,
        line: int = 0,
    ) -> None:
        """Declare a node. A second record for the same GUID is remarked and dropped."""
        first = self._nodes.get(guid)
        if first is None:
            self._nodes[guid] = _Node(kind, name, ports, system_guid, vendor_id, device_id, line)
        else:
            self.duplicates.append(Remark(line, f"node 0x{guid:016x} '{name}' has a record at line {first.line} already"))

    def port(self, guid: int, number: int, *, port_guid: int = 0, lid: int = 0, lmc: int = 0, line: int = 0) -> None:
        """Say what is known of a port besides its link; a LID that is no unicast LID counts as none."""
        port = self._port(guid, number)
        port.guid = port_guid or port.guid
        port.lmc = lmc or port.lmc
        if 0 < lid <= MAX_UNICAST_LID:
            if port.lid and port.lid != lid:
                self.disagreements.append(
                    Remark(line, f"port {number} of 0x{guid:016x} has LID {lid} here and LID {port.lid} elsewhere")
                )
            else:
                port.lid = lid

    def link(
        self,
        guid: int,
        number: int,
        peer_guid: int,
        peer_number: int,
        *,
        lanes: int = 0,
        speed: int = 0,
        peer_kind: int = NodeKind.CA,
        peer_name: str = "",
        line: int = 0,
    ) -> None:
        """Report a cable as seen from one end."""
        port = self._port(guid, number)
        peer = (peer_guid, peer_number)
        if port.peer is not None and port.peer != peer:
            self.disagreements.append(
                Remark(line, f"port {number} of 0x{guid:016x} has two cables (the other at line {port.line})")
            )
            return
        port.peer, port.lanes, port.speed, port.line = peer, lanes, speed, line
        if peer_guid not in self._peers:
            self._peers[peer_guid] = (peer_kind, peer_name, line)

    def build(self) -> Fabric:
        """Assemble the fabric; the remark lists are complete afterwards.

        Complexity
        ----------
        O(n log n) in the number of ports.
        """
        self._declare_missing_peers()
        self._match_ends()
        guids = sorted(self._nodes, key=lambda guid: (self._nodes[guid].kind, guid))
        index = {guid: position for position, guid in enumerate(guids)}
        nodes = [self._nodes[guid] for guid in guids]
        keys = sorted(self._ports, key=lambda key: (index[key[0]], key[1]))
        position = {key: row for row, key in enumerate(keys)}
        ports = [self._ports[key] for key in keys]
        return Fabric(
            node_kind=np.array([node.kind for node in nodes], dtype=np.uint8),
            node_guid=np.array(guids, dtype=np.uint64),
            system_guid=np.array([node.system_guid for node in nodes], dtype=np.uint64),
            vendor_id=np.array([node.vendor_id for node in nodes], dtype=np.uint32),
            device_id=np.array([node.device_id for node in nodes], dtype=np.uint32),
            node_port_count=np.array([node.ports for node in nodes], dtype=np.int32),
            node_name=tuple(node.name for node in nodes),
            port_node=np.array([index[key[0]] for key in keys], dtype=np.int32),
            port_number=np.array([key[1] for key in keys], dtype=np.int32),
            port_guid=np.array([port.guid for port in ports], dtype=np.uint64),
            port_lid=np.array([port.lid for port in ports], dtype=np.int32),
            port_lmc=np.array([port.lmc for port in ports], dtype=np.uint8),
            port_lanes=np.array([port.lanes for port in ports], dtype=np.uint8),
            port_speed=np.array([port.speed for port in ports], dtype=np.uint8),
            port_peer=np.array([-1 if port.peer is None else position[port.peer] for port in ports], dtype=np.int32),
            sm_lid=self.sm_lid,
        )

    def _port(self, guid: int, number: int) -> _Port:
        port = self._ports.get((guid, number))
        if port is None:
            port = self._ports[guid, number] = _Port()
        return port

    def _declare_missing_peers(self) -> None:
        for guid, (kind, name, line) in self._peers.items():
            if guid not in self._nodes:
                self.undeclared.append(Remark(line, f"peer 0x{guid:016x} '{name}' has no record of its own"))
                self._nodes[guid] = _Node(kind, name, 0, 0, 0, 0, line)
        for guid, number in [key for key in self._ports if key[0] not in self._nodes]:
            del self._ports[guid, number]

    def _match_ends(self) -> None:
        for key in sorted(self._ports):
            port = self._ports[key]
            if port.peer is None:
                continue
            far = self._port(*port.peer)
            if far.peer is None:
                far.peer, far.lanes, far.speed = key, port.lanes, port.speed
                self.one_sided.append(Remark(port.line, f"link {_end(key)} - {_end(port.peer)} is listed by one end only"))
            elif far.peer != key:
                self.disagreements.append(
                    Remark(port.line, f"{_end(key)} names {_end(port.peer)}, which names {_end(far.peer)} (line {far.line})")
                )
                port.peer = None
            elif key < port.peer and (port.lanes, port.speed) != (far.lanes, far.speed):
                self.disagreements.append(
                    Remark(
                        port.line,
                        f"{_end(key)} says {speed_name(port.speed, port.lanes)}, "
                        f"{_end(port.peer)} says {speed_name(far.speed, far.lanes)} (line {far.line})",
                    )
                )


def _end(key: tuple[int, int]) -> str:
    return f"0x{key[0]:016x}[{key[1]}]"
