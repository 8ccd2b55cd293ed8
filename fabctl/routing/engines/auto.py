"""``auto``: the engine that fits the structure, found from the cabling; the tables say which, and why.

Fat trees go to ``ftree``, whole or not; grids with rings to ``torus-2QoS``, others to ``dor``; Dragonfly+ to ``dfp``. What has no
such structure, or no safe routes there within the virtual lanes, goes to ``dfsssp``, then ``nue``, then ``updn``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing import ENGINES
from fabctl.routing.compute import refuse_unknown_options
from fabctl.routing.grid import find_grid
from fabctl.routing.options import DATA_VLS, Options
from fabctl.routing.parts import refuse_parts
from fabctl.routing.verify import verify


def auto(fabric: Fabric, options: Options) -> RoutingTables:
    """Route with the first engine, in the order above, whose routes are free of credit loops.

    Raises
    ------
    RefusedError
        If the fabric is in several parts.
    UsageError
        If the engine does not honour an option given; a limit of virtual lanes is kept by all.
    """
    refuse_parts(fabric)
    refusals: list[str] = []
    for name, why in _candidates(fabric, refusals):
        route = ENGINES.load(name)
        try:
            tables: RoutingTables = route(fabric, options)
        except RefusedError as error:
            refusals.append(error.message.partition(":")[0])
            continue
        if name == "dor" and verify(tables).credit_loop:
            refusals.append("dor would leave a credit loop here")
            continue
        refuse_unknown_options(name, replace(options, max_vls=DATA_VLS))
        return replace(tables, notes=(*tables.notes, f"auto: {name}, as {why or '; '.join(refusals)}"))
    raise RefusedError(f"no engine routes this fabric: {'; '.join(refusals)}", hint="--engine minhop routes any fabric")


def _candidates(fabric: Fabric, refusals: list[str]) -> Iterator[tuple[str, str]]:
    """Yield engines that exist, and the structure that each is for, if any; add to `refusals` what structure there is not."""
    yield "ftree", "this is a fat tree"
    try:
        grid = find_grid(fabric)
    except RefusedError as error:
        refusals.append(error.message.partition(":")[0])
    else:
        if "ring" not in grid.kinds:
            yield "dor", "this is a grid without rings"
        yield "torus-2QoS", "this is a torus or a mesh"
    yield "dfp", "this is a Dragonfly+"
    for name in ("dfsssp", "nue", "updn"):
        if name in ENGINES.entries:
            yield name, ""
