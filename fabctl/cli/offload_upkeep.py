"""``fabctl offload recover``, ``drift`` and ``history``: what the journal knows of all operations."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import output_options, say, write_report
from fabctl.errors import ExitCode


@click.command()
@output_options()
def recover(output: dict[str, Any]) -> None:
    """Finish or undo what was cut off.

    An operation whose fabctl died is named with how far it had come; it is finished if everything holds, else its old values are
    put back. One that waits to be confirmed goes on waiting. Exit code 8: an old value could not be put back.

    \b
    Examples:
      fabctl offload recover
    """
    from fabctl.offload.journal import Journal
    from fabctl.offload.recover import recover as recover_all
    from fabctl.offload.state import state_folder
    from fabctl.report.offload_operation import recovery_report

    with Journal(state_folder()) as journal:
        recovered = recover_all(None, journal, say)
    write_report(recovery_report(recovered), output)


@click.command()
@output_options()
def drift(output: dict[str, Any]) -> ExitCode:
    """Show what is no longer as fabctl left it.

    Every place that the operations in force wrote is compared, and every value that they read back is read from the hardware
    again, on the fabric of the newest operation. Exit code 1: something has drifted; 5: something could not be read.

    \b
    Examples:
      fabctl offload drift
      fabctl offload drift -o json
    """
    from fabctl.offload.drift import drift as find_drift
    from fabctl.offload.journal import Journal
    from fabctl.offload.state import state_folder
    from fabctl.report.offload_drift import drift_report

    with Journal(state_folder()) as journal:
        found = find_drift(None, journal)
    write_report(drift_report(found), output)
    return ExitCode.FINDINGS if found.drifted else ExitCode.PARTIAL if found.unread else ExitCode.DONE


@click.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@output_options()
def history(number: int | None, output: dict[str, Any]) -> None:
    """Show what was applied, and the evidence of one operation.

    \b
    Examples:
      fabctl offload history
      fabctl offload history 3 -o wide
    """
    from fabctl.offload.history import operation_of, operations
    from fabctl.offload.journal import Journal
    from fabctl.offload.state import state_folder
    from fabctl.report.offload_operation import history_report, operation_report

    with Journal(state_folder()) as journal:
        report = history_report(operations(journal)) if number is None else operation_report(operation_of(journal, number))
    write_report(report, output)
