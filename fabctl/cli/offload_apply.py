"""``fabctl offload apply``: a saved plan, put into force and read back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import output_options, say, write_report
from fabctl.errors import ExitCode

if TYPE_CHECKING:
    from fabctl.model.offload_plan import Plan
    from fabctl.offload.site import Site


def apply_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--confirm``, ``--canary``, ``--batch``, ``--max-failures`` and ``--allow-disruptive`` as one dict, ``how``."""
    names = ("confirm_minutes", "canary", "batch", "max_failures", "allow_disruptive")

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, how={name: kwargs.pop(name) for name in names}, **kwargs)

    decorated: Callable[..., Any] = wrapped
    for decorate in (
        click.option("--allow-disruptive", is_flag=True, help="The subnet manager may restart, switches may reboot."),
        click.option(
            "--max-failures",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Switches that may be left as they were; one more, and all is taken back.",
        ),
        click.option(
            "--batch", type=click.IntRange(min=0), default=0, help="Switches written and read back together.  [default: all]"
        ),
        click.option("--canary", metavar="NODESET", default="", help="Switches that go first; if one fails, all is taken back."),
        click.option(
            "--confirm",
            "confirm_minutes",
            type=click.FloatRange(min=0, min_open=True),
            metavar="MINUTES",
            help="The old values come back after that, unless you confirm; even if fabctl and the terminal are gone.",
        ),
    ):
        decorated = decorate(decorated)
    return decorated


@click.command()
@click.argument("plan_path", metavar="PLAN", type=click.Path())
@apply_options
@output_options()
def apply(plan_path: str, how: dict[str, Any], output: dict[str, Any]) -> ExitCode:
    """Apply a saved plan, read it back, undo it if it does not hold.

    Applying it again says 0 to change. Exit code 5: some switches were left as they were (--max-failures); 6: the plan is stale,
    edited, of another fabric or disruptive, or an operation is unfinished, and nothing was written; 7: it did not hold, the old
    values are back in force; 8: they could not be put back (fabctl offload recover); 9: somebody else is at work.

    \b
    Examples:
      fabctl offload apply plan.json --confirm 10
      fabctl offload apply plan.json --canary leaf-1 --batch 20 --max-failures 2
    """
    from fabctl.cli.offload_plan import read_plan

    made, site = read_plan(plan_path)
    return apply_plan(made, site, how, output)


def apply_plan(made: Plan, site: Site, how: dict[str, Any], output: dict[str, Any]) -> ExitCode:
    """Apply a plan and write the report of the operation."""
    from fabctl.offload.apply import apply as apply_to
    from fabctl.offload.journal import Journal
    from fabctl.offload.state import state_folder
    from fabctl.report.offload_operation import operation_report

    with Journal(state_folder()) as journal:
        operation = apply_to(made, site, journal, say=say, **how)
    write_report(operation_report(operation), output)
    return ExitCode.PARTIAL if operation.failures else ExitCode.DONE
