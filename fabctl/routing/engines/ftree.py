"""``ftree``: D-mod-k routing of fat trees.

Zahavi, Johnson, Kerbyson, Lang: Optimized InfiniBand fat-tree routing for shift all-to-all communication patterns,
Concurrency and Computation 22(2), 2010, and Zahavi, JPDC 72(11), 2012: destination d leaves a switch of level l on up-port
floor(d / (w_1 ... w_l)) mod w_{l+1}. Trees with missing cables or switches are routed as they are; a link inside a tier or
across one is not a fat tree's and is refused by name. Levels are the fabric's tiers, or distances to given roots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.engines.updn import root_heights
from fabctl.routing.options import Options
from fabctl.routing.paths import directions, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def ftree(fabric: Fabric, options: Options) -> RoutingTables:
    """Route a fat tree.

    Raises
    ------
    RefusedError
        If a link does not join neighbouring tiers, compute hosts are not at one distance from given roots, a switch is out of
        reach of the leaves, or leaves that have no way up and down cannot be joined without a credit loop.
    """
    height = _below_roots(fabric, options.roots) if options.roots else fabric.tiers.astype(np.int64)
    refuse_other_shapes(fabric, height)
    paths = up_down_paths(fabric, directions(fabric, height))
    tables = rebalance(assign(fabric, paths, "ftree", options), paths, options)
    loop = verify(tables).credit_loop if tables.notes else ()
    if loop:
        cables = "; ".join(fabric.cable_label(channel) for channel in loop)
        raise RefusedError(
            f"ftree cannot join all leaves without a possible credit loop: {'; '.join(tables.notes)}; loop: {cables}",
            hint="--engine updn routes any fabric without credit loops",
        )
    return tables


def _below_roots(fabric: Fabric, roots: tuple[int, ...]) -> NDArray[np.int64]:
    """Return minus the distance of each switch to given roots, and refuse roots that are nearer to some compute hosts."""
    height = root_heights(fabric, roots)
    leaves = np.unique(fabric.channel_dst[fabric.channel_of_port[fabric.compute_endpoints]])
    leaves = leaves[leaves < fabric.n_switches]
    near = leaves[height[leaves] > height[leaves].min(initial=0)]
    if len(near):
        raise RefusedError(
            f"ftree needs all compute hosts at one distance from the roots; those of {fabric.labels[near[0]]} are nearer",
            hint="give all switches at the top as roots, or none: fabctl then ranks by structure",
        )
    return height


def refuse_other_shapes(fabric: Fabric, height: NDArray[np.int64]) -> None:
    """Raise `RefusedError` naming the links and switches that make the fabric no fat tree.

    Parameters
    ----------
    height : int64 array of shape (n_switches,)
        The fabric's tiers, or minus the distance to given roots.
    """
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels], fabric.channel_dst[channels]
    odd = channels[(np.abs(height[src] - height[dst]) != 1) & (src < dst)]
    if len(odd):
        names = "; ".join(fabric.cable_label(int(channel)) for channel in odd[:3])
        raise RefusedError(
            f"ftree needs a fat tree: {len(odd)} links do not join neighbouring tiers: {names}",
            hint="--engine updn routes any fabric without credit loops",
        )
    lost = np.flatnonzero(fabric.tiers < 0)
    if len(lost):
        raise RefusedError(
            f"ftree needs a fat tree: {len(lost)} switches cannot reach a leaf: {', '.join(fabric.labels[s] for s in lost[:3])}",
            hint="--engine minhop routes them",
        )
