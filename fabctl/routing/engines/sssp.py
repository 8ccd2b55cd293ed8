"""``sssp``: shortest paths of least accumulated weight, destination by destination.

Hoefler, Schneider, Lumsdaine: Optimized Routing for Large-Scale InfiniBand Networks, HotI 2009. Nothing keeps these paths free of
credit loops outside trees: `fabctl.routing.engines.dfsssp` gives the same paths virtual lanes.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.options import Options
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.weighted import weigh


def sssp(fabric: Fabric, options: Options, name: str = "sssp") -> RoutingTables:
    """Route on shortest paths, each destination around what those before it have loaded.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    paths = shortest_paths(fabric, options.hop_weight)
    return rebalance(weigh(assign(fabric, paths, name, options), paths, options), paths, options)
