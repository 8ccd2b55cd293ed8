"""Entry point: lazy commands from one static table, and the only place that turns errors into exit codes.

Nothing heavy is imported here: ``--help``, ``--version`` and TAB must stay fast (a test looks at ``sys.modules``).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import click

from fabctl import __version__
from fabctl.cli.lazy import LazyGroup
from fabctl.errors import ExitCode, FabctlError, UsageError
from fabctl.printable import LINES, printable
from fabctl.registry import Entry, Registry

PROGRAM = "fabctl"
COMPLETION = "_FABCTL_COMPLETE"
"""Variable in which the completion scripts say what they want (click's own name for it)."""

COMMANDS = Registry(
    "command",
    {
        "discover": Entry("fabctl.cli.discover:discover", "Show what a fabric is: tiers, hosts, rails, speeds, health."),
        "diff": Entry("fabctl.cli.diff:diff", "Show what changed between two fabrics."),
        "route": Entry("fabctl.cli.route:route", "Compute or read routes; prove them safe; score them."),
        "bench": Entry("fabctl.cli.bench:bench", "Predict what a job's collectives will reach on these routes."),
        "job": Entry("fabctl.cli.job:job", "Show what jobs send and how they fare together; place them."),
        "explain": Entry("fabctl.cli.explain:explain", "Name the cable that binds two hosts, who is on it, and what helps."),
        "offload": Entry("fabctl.cli.offload:offload", "Switch offloads on safely: plan, apply, verify, undo."),
        "twin": Entry("fabctl.cli.twin:twin", "Run real tools and whole runbooks on a digital twin of a fabric."),
        "help": Entry("fabctl.cli.help:help_topic", "Explain exit codes, formats, environment, job files, offloads."),
    },
)


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Open the InfiniBand fabric of an AI cluster: what it is, how it routes, what a job will reach on it.

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

    Notes
    -----
    click's own ``main`` is not used: it turns Ctrl-C, a broken pipe and ``EOFError`` into code 1, which means findings here.
    """
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        _discard(sys.stderr)
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        _discard(sys.stdout)
        _complain(f"stdout: {error.strerror}")
        return ExitCode.INPUT
    return code


def _run(arguments: list[str]) -> int:
    try:
        result = _dispatch(arguments)
    except FabctlError as error:
        _complain(str(error))
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        _complain(f"{error.format_message()}\n  hint: {context.command_path if context else PROGRAM} --help")
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("FABCTL_DEBUG"):
            raise
        if isinstance(error, OSError) and error.strerror:
            _complain(f"{error.filename or 'stdout'}: {error.strerror}")
            return ExitCode.INPUT
        _complain(f"internal error: {type(error).__name__}: {error}\n  hint: FABCTL_DEBUG=1 shows where; please report it")
        return ExitCode.INTERNAL
    return result if isinstance(result, int) else ExitCode.DONE


def _dispatch(arguments: list[str]) -> Any:
    instruction = os.environ.get(COMPLETION)
    if not instruction:
        with cli.make_context(PROGRAM, arguments) as context:
            return cli.invoke(context)
    from click.shell_completion import shell_complete

    if shell_complete(cli, {}, PROGRAM, COMPLETION, instruction):
        raise UsageError(f"{COMPLETION}={instruction} is not understood", hint="known: bash_source, zsh_source, fish_source")
    return ExitCode.DONE


def _complain(message: str) -> None:
    try:
        click.echo(f"fabctl: {printable(message, keep=LINES)}", err=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let what `stream` still holds go to /dev/null, so that the interpreter's own flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Put /dev/null where the caller closed a standard stream, so that no file of ours takes its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, mode))


def run() -> None:
    """Console script: run and exit."""
    _open_closed_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
