"""Flow lists and traces on a fabric: the hosts and HCAs that they mean, and the phases of a list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.lookup import find_hca_port
from fabctl.model.phases import Phase
from fabctl.traffic.explicit import Transfer
from fabctl.traffic.job import JobSpec, Placed
from fabctl.traffic.placement import Job
from fabctl.traffic.roster import nearest, usual_hosts

_End = tuple[int, int | None]  # host, and the port where one is named


def with_count(spec: JobSpec, fabric: Fabric) -> JobSpec:
    """Return the spec of a trace, which knows its ranks alone, with the number of hosts that hold them.

    Raises
    ------
    InputError
        If the ranks do not fill whole hosts, or fit on one.
    """
    per_host = spec.ranks_per_host
    if per_host is None:
        usual = set(usual_hosts(fabric)[0])
        node_host = fabric.hosts.node_host[fabric.port_node[fabric.endpoints]]
        per_host = max((int(n) for host, n in enumerate(np.bincount(node_host)) if fabric.hosts.name[host] in usual), default=1)
        if spec.rails is not None:
            per_host = min(per_host, len(spec.rails))
    count, rest = divmod(spec.n_ranks, per_host)
    hint = "a job file with hosts, ranks_per_host and trace: FOLDER says where the ranks run"
    if rest or count < 2:
        what = "do not fill hosts of" if rest else "fit on one host of"
        raise InputError(f"{spec.n_ranks} ranks {what} {per_host}", where=spec.hosts[0].where, hint=hint)
    note = f"traces name no hosts: their {spec.n_ranks} ranks fill the first that hold them (a job file with trace: says others)"
    hosts = (Placed(str(count), spec.hosts[0].where),)
    return replace(spec, count=count, hosts=hosts, notes=(*spec.notes, note))


def place_transfers(spec: JobSpec, fabric: Fabric) -> Job:
    """Place a flow list: one rank for each host that sends or receives, in the order of the list.

    Raises
    ------
    InputError
        With the place in the list: an unknown host or HCA (the nearest names are offered), or one without a cable.
    """
    ends = _Ends(spec.transfers, fabric)
    first = [[min(ends.ports[host].values())] for host in ends.hosts]
    whole = any(port is None for pair in ends.pairs for _, port in pair)
    note = "a host whose HCA is not named sends and receives through all of its rails that the other end has, in equal shares"
    return Job(
        fabric=fabric,
        hosts=tuple(fabric.hosts.name[host] for host in ends.hosts),
        ports=np.array(first, dtype=np.int32),
        rails=(0,),
        ranks_per_host=1,
        notes=(*spec.notes, note) if whole and max(len(row) for row in ends.ports.values()) > 1 else spec.notes,
    )


class _Ends:
    """The hosts and HCA ports that a flow list names.

    Parameters
    ----------
    transfers : sequence of Transfer
    fabric : Fabric
    """

    def __init__(self, transfers: Sequence[Transfer], fabric: Fabric) -> None:
        self.fabric = fabric
        self.host_of_name = {name: host for host, name in enumerate(fabric.hosts.name)}
        self._known: dict[str, _End] = {}
        self.pairs = [(self._find(flow.src, flow.where), self._find(flow.dst, flow.where)) for flow in transfers]
        self.hosts = list(dict.fromkeys(host for pair in self.pairs for host, _ in pair))

    @cached_property
    def ports(self) -> dict[int, dict[tuple[int, int], int]]:
        """Connected HCA ports of each host by order of the HCA and port number."""
        hosts, found = self.fabric.hosts, defaultdict[int, dict[tuple[int, int], int]](dict)
        for port in self.fabric.endpoints.tolist():
            node = self.fabric.port_node[port]
            rail = int(hosts.node_rail[node])
            slot = rail if rail >= 0 else int(hosts.node_order[node])
            found[int(hosts.node_host[node])][slot, int(self.fabric.port_number[port])] = port
        return dict(found)

    @cached_property
    def _labels(self) -> dict[str, int]:
        """Connected HCA ports by ``node/P1``, and by node where it has one such port."""
        fabric, ports = self.fabric, self.fabric.endpoints.tolist()
        count = np.bincount(fabric.port_node[ports], minlength=fabric.n_nodes)
        alone = {fabric.labels[fabric.port_node[port]]: port for port in ports if count[fabric.port_node[port]] == 1}
        return alone | {fabric.port_label(port): port for port in ports}

    def _find(self, text: str, where: str) -> _End:
        if text not in self._known:
            self._known[text] = self._found(text, where)
        return self._known[text]

    def _found(self, text: str, where: str) -> _End:
        hosts = self.fabric.hosts
        host = self.host_of_name.get(text)
        if host is not None:
            if host not in self.ports:
                raise InputError(f"no HCA of host '{text}' has a cable", where=where)
            return host, None
        name, colon, device = text.partition(":")
        if colon and name in self.host_of_name:
            return self.host_of_name[name], self._port(self.host_of_name[name], device, text, where)
        if not any(mark in text for mark in (":", "/", " ")) and not text.startswith("0x"):
            near = nearest(text, hosts.name)
            hint = f"did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"the fabric has no host '{text}'", where=where, hint=hint)
        port = self._labels[text] if text in self._labels else find_hca_port(self.fabric, text, where)
        return int(hosts.node_host[self.fabric.port_node[port]]), port

    def _port(self, host: int, device: str, text: str, where: str) -> int:
        name, slash, number = device.partition("/P")
        hosts, fabric = self.fabric.hosts, self.fabric
        nodes = [node for node in np.flatnonzero(hosts.node_host == host).tolist() if hosts.node_device[node] == name]
        if not nodes:
            devices = sorted(hosts.node_device[node] for node in np.flatnonzero(hosts.node_host == host).tolist())
            raise InputError(f"host '{hosts.name[host]}' has no HCA '{name}'", where=where, hint=f"it has {', '.join(devices)}")
        ports = [port for port in self.ports.get(host, {}).values() if fabric.port_node[port] == nodes[0]]
        if slash:
            ports = [port for port in ports if str(fabric.port_number[port]) == number]
        if not ports:
            raise InputError(f"'{text}' is down: it has no cable", where=where)
        if len(ports) > 1:
            numbers = " or ".join(f"{text}/P{fabric.port_number[port]}" for port in ports)
            raise InputError(f"'{text}' has {len(ports)} connected ports", where=where, hint=f"write {numbers}")
        return int(ports[0])

    def moved(self, end: _End, host: int, where: str) -> _End:
        """Return an end on another host: the HCA of the same rail there."""
        if end[1] is None or end[0] == host:
            return host, end[1]
        slot = next(slot for slot, port in self.ports[end[0]].items() if port == end[1])
        if slot not in self.ports[host]:
            text = f"host '{self.fabric.hosts.name[host]}' has no HCA in the place of {self.fabric.port_label(end[1])}"
            raise InputError(text, where=where)
        return host, self.ports[host][slot]

    def links(self, src: _End, dst: _End) -> list[tuple[int, int]]:
        """Return the pairs of ports that share a transfer's bytes equally."""
        here, there = self.ports[src[0]], self.ports[dst[0]]
        if src[1] is not None and dst[1] is not None:
            return [(src[1], dst[1])]
        if src[1] is not None:
            return [(src[1], _across(src[1], here, there))]
        if dst[1] is not None:
            return [(_across(dst[1], there, here), dst[1])]
        return [(here[slot], there[slot]) for slot in here if slot in there] or [(min(here.values()), min(there.values()))]


