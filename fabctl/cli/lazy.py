"""A group of commands that is read from a table: a command is imported only when it runs."""

from __future__ import annotations

from typing import Any

import click

from fabctl.registry import Registry


class LazyGroup(click.Group):
    """A group that imports a command only when it runs, and takes its summary from the table.

    Parameters
    ----------
    table : Registry
        The commands.
    """

    def __init__(self, *args: Any, table: Registry, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return self.table.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self.table.entries:
            return None
        command: click.Command = self.table.load(cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, suggesting the nearest for a typo."""
        name = args[0]
        if name not in self.table.entries and not name.startswith("-"):
            self.table.load(name)  # raises UsageError with a suggestion
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.table.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        """Complete command names without importing the commands."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=entry.summary) for name, entry in self.table.entries.items() if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)
