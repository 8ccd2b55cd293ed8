"""Where cables run and where they should not: parts, loose nodes, loops, tiers, switches short of links."""

from __future__ import annotations

import numpy as np

from fabctl.model.cables import Cables, Int64, connected, level_name, switch_links
from fabctl.model.fabric import Fabric, Int32
from fabctl.model.health.findings import gather, in_order
from fabctl.model.naming import natural_key
from fabctl.model.results import Finding

COMMON_SHARE = 0.5
"""A number of links is the common one when at least this share of a tier's switches has it."""

TREE_SHARE = 0.5
"""Switches form a tree when less than this share of the cables between them stays within a tier."""


def cabling_findings(fabric: Fabric, cables: Cables) -> list[Finding]:
    """Return findings on where cables run."""
    return [
        *_parts(fabric),
        *_loose(fabric),
        *_self_cabled(fabric, cables),
        *_tiers(fabric, cables),
        *_short_of_links(fabric, cables),
    ]


def _parts(fabric: Fabric) -> list[Finding]:
    label = connected(fabric.n_nodes, fabric.channel_src, fabric.channel_dst)
    cabled = np.unique(fabric.channel_src)
    roots, first, sizes = np.unique(label[cabled], return_index=True, return_counts=True)
    if len(roots) < 2:
        return []
    order = np.lexsort((roots, -sizes))
    items = [
        f"{fabric.labels[cabled[first[part]]]} ({sizes[part]:,} node{'s' if sizes[part] > 1 else ''})" for part in order.tolist()
    ]
    return gather("FAB121", "the fabric is in {n} parts that no cable joins; one node of each", items)


def _loose(fabric: Fabric) -> list[Finding]:
    loose = np.setdiff1d(np.arange(fabric.n_nodes), fabric.channel_src)
    return gather("FAB122", "{n} {node has|nodes have} no cable", in_order(fabric.labels[node] for node in loose.tolist()))


def _self_cabled(fabric: Fabric, cables: Cables) -> list[Finding]:
    loops = cables.channel[cables.low == cables.high]
    return gather("FAB123", "{n} {cable joins|cables join} a switch to itself", _listed(fabric, loops))


def _tiers(fabric: Fabric, cables: Cables) -> list[Finding]:
    between = cables.between_switches & (cables.low_level >= 0)
    step = cables.high_level - cables.low_level
    within, skipping = between & (step == 0), between & (step > 1)
    if within.sum() >= TREE_SHARE * between.sum():
        text = "the switches form no tree, {n} {cable joins|cables join} switches of one tier"
        return gather("FAB126", text, _listed(fabric, cables.channel[within]))
    return [
        *gather("FAB124", "{n} {cable joins|cables join} switches of one tier", _listed(fabric, cables.channel[within])),
        *gather("FAB125", "{n} {cable skips|cables skip} a tier", _listed(fabric, cables.channel[skipping])),
    ]


def _short_of_links(fabric: Fabric, cables: Cables) -> list[Finding]:
    links = switch_links(fabric, cables)
    top = int(fabric.tiers.max(initial=-1))
    findings = []
    for tier in range(top):
        name = level_name(tier)
        members = np.flatnonzero(fabric.tiers == tier)
        findings += _short(fabric, members, links.up, "FAB141", name, "uplinks")
    if top > 0:
        findings += _short(fabric, np.flatnonzero(fabric.tiers == top), links.down, "FAB142", level_name(top), "downlinks")
    empty = np.flatnonzero((fabric.tiers == 0) & (links.hcas == 0))
    return findings + gather(
        "FAB143", "{n} {leaf has|leaves have} no HCA", in_order(fabric.labels[node] for node in empty.tolist())
    )


def _short(fabric: Fabric, members: Int64, links: Int64, code: str, tier: str, what: str) -> list[Finding]:
    common = common_number(links[members])
    short = members[links[members] < common]
    order = sorted(short.tolist(), key=lambda switch: (links[switch], natural_key(fabric.labels[switch])))
    items = [f"{fabric.labels[switch]} ({links[switch]})" for switch in order]
    text = f"{{n}} of {len(members):,} {tier} switches {{has|have}} fewer {what} than the common {common}"
    return gather(code, text, items)


def common_number(values: Int64) -> int:
    """Return the number that at least half of the values are (`COMMON_SHARE`); 0 where there is none."""
    if not len(values):
        return 0
    counts = np.bincount(values)
    common = int(len(counts) - 1 - np.argmax(counts[::-1]))
    return common if counts[common] >= COMMON_SHARE * len(values) else 0


def _listed(fabric: Fabric, channels: Int32) -> list[str]:
    ports = fabric.channel_port[channels].tolist()
    return in_order(f"{fabric.port_label(port)} - {fabric.port_label(int(fabric.port_peer[port]))}" for port in ports)
