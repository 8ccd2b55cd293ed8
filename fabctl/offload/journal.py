"""The journal: what was about to be done, what was done, and what was read back, in SQLite.

It only grows: triggers refuse every update and delete. A step is written down, and on the disk, before it is taken; so whatever
ends fabctl, the journal names what may have been changed and what stood there before.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Plan
from fabctl.model.operation import Reach, Reading, State
from fabctl.model.snapshot import dump_snapshot, load_snapshot
from fabctl.offload.basis import value_digest
from fabctl.offload.events import Entry, Event, Kind
from fabctl.offload.planfile import load_plan, load_reach, plan_id, save_plan
from fabctl.offload.secrets import mask
from fabctl.offload.state import private_file

NAME = "journal.sqlite"
VERSION = 1
BUSY_S = 20.0
"""How long another process may write."""

_TABLES = """
CREATE TABLE text (digest TEXT PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE operation (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, plan_id TEXT NOT NULL, feature TEXT NOT NULL,
    request TEXT NOT NULL, plan TEXT NOT NULL REFERENCES text, fabric_digest TEXT NOT NULL, fabric TEXT NOT NULL REFERENCES text,
    to_change INTEGER NOT NULL, confirm_s REAL);
CREATE TABLE event (
    number INTEGER PRIMARY KEY, operation INTEGER NOT NULL REFERENCES operation, at REAL NOT NULL, kind TEXT NOT NULL,
    stage TEXT NOT NULL, driver TEXT, target TEXT, key TEXT, label TEXT NOT NULL, old TEXT REFERENCES text,
    new TEXT REFERENCES text, words TEXT NOT NULL, deadline REAL);
CREATE INDEX event_of ON event (operation, kind);
"""
_ENTRIES = "SELECT id, at, key, plan_id, feature, request, fabric_digest, to_change, confirm_s FROM operation ORDER BY id"
_TEXTS = "SELECT p.text, f.text FROM operation JOIN text p ON p.digest = plan JOIN text f ON f.digest = fabric WHERE id = ?"
_EVENTS = """
SELECT kind, stage, driver, target, event.key, label, o.text, n.text, words, deadline, at FROM event
LEFT JOIN text o ON o.digest = old LEFT JOIN text n ON n.digest = new
WHERE operation = ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY number
"""
_PLACES = """
SELECT DISTINCT driver, target, key FROM event
WHERE operation = ? AND kind = ? AND driver IS NOT NULL AND number >=
    coalesce((SELECT min(number) FROM event WHERE operation = ? AND kind = 'state' AND stage = ?), 0)
"""
_READINGS = """
SELECT kind, driver, target, event.key, label, o.text, n.text, words FROM event
LEFT JOIN text o ON o.digest = old LEFT JOIN text n ON n.digest = new
WHERE number IN
    (SELECT max(number) FROM event WHERE operation = ? AND kind IN ('read', 'silent') GROUP BY driver, target, key)
ORDER BY number
"""
_ONLY_GROWS = """
CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""


class JournalError(InputError):
    """The journal cannot be read or written."""


class Journal:
    """The journal of a state folder, as a context manager.

    Parameters
    ----------
    folder : Path
        From `fabctl.offload.state.state_folder`.

    Raises
    ------
    JournalError
        If it cannot be read or written: a full disk, no permission, a damaged file.
    RefusedError
        If it is a symlink, others may use it, or a newer fabctl wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.lenient = False
        """Whether a step is taken though it cannot be written down: old values are put back even where the disk is full."""
        self.missed = 0
        """Events that a lenient journal does not hold."""

    def __enter__(self) -> Self:
        os.close(private_file(self.path))
        with self._explained():
            self._base = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._base.close()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._base.close()

    def begin(self, plan: Plan, fabric: Fabric, key: str, reach: Reach, confirm_s: float | None, before: Iterable[Event]) -> int:
        """Write down that a plan is about to be applied, and what the hardware shows before; return the operation's id."""
        digest = fabric.digest
        with self._transaction():
            row = self._base.execute(
                "INSERT INTO operation (at, key, plan_id, feature, request, plan, fabric_digest, fabric, to_change, confirm_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    key,
                    plan_id(plan),
                    _printable(plan.feature),
                    _printable(plan.request),
                    self._keep(save_plan(plan, reach)),
                    digest,
                    self._keep(dump_snapshot(fabric)),
                    len({change.place for change in plan.changes}),
                    confirm_s,
                ),
            )
            number = int(row.lastrowid or 0)
            for event in [Event(Kind.STATE, State.APPLYING), *before]:
                self._append(number, event)
        return number

    def record(self, operation: int, *events: Event) -> None:
        """Write events down, all or none; they are on the disk when this returns.

        Raises
        ------
        JournalError
            If that cannot be done, unless the journal is lenient.
        """
        try:
            with self._transaction():
                for event in events:
                    self._append(operation, event)
        except JournalError:
            if not self.lenient:
                raise
            self.missed += len(events)

    def entry(self, operation: int) -> Entry:
        """Return an operation as it was begun.

        Raises
        ------
        UsageError
            If there is none with that id.
        """
        found = [entry for entry in self.entries() if entry.id == operation]
        if not found:
            raise UsageError(f"there is no operation {operation}", hint="fabctl offload history shows them")
        return found[0]

    def entries(self) -> list[Entry]:
        """Return all operations, newest last."""
        return [Entry(*row) for row in self._rows(_ENTRIES)]

    def events(self, operation: int, *kinds: Kind) -> list[Event]:
        """Return the events of an operation, in order; only those of some kinds if any are given."""
        rows = self._rows(_EVENTS, operation, json.dumps(kinds or list(Kind)))
        return [
            Event(Kind(kind), stage, _place(*place), label, _decoded(old), _decoded(new), words, deadline, at)
            for kind, stage, *place, label, old, new, words, deadline, at in rows
        ]

    def state(self, operation: int) -> Event:
        """Return the event by which an operation came into its state."""
        return self.events(operation, Kind.STATE)[-1]

    def places(self, operation: int, kind: Kind, since: State = State.APPLYING) -> set[Place]:
        """Return the places of an operation's events of a kind, from when it first came into a state; if it did not, all."""
        return {Place(*row) for row in self._rows(_PLACES, operation, kind, operation, since)}

    def readings(self, operation: int) -> tuple[Reading, ...]:
        """Return the last reading of each place."""
        return tuple(
            Reading(Place(*place), label, _decoded(expected), _decoded(found), words, kind == Kind.READ)
            for kind, *place, label, expected, found, words in self._rows(_READINGS, operation)
        )

    def plan(self, operation: int) -> Plan:
        """Return the plan of an operation."""
        return load_plan(self._texts(operation)[0], str(self.path))

    def reach(self, operation: int) -> Reach:
        """Return how the site of an operation was reached."""
        return load_reach(self._texts(operation)[0], str(self.path)) or Reach("", ())

    def fabric(self, operation: int) -> Fabric:
        """Return the fabric of an operation, as it was then."""
        return load_snapshot(self._texts(operation)[1], str(self.path))

    def _texts(self, operation: int) -> tuple[str, str]:
        """Return an operation's plan and its fabric."""
        self.entry(operation)
        plan, fabric = self._rows(_TEXTS, operation)[0]
        return str(_decoded(plan)), str(_decoded(fabric))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._explained():
            return self._base.execute(query, values).fetchall()

    def _append(self, operation: int, event: Event) -> None:
        place = event.place
        self._base.execute(
            "INSERT INTO event (operation, at, kind, stage, driver, target, key, label, old, new, words, deadline)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                operation,
                time.time(),
                event.kind,
                _printable(event.stage),
                place and place.driver,
                place and place.target,
                place and place.key,
                _printable(event.label),
                self._keep(event.old),
                self._keep(event.new),
                _printable(mask(event.words)),
                event.deadline_at,
            ),
        )

    def _keep(self, text: str | None) -> str | None:
        """Keep a text once, and return its digest."""
        if text is None:
            return None
        digest = value_digest(text)
        self._base.execute("INSERT OR IGNORE INTO text VALUES (?, ?)", (digest, text.encode("utf-8", "surrogatepass")))
        return digest

    def _prepare(self) -> None:
        mode = self._base.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError("this file system keeps no write-ahead log", where=str(self.path), hint="use a local disk")
        self._base.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise RefusedError(
                    f"a journal of version {version}; this fabctl knows version {VERSION}",
                    where=str(self.path),
                    hint="update fabctl on this machine",
                )
            if version == 0:
                guards = [
                    _ONLY_GROWS.format(table=table, verb=verb)
                    for table in ("text", "operation", "event")
                    for verb in ("UPDATE", "DELETE")
                ]
                for statement in [*_TABLES.split(";\n"), *guards, f"PRAGMA user_version = {VERSION}"]:
                    self._base.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal cannot be used: {error}",
                where=str(self.path),
                hint="is the disk full (df), or may you not write here?",
            ) from error


def _decoded(text: bytes | None) -> str | None:
    return None if text is None else text.decode("utf-8", "surrogatepass")


def _place(driver: str | None, target: str, key: str) -> Place | None:
    return None if driver is None else Place(driver, target, key)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
