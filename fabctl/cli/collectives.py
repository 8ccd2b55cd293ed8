"""``--collective``: which collectives a command predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fabctl.cli.completion import complete_names
from fabctl.cli.routes import split_names
from fabctl.traffic.collectives import COLLECTIVES

if TYPE_CHECKING:
    from fabctl.cli.common import Command
    from fabctl.traffic.collective import Collective
    from fabctl.traffic.job import JobSpec


def collective_option(command: Command) -> Command:
    """Add ``--collective`` as ``collective_names``."""
    return click.option(
        "--collective",
        "collective_names",
        metavar="A,B|all",
        shell_complete=complete_names(COLLECTIVES),
        help=f"Collectives, in place of the job's: {', '.join(COLLECTIVES.names())}.",
    )(command)


def named_collectives(spec: JobSpec, names: str | None) -> tuple[str, ...]:
    """Return the names of the collectives that are asked for, else of the job's.

    Raises
    ------
    UsageError
        For one that does not exist.
    """
    if names is None:
        return spec.collectives
    chosen = tuple(COLLECTIVES.names()) if names == "all" else split_names(names, "--collective")
    for name in chosen:
        COLLECTIVES.load(name)
    return chosen


def chosen_collectives(spec: JobSpec, names: str | None) -> list[Collective]:
    """Return what `named_collectives` names; the job's pattern, as one, where it has one and nothing is asked for."""
    from fabctl.traffic.patterns import as_collective

    if names is None and spec.pattern:
        return [as_collective(spec)]
    return [COLLECTIVES.load(name) for name in named_collectives(spec, names)]
