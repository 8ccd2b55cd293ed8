"""What a fabric is, in numbers: tiers, links, hosts, rails, chassis, addresses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from fabctl.model.cables import Cables, cable_kind, level_name, list_cables, switch_links
from fabctl.model.fabric import Fabric, Float64, NodeKind, speed_name
from fabctl.model.rails import find_rails
from fabctl.units import DATA_LANE_GBPS


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest value over a set of switches."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class TierSummary:
    """The switches of one tier.

    Parameters
    ----------
    tier : int
        0 for leaves; -1 for switches that no host can reach.
    name : str
        ``leaf``, ``spine``, ``core``, ``tier 3`` ...
    switches, hca_links, down_links, up_links : int
        Number of switches, and of their cables to HCAs, to lower and to higher tiers.
    oversubscription : Spread or None
        Data rate towards the hosts over data rate upwards, per switch; over the switches that have both and know all
        their rates. None where there is none.
    """

    tier: int
    name: str
    switches: int
    hca_links: int
    down_links: int
    up_links: int
    oversubscription: Spread | None


@dataclass(frozen=True)
class LinkSummary:
    """The cables of one kind at one rate.

    Parameters
    ----------
    kind : str
        The levels that they join (``host-leaf``); ``aggregation`` for all cables of aggregation nodes.
    rate : str
        ``4xHDR``; ``?`` where unknown.
    links : int
    data_gbps : float or None
        Data rate of one of them, in Gb/s and one direction.
    """

    kind: str
    rate: str
    links: int
    data_gbps: float | None


@dataclass(frozen=True)
class HostGroup:
    """Hosts that have the same number of HCAs."""

    hcas_per_host: int
    hosts: int
    compute: bool


@dataclass(frozen=True)
class RailSummary:
    """How the HCAs of hosts are spread over leaves.

    Parameters
    ----------
    rails : int
        HCAs of the typical host.
    leaves, leaves_of_one_rail : int
        Leaves with at least two HCAs of known rail, and those of them that belong to one rail.
    optimised : bool
        Every rail has leaves of its own (see `fabctl.model.rails`).
    """

    rails: int
    leaves: int
    leaves_of_one_rail: int
    optimised: bool


@dataclass(frozen=True)
class Chassis:
    """A director: switch ASICs that share a system image GUID."""

    name: str
    system_guid: str
    asics: int


@dataclass(frozen=True)
class FabricSummary:
    """A fabric in numbers.

    Parameters
    ----------
    switches, hcas, aggregation_nodes, routers, links : int
    tiers : tuple of TierSummary
    links_by_rate : tuple of LinkSummary
    hosts : tuple of HostGroup
        Hosts with a name, the largest group of compute hosts first.
    hosts_by_grouping : dict
        How many hosts were grouped how (see `fabctl.model.hosts`).
    unnamed_hcas : int
        HCAs whose factory description names no host.
    rails : RailSummary
    chassis : tuple of Chassis
    lids, highest_lid : int
        How many ports have a LID, and the highest.
    sm_lid : int or None
        LID of the master subnet manager, where the source tells.
    """

    switches: int
    hcas: int
    aggregation_nodes: int
    routers: int
    links: int
    tiers: tuple[TierSummary, ...]
    links_by_rate: tuple[LinkSummary, ...]
    hosts: tuple[HostGroup, ...]
    hosts_by_grouping: dict[str, int]
    unnamed_hcas: int
    rails: RailSummary
    chassis: tuple[Chassis, ...]
    lids: int
    highest_lid: int
    sm_lid: int | None


def summarise(fabric: Fabric) -> FabricSummary:
    """Return a fabric's summary.

    Complexity
    ----------
    O(nodes + ports), in numpy but for the grouping of hosts by name.
    """
    cables = list_cables(fabric)
    grouping = Counter(fabric.hosts.grouped_by)
    return FabricSummary(
        switches=fabric.n_switches,
        hcas=int(fabric.is_hca.sum()),
        aggregation_nodes=int(fabric.is_aggregation.sum()),
        routers=int((fabric.node_kind == NodeKind.ROUTER).sum()),
        links=fabric.n_cables,
        tiers=_tiers(fabric, cables),
        links_by_rate=_links_by_rate(fabric, cables),
        hosts=_host_groups(fabric),
        hosts_by_grouping={how: grouping[how] for how in sorted(grouping)},
        unnamed_hcas=grouping["unnamed"],
        rails=_rails(fabric, cables),
        chassis=_chassis(fabric),
        lids=int((fabric.port_lid > 0).sum()),
        highest_lid=int(fabric.port_lid.max(initial=0)),
        sm_lid=fabric.sm_lid or None,
    )


def _tiers(fabric: Fabric, cables: Cables) -> tuple[TierSummary, ...]:
    links = switch_links(fabric, cables)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = links.down_gbps / links.up_gbps
    tiers = []
    for tier in np.unique(fabric.tiers).tolist():
        members = fabric.tiers == tier
        tiers.append(
            TierSummary(
                tier=tier,
                name=level_name(tier),
                switches=int(members.sum()),
                hca_links=int(links.hcas[members].sum()),
                down_links=int(links.down[members].sum()),
                up_links=int(links.up[members].sum()),
                oversubscription=_spread(ratio[members & np.isfinite(ratio) & (ratio > 0)]),
            )
        )
    return tuple(tiers)


def _spread(values: Float64) -> Spread | None:
    if not len(values):
        return None
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))


def _links_by_rate(fabric: Fabric, cables: Cables) -> tuple[LinkSummary, ...]:
    lanes = fabric.channel_lanes[cables.channel].astype(np.int64)
    speed = fabric.channel_speed[cables.channel].astype(np.int64)
    keys = np.stack([cables.kind_code, speed, lanes], axis=1)
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    rows = []
    for cable, count in zip(first.tolist(), counts.tolist(), strict=True):
        rate = DATA_LANE_GBPS[speed[cable]] * int(lanes[cable])
        rows.append(
            LinkSummary(
                kind=cable_kind(int(cables.low_level[cable]), int(cables.high_level[cable])),
                rate=speed_name(int(speed[cable]), int(lanes[cable])),
                links=count,
                data_gbps=round(rate, 3) or None,
            )
        )
    return tuple(rows)


def _host_groups(fabric: Fabric) -> tuple[HostGroup, ...]:
    hosts = fabric.hosts
    groups = Counter(
        (bool(compute), int(count))
        for count, compute, how in zip(hosts.hca_count, hosts.is_compute, hosts.grouped_by, strict=True)
        if how != "unnamed"
    )
    order = sorted(groups, key=lambda key: (not key[0], -groups[key], -key[1]))
    return tuple(HostGroup(count, groups[compute, count], compute) for compute, count in order)


def _rails(fabric: Fabric, cables: Cables) -> RailSummary:
    rails = find_rails(fabric, cables)
    return RailSummary(rails.number, rails.leaves, rails.leaves_of_one_rail, rails.optimised)


def _chassis(fabric: Fabric) -> tuple[Chassis, ...]:
    guids = fabric.system_guid[: fabric.n_switches]
    shared, counts = np.unique(guids[guids > 0], return_counts=True)
    found = []
    for guid, count in zip(shared[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        names = [fabric.labels[switch].split(" (0x")[0] for switch in np.flatnonzero(guids == guid)]
        text = f"0x{guid:016x}"
        found.append(Chassis(_common_start(names).rstrip("/-_. ") or text, text, count))
    return tuple(sorted(found, key=lambda chassis: (chassis.name, chassis.system_guid)))


def _common_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in shared)
