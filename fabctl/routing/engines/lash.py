"""``lash``: shortest paths, each in the first virtual lane where it closes no credit loop.

Skeie, Lysne, Theiss: Layered Shortest Path (LASH) Routing in Irregular System Area Networks, IPDPS workshops 2002. The paper, and
OpenSM, lay one path per pair of switches. So it begins here, outside trees and grids: few turns ask for few lanes. Then the
search that evens out hot channels gives destinations paths of their own where that helps.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import ordered_on_grids
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.order import is_tree, is_whole_tree
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance


def lash(fabric: Fabric, options: Options) -> RoutingTables:
    """Route on shortest paths without credit loops.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or more virtual lanes are needed than may be used.
    """
    paths = shortest_paths(fabric, options.hop_weight)
    ordered = ordered_on_grids(fabric, paths)
    tables = assign(fabric, ordered, "lash", options, spread=ordered is not paths or is_tree(fabric))
    tables = rebalance(tables, paths, options)
    return tables if is_whole_tree(fabric, fabric.endpoints) else assign_layers(tables, options.max_vls)
