"""``updn``: up*/down* routing, free of credit loops on any fabric.

Schroeder et al., Autonet: A High-Speed, Self-Configuring Local Area Network Using Point-to-Point Links, IEEE JSAC 9(8),
1991, section 4.2. The ranking is the fabric's tiers where they are a tree, else the distance to the most central switch;
OpenSM finds roots by statistics over hop counts and gives up outside trees.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.options import Options
from fabctl.routing.paths import directions, shortest_paths, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def updn(fabric: Fabric, options: Options) -> RoutingTables:
    """Route up, then down.

    Ranked by tiers, leaves that hang from odd places may be joined outside those paths (see `fabctl.routing.assign`). Where
    that makes a credit loop, the ranking by distance to the centre, which joins all, takes the place of the tiers.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    tables = _routed(fabric, tier_heights(fabric))
    if tables.notes and verify(tables).credit_loop:
        note = (
            "tiers would leave a credit loop between leaves without a way up and down; ranked by distance to the centre instead"
        )
        return replace(_routed(fabric, centre_heights(fabric)), notes=(note,))
    return tables


def _routed(fabric: Fabric, height: NDArray[np.int64]) -> RoutingTables:
    paths = up_down_paths(fabric, directions(fabric, height))
    return rebalance(assign(fabric, paths, "updn"), paths)


def tier_heights(fabric: Fabric) -> NDArray[np.int64]:
    """Return how high each switch stands, shape (n_switches,): its tier in a tree, else as `centre_heights`."""
    tiers = fabric.tiers.astype(np.int64)
    channels = switch_channels(fabric)
    level = tiers[fabric.channel_src[channels]] == tiers[fabric.channel_dst[channels]]
    return centre_heights(fabric) if level.any() or (tiers < 0).any() else tiers


def centre_heights(fabric: Fabric) -> NDArray[np.int64]:
    """Return minus the distance of each switch to the most central one, shape (n_switches,): every pair has a way over it."""
    distance = shortest_paths(fabric).label.astype(np.int64)
    centre = int(np.lexsort((distance.sum(axis=1), distance.max(axis=1, initial=0)))[0])
    return -distance[centre]
