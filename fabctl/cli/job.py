"""``fabctl job``: what jobs send, how they fare beside each other, and where they should run."""

from __future__ import annotations

import click

from fabctl.cli.lazy import LazyGroup
from fabctl.registry import Entry, Registry

SUBCOMMANDS = Registry(
    "subcommand",
    {
        "show": Entry("fabctl.cli.job_show:show", "Show what jobs send: phases, groups, bytes and, on routes, times."),
        "place": Entry("fabctl.cli.job_place:place", "Choose a job's hosts and their order."),
        "slowdown": Entry("fabctl.cli.job_slowdown:slowdown", "Show how much jobs slow each other down."),
    },
)


@click.group(cls=LazyGroup, table=SUBCOMMANDS)
def job() -> None:
    """Show what jobs send and how they fare together; place them.

    \b
    Examples:
      fabctl job show job.yaml
      fabctl job show job.yaml other.yaml
    """
