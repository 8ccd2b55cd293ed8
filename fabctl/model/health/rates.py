"""Links below the speed or width of their like."""

from __future__ import annotations

import numpy as np

from fabctl.model.cables import Cables, Int64
from fabctl.model.fabric import Fabric, speed_name
from fabctl.model.health.cabling import common_number
from fabctl.model.health.findings import gather, in_order
from fabctl.model.results import Finding
from fabctl.units import RAW_LANE_GBPS


def rate_findings(fabric: Fabric, cables: Cables) -> list[Finding]:
    """Return links that are slower or narrower than is common for their kind.

    A link is held against the speed and the width that at least half of the cables of its kind have (host to leaf, leaf to
    spine ...). Where no device of its type runs faster anywhere in the fabric, the device is taken to be the reason.
    """
    lanes = fabric.channel_lanes[cables.channel].astype(np.int64)
    speed = fabric.channel_speed[cables.channel].astype(np.int64)
    fastest = _fastest_of_device(fabric)
    reach = np.minimum(fastest[cables.low], fastest[cables.high])
    slow: list[str] = []
    older: list[str] = []
    narrow: list[str] = []
    for code in np.unique(cables.kind_code).tolist():
        members = np.flatnonzero(cables.kind_code == code)
        common_speed = common_number(speed[members[speed[members] > 0]])
        common_lanes = common_number(lanes[members[lanes[members] > 0]])
        for cable in members[(speed[members] > 0) & (speed[members] < common_speed)].tolist():
            text = _slow_link(fabric, cables, cable, speed_name(common_speed, int(lanes[cable])))
            (slow if reach[cable] > speed[cable] else older).append(text)
        narrow += [
            _slow_link(fabric, cables, cable, speed_name(int(speed[cable]), common_lanes))
            for cable in members[(lanes[members] > 0) & (lanes[members] < common_lanes)].tolist()
        ]
    return [
        *gather("FAB131", "{n} {link is|links are} slower than {its|their} kind and devices run", in_order(slow)),
        *gather("FAB132", "{n} {link is|links are} narrower than is common for {its|their} kind", in_order(narrow)),
        *gather(
            "FAB133", "{n} {link is|links are} slower than {its|their} kind, as devices of that type are here", in_order(older)
        ),
    ]


def _fastest_of_device(fabric: Fabric) -> Int64:
    """Return the fastest speed seen on any device of each node's type, shape (n_nodes,).

    A type is vendor and device id; a node of unknown type is taken to be as fast as any.
    """
    types = fabric.vendor_id.astype(np.uint64) << np.uint64(32) | fabric.device_id.astype(np.uint64)
    _, kind = np.unique(types, return_inverse=True)
    fastest = np.zeros(int(kind.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(fastest, kind[fabric.channel_src], fabric.channel_speed.astype(np.int64))
    return np.where(fabric.device_id == 0, len(RAW_LANE_GBPS), fastest[kind])


def _slow_link(fabric: Fabric, cables: Cables, cable: int, instead_of: str) -> str:
    channel = int(cables.channel[cable])
    port = int(fabric.channel_port[channel])
    rate = speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel]))
    far = fabric.port_label(int(fabric.port_peer[port]))
    return f"{fabric.port_label(port)} - {far} ({cables.kind(cable)}: {rate} instead of {instead_of})"
