"""``fabctl discover``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fabctl.cli.common import (
    check_report,
    findings_code,
    input_entry,
    load_source,
    output_options,
    source_options,
    write_report,
    write_text,
)
from fabctl.errors import ExitCode, UsageError
from fabctl.report.exports import EXPORTS

if TYPE_CHECKING:
    from fabctl.sources.reading import LoadedFabric


@click.command()
@source_options
@click.option("--live", is_flag=True, help="Read the fabric that this machine is on, with its ibnetdiscover.")
@click.option("--links", is_flag=True, help="List cables instead: both ends, lanes, speed, data rate.")
@click.option(
    "--save", type=click.Path(), metavar="FILE", help="Also write the fabric to FILE, a snapshot that all commands take."
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="Exit 1 if there are findings of this severity or worse.",
)
@output_options(*EXPORTS.names())
def discover(
    source: str | None,
    source_format: str | None,
    strict: bool,
    live: bool,
    links: bool,
    save: str | None,
    fail_on: str,
    output: dict[str, Any],
) -> ExitCode:
    """Show what a fabric is: tiers, hosts, rails, speeds, health.

    SOURCE is a saved discovery in any of the formats fabctl reads, the name of a topology, or - for stdin.
    Exit code 1: findings, see --fail-on. Exit code 5: the discovery itself was incomplete.

    \b
    Examples:
      fabctl discover fabric.txt
      fabctl discover --live --save fabric.json
      fabctl discover fabric.txt -o csv --filter tier=leaf --filter 'links<40'
      fabctl discover fabric.txt -o slurm-topology-conf --out topology.conf
    """
    from fabctl.model.health import check_health
    from fabctl.report.fabric import fabric_report, links_report

    export = output["output_format"] if output["output_format"] in EXPORTS.entries else None
    if links and export:
        raise UsageError(f"--links lists cables; -o {export} writes the whole fabric", hint="leave one of them out")
    loaded = _read_live(source, strict=strict) if live else load_source(source, source_format, strict=strict)
    if save:
        from fabctl.atomic import write_atomic
        from fabctl.model.snapshot import dump_snapshot

        write_atomic(save, dump_snapshot(loaded.fabric))
    findings = check_health(loaded.fabric, loaded.report)
    inputs = [input_entry(loaded)]
    if export:
        write_text(EXPORTS.load(export)(loaded.fabric), output["out"])
    elif links:
        write_report(links_report(loaded.fabric, inputs), output)
    else:
        write_report(fabric_report(loaded.fabric, loaded.report, findings, inputs), output)
    return ExitCode.PARTIAL if loaded.report.tool_messages else findings_code(findings, fail_on)


def _read_live(source: str | None, *, strict: bool) -> LoadedFabric:
    from fabctl.sources.live import discover_live

    if source is not None:
        raise UsageError(f"--live reads this machine's fabric, not {source}", hint="leave one of them out")
    loaded = discover_live()
    check_report(loaded, strict=strict)
    return loaded
