"""``fabctl offload verify``, ``confirm`` and ``rollback``: one operation, by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import output_options, say, write_report
from fabctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabctl.model.operation import Operation
    from fabctl.offload.journal import Journal

_number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


@click.command()
@_number
@output_options()
def verify(number: int, output: dict[str, Any]) -> ExitCode:
    """Read an operation's values back from the hardware again.

    What is read is kept in the journal as evidence; -o wide shows it. Exit code 1: something is not as planned.

    \b
    Examples:
      fabctl offload verify 3
      fabctl offload verify 3 -o wide
    """
    from fabctl.offload.verify import verify as verify_operation

    operation = _told(lambda journal: verify_operation(number, None, journal, say), output)
    return ExitCode.DONE if operation.holds else ExitCode.FINDINGS


@click.command()
@_number
@output_options()
def confirm(number: int, output: dict[str, Any]) -> None:
    """Keep what was applied with --confirm.

    Exit code 6: it does not wait to be confirmed, or its time is up; 9: the old values are coming back.

    \b
    Examples:
      fabctl offload confirm 3
    """
    from fabctl.offload.confirm import confirm as confirm_operation

    _told(lambda journal: confirm_operation(number, journal), output)


@click.command()
@_number
@click.option("--overwrite", is_flag=True, help="Also values that somebody else has written since.")
@output_options()
def rollback(number: int, overwrite: bool, output: dict[str, Any]) -> None:
    """Put the old values of an operation back.

    Each old value is written explicitly and read back: switching a feature off would not undo it. Exit code 6: a later operation,
    or somebody else, has written there since; 8: an old value could not be put back.

    \b
    Examples:
      fabctl offload rollback 3
    """
    from fabctl.offload.rollback import rollback as roll_back

    _told(lambda journal: roll_back(number, None, journal, say, overwrite=overwrite), output)


def _told(act: Callable[[Journal], Operation], output: dict[str, Any]) -> Operation:
    """Do something with the journal, and write the report of the operation that comes of it."""
    from fabctl.offload.journal import Journal
    from fabctl.offload.state import state_folder
    from fabctl.report.offload_operation import operation_report

    with Journal(state_folder()) as journal:
        operation = act(journal)
    write_report(operation_report(operation), output)
    return operation
