"""A sweep's results as JSON lines: a header, then whole units; what was cut off is dropped, and computed again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fabctl.atomic import write_atomic
from fabctl.errors import InputError, UsageError
from fabctl.model.sweep import SweepPoint

KIND = "fabctl-sweep"
VERSION = 1


class SweepFile:
    """Results that grow unit by unit, and survive an interruption at any point.

    Each line of a unit says which of how many it is, so that a unit whose last line is missing is known to be cut.

    Parameters
    ----------
    path : Path
    header : dict
        What the sweep covers, and the digests of its inputs: a file with another header is another sweep's.

    Raises
    ------
    UsageError
        If the file holds another sweep.
    InputError
        If it holds none, is damaged before its end, or cannot be read or written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        first = json.dumps({"kind": KIND, "version": VERSION, **header}, ensure_ascii=False)
        lines = self._lines()
        if lines and lines[0] != first:
            self._refuse(lines[0], json.loads(first))
        self.units = self._units(lines[1:])
        kept = "".join(f"{line}\n" for line in [first, *(_line(unit, at) for unit in self.units for at in range(len(unit)))])
        write_atomic(path, kept)

    def add(self, unit: Sequence[SweepPoint]) -> None:
        """Append a unit, and have it on the disk."""
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write("".join(f"{_line(unit, at)}\n" for at in range(len(unit))))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", where=str(self.path), hint="the same command goes on") from error
        self.units.append(list(unit))

    def _lines(self) -> list[str]:
        """Return all whole lines; the last is cut where it does not end."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InputError(f"cannot read: {reason}", where=str(self.path)) from error
        return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]

    def _refuse(self, found: str, wanted: dict[str, Any]) -> None:
        try:
            header = json.loads(found)
            ours = header.get("kind") == KIND
        except (ValueError, AttributeError):
            ours = False
        if not ours:
            raise InputError("this is no file of a sweep", where=f"{self.path}:1", hint="name a new file")
        differs = [key for key in {**wanted["grid"], **wanted} if key != "grid" and _value(header, key) != _value(wanted, key)]
        which = f" (other {', '.join(differs).replace('_', ' ')})" if differs else ""
        raise UsageError(f"{self.path} holds another sweep{which}", hint="name another file, or remove this one")

    def _units(self, lines: Sequence[str]) -> list[list[SweepPoint]]:
        found: list[list[SweepPoint]] = []
        unit: list[SweepPoint] = []
        for number, line in enumerate(lines, 2):
            try:
                values = json.loads(line)
                row, rows = values.pop("row"), values.pop("rows")
                unit.append(SweepPoint(**values))
            except (ValueError, AttributeError, TypeError, KeyError) as error:
                raise InputError(
                    "this line is no point of a sweep", where=f"{self.path}:{number}", hint="remove the file"
                ) from error
            if row != len(unit):
                raise InputError(f"point {len(unit)} of {rows} is missing", where=f"{self.path}:{number}", hint="remove the file")
            if row == rows:
                found.append(unit)
                unit = []
        return found


def _line(unit: Sequence[SweepPoint], at: int) -> str:
    return json.dumps({**asdict(unit[at]), "row": at + 1, "rows": len(unit)}, ensure_ascii=False)


def _value(header: dict[str, Any], key: str) -> Any:
    """Return an entry of a header, or of the grid in it."""
    return header.get(key, header.get("grid", {}).get(key))
