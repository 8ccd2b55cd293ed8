"""A case as the Graphviz digraph that ORCS reads, the oblivious routing congestion simulator of Hoefler, Schneider and Lumsdaine.

A host is an HCA port, ``H`` and its port GUID; a switch ``S`` and its GUID. Every directed cable is an edge, parallel cables are
parallel edges; its ``comment`` lists the hosts whose traffic the forwarding table sends over it, ``*`` on a host's own cable.
ORCS follows the first edge whose comment holds the destination. The job's ports come first, in rank order, since ORCS makes its
patterns over the hosts; flows, bytes and speeds it does not know.
"""

from __future__ import annotations

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.routing.cases.case import Case


def orcs(case: Case) -> str:
    """Return the digraph.

    Complexity
    ----------
    O(switches x hosts): one name for each entry of the tables.
    """
    fabric, tables = case.fabric, case.tables
    ports = _job_ports_first(case)
    lids = fabric.port_lid[ports]
    routed = (lids > 0) & (lids < tables.lft.shape[1])
    names = np.array([_host(fabric, port) for port in ports.tolist()], dtype=object)
    comments: dict[int, list[str]] = {}
    for switch in range(fabric.n_switches):
        channel = np.where(routed, tables.next_channel[switch, np.where(routed, lids, 0)], -1)
        for at in np.unique(channel[channel >= 0]).tolist():
            comments[at] = names[channel == at].tolist()
    lines = [f"// routes by {tables.origin}; the hosts of {', '.join(job.name for job in case.jobs)} come first, in rank order"]
    lines += ["digraph fabric {", *(f'  "{_host(fabric, port)}" [label="{_quoted(fabric.port_label(port))}"];' for port in ports)]
    lines += [f'  "{_switch(fabric, switch)}" [label="{_quoted(fabric.labels[switch])}"];' for switch in range(fabric.n_switches)]
    ends = {int(port) for port in ports}
    for cable, port in enumerate(fabric.channel_port.tolist()):
        here, there = _end(fabric, port, ends), _end(fabric, int(fabric.port_peer[port]), ends)
        if here and there:
            comment = "*" if port in ends else ",".join(comments.get(cable, ()))
            lines.append(f'  "{here}" -> "{there}" [comment="{comment}"];')
    return "\n".join([*lines, "}"]) + "\n"


def _job_ports_first(case: Case) -> np.ndarray:
    """Return the connected HCA ports, those of the jobs before the others and in the order of their ranks."""
    rank: dict[int, tuple[int, int]] = {}
    for number, job in enumerate(case.jobs):
        for flows, src_rank, dst_rank in ((phase.flows, phase.src_rank, phase.dst_rank) for phase in job.phases):
            for ports, ranks in ((flows.src, src_rank), (flows.dst, dst_rank)):
                for port, at in zip(ports.tolist(), ranks.tolist(), strict=True):
                    rank[port] = min(rank.get(port, (number, at)), (number, at))
    others = [port for port in case.fabric.endpoints.tolist() if port not in rank]
    return np.array([*sorted(rank, key=lambda port: (rank[port], port)), *others], dtype=np.int32)


def _end(fabric: Fabric, port: int, ends: set[int]) -> str:
    """Return the name of what a port belongs to; empty for what ORCS has no word for: aggregation nodes and routers."""
    node = int(fabric.port_node[port])
    if node < fabric.n_switches:
        return _switch(fabric, node)
    return _host(fabric, port) if port in ends else ""


def _host(fabric: Fabric, port: int) -> str:
    return f"H{int(fabric.port_guid[port]) or int(fabric.node_guid[fabric.port_node[port]]):016x}"


def _switch(fabric: Fabric, switch: int) -> str:
    return f"S{int(fabric.node_guid[switch]):016x}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
