"""``torus-2QoS``: dimension order on tori and meshes, kept free of credit loops by virtual lanes.

Dally and Seitz, IEEE Trans. Computers C-36(5), 1987, on k-ary n-cubes; OpenSM's manual page torus-2QoS(8) for what becomes of
missing cables and switches. Like OpenSM's, a path takes the other way round a broken ring, and turns early where a switch is
missing at its corner. Unlike OpenSM's it needs no configuration (see `fabctl.routing.grid`) and keeps its virtual lane from end
to end: OpenSM's changes lanes at turns by SL2VL tables per port, which nobody can install through its file engine. So d rings
take up to 2^d lanes for one QoS level here, where OpenSM's take 2 lanes per level.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.assign import assign
from fabctl.routing.datelines import with_datelines
from fabctl.routing.dimension_order import strict_order
from fabctl.routing.grid import Grid, find_grid
from fabctl.routing.layers import assign_layers
from fabctl.routing.options import Options
from fabctl.routing.parts import refuse_parts
from fabctl.routing.rebalance import rebalance
from fabctl.routing.verify import verify


def torus_2qos(fabric: Fabric, options: Options) -> RoutingTables:
    """Route a torus or a mesh.

    Raises
    ------
    RefusedError
        If the fabric is none, or has more virtual lanes to ask for than are allowed.
    """
    refuse_parts(fabric)
    grid = find_grid(fabric)
    wide = [size for kind, size in zip(grid.kinds, grid.sizes, strict=True) if kind == "full" and size > 3]
    if wide:
        raise RefusedError(
            f"torus-2QoS needs a torus or a mesh: {grid.text} joins {wide[0]} switches all to all", hint="--engine dor routes it"
        )
    paths = strict_order(fabric, grid)
    plain = rebalance(assign(fabric, paths, "torus-2QoS", options), paths, options)
    tables = _in_lanes(plain, grid, options.max_vls)
    faults = f"; {grid.missing} places have no switch" if grid.missing else ""
    return replace(tables, notes=(*tables.notes, f"dimensions: {grid.text}{faults}"))


def _in_lanes(plain: RoutingTables, grid: Grid, max_vls: int) -> RoutingTables:
    """Return the tables with datelines, or with layers where these need fewer lanes, or datelines leave a credit loop."""
    tables = with_datelines(plain, grid)
    if tables.n_vls > max_vls or verify(tables).credit_loop:
        return assign_layers(plain, max_vls)
    if tables.n_vls > 2:
        with suppress(RefusedError):
            return assign_layers(plain, tables.n_vls - 1)
    return tables
