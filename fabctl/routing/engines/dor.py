"""``dor``: dimension-order routing of meshes, tori, hypercubes and HyperX.

Dally and Seitz, IEEE Trans. Computers C-36(5), 1987, on k-ary n-cubes; Ahn et al., HyperX, SC 2009. OpenSM's engine takes
shortest paths, and among these the lowest port, so that dimensions must be cabled to the same ports everywhere; here they are
found from the cabling (see `fabctl.routing.grid`). As OpenSM's does, it routes any fabric, grid or not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.dimension_order import shortest_in_order
from fabctl.routing.grid import find_grid
from fabctl.routing.grid_links import switch_links
from fabctl.routing.options import Options
from fabctl.routing.order import is_whole_tree
from fabctl.routing.parts import refuse_parts
from fabctl.routing.paths import shortest_paths
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def dor(fabric: Fabric, options: Options) -> RoutingTables:
    """Route in dimension order.

    Nothing keeps rings of five and more free of credit loops; ``torus-2QoS`` does. On a fabric that is no grid all shortest paths
    are allowed, unless only those by the lowest ports, which are OpenSM's, are free of credit loops; a note says so.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    """
    refuse_parts(fabric)
    try:
        grid = find_grid(fabric)
    except RefusedError as error:
        return _no_grid(fabric, options, error.message)
    rings = [size for kind, size in zip(grid.kinds, grid.sizes, strict=True) if kind == "ring"]
    note = f"dimensions: {grid.text}"
    if rings:
        note += "; its rings may close credit loops: --engine torus-2QoS keeps them free with virtual lanes"
    paths = shortest_in_order(fabric, grid.channel_dimension)
    tables = rebalance(assign(fabric, paths, "dor", options), paths, options)
    return replace(tables, notes=(*tables.notes, note))


def _no_grid(fabric: Fabric, options: Options, why: str) -> RoutingTables:
    paths = shortest_paths(fabric)
    tables = rebalance(assign(fabric, paths, "dor", options), paths, options)
    if not is_whole_tree(fabric, fabric.endpoints) and verify(tables).credit_loop:
        ordered = assign(fabric, shortest_in_order(fabric, _lowest_ports(fabric)), "dor", options)
        if not verify(ordered).credit_loop:
            return replace(
                ordered, notes=(*ordered.notes, f"{why}; shortest paths by the lowest ports, as OpenSM's dor takes them")
            )
    return replace(tables, notes=(*tables.notes, f"{why}; shortest paths instead, in no order"))


def _lowest_ports(fabric: Fabric) -> NDArray[np.int16]:
    """Return the lowest port of the cables to the same neighbour, as the dimension of each channel."""
    links = switch_links(fabric)
    port = fabric.port_number[fabric.channel_port[links.channel]]
    lowest = np.full(len(links.src), 255, dtype=np.int16)
    np.minimum.at(lowest, links.of_channel, port.astype(np.int16))
    out = np.full(len(fabric.channel_port), -1, dtype=np.int16)
    out[links.channel] = lowest[links.of_channel]
    return out
