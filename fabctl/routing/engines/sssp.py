"""``sssp``: shortest paths of least accumulated weight, destination by destination.

Hoefler, Schneider, Lumsdaine: Optimized Routing for Large-Scale InfiniBand Networks, HotI 2009. Tables that are even from the
start, as on whole trees and grids, stay as they are; what weights leave uneven a search evens out. Nothing keeps these paths free
of credit loops outside trees: `fabctl.routing.engines.dfsssp` gives the same paths virtual lanes.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import ordered_on_grids
from fabctl.routing.options import Options
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import is_even, rebalance
from fabctl.routing.weighted import weigh


def sssp(fabric: Fabric, options: Options, name: str = "sssp") -> RoutingTables:
    """Route on shortest paths, each destination around what those before it have loaded.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    paths = shortest_paths(fabric, options.hop_weight)
    tables = assign(fabric, ordered_on_grids(fabric, paths), name, options)
    return tables if is_even(tables, options) else rebalance(weigh(tables, paths, options), paths, options)
