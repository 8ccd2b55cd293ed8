"""What the input itself says about its trustworthiness, and addresses that clash."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.health.findings import gather, in_order
from fabctl.model.results import Finding, ParseReport, Remark


def input_findings(report: ParseReport) -> list[Finding]:
    """Return what a parse noticed, as findings."""
    return [
        *gather(
            "FAB101", "the discovery tool reported {n} {error|errors}, so parts may be missing", _texts(report.tool_messages)
        ),
        *gather("FAB102", "{n} {line|lines} not understood", _texts(report.unknown)),
        *gather("FAB103", "{n} {peer has|peers have} no record of {its|their} own", _texts(report.undeclared)),
        *gather("FAB104", "{n} {link is|links are} listed by one end only", _texts(report.one_sided)),
        *gather("FAB105", "{n} {contradiction|contradictions} between records", _texts(report.disagreements)),
        *gather("FAB112", "{n} {record repeats|records repeat} a node GUID", _texts(report.duplicates)),
    ]


def address_findings(fabric: Fabric) -> list[Finding]:
    """Return clashes of LIDs and port GUIDs, and ports in use that have no LID."""
    return [*_shared_lids(fabric), *_shared_port_guids(fabric), *_missing_lids(fabric)]


def _texts(remarks: Iterable[Remark]) -> list[str]:
    return [f"line {remark.line}: {remark.text}" if remark.line else remark.text for remark in remarks]


def _shared_lids(fabric: Fabric) -> list[Finding]:
    owners = np.flatnonzero(fabric.port_lid > 0)
    spans = 1 << fabric.port_lmc[owners].astype(np.int64)
    ports = np.repeat(owners, spans)
    lids = fabric.port_lid[ports] + np.arange(len(ports)) - np.repeat(np.cumsum(spans) - spans, spans)
    order = np.argsort(lids, kind="stable")
    ports, lids = ports[order], lids[order]
    values, first, counts = np.unique(lids, return_index=True, return_counts=True)
    clashes = np.flatnonzero(counts > 1)
    items = [f"LID {values[i]} ({_names(fabric, ports[first[i] : first[i] + counts[i]].tolist())})" for i in clashes.tolist()]
    return gather("FAB111", "{n} {LID has|LIDs have} several owners", items)


def _shared_port_guids(fabric: Fabric) -> list[Finding]:
    # The ports of a switch share its port 0's GUID; only end ports own one.
    end_port = (fabric.node_kind[fabric.port_node] != NodeKind.SWITCH) | (fabric.port_number == 0)
    owners = np.flatnonzero(end_port & (fabric.port_guid > 0))
    order = np.argsort(fabric.port_guid[owners], kind="stable")
    ports = owners[order]
    values, first, counts = np.unique(fabric.port_guid[ports], return_index=True, return_counts=True)
    items = [
        f"port GUID 0x{int(values[i]):016x} ({_names(fabric, ports[first[i] : first[i] + counts[i]].tolist())})"
        for i in np.flatnonzero(counts > 1).tolist()
    ]
    return gather("FAB113", "{n} port {GUID is|GUIDs are} on several ports", items)


def _missing_lids(fabric: Fabric) -> list[Finding]:
    """No LID anywhere is no finding: then no subnet manager has been there yet."""
    if not (fabric.port_lid > 0).any():
        return []
    addressed = np.zeros(fabric.n_nodes, dtype=bool)
    addressed[fabric.port_node[fabric.port_lid > 0]] = True
    is_switch = fabric.node_kind == NodeKind.SWITCH
    cabled = np.zeros(fabric.n_nodes, dtype=bool)
    cabled[fabric.channel_src] = True
    switches = np.flatnonzero(is_switch & cabled & ~addressed).tolist()
    ends = np.flatnonzero((fabric.port_peer >= 0) & (fabric.port_lid == 0) & ~is_switch[fabric.port_node]).tolist()
    items = in_order(fabric.labels[switch] for switch in switches) + in_order(fabric.port_label(port) for port in ends)
    return gather(
        "FAB114", "{n} {port is|ports are} in use without a valid LID, so no subnet manager has set {it|them} up", items
    )


def _names(fabric: Fabric, ports: list[int]) -> str:
    return ", ".join(fabric.port_label(port) for port in ports)
