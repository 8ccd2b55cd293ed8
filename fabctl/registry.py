"""A registry is one table that is read without importing what it names.

Adding a source, an engine, a collective or a report is one file and one line in the table of its package's ``__init__``.
Sites add their own through an entry-point group.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from fabctl.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """One registered thing: where it lives and what it is in one line."""

    target: str  # "package.module:attribute"
    summary: str


@dataclass(frozen=True)
class Registry:
    """Names to implementations of one kind.

    Parameters
    ----------
    kind : str
        What the entries are, for messages (``engine``, ``source`` ...).
    entries : dict of str to Entry
        The built-in table.
    group : str
        Entry-point group in which other packages register more.
    """

    kind: str
    entries: dict[str, Entry] = field(default_factory=dict)
    group: str = ""

    def names(self) -> list[str]:
        """Return the built-in names, sorted as the table lists them."""
        return list(self.entries)

    def load(self, name: str) -> Any:
        """Import and return the implementation called `name`.

        Raises
        ------
        UsageError
            If no entry has that name; the message suggests the nearest.
        """
        entry = self.entries.get(name)
        if entry is not None:
            module, _, attribute = entry.target.partition(":")
            return getattr(import_module(module), attribute)
        if self.group:
            from importlib.metadata import entry_points

            for point in entry_points(group=self.group, name=name):
                return point.load()
        near = get_close_matches(name, self.entries, n=1)
        known = ", ".join(self.entries)
        hint = f"did you mean '{near[0]}'? known: {known}" if near else f"known: {known}"
        raise UsageError(f"unknown {self.kind} '{name}'", hint=hint)
