"""Entry point: lazy commands from one static table, and the only place that turns errors into exit codes.

Nothing heavy is imported here: ``--help``, ``--version`` and TAB must stay fast (a test looks at ``sys.modules``).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from fabctl import __version__
from fabctl.errors import ExitCode, FabctlError
from fabctl.registry import Entry, Registry

COMMANDS = Registry(
    "command",
    {
        "discover": Entry("fabctl.cli.discover:discover", "Show what a fabric is: tiers, hosts, rails, speeds, health."),
        "diff": Entry("fabctl.cli.diff:diff", "Show what changed between two fabrics."),
        "route": Entry("fabctl.cli.route:route", "Compute or read routes; prove them safe; score them."),
        "bench": Entry("fabctl.cli.bench:bench", "Predict what a job's collectives will reach on these routes."),
        "help": Entry("fabctl.cli.help:help_topic", "Explain exit codes, formats, environment and job files."),
    },
)


class LazyGroup(click.Group):
    """A group that imports a command only when it runs, and takes its summary from the static table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return COMMANDS.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS.entries:
            return None
        command: click.Command = COMMANDS.load(cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, suggesting the nearest for a typo."""
        name = args[0]
        if name not in COMMANDS.entries and not name.startswith("-"):
            COMMANDS.load(name)  # raises UsageError with a suggestion
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """Complete command names without importing the commands."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.entries.items() if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="fabctl", message="%(prog)s %(version)s")
def cli() -> None:
    r"""Open the InfiniBand fabric of an AI cluster: what it is, how it routes, what a job will reach on it.

    \b
    Examples:
      ibnetdiscover > fabric.txt
      fabctl discover fabric.txt
      fabctl route fabric.txt --engine ftree
      fabctl bench fabric.txt --job job.yaml --engine minhop,ftree
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run fabctl and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; `sys.argv` by default.
    """
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        result = cli.main(args=None if argv is None else list(argv), prog_name="fabctl", standalone_mode=False)
    except FabctlError as error:
        _complain(str(error))
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        _complain(error.format_message())
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("FABCTL_DEBUG"):
            raise
        _complain(f"internal error: {type(error).__name__}: {error}\n  hint: FABCTL_DEBUG=1 shows where; please report it")
        return ExitCode.INTERNAL
    return result if isinstance(result, int) else ExitCode.DONE


def _complain(message: str) -> None:
    click.echo(f"fabctl: {message}", err=True)


def run() -> None:
    """Console script: run and exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
