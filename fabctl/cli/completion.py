"""What TAB offers for arguments: registered names, topologies and files. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fabctl.registry import Registry

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

Completer = Callable[["click.Context", "click.Parameter", str], "list[CompletionItem]"]


def complete_names(registry: Registry) -> Completer:
    """Return a completer of a registry's names, for options that take one name or several separated by commas."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [
            CompletionItem(before + comma + name, help=entry.summary)
            for name, entry in registry.entries.items()
            if name.startswith(last) and name not in taken
        ]

    return complete


def complete_source(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete SOURCE: names of topologies with the files beside them, or files alone where no topology's name fits.

    Subcommands come first, where the command has some and nothing stands before.

    Notes
    -----
    The shell itself completes files, following folders, when it is asked to complete nothing else; bash cannot do both
    at once.
    """
    from click.shell_completion import CompletionItem

    from fabctl.cli.common import topology_folders
    from fabctl.cli.subcommands import CommandWithSubcommands

    command = context.command
    items = command.complete_subcommand(context, incomplete) if isinstance(command, CommandWithSubcommands) else []
    names = {path.stem for folder in topology_folders() for path in folder.glob("*.yaml") if path.stem.startswith(incomplete)}
    if not names:
        return items or [CompletionItem(incomplete, type="file")]
    files = {path.name for path in Path().glob(f"{escape(incomplete)}*") if not path.name.startswith(".")}
    return items + [CompletionItem(name) for name in sorted(names | files)]
