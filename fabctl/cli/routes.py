"""Routes by engine name: fabctl's own engines, and the real OpenSM as ``opensm:NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import Command
from fabctl.cli.completion import complete_names
from fabctl.errors import UsageError
from fabctl.routing import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fabctl.model.fabric import Fabric
    from fabctl.model.tables import RoutingTables
    from fabctl.routing.options import Options
    from fabctl.traffic.job import JobSpec
    from fabctl.twin.engine import OpenSMRun

DEFAULT_ENGINE = "minhop"
OPENSM = "opensm:"
"""What goes before the name of an engine of the real OpenSM, which is asked on the twin."""
DEFAULT_REMARK = (
    f"(computed by fabctl: OpenSM's {DEFAULT_ENGINE} chooses otherwise among equal paths; --tables takes what the switches hold)"
)


_ASSUME_SPEED = click.option("--assume-speed", metavar="4xHDR", help="Link speed of cables whose own is unknown.")


def route_options(default: str = DEFAULT_ENGINE) -> Callable[[Command], Command]:
    """Add ``--engine NAME``, ``--tables FILE`` and ``--assume-speed``, for one set of routes (`chosen_tables`)."""
    names = f"{', '.join(ENGINES.names())}; {OPENSM}NAME asks the real OpenSM."

    def add(command: Command) -> Command:
        for decorate in (
            _ASSUME_SPEED,
            click.option(
                "--tables", "tables_path", metavar="FILE", help="Real tables: dump_fts, dump_lfts, opensm-lfts.dump, opensm.fdbs."
            ),
            click.option(
                "--engine",
                metavar="NAME",
                shell_complete=complete_names(ENGINES),
                help=f"Compute routes: {names}  [default: {default}]",
            ),
        ):
            command = decorate(command)
        return command

    return add


def routes_options(command: Command) -> Command:
    """Add ``--engine A,B``, ``--tables FILE`` and ``--assume-speed``, for several sets of routes side by side."""
    for decorate in (
        _ASSUME_SPEED,
        click.option(
            "--tables",
            "tables_paths",
            multiple=True,
            metavar="FILE",
            help="Real tables (dump_fts, dump_lfts), beside any --engine.",
        ),
        click.option(
            "--engine",
            "engine_names",
            metavar="A,B",
            shell_complete=complete_names(ENGINES),
            help=f"Engines to compute routes with: {', '.join(ENGINES.names())}, {OPENSM}NAME.  [default: {DEFAULT_ENGINE}]",
        ),
    ):
        command = decorate(command)
    return command


def refuse_both(engine: str | None, tables_path: str | None) -> None:
    """Raise `UsageError` if ``--engine`` and ``--tables`` are both given, or no engine has that name."""
    if engine and tables_path:
        raise UsageError("--tables excludes --engine")
    if engine:
        refuse_unknown_engine(engine)


def same_fabric(source: str, source_format: str | None, assume_speed: str | None) -> list[str]:
    """Return the options of a command to type next that make the fabric the same."""
    return given_options({"--fabric": source, "--from": source_format, "--assume-speed": assume_speed})


def given_options(options: Mapping[str, str | None]) -> list[str]:
    """Return the words of those options that have a value."""
    return [word for option, value in options.items() if value for word in (option, value)]


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


def chosen_tables(fabric: Fabric, engine: str | None, tables_path: str | None, options: Options) -> RoutingTables:
    """Return the real tables of a file, else the routes of an engine; by default those of `DEFAULT_ENGINE`."""
    if tables_path is None:
        return engine_tables(fabric, engine or DEFAULT_ENGINE, options)
    from fabctl.sources.reading import load_tables

    return load_tables(tables_path, fabric)


def named_engines(names: str | None, tables_paths: Sequence[str]) -> tuple[str, ...]:
    """Return the engines of ``--engine``; `DEFAULT_ENGINE` where neither that nor tables are given.

    Raises
    ------
    UsageError
        For an engine that does not exist.
    """
    if names is None:
        return () if tables_paths else (DEFAULT_ENGINE,)
    engines = split_names(names, "--engine")
    for engine in engines:
        refuse_unknown_engine(engine)
    return engines


def split_names(names: str, option: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once; none at all is a usage error."""
    parts = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not parts:
        raise UsageError(f"{option} names nothing")
    return parts


def route_remarks(routes: Sequence[RoutingTables], *, by_default: bool, assume_speed: str | None) -> list[str]:
    """Return lines for people about how a command came to its routes."""
    remarks = [DEFAULT_REMARK] if by_default else []
    for tables in routes:
        remarks += [note if note.startswith(f"{tables.origin}:") else f"{tables.origin}: {note}" for note in tables.notes]
    return remarks + ([f"cables of unknown rate count as {assume_speed}"] if assume_speed else [])


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