def _across(port: int, mine: dict[tuple[int, int], int], other: dict[tuple[int, int], int]) -> int:
    """Return the other host's port in the place of one's own, else its first."""
    slot = next(slot for slot, known in mine.items() if known == port)
    return other.get(slot, min(other.values()))


def listed_phases(transfers: Sequence[Transfer], job: Job) -> list[Phase]:
    """Return the phases of a flow list.

    Parameters
    ----------
    job : Job
        The list placed, or placed elsewhere: what it says of its n-th host holds for the job's n-th.

    Raises
    ------
    InputError
        If an end of a transfer is not to be found.
    """
    ends = _Ends(transfers, job.fabric)
    row = {host: index for index, host in enumerate(ends.hosts)}
    there = [ends.host_of_name[name] for name in job.hosts]
    flows: defaultdict[str, list[tuple[int, int, float, int, int]]] = defaultdict(list)
    for transfer, (src, dst) in zip(transfers, ends.pairs, strict=True):
        ranks = row[src[0]], row[dst[0]]
        source, target = (ends.moved(end, there[rank], transfer.where) for end, rank in zip((src, dst), ranks, strict=True))
        links = ends.links(source, target)
        if any(here == other for here, other in links):
            raise InputError(f"this flow begins and ends at {job.fabric.port_label(links[0][0])}", where=transfer.where)
        flows[transfer.phase] += [(here, other, transfer.size_bytes / len(links), *ranks) for here, other in links]
    phases = []
    for name, rows in flows.items():
        src_port, dst_port, size_bytes, src_rank, dst_rank = zip(*rows, strict=True)
        flow = Flows(np.array(src_port, np.int32), np.array(dst_port, np.int32), np.array(size_bytes, np.float64))
        phases.append(Phase(name or "flows", flow, np.array(src_rank, np.int32), np.array(dst_rank, np.int32)))
    return phases
