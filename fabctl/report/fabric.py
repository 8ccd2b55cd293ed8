"""`discover`: a fabric's summary and findings, its nodes and its cables."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fabctl.model.cables import AGGREGATION, HOST, ROUTER, cable_kind, level_name, list_cables, node_levels
from fabctl.model.fabric import MAX_UNICAST_LID, Fabric, speed_name
from fabctl.model.results import Finding, ParseReport
from fabctl.model.summary import FabricSummary, HostGroup, summarise
from fabctl.report.output import Column, Report, Row, Table

TEXT_WIDTH = 118
_NO_BREAK = "\x00"  # stands for a blank at which no line may break

_NODE_COLUMNS = (
    Column("node", "NODE"),
    Column("kind", "KIND"),
    Column("tier", "TIER"),
    Column("host", "HOST"),
    Column("device", "DEVICE"),
    Column("rail", "RAIL", right=True),
    Column("lid", "LID", right=True),
    Column("guid", "GUID"),
    Column("ports", "PORTS", right=True),
    Column("links", "LINKS", right=True),
    Column("speed", "SPEED"),
    Column("description", "DESCRIPTION"),
)
_LINK_COLUMNS = (
    Column("link", "LINK", wide=True),
    Column("node", "NODE"),
    Column("port", "PORT", right=True),
    Column("peer", "PEER"),
    Column("peer_port", "PORT", right=True),
    Column("kind", "KIND"),
    Column("lanes", "LANES", right=True),
    Column("speed", "SPEED"),
    Column("data_gbps", "DATA Gb/s", right=True, digits=1),
    Column("node_guid", "NODE GUID", wide=True),
    Column("peer_guid", "PEER GUID", wide=True),
)
_KINDS = {HOST: "hca", AGGREGATION: "aggregation", ROUTER: "router"}


def fabric_report(
    fabric: Fabric, report: ParseReport, findings: Sequence[Finding], inputs: Sequence[Mapping[str, Any]] = ()
) -> Report:
    """Return the report of ``discover``: one screen of text, `FabricSummary` as data, one row per node."""
    summary = summarise(fabric)
    text: list[str | Table] = [_overview(summary, report)]
    if summary.switches:
        text += [_tier_table(summary), _link_table(summary)]
    text.append(_findings_text(findings))
    if findings:
        text.append(_item_table(findings))
    data = {**asdict(summary), "parse": _parse_data(report)}
    main = Table("Nodes", _NODE_COLUMNS, _node_rows(fabric))
    return Report("FabricSummary", data, text, main, inputs, findings)


def links_report(fabric: Fabric, inputs: Sequence[Mapping[str, Any]] = ()) -> Report:
    """Return the report of ``discover --links``: one row per cable, from its lower to its higher end."""
    table = Table("Links", _LINK_COLUMNS, _link_rows(fabric))
    return Report("FabricLinks", {"links": table.rows}, [table], table, inputs)


def _overview(summary: FabricSummary, report: ParseReport) -> str:
    nodes = [_count(summary.switches, "switch", "switches"), _count(summary.hcas, "HCA")]
    nodes.append(_count(summary.aggregation_nodes, "aggregation node"))
    if summary.routers:
        nodes.append(_count(summary.routers, "router"))
    rows = [
        ("Input", [report.path]),
        (
            "Parsed",
            [f"{_count(report.lines, 'line')} as {report.source}", f"{_count(len(report.unknown), 'line')} not understood"],
        ),
        ("Fabric", [*nodes, _count(summary.links, "link")]),
        ("Hosts", _hosts(summary)),
        ("Rails", _rails(summary)),
        ("LIDs", _lids(summary)),
        ("Chassis", [f"{chassis.name} ({chassis.asics} ASICs)" for chassis in summary.chassis]),
    ]
    return "\n".join(_filled(f"{label:<9}", _unbroken(phrases)) for label, phrases in rows if phrases)


def _hosts(summary: FabricSummary) -> list[str]:
    phrases = [_host_group(group) + ("" if group.compute else " (not compute)") for group in summary.hosts]
    if summary.unnamed_hcas:
        phrases.append(f"{_count(summary.unnamed_hcas, 'HCA')} whose host cannot be told")
    phrases += [
        f"grouped by {how}: {count:,}" for how, count in summary.hosts_by_grouping.items() if how not in ("unnamed", "single")
    ]
    return phrases


def _host_group(group: HostGroup) -> str:
    each = " each" if group.hosts > 1 else ""
    return f"{_count(group.hosts, 'host')} with {_count(group.hcas_per_host, 'HCA')}{each}"


def _rails(summary: FabricSummary) -> list[str]:
    rails = summary.rails
    if rails.rails < 2 or not rails.leaves:
        return []
    what = "rail-optimised" if rails.optimised else "not rail-optimised"
    share = f"{rails.leaves_of_one_rail:,} of {_count(rails.leaves, 'leaf', 'leaves')}"
    return [f"{rails.rails} rails", what, f"{share} carry one rail"]


def _lids(summary: FabricSummary) -> list[str]:
    assigned = f"{summary.lids:,} assigned (highest {summary.highest_lid:,})" if summary.lids else "none assigned"
    return [assigned, f"subnet manager at LID {summary.sm_lid}" if summary.sm_lid else "subnet manager unknown"]


def _tier_table(summary: FabricSummary) -> Table:
    columns = (
        Column("tier", "TIER"),
        Column("switches", "SWITCHES", right=True),
        Column("hca_links", "HCA LINKS", right=True),
        Column("down_links", "DOWNLINKS", right=True),
        Column("up_links", "UPLINKS", right=True),
        Column("min", "DOWN:UP MIN", right=True, digits=2),
        Column("median", "MEDIAN", right=True, digits=2),
        Column("max", "MAX", right=True, digits=2),
    )
    rows = [
        {
            "tier": tier.name,
            "switches": tier.switches,
            "hca_links": tier.hca_links,
            "down_links": tier.down_links,
            "up_links": tier.up_links,
            **(asdict(tier.oversubscription) if tier.oversubscription else {}),
        }
        for tier in summary.tiers
    ]
    return Table("Tiers, and oversubscription (data rate down : up, per switch)", columns, rows)


def _link_table(summary: FabricSummary) -> Table:
    columns = (
        Column("kind", "KIND"),
        Column("rate", "RATE"),
        Column("links", "CABLES", right=True),
        Column("data_gbps", "DATA Gb/s", right=True, digits=1),
    )
    return Table("Links by kind and rate", columns, [asdict(row) for row in summary.links_by_rate])


def _findings_text(findings: Sequence[Finding]) -> str:
    if not findings:
        return "\nFindings: none"
    counts = Counter(finding.severity for finding in findings)
    named = [_count(counts[severity], severity) for severity in ("error", "warning") if counts[severity]]
    named += [f"{counts['info']} info"] if counts["info"] else []
    order = [finding for severity in ("error", "warning", "info") for finding in findings if finding.severity == severity]
    lines = [_filled(f"  {finding.severity:<8}{finding.code}  ", finding.message) for finding in order]
    return "\n".join([f"\nFindings: {', '.join(named)}", *lines])


def _item_table(findings: Sequence[Finding]) -> Table:
    columns = (Column("code", "CODE"), Column("item", "ITEM"))
    rows = [{"code": finding.code, "item": item} for finding in findings for item in finding.items]
    return Table("All that the findings are about", columns, rows, wide=True)


def _parse_data(report: ParseReport) -> dict[str, int]:
    return {
        "lines": report.lines,
        "lines_not_understood": len(report.unknown),
        "tool_messages": len(report.tool_messages),
        "undeclared_peers": len(report.undeclared),
        "one_sided_links": len(report.one_sided),
        "disagreements": len(report.disagreements),
        "duplicate_records": len(report.duplicates),
    }


def _node_rows(fabric: Fabric) -> list[Row]:
    level = node_levels(fabric).tolist()
    hosts = fabric.hosts
    links = np.bincount(fabric.channel_src, minlength=fabric.n_nodes).tolist()
    speeds = _node_speeds(fabric)
    lid = np.full(fabric.n_nodes, MAX_UNICAST_LID + 1)
    known = fabric.port_lid > 0
    np.minimum.at(lid, fabric.port_node[known], fabric.port_lid[known])
    rows: list[Row] = []
    for node, (host, rail, own_lid) in enumerate(
        zip(hosts.node_host.tolist(), hosts.node_rail.tolist(), lid.tolist(), strict=True)
    ):
        rows.append(
            {
                "node": fabric.labels[node],
                "kind": _KINDS.get(level[node], "switch"),
                "tier": level_name(level[node]) if node < fabric.n_switches else None,
                "host": hosts.name[host] if host >= 0 else None,
                "device": hosts.node_device[node] or None,
                "rail": rail if rail >= 0 else None,
                "lid": own_lid if own_lid <= MAX_UNICAST_LID else None,
                "guid": fabric.guid_text(node),
                "ports": int(fabric.node_port_count[node]) or None,
                "links": links[node],
                "speed": speeds.get(node),
                "description": fabric.node_name[node],
            }
        )
    return rows


def _node_speeds(fabric: Fabric) -> dict[int, str]:
    """Return the rates of each node's cables, fastest first, joined by blanks."""
    keys = np.stack([fabric.channel_src, fabric.channel_speed, fabric.channel_lanes], axis=1).astype(np.int64)
    speeds: dict[int, str] = {}
    for node, speed, lanes in np.unique(keys, axis=0)[::-1].tolist():
        name = speed_name(speed, lanes)
        speeds[node] = f"{speeds[node]} {name}" if node in speeds else name
    return speeds


