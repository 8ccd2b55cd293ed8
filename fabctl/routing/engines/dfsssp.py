"""``dfsssp``: the paths of ``sssp``, spread over virtual lanes until none has a credit loop.

Domke, Hoefler, Nagel: Deadlock-Free Oblivious Routing for Arbitrary Topologies, IPDPS 2011. Where the paper breaks cycles by
moving paths from full lanes, lanes are filled one after the other here (`fabctl.routing.layers`), which needs fewer.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.engines.sssp import sssp
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.order import is_whole_tree


def dfsssp(fabric: Fabric, options: Options) -> RoutingTables:
    """Route as `sssp`, without credit loops.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or more virtual lanes are needed than may be used.
    """
    tables = sssp(fabric, options, name="dfsssp")
    return tables if is_whole_tree(fabric, fabric.endpoints) else assign_layers(tables, options.max_vls)
