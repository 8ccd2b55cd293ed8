"""Run an engine by name, and judge any tables: the library calls behind ``fabctl route`` and ``fabctl bench``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabctl.congestion.explain import hottest_cables, hottest_of_alltoall
from fabctl.congestion.quality import score
from fabctl.errors import InputError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.flows import Flows
from fabctl.model.lids import refuse_duplicate_lids, with_lids
from fabctl.model.routes import Assessment, HotCable
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing import ENGINES, EngineEntry
from fabctl.routing.options import DEFAULTS, Options
from fabctl.routing.verify import verify


def compute_tables(fabric: Fabric, engine: str, options: Options = DEFAULTS) -> RoutingTables:
    """Route a fabric.

    Ports without a LID get one first, as a subnet manager would give it; the tables' notes say how many. Port and channel
    indices of ``tables.fabric`` are those of `fabric`.

    Raises
    ------
    UsageError
        If no engine has that name, or it does not honour an option given.
    InputError
        If there is nothing to route, or a LID is claimed twice.
    RefusedError
        If the engine cannot route this fabric.
    """
    route = ENGINES.load(engine)
    refuse_unknown_options(engine, options)
    if not fabric.n_switches:
        raise InputError("this fabric has no switches: there is nothing to route", hint="was the discovery cut short?")
    addressed, given = with_lids(fabric)
    tables: RoutingTables = route(addressed, options)
    if not given:
        return tables
    note = f"{given} ports had no LID; fabctl gave them free ones, the subnet manager may choose others"
    return replace(tables, notes=(*tables.notes, note))


def refuse_unknown_options(engine: str, options: Options) -> None:
    """Raise `UsageError` naming an option that the engine does not honour."""
    entry = ENGINES.entries.get(engine)
    honoured = entry.options if isinstance(entry, EngineEntry) else options.given()
    for name in options.given():
        if name not in honoured:
            who = ", ".join(
                other for other, row in ENGINES.entries.items() if isinstance(row, EngineEntry) and name in row.options
            )
            raise UsageError(f"engine {engine} does not honour --{name}", hint=f"these do: {who}" if who else "")


def routable(tables: RoutingTables, ports: NDArray[np.int32]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the ports that tables know, and a note on those that they do not."""
    fabric = tables.fabric
    lids = fabric.port_lid[ports]
    known = (lids > 0) & (lids < tables.lft.shape[1])
    known[known] = (tables.lft[:, lids[known]] != NO_ROUTE).any(axis=0)
    if known.all():
        return ports, ()
    first = fabric.port_label(int(ports[~known][0]))
    return ports[known], (f"{int((~known).sum())} HCA ports ({first}, ...) have no LID in these tables and are left out",)


def assess(
    tables: RoutingTables, ports: NDArray[np.int32], traffic: Flows | None = None, *, bisections: int, seed: int, top: int
) -> Assessment:
    """Verify tables and, if they are whole, score them and name the hottest cables.

    Parameters
    ----------
    ports : int32 array of shape (n,)
        HCA ports to score for.
    traffic : Flows, optional
        Flows whose hottest cables are wanted; an all-to-all of `ports` by default.
    bisections, seed : int
        Random bisections for the effective bisection bandwidth, and their seed.
    top : int
        Hottest cables wanted.

    Raises
    ------
    InputError
        If fewer than two ports are routed, or a LID is claimed twice.
    """
    refuse_duplicate_lids(tables.fabric)
    ports, notes = routable(tables, ports)
    if len(ports) < 2:
        raise InputError(f"{len(ports)} HCA ports are routed; traffic needs two", where=tables.origin)
    verification = verify(tables)
    if verification.lost_hca or verification.loop:
        return Assessment(tables, verification, None, (), ports, (*tables.notes, *notes))
    quality = score(tables, ports, bisections=bisections, seed=seed)
    hot: list[HotCable]
    if traffic is None:
        hot = hottest_of_alltoall(tables, ports, quality.alltoall.loads, top=top)
    else:
        hot = hottest_cables(tables, traffic, top=top)
    return Assessment(tables, verification, quality, tuple(hot), ports, (*tables.notes, *notes))
