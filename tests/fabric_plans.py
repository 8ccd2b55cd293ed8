"""Fabrics as plans that tests can damage: nodes and cables in plain dictionaries, built when done."""

from __future__ import annotations

from dataclasses import dataclass, field

from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.results import ParseReport
from fabctl.units import Speed

End = tuple[str, int]

REPORT = ParseReport(source="test", path="plan")


@dataclass
class Node:
    kind: NodeKind
    guid: int
    description: str
    lid: int
    system_guid: int = 0
    device_id: int = 0
    lmc: int = 0


@dataclass
class Plan:
    """Nodes by name, and cables by their ends: (lanes, speed)."""

    nodes: dict[str, Node] = field(default_factory=dict)
    cables: dict[tuple[End, End], tuple[int, int]] = field(default_factory=dict)

    def node(self, kind: NodeKind, name: str, **more: int) -> None:
        number = len(self.nodes) + 1
        self.nodes[name] = Node(kind, 0x1000 * number, name, number, **more)

    def cable(self, here: str, here_port: int, there: str, there_port: int, lanes: int = 4, speed: int = Speed.HDR) -> None:
        self.cables[(here, here_port), (there, there_port)] = (lanes, speed)

    def find(self, *names: str) -> tuple[End, End]:
        """Return the first cable between the named nodes."""
        return next(ends for ends in self.cables if sorted(name for name, _ in ends) == sorted(names))

    def cut(self, *names: str) -> None:
        del self.cables[self.find(*names)]

    def remove(self, name: str) -> None:
        del self.nodes[name]
        self.cables = {ends: rate for ends, rate in self.cables.items() if name not in (ends[0][0], ends[1][0])}

    def build(self) -> Fabric:
        builder = FabricBuilder()
        for node in self.nodes.values():
            builder.node(node.kind, node.guid, node.description, ports=64, system_guid=node.system_guid, device_id=node.device_id)
            if node.kind == NodeKind.SWITCH:
                builder.port(node.guid, 0, port_guid=node.guid, lid=node.lid, lmc=node.lmc)
        for ends, (lanes, speed) in self.cables.items():
            for (name, port), (peer, peer_port) in (ends, ends[::-1]):
                here, there = self.nodes[name], self.nodes[peer]
                if here.kind == NodeKind.SWITCH:
                    builder.port(here.guid, port, port_guid=here.guid)
                else:
                    builder.port(here.guid, port, port_guid=here.guid + port, lid=here.lid, lmc=here.lmc)
                builder.link(here.guid, port, there.guid, peer_port, lanes=lanes, speed=speed)
        return builder.build()


def leaf_spine(leaves: int = 4, spines: int = 4, hosts: int = 4) -> Plan:
    """Return `hosts` hosts per leaf with one HCA each (``n0``...), one cable from each leaf to each spine."""
    plan = Plan()
    for leaf in range(leaves):
        plan.node(NodeKind.SWITCH, f"leaf-{leaf}")
    for spine in range(spines):
        plan.node(NodeKind.SWITCH, f"spine-{spine}")
        for leaf in range(leaves):
            plan.cable(f"leaf-{leaf}", 1 + hosts + spine, f"spine-{spine}", 1 + leaf)
    for host in range(leaves * hosts):
        plan.node(NodeKind.CA, f"n{host}")
        plan.cable(f"leaf-{host // hosts}", 1 + host % hosts, f"n{host}", 1)
    return plan


def rails(units: int = 2, hosts: int = 5, per_host: int = 4) -> Plan:
    """Return units of hosts whose HCAs (``n0 mlx5_0`` ...) are on a leaf per rail (``leaf-UNIT-RAIL``), under 2 spines."""
    plan = Plan()
    for spine in range(2):
        plan.node(NodeKind.SWITCH, f"spine-{spine}")
    for unit in range(units):
        for rail in range(per_host):
            leaf = f"leaf-{unit}-{rail}"
            plan.node(NodeKind.SWITCH, leaf)
            for spine in range(2):
                plan.cable(leaf, 60 + spine, f"spine-{spine}", 1 + unit * per_host + rail)
            for host in range(hosts):
                name = f"n{unit * hosts + host} mlx5_{rail}"
                plan.node(NodeKind.CA, name)
                plan.cable(leaf, 1 + host, name, 1)
    return plan


def three_tiers(pods: int = 2) -> Plan:
    """Return pods of 2 leaves and 2 spines, each spine cabled to 3 cores; 2 hosts per leaf."""
    plan = Plan()
    for core in range(3):
        plan.node(NodeKind.SWITCH, f"core-{core}")
    for pod in range(pods):
        for spine in range(2):
            plan.node(NodeKind.SWITCH, f"spine-{pod}-{spine}")
            for core in range(3):
                plan.cable(f"spine-{pod}-{spine}", 11 + core, f"core-{core}", 1 + 2 * pod + spine)
        for leaf in range(2):
            plan.node(NodeKind.SWITCH, f"leaf-{pod}-{leaf}")
            for spine in range(2):
                plan.cable(f"leaf-{pod}-{leaf}", 11 + spine, f"spine-{pod}-{spine}", 1 + leaf)
            for host in range(2):
                name = f"n{4 * pod + 2 * leaf + host}"
                plan.node(NodeKind.CA, name)
                plan.cable(f"leaf-{pod}-{leaf}", 1 + host, name, 1)
    return plan
