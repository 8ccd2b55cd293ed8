"""A fabric in several parts cannot be routed, whatever the engine."""

from __future__ import annotations

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.routing.grid_links import common_labels
from fabctl.routing.paths import switch_channels


def refuse_parts(fabric: Fabric) -> None:
    """Raise `RefusedError` naming the parts if no cables join all switches with HCAs."""
    channels = switch_channels(fabric)
    src, dst = fabric.channel_src[channels].astype(np.int64), fabric.channel_dst[channels].astype(np.int64)
    part = common_labels(fabric.n_switches, src, dst)
    homes = fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]]
    homes = np.sort(homes[homes < fabric.n_switches])
    parts, first, ports = np.unique(part[homes], return_index=True, return_counts=True)
    if len(parts) < 2:
        return
    smallest = int(np.argmin(ports))
    name = fabric.labels[int(homes[first[smallest]])]
    if np.count_nonzero(part == parts[smallest]) == 1:
        why = f"{name} has {ports[smallest]} HCAs and no cable to another switch"
    else:
        other = fabric.labels[int(homes[first[smallest - 1]])]
        why = f"no path joins {name} and {other}"
    raise RefusedError(f"the fabric is in parts: {why}", hint="fabctl discover names the parts")
