"""``lash``: the shortest paths of ``minhop``, each in the first virtual lane where it closes no credit loop.

Skeie, Lysne, Theiss: Layered Shortest Path (LASH) Routing in Irregular System Area Networks, IPDPS workshops 2002. The paper, and
OpenSM, lay one path per pair of switches, so all HCAs behind a switch share it; here each destination LID has its own.
"""

from __future__ import annotations

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.engines.minhop import minhop
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options


def lash(fabric: Fabric, options: Options) -> RoutingTables:
    """Route as `minhop`, without credit loops.

    Raises
    ------
    RefusedError
        If the fabric is in several parts, or more virtual lanes are needed than may be used.
    """
    return assign_layers(minhop(fabric, options, name="lash"), options.max_vls)
