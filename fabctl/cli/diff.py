"""``fabctl diff``."""

from __future__ import annotations

from typing import Any

import click

from fabctl.cli.common import input_entry, load_source, output_options, write_report
from fabctl.cli.completion import complete_source
from fabctl.errors import ExitCode, UsageError


@click.command()
@click.argument("before", shell_complete=complete_source)
@click.argument("after", shell_complete=complete_source)
@click.option("--strict", is_flag=True, help="Lines not understood and contradictions are errors (exit 3).")
@click.option("--ignore", default="", metavar="A,B", help="Leave out: node, cable, move, rate, lid, name.")
@output_options()
def diff(before: str, after: str, strict: bool, ignore: str, output: dict[str, Any]) -> ExitCode:
    """Show what changed between two fabrics.

    BEFORE and AFTER are anything that discover reads, in formats that may differ; one of them may be -. Exit code 1: something
    changed.

    \b
    Examples:
      fabctl diff baseline.json fabric.txt
      ibnetdiscover | fabctl diff baseline.json - --ignore lid,name
      fabctl diff monday.txt friday.txt -o csv --filter kind=move
    """
    from fabctl.model.diff import compare
    from fabctl.report.diff import diff_report

    if before == after == "-":
        raise UsageError("only one of the two fabrics can come from stdin", hint="save one of them to a file")
    old, new = load_source(before, None, strict=strict), load_source(after, None, strict=strict)
    differences = compare(old.fabric, new.fabric, tuple(filter(None, ignore.split(","))))
    write_report(diff_report(differences, [input_entry(old), input_entry(new)]), output)
    return ExitCode.FINDINGS if differences.changes else ExitCode.DONE
