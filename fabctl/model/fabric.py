"""The fabric: integer-indexed columns for nodes and ports, and a CSR of directed channels.

Arrays inside, names at the edge: algorithms index the columns, people see `Fabric.labels`. Nodes are ordered by kind
(switches, then CAs, then routers) and GUID, ports by node and number, so the same subnet gives the same arrays
whatever the order of its dump.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fabctl.units import DATA_LANE_GBPS, RAW_LANE_GBPS, Speed

if TYPE_CHECKING:
    import networkx as nx

    from fabctl.model.hosts import Hosts

Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]

MAX_UNICAST_LID = 0xBFFF
"""Highest unicast LID (InfiniBand Architecture Specification volume 1, section 4.1.3)."""

AGGREGATION_DEVICE_ID = 0xCF09
"""Device id of a SHARP aggregation node; seen on Quantum and Quantum-2 in every real dump we have."""


class NodeKind(IntEnum):
    """What a node is."""

    SWITCH = 0
    CA = 1
    ROUTER = 2


@dataclass(frozen=True, eq=False)
class Fabric:
    """One InfiniBand subnet.

    Parameters
    ----------
    node_kind : uint8 array of shape (n_nodes,)
        `NodeKind` of each node. Switches come first: a switch's node index is its switch index.
    node_guid, system_guid : uint64 array of shape (n_nodes,)
        Node GUID, and system image GUID (0 where unknown).
    vendor_id, device_id : uint32 array of shape (n_nodes,)
        0 where unknown.
    node_port_count : int32 array of shape (n_nodes,)
        Number of physical ports that the node declares; 0 where unknown.
    node_name : tuple of str
        Node description, as found.
    port_node, port_number : int32 array of shape (n_ports,)
        Node index and port number of each known port. Number 0 is a switch's management port.
    port_guid : uint64 array of shape (n_ports,)
        0 where unknown.
    port_lid : int32 array of shape (n_ports,)
        Base LID; 0 where none is assigned.
    port_lmc : uint8 array of shape (n_ports,)
        LID mask control: the port answers to ``2**lmc`` LIDs.
    port_lanes, port_speed : uint8 array of shape (n_ports,)
        Width in lanes and `Speed` as this end reports them; 0 where unknown.
    port_peer : int32 array of shape (n_ports,)
        Port at the other end of the cable; -1 where nothing is connected.
    sm_lid : int
        LID of the master subnet manager; 0 where unknown.

    Notes
    -----
    A directed channel is a connected port seen in its sending direction. Channels are sorted by node and port number,
    so ``channel_ptr`` makes them a CSR by source node; parallel cables are separate channels and keep their ports.
    """

    node_kind: NDArray[np.uint8]
    node_guid: NDArray[np.uint64]
    system_guid: NDArray[np.uint64]
    vendor_id: NDArray[np.uint32]
    device_id: NDArray[np.uint32]
    node_port_count: Int32
    node_name: tuple[str, ...]
    port_node: Int32
    port_number: Int32
    port_guid: NDArray[np.uint64]
    port_lid: Int32
    port_lmc: NDArray[np.uint8]
    port_lanes: NDArray[np.uint8]
    port_speed: NDArray[np.uint8]
    port_peer: Int32
    sm_lid: int = 0

    # ---- sizes and masks -------------------------------------------------------------------------------------------

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all kinds."""
        return len(self.node_kind)

    @cached_property
    def n_switches(self) -> int:
        """Number of switches; they are nodes ``0 .. n_switches - 1``."""
        return int(np.count_nonzero(self.node_kind == NodeKind.SWITCH))

    @property
    def n_cables(self) -> int:
        """Number of cables, a cable from a switch to itself included."""
        return len(self.channel_port) // 2

    @cached_property
    def is_aggregation(self) -> NDArray[np.bool_]:
        """Mask of shape (n_nodes,) of SHARP aggregation nodes: CAs with their device id or factory description."""
        by_name = np.array(["aggregation node" in name.lower() for name in self.node_name], dtype=bool)
        is_ca = self.node_kind == NodeKind.CA
        return is_ca & ((self.device_id == AGGREGATION_DEVICE_ID) | by_name.reshape(is_ca.shape))

    @cached_property
    def is_hca(self) -> NDArray[np.bool_]:
        """Mask of shape (n_nodes,) of channel adapters in hosts: CAs that are no aggregation nodes."""
        return (self.node_kind == NodeKind.CA) & ~self.is_aggregation

    # ---- channels --------------------------------------------------------------------------------------------------

    @cached_property
    def channel_port(self) -> Int32:
        """Sending port of each directed channel, shape (n_channels,), ascending."""
        return np.flatnonzero(self.port_peer >= 0).astype(np.int32)

    @cached_property
    def channel_of_port(self) -> Int32:
        """Channel that a port sends on, shape (n_ports,); -1 where nothing is connected."""
        out = np.full(len(self.port_node), -1, dtype=np.int32)
        out[self.channel_port] = np.arange(len(self.channel_port), dtype=np.int32)
        return out

    @cached_property
    def channel_ptr(self) -> Int32:
        """CSR row pointer, shape (n_nodes + 1,): node `v` sends on channels ``channel_ptr[v]:channel_ptr[v + 1]``."""
        return np.searchsorted(self.channel_src, np.arange(self.n_nodes + 1)).astype(np.int32)

    @cached_property
    def channel_src(self) -> Int32:
        """Sending node of each channel, shape (n_channels,)."""
        return self.port_node[self.channel_port]

    @cached_property
    def channel_dst(self) -> Int32:
        """Receiving node of each channel, shape (n_channels,)."""
        return self.port_node[self.port_peer[self.channel_port]]

    @cached_property
    def channel_reverse(self) -> Int32:
        """Channel of the same cable in the other direction, shape (n_channels,)."""
        return self.channel_of_port[self.port_peer[self.channel_port]]

    @cached_property
    def channel_lanes(self) -> NDArray[np.uint8]:
        """Lanes in use, shape (n_channels,): the smaller of what both ends report; 0 where neither knows."""
        return _smaller_known(self.port_lanes, self.channel_port, self.port_peer)

    @cached_property
    def channel_speed(self) -> NDArray[np.uint8]:
        """`Speed` in use, shape (n_channels,): the slower of what both ends report; 0 where neither knows."""
        return _smaller_known(self.port_speed, self.channel_port, self.port_peer)

    @cached_property
    def capacity_gbps(self) -> Float64:
        """Raw signalling rate of each channel in Gb/s, shape (n_channels,); 0 where unknown (see `fabctl.units`)."""
        return self.channel_lanes * np.array(RAW_LANE_GBPS)[self.channel_speed]

    @cached_property
    def data_gbps(self) -> Float64:
        """Rate of each channel after line coding in Gb/s, shape (n_channels,); 0 where unknown (see `fabctl.units`)."""
        return self.channel_lanes * np.array(DATA_LANE_GBPS)[self.channel_speed]

    @cached_property
    def channel_at(self) -> Int32:
        """Channel behind a switch's port, shape (n_switches, 256), by port number; -1 where there is none."""
        table = np.full((self.n_switches, 256), -1, dtype=np.int32)
        of_switch = self.channel_src < self.n_switches
        numbers = self.port_number[self.channel_port]
        table[self.channel_src[of_switch], numbers[of_switch]] = np.flatnonzero(of_switch)
        return table

    # ---- addresses -------------------------------------------------------------------------------------------------

    @cached_property
    def port_of_lid(self) -> Int32:
        """Port that answers to each LID, shape (max LID + 1,); -1 where none, the lowest port where several claim it."""
        owners = np.flatnonzero(self.port_lid > 0)
        top = int((self.port_lid[owners] + (1 << self.port_lmc[owners].astype(np.int64))).max(initial=1))
        table = np.full(top, -1, dtype=np.int32)
        for offset in range(1 << int(self.port_lmc[owners].max(initial=0))):
            inside = owners[offset < (1 << self.port_lmc[owners].astype(np.int64))][::-1]
            table[self.port_lid[inside] + offset] = inside
        return table

    @cached_property
    def endpoints(self) -> Int32:
        """Connected ports of HCAs, shape (n_endpoints,): what sends and receives a job's traffic.

        Sorted by host name (numbers in natural order), then by device, so neighbours in this array are neighbours in
        the usual rank order.
        """
        hosts = self.hosts
        ports = np.flatnonzero((self.port_peer >= 0) & self.is_hca[self.port_node])
        node = self.port_node[ports]
        order = np.lexsort((self.port_number[ports], hosts.node_order[node], hosts.node_host[node]))
        return ports[order].astype(np.int32)

    @cached_property
    def compute_endpoints(self) -> Int32:
        """The `endpoints` that belong to compute hosts (`Hosts.is_compute`)."""
        hosts = self.hosts
        return self.endpoints[hosts.is_compute[hosts.node_host[self.port_node[self.endpoints]]]]

    # ---- structure and names ---------------------------------------------------------------------------------------

    @cached_property
    def hosts(self) -> Hosts:
        """HCAs grouped into machines, with their rails."""
        from fabctl.model.hosts import group_hosts

        return group_hosts(self)

    @cached_property
    def tiers(self) -> NDArray[np.int8]:
        """Tier of each switch, shape (n_switches,): 0 for leaves, -1 where no host can be reached."""
        from fabctl.model.tiers import switch_tiers

        return switch_tiers(self)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A short, unique name per node: the description without vendor decoration, told apart by GUID if need be."""
        from fabctl.model.naming import unique_labels

        return unique_labels(self.node_name, self.node_guid)

    def port_label(self, port: int) -> str:
        """Return ``node/P7``, the name an operator looks for on the cable."""
        return f"{self.labels[self.port_node[port]]}/P{self.port_number[port]}"

    def cable_label(self, channel: int) -> str:
        """Return ``node/P7 -> node/P3`` for a directed channel."""
        port = int(self.channel_port[channel])
        return f"{self.port_label(port)} -> {self.port_label(int(self.port_peer[port]))}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all columns, as hex: equal for equal subnets in any order of their dump."""
        state = hashlib.sha256()
        for column in (
            self.node_kind,
            self.node_guid,
            self.system_guid,
            self.vendor_id,
            self.device_id,
            self.node_port_count,
            self.port_node,
            self.port_number,
            self.port_guid,
            self.port_lid,
            self.port_lmc,
            self.port_lanes,
            self.port_speed,
            self.port_peer,
        ):
            state.update(np.ascontiguousarray(column).tobytes())
        state.update("\n".join(self.node_name).encode("utf-8", "surrogateescape"))
        return state.hexdigest()

    def graph(self) -> nx.MultiGraph[str]:
        """Return the subnet as a networkx MultiGraph, built on each call.

        Nodes are keyed by GUID (``0x0c42a10300255562``) and carry ``kind`` (``switch``, ``ca``, ``router``), ``label``,
        ``description``, ``tier`` (switches), ``host`` and ``rail`` (HCAs), ``aggregation`` (bool), ``lid``,
        ``vendor_id``, ``device_id``. Edges are cables, keyed ``PORT-PORT``, and carry ``ports`` (GUID to port number;
        for a cable from a switch to itself the two numbers under ``self``), ``lanes``, ``speed``, ``capacity_gbps``
        and ``data_gbps`` (None where unknown).

        Complexity
        ----------
        O(nodes + cables), with networkx's constant (1.6 s at 1,620 switches): keep it off hot paths.
        """
        from fabctl.model.graph import build_graph

        return build_graph(self)

    def guid_text(self, node: int) -> str:
        """Return a node's GUID as ``0x%016x``."""
        return f"0x{int(self.node_guid[node]):016x}"

    def node_lid(self, node: int) -> int:
        """Return the lowest LID of a node's ports, a switch's port 0 first; 0 where none is assigned."""
        lids = self.port_lid[self.port_node == node]
        return int(lids[lids > 0].min(initial=MAX_UNICAST_LID + 1)) % (MAX_UNICAST_LID + 1)


def _smaller_known(column: NDArray[np.uint8], ports: Int32, peer: Int32) -> NDArray[np.uint8]:
    here, there = column[ports], column[peer[ports]]
    return np.where(here == 0, there, np.where(there == 0, here, np.minimum(here, there)))


def speed_name(speed: int, lanes: int) -> str:
    """Return ``4xHDR``; ``?`` for what is unknown.

    Examples
    --------
    >>> speed_name(Speed.HDR, 4), speed_name(0, 0)
    ('4xHDR', '?')
    """
    if not speed and not lanes:
        return "?"
    return f"{lanes or '?'}x{Speed(speed).name if speed else '?'}"
