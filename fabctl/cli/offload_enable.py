"""``fabctl offload enable`` and ``disable``: a plan and, with ``--yes``, its application."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from fabctl.cli.common import output_options
from fabctl.cli.offload_apply import apply_options, apply_plan
from fabctl.cli.offload_layouts import laid_out
from fabctl.cli.offload_plan import Wanted, feature_options, how_to_apply, planned, write_plan
from fabctl.cli.offload_site import SiteOptions, again, make_site, site_options
from fabctl.errors import ExitCode


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        output_options(),
        click.option("--yes", is_flag=True, help="Apply it; without, only the plan is shown."),
        apply_options,
        site_options,
        feature_options,
    ):
        command = decorate(command)
    return command


@click.command()
@_options
def enable(wanted: Wanted, asked: SiteOptions, how: dict[str, Any], yes: bool, output: dict[str, Any]) -> ExitCode:
    """Plan a feature and, with --yes, apply it.

    The same as plan and apply, without a file between them. Exit codes are those of plan and, with --yes, of apply.

    \b
    Examples:
      fabctl offload enable qos --live --driver opensm
      fabctl offload enable qos --live --driver opensm --yes --confirm 10
      fabctl offload enable congestion-control --live --driver mad --switch 'leaf-[1-4]' --yes
    """
    return _switch(wanted, asked, how if yes else None, output, enable=True)


@click.command()
@_options
def disable(wanted: Wanted, asked: SiteOptions, how: dict[str, Any], yes: bool, output: dict[str, Any]) -> ExitCode:
    """Plan to switch a feature off and, with --yes, apply that.

    Switching off is no undo: fabctl offload rollback ID puts back what was there before.

    \b
    Examples:
      fabctl offload disable sharp --live --driver opensm --switch leaf-7
      fabctl offload disable sharp --live --driver opensm --switch leaf-7 --yes --confirm 10
    """
    return _switch(wanted, asked, how if yes else None, output, enable=False)


def _switch(wanted: Wanted, asked: SiteOptions, how: dict[str, Any] | None, output: dict[str, Any], *, enable: bool) -> ExitCode:
    reached = make_site(asked)
    made = planned(reached.site, wanted, enable=enable)
    if how is not None and made.changes:
        return apply_plan(made, reached.site, how, output)
    verb = "enable" if enable else "disable"
    command = ["fabctl", "offload", verb, *wanted.words, *again(asked), "--yes", *how_to_apply(made)]
    layout = laid_out(reached, wanted) if enable else None
    return write_plan(made, reached, output, layout=layout, next_step=[shlex.join(command)])
