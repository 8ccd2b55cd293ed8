"""``dnup``: away from the hosts, then back; for fabrics whose hosts hang from switches of several levels.

OpenSM's manual page, "Purpose of DNUP Algorithm": the operation is that of up*/down* (see `fabctl.routing.engines.updn`), but
switches are ranked by their distance from hosts alone. So no root has to be found, and links between switches that both carry
hosts join equals. As in OpenSM, such links are taken on the way back at will: where all switches carry hosts, all shortest paths
are allowed. Of these, the ones in dimension order are taken in grids. What credit loops are left are cut by virtual lanes, which
OpenSM's does not do. Leaves without a way between them are joined over another; if none joins them, by shortest paths.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import shortest_in_order
from fabctl.routing.engines.updn import root_heights
from fabctl.routing.grid import find_grid
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import Paths, shortest_paths, switch_channels, up_down_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def dnup(fabric: Fabric, options: Options) -> RoutingTables:
    """Route away from the hosts, then back.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or its credit loops need more virtual lanes than are allowed.
    """
    refuse_parts(fabric)
    height = root_heights(fabric, options.roots) if options.roots else fabric.tiers.astype(np.int64)
    channels = switch_channels(fabric)
    fall = height[fabric.channel_src[channels]] - height[fabric.channel_dst[channels]]
    back = np.zeros(len(fabric.channel_port), dtype=bool)
    back[channels] = fall >= 0
    tables = None
    if fall.any():
        with suppress(RefusedError):
            tables = _routed(fabric, up_down_paths(fabric, back), options)
    if tables is None:
        note = ("some leaves have no way away from hosts and back: all shortest paths are allowed",) if fall.any() else ()
        tables = replace(_routed(fabric, _level_paths(fabric), options), notes=note)
    if not (fall == 0).any() and not tables.notes:
        return tables
    return assign_layers(tables, options.max_vls) if verify(tables).credit_loop else tables


def _routed(fabric: Fabric, paths: Paths, options: Options) -> RoutingTables:
    return rebalance(assign(fabric, paths, "dnup", options), paths, options)


def _level_paths(fabric: Fabric) -> Paths:
    """Return shortest paths, in dimension order if the fabric is a grid."""
    try:
        return shortest_in_order(fabric, find_grid(fabric).channel_dimension)
    except RefusedError:
        return shortest_paths(fabric)
