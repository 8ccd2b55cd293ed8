"""``dfp``: Dragonfly+ on minimal paths: up in the own group, over to the other, down.

Shpiner et al., Dragonfly+: low cost topology for scaling datacenters, HiPINEB 2017; NVIDIA's OpenSM has an engine of this name.
All of a path's hops up come before its hop between groups, and all hops down after it, so one virtual lane is free of credit
loops. Groups that have lost all links between them are joined by way of others, and leaves that have lost theirs by way of one
other leaf, the same for all: where such turns still can close a circle, lanes are assigned. There are no paths by way of random
groups: that takes adaptive routing, which tables cannot express.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.model.dragonfly_plus import Groups, find_groups
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import shortest_in_order
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import switch_channels
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
    paths = shortest_in_order(fabric, _turns(fabric, groups))
    tables = rebalance(assign(fabric, paths, "dfp", options), paths, options)
    if verify(tables).credit_loop:
        tables = assign_layers(tables, options.max_vls)
    apart = groups.apart(fabric)
    if not apart:
        return tables
    note = f"{len(apart)} pairs of groups have no link and are joined by way of other groups: {apart[0]}"
    return replace(tables, notes=(*tables.notes, note))


def _turns(fabric: Fabric, groups: Groups) -> NDArray[np.int16]:
    """Return an order of channels in which paths that must turn at a leaf do so at the first that joins both spines."""
    order = np.zeros(len(fabric.channel_port), dtype=np.int16)
    leaves = np.flatnonzero(fabric.tiers == 0)
    leaves = leaves[np.argsort(groups.of_switch[leaves], kind="stable")]
    group = groups.of_switch[leaves]
    place = np.zeros(fabric.n_switches, dtype=np.int16)
    place[leaves] = 1 + np.arange(len(leaves)) - np.searchsorted(group, group)
    channels = switch_channels(fabric)
    order[channels] = place[fabric.channel_dst[channels]]
    return order
