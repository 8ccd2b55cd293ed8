"""``minhop``: shortest paths, spread by destination.

OpenSM's default engine picks, per switch and destination, the least used port among those on a shortest path. fabctl allows
the same paths and chooses by the destination's place in the tree (see `fabctl.routing.assign`), then evens out what is left.
Nothing keeps shortest paths free of credit loops outside trees: `fabctl route` always checks.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.options import Options
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance


def minhop(fabric: Fabric, options: Options, name: str = "minhop") -> RoutingTables:
    """Route on shortest paths.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    paths = shortest_paths(fabric, options.hop_weight)
    return rebalance(assign(fabric, paths, name, options), paths, options)
