"""A case for InfraGraph 3: the fabric as an Infrastructure, and names, tables and flows as annotations on its graph.

A switch is a device with an ``asic`` and its ports, a host a device with a ``nic`` for each of its connected HCA ports; devices
alike share a kind, whose instances are counted as fabctl orders switches and hosts. What a host is inside, fabctl does not know.
The format has words for devices, components and links; a forwarding table or a flow is to it an attribute like any other.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fabctl.congestion.phases import step_loads
from fabctl.model.fabric import Fabric
from fabctl.model.rates import PAYLOAD_SHARE
from fabctl.model.tables import NO_ROUTE
from fabctl.routing.cases.case import Case


@dataclass(frozen=True)
class Names:
    """What a fabric's nodes are called in InfraGraph.

    Parameters
    ----------
    switch : tuple of str of length n_switches
        ``switch36[3]``: instance and index.
    host : dict of int to str
        By host.
    nic : dict of int to int
        Index of the ``nic`` by connected HCA port.
    kinds : dict of str to (int, int)
        Ports or NICs of a device, and its instances.
    """

    switch: tuple[str, ...]
    host: dict[int, str]
    nic: dict[int, int]
    kinds: dict[str, tuple[int, int]]

    def component(self, fabric: Fabric, port: int) -> tuple[str, str]:
        """Return instance and component of a port: ``("switch36[3]", "port[0]")``."""
        node = int(fabric.port_node[port])
        if node < fabric.n_switches:
            return self.switch[node], f"port[{int(fabric.port_number[port]) - 1}]"
        return self.host[int(fabric.hosts.node_host[node])], f"nic[{self.nic[port]}]"


def infrastructure(case: Case) -> str:
    """Return the Infrastructure as YAML."""
    fabric = case.fabric
    names = _names(fabric)
    lines = [
        "name: fabric",
        "description: " + json.dumps(f"{fabric.n_switches} switches and {len(names.host)} hosts, from fabctl"),
    ]
    lines.append("devices:")
    for kind, (count, _) in names.kinds.items():
        lines += _device(kind, count)
    gbps = np.round(case.rates * 8 / 1e9 / PAYLOAD_SHARE, 6)
    lines += ["instances:"]
    lines += [f"- {{name: {kind}, device: {kind}, count: {instances}}}" for kind, (_, instances) in names.kinds.items()]
    lines += ["links:"]
    for rate in np.unique(gbps).tolist():
        physical = f", physical: {{bandwidth: {{choice: gigabits_per_second, gigabits_per_second: {rate}}}}}" if rate > 0 else ""
        lines.append(f"- {{name: {_link(rate)}{physical}}}")
    lines += ["edges:"]
    for channel, here, there in _cables(fabric, names):
        ends = ", ".join(
            f"{end}: {{instance: '{one}', component: '{part}'}}" for end, (one, part) in (("ep1", here), ("ep2", there))
        )
        lines.append(f"- {{{ends}, scheme: one2one, link: {_link(gbps[channel].item())}}}")
    return "\n".join(lines) + "\n"


def notes(case: Case) -> str:
    """Return the Annotation as YAML.

    Switches have their label, GUID and ``lft`` (``lid:port``, LIDs without a route left out), NICs their port's label, LID and
    ranks, edges the bytes of a step in each direction, the graph its jobs and their phases with every flow.
    """
    fabric, names = case.fabric, _names(case.fabric)
    lines = ["nodes:"]
    for switch in range(fabric.n_switches):
        row = case.tables.lft[switch]
        table = ",".join(f"{lid}:{row[lid]}" for lid in np.flatnonzero((row != NO_ROUTE) & (row != 0)).tolist())
        values = {"label": fabric.labels[switch], "guid": fabric.guid_text(switch), "lft": table}
        lines += _annotated("name", (f"{names.switch[switch]}asic[0]",), values)
    ranks = _ranks(case)
    for port in fabric.endpoints.tolist():
        values = {"label": fabric.port_label(port), "lid": str(fabric.port_lid[port])}
        if ranks[port]:
            values["ranks"] = ",".join(sorted(ranks[port]))
        lines += _annotated("name", ("".join(names.component(fabric, port)),), values)
    loads = sum((step_loads(case.tables, job) for job in case.jobs), np.zeros(len(case.rates)))
    lines.append("edges:")
    for channel, here, there in _cables(fabric, names):
        back = int(fabric.channel_reverse[channel])
        values = {"bytes_from_ep1": f"{loads[channel]:.0f}", "bytes_from_ep2": f"{loads[back]:.0f}"}
        lines += _annotated("ep1 ep2", ("".join(here), "".join(there)), values)
    lines += ["graph:", f"- {{attribute: routes, value: {json.dumps(case.tables.origin)}}}"]
    for number, (job, phase, _) in enumerate(case.phases(), 1):
        ends = zip(phase.flows.src.tolist(), phase.flows.dst.tolist(), phase.flows.weight.tolist(), strict=True)
        flows = ";".join(
            f"{'.'.join(_dots(fabric, names, a))}>{'.'.join(_dots(fabric, names, b))} {size:.0f}" for a, b, size in ends
        )
        title = f"{job.name}: {phase.name}, {phase.times} times a step"
        lines.append(f"- {{attribute: phase_{number}, value: {json.dumps(title)}}}")
        lines.append(f"- {{attribute: flows_{number}, value: {json.dumps(flows)}}}")
    return "\n".join(lines) + "\n"


def _names(fabric: Fabric) -> Names:
    count: Counter[str] = Counter()
    kinds: dict[str, int] = {}
    highest = np.zeros(fabric.n_nodes, dtype=np.int64)
    np.maximum.at(highest, fabric.port_node, fabric.port_number)
    switches, hosts, nic = [], {}, {}
    for switch in range(fabric.n_switches):
        ports = max(int(highest[switch]), int(fabric.node_port_count[switch]))
        kind = f"switch{ports}"
        kinds[kind] = ports
        switches.append(f"{kind}[{count[kind]}]")
        count[kind] += 1
    of_host: defaultdict[int, list[int]] = defaultdict(list)
    for port in fabric.endpoints.tolist():
        of_host[int(fabric.hosts.node_host[fabric.port_node[port]])].append(port)
    for host, ports_of in of_host.items():
        kind = f"host{len(ports_of)}"
        kinds[kind] = len(ports_of)
        hosts[host] = f"{kind}[{count[kind]}]"
        count[kind] += 1
        nic.update({port: index for index, port in enumerate(ports_of)})
    return Names(tuple(switches), hosts, nic, {kind: (number, count[kind]) for kind, number in kinds.items()})


def _device(kind: str, count: int) -> list[str]:
    centre, leaf, choice = ("asic", "port", "choice: switch") if kind.startswith("switch") else ("host", "nic", "")
    return [
        f"- name: {kind}",
        "  components:",
        f"  - {{name: {centre}, count: 1, {choice or 'choice: custom, custom: {type: host}'}}}",
        f"  - {{name: {leaf}, count: {count}, choice: {leaf}}}",
        "  links:",
        "  - {name: internal}",
        "  edges:",
        f"  - {{ep1: {{component: {centre}}}, ep2: {{component: {leaf}}}, scheme: many2many, link: internal}}",
    ]


def _link(gbps: float) -> str:
    return f"{gbps:g}Gbps".replace(".", "_") if gbps > 0 else "unknown"


def _cables(fabric: Fabric, names: Names) -> Iterator[tuple[int, tuple[str, str], tuple[str, str]]]:
    """Yield a channel of each cable between switches and HCAs, and its two ends."""
    for channel, port in enumerate(fabric.channel_port.tolist()):
        peer = int(fabric.port_peer[port])
        ends = [int(fabric.port_node[end]) for end in (port, peer)]
        known = all(node < fabric.n_switches or end in names.nic for node, end in zip(ends, (port, peer), strict=True))
        if port < peer and known:
            yield channel, names.component(fabric, port), names.component(fabric, peer)


def _ranks(case: Case) -> defaultdict[int, set[str]]:
    found: defaultdict[int, set[str]] = defaultdict(set)
    several = len(case.jobs) > 1
    for job in case.jobs:
        for phase in job.phases:
            for ports, ranks in ((phase.flows.src, phase.src_rank), (phase.flows.dst, phase.dst_rank)):
                for port, rank in zip(ports.tolist(), ranks.tolist(), strict=True):
                    found[port].add(f"{job.name}:{rank}" if several else str(rank))
    return found


def _dots(fabric: Fabric, names: Names, port: int) -> list[str]:
    return [part.replace("[", ".").rstrip("]") for part in names.component(fabric, port)]


def _annotated(keys: str, names: tuple[str, ...], values: dict[str, str]) -> list[str]:
    head = ", ".join(f"{key}: '{name}'" for key, name in zip(keys.split(), names, strict=True))
    pairs = ", ".join(f"{{attribute: {key}, value: {json.dumps(value)}}}" for key, value in values.items())
    return [f"- {{{head}, attributes: [{pairs}]}}"]
