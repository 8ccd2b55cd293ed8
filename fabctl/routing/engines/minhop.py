"""``minhop``: shortest paths, spread by destination.

OpenSM's default engine picks, per switch and destination, the least used port among those on a shortest path. fabctl allows
the same paths and chooses by the destination's place in the tree (see `fabctl.routing.assign`), in a grid by dimension, then
evens out what is left.
Nothing keeps shortest paths free of credit loops outside trees: `fabctl route` always checks.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import ordered_on_grids
from fabctl.routing.options import Options
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance


def minhop(fabric: Fabric, options: Options) -> RoutingTables:
    """Route on shortest paths.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    paths = shortest_paths(fabric, options.hop_weight)
    return rebalance(assign(fabric, ordered_on_grids(fabric, paths), "minhop", options), paths, options)
