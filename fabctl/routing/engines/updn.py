"""``updn``: up*/down* routing, free of credit loops on any fabric.

Schroeder et al., Autonet: A High-Speed, Self-Configuring Local Area Network Using Point-to-Point Links, IEEE JSAC 9(8),
1991, section 4.2. The ranking is the fabric's tiers where they are a tree, else the distance to the most central switch;
OpenSM finds roots by statistics over hop counts and gives up outside trees.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.options import Options
from fabctl.routing.paths import directions, shortest_paths, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def updn(fabric: Fabric, options: Options) -> RoutingTables:
    """Route up, then down.

    Ranked by tiers, or by the distance to given roots, leaves that hang from odd places may be joined outside those paths (see
    `fabctl.routing.assign`). Where they cannot, or a credit loop is made, the ranking by distance to the centre, which joins
    all, takes the place of the tiers.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or given roots leave a credit loop.
    """
    if options.roots:
        tables = _routed(fabric, root_heights(fabric, options.roots), options)
        if not (tables.notes and verify(tables).credit_loop):
            return tables
        raise RefusedError(
            f"updn cannot join all leaves over these roots without a possible credit loop: {'; '.join(tables.notes)}",
            hint="give one root, or none: fabctl then ranks by structure",
        )
    with suppress(RefusedError):
        tables = _routed(fabric, tier_heights(fabric), options)
        if not (tables.notes and verify(tables).credit_loop):
            return tables
    note = "tiers would leave no way without credit loops between some leaves; ranked by distance to the centre instead"
    return replace(_routed(fabric, centre_heights(fabric), options), notes=(note,))


def _routed(fabric: Fabric, height: NDArray[np.int64], options: Options) -> RoutingTables:
    paths = up_down_paths(fabric, directions(fabric, height))
    return rebalance(assign(fabric, paths, "updn", options), paths, options)


def root_heights(fabric: Fabric, roots: tuple[int, ...]) -> NDArray[np.int64]:
    """Return minus the distance of each switch to the nearest root, shape (n_switches,).

    Raises
    ------
    RefusedError
        If a switch cannot reach any root.
    """
    distance = shortest_paths(fabric).label[list(roots)].astype(np.int64)
    nearest: NDArray[np.int64] = np.where(distance < 0, fabric.n_switches, distance).min(axis=0)
    lost = np.flatnonzero(nearest == fabric.n_switches)
    if len(lost):
        names = ", ".join(fabric.labels[switch] for switch in lost[:3])
        raise RefusedError(f"{len(lost)} switches cannot reach a root: {names}", hint="fabctl discover names the parts")
    return -nearest


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
