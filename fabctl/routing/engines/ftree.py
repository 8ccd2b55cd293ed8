"""``ftree``: D-mod-k routing of fat trees.

Zahavi, Johnson, Kerbyson, Lang: Optimized InfiniBand fat-tree routing for shift all-to-all communication patterns,
Concurrency and Computation 22(2), 2010, and Zahavi, JPDC 72(11), 2012: destination d leaves a switch of level l on up-port
floor(d / (w_1 ... w_l)) mod w_{l+1}. Trees with missing cables or switches are routed as they are; a link inside a tier or
across one is not a fat tree's and is refused by name.
"""

from __future__ import annotations

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.options import Options
from fabctl.routing.paths import directions, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def ftree(fabric: Fabric, options: Options) -> RoutingTables:
    """Route a fat tree.

    Raises
    ------
    RefusedError
        If a link does not join neighbouring tiers, a switch is out of reach of the leaves, or leaves that have no way up and
        down cannot be joined without a credit loop.
    """
    refuse_other_shapes(fabric)
    paths = up_down_paths(fabric, directions(fabric, fabric.tiers.astype(np.int64)))
    tables = rebalance(assign(fabric, paths, "ftree", options), paths, options)
    loop = verify(tables).credit_loop if tables.notes else ()
    if loop:
        cables = "; ".join(fabric.cable_label(channel) for channel in loop)
        raise RefusedError(
            f"ftree cannot join all leaves without a possible credit loop: {'; '.join(tables.notes)}; loop: {cables}",
            hint="--engine updn routes any fabric without credit loops",
        )
    return tables


def refuse_other_shapes(fabric: Fabric) -> None:
    """Raise `RefusedError` naming the links and switches that make the fabric no fat tree."""
    tiers = fabric.tiers.astype(np.int64)
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    odd = channels[(np.abs(tiers[src] - tiers[dst]) != 1) & (src < dst)]
    if len(odd):
        names = "; ".join(fabric.cable_label(int(channel)) for channel in odd[:3])
        raise RefusedError(
            f"ftree needs a fat tree: {len(odd)} links do not join neighbouring tiers: {names}",
            hint="--engine updn routes any fabric without credit loops",
        )
    lost = np.flatnonzero(tiers < 0)
    if len(lost):
        raise RefusedError(
            f"ftree needs a fat tree: {len(lost)} switches cannot reach a leaf: {', '.join(fabric.labels[s] for s in lost[:3])}",
            hint="--engine minhop routes them",
        )
