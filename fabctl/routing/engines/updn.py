"""``updn``: up*/down* routing, free of credit loops on any fabric.

Schroeder et al., Autonet: A High-Speed, Self-Configuring Local Area Network Using Point-to-Point Links, IEEE JSAC 9(8),
1991, section 4.2. The ranking is the fabric's tiers where they are a tree, else the distance to the most central switch;
OpenSM finds roots by statistics over hop counts and gives up outside trees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.paths import directions, shortest_paths, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance


def updn(fabric: Fabric) -> RoutingTables:
    """Route up, then down.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    paths = up_down_paths(fabric, directions(fabric, heights(fabric)))
    return rebalance(assign(fabric, paths, "updn"), paths)


def heights(fabric: Fabric) -> NDArray[np.int64]:
    """Return how high each switch stands, shape (n_switches,): its tier in a tree, else minus its distance to the centre."""
    tiers = fabric.tiers.astype(np.int64)
    channels = switch_channels(fabric)
    level = tiers[fabric.channel_src[channels]] == tiers[fabric.channel_dst[channels]]
    if not level.any() and (tiers >= 0).all():
        return tiers
    distance = shortest_paths(fabric).label.astype(np.int64)
    centre = int(np.lexsort((distance.sum(axis=1), distance.max(axis=1, initial=0)))[0])
    return -distance[centre]