def _link_rows(fabric: Fabric) -> list[Row]:
    cables = list_cables(fabric)
    rows: list[Row] = []
    for cable, channel in enumerate(cables.channel.tolist()):
        port = int(fabric.channel_port[channel])
        peer = int(fabric.port_peer[port])
        low, high = int(cables.low[cable]), int(cables.high[cable])
        lanes, speed = int(fabric.channel_lanes[channel]), int(fabric.channel_speed[channel])
        rows.append(
            {
                "link": f"{fabric.port_label(port)} - {fabric.port_label(peer)}",
                "node": fabric.labels[low],
                "port": int(fabric.port_number[port]),
                "peer": fabric.labels[high],
                "peer_port": int(fabric.port_number[peer]),
                "kind": cable_kind(int(cables.low_level[cable]), int(cables.high_level[cable])),
                "lanes": lanes or None,
                "speed": speed_name(speed, lanes).partition("x")[2] if speed else None,
                "data_gbps": round(float(fabric.data_gbps[channel]), 3) or None,
                "node_guid": fabric.guid_text(low),
                "peer_guid": fabric.guid_text(high),
            }
        )
    return rows


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _unbroken(phrases: Sequence[str]) -> str:
    """Join phrases so that lines break between them only."""
    return ", ".join(phrase.replace(" ", _NO_BREAK) for phrase in phrases)


def _filled(head: str, text: str) -> str:
    """Wrap `text` behind `head`, its further lines indented alike; names are never broken."""
    indent = " " * len(head)
    lines = textwrap.wrap(
        text, TEXT_WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    return "\n".join(lines).replace(_NO_BREAK, " ")
