"""A command that stands for itself and for a few subcommands: ``fabctl route SOURCE`` and ``fabctl route compare SOURCE``."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from fabctl.registry import Registry


class CommandWithSubcommands(click.Command):
    """A command whose first argument may name a subcommand of its own options; these are imported when they run.

    Parameters
    ----------
    subcommands : Registry
        A file of the same name is still a SOURCE as ``./NAME``.
    """

    def __init__(self, *args: Any, subcommands: Registry, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommands = subcommands

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the subcommand's context where one is named first, else this command's own."""
        if args and args[0] in self.subcommands.entries:
            command: click.Command = self.subcommands.load(args[0])
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the subcommands, which are not imported for that."""
        super().format_options(ctx, formatter)
        if not self.subcommands.entries:
            return
        with formatter.section("Subcommands"):
            formatter.write_dl(
                [(f"{ctx.command_path} {name}", entry.summary) for name, entry in self.subcommands.entries.items()]
            )

    def complete_subcommand(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the subcommands that begin so; none after an option or an argument."""
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
            return []
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.subcommands.entries.items()
            if name.startswith(incomplete)
        ]
