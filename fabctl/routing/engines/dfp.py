"""``dfp``: Dragonfly+ on minimal paths: up in the own group, over to the other, down.

Shpiner et al., Dragonfly+: low cost topology for scaling datacenters, HiPINEB 2017; NVIDIA's OpenSM has an engine of this name.
All of a path's hops up come before its hop between groups, and all hops down after it, so one virtual lane is free of credit
loops. Groups that have lost all links between them are joined by way of others, and leaves that have lost theirs by way of other
leaves: where those turns can close a circle, lanes are assigned. There are no paths by way of random groups: that takes adaptive
routing, which tables cannot express.
"""

from __future__ import annotations

from dataclasses import replace

from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dragonfly_plus import find_groups
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def dfp(fabric: Fabric, options: Options) -> RoutingTables:
    """Route a Dragonfly+.

    Raises
    ------
    RefusedError
        If the fabric is none, is in several parts, or needs more virtual lanes than are allowed.
    """
    refuse_parts(fabric)
    groups = find_groups(fabric)
    paths = shortest_paths(fabric)
    tables = rebalance(assign(fabric, paths, "dfp", options), paths, options)
    if verify(tables).credit_loop:
        tables = assign_layers(tables, options.max_vls)
    apart = groups.apart(fabric)
    if not apart:
        return tables
    note = f"{len(apart)} pairs of groups have no link and are joined by way of other groups: {apart[0]}"
    return replace(tables, notes=(*tables.notes, note))
