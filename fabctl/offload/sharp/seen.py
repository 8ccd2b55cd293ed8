"""What ``ibdiagnet --sharp`` saw: the switches whose aggregation nodes are on trees (``ibdiagnet2.sharp``, captured).

Format: ibdiagnet user manual 2.8 to 2.19, "SHARP Support": ``TreeID:0, Max Radix:2``, then a line for each aggregation node:
``(0), AN:Mellanox Technologies Aggregation Node, lid:48, port guid:0xec0d9a0300246f38, Child index:0, ..., radix:2``.
"""

from __future__ import annotations

import re

import numpy as np

from fabctl.model.fabric import Fabric
from fabctl.offload.site import Site

DUMP = "ibdiagnet2.sharp"
_NODE = re.compile(r"\bAN:.*?\bport guid:[ \t]*(0x[0-9a-fA-F]+)")


def on_trees(site: Site) -> frozenset[int]:
    """Return the switches whose aggregation nodes are on trees in the captured dump; none without one."""
    guids = {int(found, 16) for found in _NODE.findall(site.captured.get(DUMP, ""))}
    return frozenset(switch for switch, guid in _nodes(site.fabric).items() if guid in guids)


def with_node(fabric: Fabric) -> frozenset[int]:
    """Return the switches whose aggregation node the fabric shows."""
    return frozenset(_nodes(fabric))


def _nodes(fabric: Fabric) -> dict[int, int]:
    """Return the port GUID of each switch's aggregation node."""
    channels = np.flatnonzero(fabric.is_aggregation[fabric.channel_src] & (fabric.channel_dst < fabric.n_switches))
    guids = fabric.port_guid[fabric.channel_port[channels]]
    return dict(zip(fabric.channel_dst[channels].tolist(), guids.tolist(), strict=True))
