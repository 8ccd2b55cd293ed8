"""Routes by engine name: fabctl's own engines, and the real OpenSM as ``opensm:NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fabctl.errors import UsageError
from fabctl.routing import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fabctl.model.fabric import Fabric
    from fabctl.model.tables import RoutingTables
    from fabctl.routing.options import Options
    from fabctl.traffic.job import JobSpec
    from fabctl.twin.engine import OpenSMRun

DEFAULT_ENGINE = "minhop"
OPENSM = "opensm:"
"""What goes before the name of an engine of the real OpenSM, which is asked on the twin."""


def engine_tables(fabric: Fabric, engine: str, options: Options) -> RoutingTables:
    """Route a fabric by fabctl's engine, or ask OpenSM for ``opensm:NAME``.

    Raises
    ------
    FabctlError
        As `fabctl.routing.compute.compute_tables` and `fabctl.twin.engine.ask_opensm` do.
    """
    if engine.startswith(OPENSM):
        return opensm_run(fabric, engine, options).tables
    from fabctl.routing.compute import compute_tables

    return compute_tables(fabric, engine, options)


def for_jobs(options: Options, engine: str | None, specs: Sequence[JobSpec], fabric: Fabric) -> Options:
    """Return an engine's options, with what the jobs send if it is one that routes by that.

    Raises
    ------
    InputError
        If a job does not fit the fabric.
    """
    if not specs or "job" not in getattr(ENGINES.entries.get(engine or ""), "options", ()):
        return options
    from dataclasses import replace

    from fabctl.traffic.phases import jobs_traffic

    return replace(options, traffic=jobs_traffic(specs, fabric))


def opensm_run(fabric: Fabric, engine: str, options: Options) -> OpenSMRun:
    """Have the real OpenSM route a fabric on the twin."""
    from fabctl.twin.engine import ask_opensm

    return ask_opensm(fabric, engine.removeprefix(OPENSM), options)


def refuse_unknown_engine(engine: str) -> None:
    """Raise `UsageError`, suggesting the nearest, for a name that is neither fabctl's nor begins with ``opensm:``."""
    if not engine.startswith(OPENSM):
        ENGINES.load(engine)
    elif engine == OPENSM:
        raise UsageError("opensm: wants the name of one of OpenSM's engines", hint="--engine opensm:minhop")


def engine_rows() -> list[dict[str, Any]]:
    """Return what each registered engine promises and honours, sites' own engines included."""
    from importlib.metadata import entry_points

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "summary": entry.summary,
            "deadlock": getattr(entry, "deadlock", None),
            "options": list(getattr(entry, "options", ())),
        }
        for name, entry in ENGINES.entries.items()
    ]
    own = {row["name"] for row in rows}
    points = [point for point in entry_points(group=ENGINES.group) if point.name not in own]
    return rows + [
        {"name": point.name, "summary": f"a site's own: {point.value}", "deadlock": None, "options": []}
        for point in sorted(points, key=lambda point: point.name)
    ]
