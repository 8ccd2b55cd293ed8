"""Hosts short of HCAs, HCAs that cannot be told apart, and HCAs on another rail's leaf."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from fabctl.model.cables import Cables
from fabctl.model.fabric import Fabric
from fabctl.model.health.findings import gather
from fabctl.model.rails import Rails, find_rails
from fabctl.model.results import Finding

_DeviceNames = dict[int, Counter[tuple[frozenset[str], str]]]


def host_findings(fabric: Fabric, cables: Cables) -> list[Finding]:
    """Return findings on hosts and rails."""
    return [*_short_of_hcas(fabric), *_unnamed(fabric), *_untrusted(fabric), *_miswired(fabric, cables)]


def _short_of_hcas(fabric: Fabric) -> list[Finding]:
    hosts = fabric.hosts
    whole = hosts.common_hca_count
    short = [
        host
        for host in np.flatnonzero(hosts.is_compute & (hosts.hca_count < whole)).tolist()
        if hosts.grouped_by[host] in ("name", "system-image", "default-name")
    ]
    if not short:
        return []
    names = _device_names(fabric)
    items = [f"{hosts.name[host]} ({_missing(fabric, host, names)})" for host in short]
    return gather("FAB151", f"{{n}} {{host has|hosts have}} fewer HCAs than the common {whole}; missing", items)


def _missing(fabric: Fabric, host: int, names: _DeviceNames) -> str:
    hosts = fabric.hosts
    nodes = np.flatnonzero(hosts.node_host == host).tolist()
    rails = {int(hosts.node_rail[node]) for node in nodes}
    missing = sorted(set(range(hosts.common_hca_count)) - rails)
    if -1 in rails or len(missing) != hosts.common_hca_count - len(nodes):
        return f"{hosts.common_hca_count - len(nodes)} of {hosts.common_hca_count}"
    own = {hosts.node_device[node] for node in nodes}
    return ", ".join(_device_on_rail(rail, own, names) for rail in missing)


def _device_names(fabric: Fabric) -> _DeviceNames:
    """Count for each rail the device names that complete hosts have on it, with all device names of the same host."""
    hosts = fabric.hosts
    complete: defaultdict[int, list[int]] = defaultdict(list)
    for node in np.flatnonzero(hosts.node_host >= 0).tolist():
        host = int(hosts.node_host[node])
        if hosts.hca_count[host] == hosts.common_hca_count:
            complete[host].append(node)
    names: _DeviceNames = defaultdict(Counter)
    for nodes in complete.values():
        devices = frozenset(hosts.node_device[node] for node in nodes)
        for node in nodes:
            names[int(hosts.node_rail[node])][devices, hosts.node_device[node]] += 1
    return names


def _device_on_rail(rail: int, own: set[str], names: _DeviceNames) -> str:
    alike = [device for (devices, device), _ in names[rail].most_common() if own <= devices]
    return alike[0] if alike else f"rail {rail}"


def _unnamed(fabric: Fabric) -> list[Finding]:
    hosts = fabric.hosts
    items = [
        f"{hosts.name[host]} ({_place(fabric, node)})"
        for node in np.flatnonzero(hosts.node_host >= 0).tolist()
        if hosts.grouped_by[host := int(hosts.node_host[node])] == "unnamed"
    ]
    return gather("FAB152", "{n} {HCA carries|HCAs carry} a factory description that names no host", items)


def _untrusted(fabric: Fabric) -> list[Finding]:
    hosts = fabric.hosts
    reasons = {"default-name": "a name that unconfigured machines share", "ambiguous": "claimed by several HCAs"}
    items = [
        f"{name} ({reasons[how]}, {count} HCAs)" if how == "default-name" else f"{name.split(' (0x')[0]} ({reasons[how]})"
        for name, how, count in zip(hosts.name, hosts.grouped_by, hosts.hca_count.tolist(), strict=True)
        if how in reasons
    ]
    return gather("FAB153", "{n} host {name|names} cannot be trusted", list(dict.fromkeys(items)))


def _miswired(fabric: Fabric, cables: Cables) -> list[Finding]:
    hosts, rails = fabric.hosts, find_rails(fabric, cables)
    if not rails.optimised:
        return []
    rail, owner = hosts.node_rail[cables.low[rails.cable]], rails.owner[cables.high[rails.cable]]
    strangers = rails.cable[(owner >= 0) & (owner != rail)]
    by_host: defaultdict[int, list[int]] = defaultdict(list)
    for cable in sorted(strangers.tolist(), key=lambda cable: int(hosts.node_order[cables.low[cable]])):
        by_host[int(hosts.node_host[cables.low[cable]])].append(cable)
    items = []
    for host in sorted(by_host):
        at = [(int(cables.low[cable]), int(cables.high[cable])) for cable in by_host[host]]
        swapped = len(at) == 2 and [rails.owner[leaf] for _, leaf in at] == [hosts.node_rail[node] for node, _ in reversed(at)]
        strays = "; ".join(_stray(fabric, rails, node, leaf) for node, leaf in at)
        items.append(f"{hosts.name[host]} ({'swapped: ' if swapped else ''}{strays})")
    return gather("FAB154", "{n} {host has|hosts have} HCAs on another rail's leaf", items)


def _stray(fabric: Fabric, rails: Rails, node: int, leaf: int) -> str:
    owner = int(rails.owner[leaf])
    share = f"{rails.counts[leaf, owner]} of {rails.counts[leaf].sum()} are of rail {owner}"
    device = fabric.hosts.node_device[node] or fabric.labels[node]
    return f"{device} of rail {fabric.hosts.node_rail[node]} on {fabric.labels[leaf]}, where {share}"


def _place(fabric: Fabric, node: int) -> str:
    ports = np.flatnonzero((fabric.port_node == node) & (fabric.port_peer >= 0)).tolist()
    return ", ".join(f"on {fabric.port_label(int(fabric.port_peer[port]))}" for port in ports) or "no cable"
