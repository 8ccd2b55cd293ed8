"""Options that commands share, reading their source, and writing their report."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fabctl.cli.completion import complete_names, complete_source
from fabctl.errors import ExitCode, FabctlError, InputError, UsageError
from fabctl.printable import LINES, printable
from fabctl.sources import SOURCES

if TYPE_CHECKING:
    from fabctl.model.results import Finding
    from fabctl.report.output import Report
    from fabctl.sources.reading import LoadedFabric

Command = TypeVar("Command", bound=Callable[..., Any])

TEXT_FORMATS = ("table", "wide", "json", "jsonl", "yaml", "csv", "name")


def source_options(command: Command) -> Command:
    """Add SOURCE, ``--from`` and ``--strict``."""
    return _read_options(command, click.argument("source", required=False, shell_complete=complete_source))


def fabric_options(*, required: bool = True) -> Callable[[Command], Command]:
    """Add ``--fabric SOURCE``, ``--from`` and ``--strict``."""
    fabric = click.option(
        "--fabric",
        "source",
        metavar="SOURCE",
        required=required,
        shell_complete=complete_source,
        help="The fabric, or a topology.",
    )
    return lambda command: _read_options(command, fabric)


def _read_options(command: Command, source: Callable[[Command], Command]) -> Command:
    for decorate in (
        click.option("--strict", is_flag=True, help="Lines not understood and contradictions are errors (exit 3)."),
        click.option(
            "--from",
            "source_format",
            metavar="NAME",
            help="Format of SOURCE; found by content by default.",
            shell_complete=complete_names(SOURCES),
        ),
        source,
    ):
        command = decorate(command)
    return command


def output_options(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``-o``, ``--out``, ``--columns``, ``--sort-by``, ``--filter`` and ``--no-headers`` as one dict, ``output``."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = _collected(command)
        for decorate in (
            click.option("--no-headers", is_flag=True, help="No headings in tables and CSV."),
            click.option("--filter", "filters", multiple=True, metavar="COND", help="Keep rows: COLUMN=VALUE, !=, <, >, ~REGEX."),
            click.option("--sort-by", metavar="COLUMN", help="Sort rows; -COLUMN sorts downwards."),
            click.option("--columns", metavar="A,B", help="Columns to show, in this order."),
            click.option("--out", type=click.Path(), metavar="FILE", help="Write to FILE, whole or not at all; - is stdout."),
            click.option(
                "-o",
                "--output",
                "output_format",
                type=click.Choice([*TEXT_FORMATS, *formats]),
                default="table",
                show_default=True,
                metavar="FORMAT",
                help=f"One of {', '.join([*TEXT_FORMATS, *formats])}.",
            ),
        ):
            command = decorate(command)
        return command

    return add


def load_source(source: str | None, source_format: str | None, *, strict: bool = False) -> LoadedFabric:
    """Read SOURCE and say on stderr what was not understood.

    Raises
    ------
    UsageError
        Without a source.
    InputError
        If the source cannot be read, or is not understood whole and `strict` is set.
    """
    from fabctl.sources.reading import load_fabric

    if source is None:
        raise UsageError("no SOURCE", hint="give a file (ibnetdiscover > fabric.txt), - for stdin, or --live")
    loaded = load_fabric(topology_path(source), source_format)
    check_report(loaded, strict=strict)
    return loaded


def refuse_two_stdins(source: str | None, job_paths: Sequence[str]) -> None:
    """Raise `UsageError` if more than one of a fabric and job files is ``-``."""
    if (source, *job_paths).count("-") > 1:
        raise UsageError("only one of the fabric and the jobs can be stdin")


def topology_path(source: str) -> str:
    """Return a file's path, or that of the shipped topology of that name."""
    if source == "-" or Path(source).exists() or "/" in source or "." in source:
        return source
    for folder in topology_folders():
        candidate = folder / f"{source}.yaml"
        if candidate.exists():
            return str(candidate)
    return source


def topology_folders() -> list[Path]:
    """Return where shipped and site topologies lie: ``FABCTL_TOPOLOGY_PATH``, the package, the checkout."""
    package = Path(__file__).resolve().parent.parent
    site = [Path(entry) for entry in os.environ.get("FABCTL_TOPOLOGY_PATH", "").split(":") if entry]
    return [*site, package / "topologies", package.parent / "topologies"]


def check_report(loaded: LoadedFabric, *, strict: bool) -> None:
    """Print what a parse did not understand; with `strict`, raise."""
    report = loaded.report
    kinds = (
        (report.unknown, "lines not understood"),
        (report.tool_messages, "errors of the discovery tool: the discovery is incomplete"),
        (report.undeclared, "peers without a record of their own"),
        (report.one_sided, "links listed by one end only"),
        (report.disagreements, "links or ports whose records disagree"),
        (report.duplicates, "nodes with more than one record"),
    )
    for remarks, what in kinds:
        if not remarks:
            continue
        first = remarks[0]
        place = f"{report.path}:{first.line}"
        if strict:
            raise InputError(
                f"{len(remarks)} {what}; the first: {first.text}", where=place, hint="without --strict this is a warning"
            )
        say(f"warning: {len(remarks)} {what}; the first at {place}: {first.text}")
    for note in report.notes:
        say(f"note: {note}")


def say(line: str) -> None:
    """Tell people something beside the data: a line on stderr."""
    click.echo(f"fabctl: {printable(line, keep=LINES)}", err=True)


def input_entry(loaded: LoadedFabric) -> dict[str, Any]:
    """Return a source's line in the envelope's ``inputs``."""
    return {"path": loaded.report.path, "sha256": loaded.sha256, "parser": loaded.report.source}


def write_report(report: Report, options: dict[str, Any]) -> None:
    """Render a report as the output options say, to stdout or a file."""
    from fabctl.report.output import Style, render

    style = Style(
        headers=not options["no_headers"],
        columns=tuple(filter(None, (options["columns"] or "").split(","))),
        sort_by=options["sort_by"] or "",
        filters=tuple(options["filters"]),
        rich=options["out"] is None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb",
        width=_width(),
    )
    fmt = options["output_format"]
    text = render(report, fmt, style)
    if fmt != "json":
        for warning in report.warnings:
            say(f"warning: {warning}")
    write_text(text, options["out"])
    options["written"] = True


def write_text(text: str, out: str | None) -> None:
    """Write text to stdout, or to a file whole or not at all."""
    if out is None or out == "-":
        sys.stdout.write(text)
    else:
        from fabctl.atomic import write_atomic

        write_atomic(out, text)


def exit_code(report: Report) -> ExitCode:
    """Return 1 if any finding is an error, else 0."""
    return findings_code(report.findings)


def findings_code(findings: Sequence[Finding], fail_on: str = "error") -> ExitCode:
    """Return 1 if any finding is as grave as `fail_on` (``error``, ``warning``, or ``never``), else 0."""
    grave = {"error": {"error"}, "warning": {"error", "warning"}, "never": set()}[fail_on]
    return ExitCode.FINDINGS if any(finding.severity in grave for finding in findings) else ExitCode.DONE


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((120, 24)).columns


def _collected(command: Callable[..., Any]) -> Callable[..., Any]:
    names = ("output_format", "out", "columns", "sort_by", "filters", "no_headers")

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        output = {name: kwargs.pop(name) for name in names}
        try:
            return command(*args, output=output, **kwargs)
        except FabctlError as error:
            if output["output_format"] == "json" and output["out"] in (None, "-") and not output.get("written"):
                from fabctl.report.output import failure

                write_text(failure(str(error)), None)
            raise

    return wrapped
