"""One shape for every command's output: a `Report`, rendered as text, JSON, YAML, CSV or names.

Text is for people; the JSON envelope is a contract (``schemas/envelope.json``): keys are added, never changed or removed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from fabctl import __version__
from fabctl.errors import UsageError
from fabctl.model.results import Finding
from fabctl.printable import LINES, printable

SCHEMA_VERSION = "1.0"
RICH_ROWS = 60
"""Longest table that is drawn with rich on a terminal; rich needs 1 ms per row."""

Row = Mapping[str, Any]

_OBEYED = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    key : str
        Key in the rows; the name for ``--columns``, ``--sort-by`` and ``--filter``; carries the unit.
    title : str
        Heading for people.
    right : bool
        Align right (numbers).
    wide : bool
        Shown with ``-o wide`` only.
    digits : int, optional
        Decimals shown for floats.
    """

    key: str
    title: str
    right: bool = False
    wide: bool = False
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """A titled list of rows; one that is `wide` is shown with ``-o wide`` only."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    wide: bool = False


@dataclass(frozen=True)
class Patch:
    """Lines of a diff; on a terminal, lines that go are red and lines that come are green."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Report:
    """What a command has to say.

    Parameters
    ----------
    kind : str
        Name of the JSON payload (``FabricSummary``, ``RouteReport`` ...).
    data : dict
        JSON payload. Keys carry their units.
    text : sequence of str, Table or Patch
        What people read, in order.
    main : Table
        The rows of ``-o csv``, ``jsonl`` and ``name``; the first column is the name, printed once where several rows have it.
    inputs : sequence of dict
        ``path``, ``sha256`` and ``parser`` of each input.
    findings : sequence of Finding
    warnings : sequence of str
        Printed on stderr in text formats, part of the envelope in JSON.
    """

    kind: str
    data: Mapping[str, Any]
    text: Sequence[str | Table | Patch]
    main: Table
    inputs: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()
    warnings: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Style:
    """How to print: chosen by the user and the stream, never guessed from the data."""

    headers: bool = True
    columns: tuple[str, ...] = ()
    sort_by: str = ""
    filters: tuple[str, ...] = ()
    rich: bool = False
    width: int = 120


def render(report: Report, fmt: str, style: Style) -> str:
    """Return a report in one of ``table wide json jsonl yaml csv name``, ending in a newline.

    Raises
    ------
    UsageError
        For a column or filter that the report does not have.
    """
    if fmt == "json":
        return _json(envelope(report), indent=2)
    if fmt == "yaml":
        import yaml

        return str(yaml.safe_dump(envelope(report), sort_keys=False, allow_unicode=True))
    if fmt in ("jsonl", "csv", "name"):
        return _records(_select(report.main, style, wide=True), fmt, style)
    selecting = bool(style.columns or style.sort_by or style.filters)
    parts = [report.main] if selecting else report.text
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines.append(printable(part, keep=LINES))
        elif isinstance(part, Patch):
            lines += [_patch_line(printable(line, keep=LINES), coloured=style.rich) for line in part.lines]
        elif fmt == "wide" or not part.wide:
            lines.append(_draw(_select(part, style, wide=fmt == "wide"), style))
    return "\n".join(lines).rstrip("\n") + "\n"


def failure(message: str) -> str:
    """Return the JSON envelope of a command that failed before it had a report: ``ok`` is false, `message` the one error."""
    nothing = Report("Failure", {}, (), Table("", (), ()))
    return _json({**envelope(nothing), "ok": False, "errors": [message]}, indent=2)


def envelope(report: Report) -> dict[str, Any]:
    """Return the versioned JSON envelope."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": report.kind,
        "fabctl_version": __version__,
        "ok": not any(finding.severity == "error" for finding in report.findings),
        "inputs": [dict(entry) for entry in report.inputs],
        "data": report.data,
        "findings": [
            {"code": f.code, "severity": f.severity, "subject": f.subject, "message": f.message, "items": list(f.items)}
            for f in report.findings
        ],
        "warnings": list(report.warnings),
        "errors": [],
    }


def rounded(value: float) -> float:
    """Return a value with nine significant digits, so that its text does not depend on the last bits."""
    return float(f"{value:.9g}")


def exact(value: float) -> float:
    """Return a whole number as it is, any other with nine significant digits."""
    return int(value) if value.is_integer() else rounded(value)


def counted(number: int, what: str) -> str:
    """Return ``1 rank``, ``8 ranks``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def short_names(routes: Sequence[str]) -> dict[str, str]:
    """Return the last part of each tables file's path where that tells them apart."""
    last = {name: PurePath(name).name for name in routes}
    return last if len(set(last.values())) == len(last) else {name: name for name in routes}


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return findings as a table, the gravest first."""
    rank = {"error": 0, "warning": 1, "info": 2}
    rows = [
        {"severity": f.severity, "code": f.code, "subject": f.subject, "message": f.message}
        for f in sorted(findings, key=lambda f: (rank[f.severity], f.code))
    ]
    columns = (Column("severity", "SEVERITY"), Column("code", "CODE"), Column("subject", "SUBJECT"), Column("message", "MESSAGE"))
    return Table("Findings", columns, rows)


def _select(table: Table, style: Style, *, wide: bool) -> Table:
    keys = {column.key: column for column in table.columns}

    def known(key: str) -> Column:
        if key not in keys:
            raise UsageError(f"no column '{key}'", hint=f"columns: {', '.join(keys)}")
        return keys[key]

    rows = list(table.rows)
    for text in style.filters:
        match = re.match(r"^(\w+)\s*(=|!=|~|<=|>=|<|>)\s*(.*)$", text)
        if match is None:
            raise UsageError(f"'{text}' is no filter", hint="write COLUMN=VALUE, !=, <, >, <=, >= or ~ (regular expression)")
        key, operator, value = match.groups()
        known(key)
        rows = [row for row in rows if _passes(row.get(key), operator, value)]
    if style.sort_by:
        key = style.sort_by.lstrip("-")
        known(key)
        rows.sort(key=lambda row: _sort_key(row.get(key)), reverse=style.sort_by.startswith("-"))
    if style.columns:
        columns = tuple(known(key) for key in style.columns)
    else:
        columns = tuple(column for column in table.columns if wide or not column.wide)
    return Table(table.title, columns, rows)


def _passes(value: Any, operator: str, wanted: str) -> bool:
    if operator == "~":
        return re.search(wanted, str(value)) is not None
    if operator in ("=", "!="):
        return (_text(value, None) == wanted) is (operator == "=")
    try:
        left, right = float(value), float(wanted)
    except (TypeError, ValueError):
        return False
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator]


def _sort_key(value: Any) -> tuple[int, Any]:
    if isinstance(value, (int, float)):
        return (0, value)
    from fabctl.model.naming import natural_key

    return (1, natural_key(str(value)))


def _records(table: Table, fmt: str, style: Style) -> str:
    keys = [column.key for column in table.columns]
    if fmt == "name":
        return "".join(f"{name}\n" for name in dict.fromkeys(_text(row.get(keys[0]), None) for row in table.rows))
    if fmt == "jsonl":
        return "".join(_json({key: row.get(key) for key in keys}) for row in table.rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if style.headers:
        writer.writerow(keys)
    writer.writerows([[_csv_cell(row.get(key)) for key in keys] for row in table.rows])
    return stream.getvalue()


def _json(value: Any, indent: int | None = None) -> str:
    """Return JSON and a newline; what a terminal would obey or hide is escaped, which JSON itself asks for below U+0020 alone."""
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False)) + "\n"


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (list, tuple, str)):
        return _text(value, None)
    return "" if value is None else value


def _draw(table: Table, style: Style) -> str:
    if style.rich and len(table.rows) <= RICH_ROWS:
        return _draw_rich(table, style)
    cells = [[_text(row.get(column.key), column.digits) for column in table.columns] for row in table.rows]
    if style.headers:
        cells.insert(0, [column.title for column in table.columns])
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(len(table.columns))]
    lines = [f"\n{table.title}"] if table.title and style.headers else []
    for row in cells:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    if not table.rows:
        lines.append("(none)")
    return "\n".join(lines)


def _patch_line(line: str, *, coloured: bool) -> str:
    colour = {"-": 31, "+": 32, "@": 36}.get(line[:1])
    return f"\x1b[{colour}m{line}\x1b[0m" if coloured and colour else line


def _draw_rich(table: Table, style: Style) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawing = RichTable(
        title=table.title or None, title_justify="left", box=SIMPLE_HEAD, show_header=style.headers, pad_edge=False
    )
    for column in table.columns:
        drawing.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in table.rows:
        drawing.add_row(*(Text(_text(row.get(column.key), column.digits)) for column in table.columns))
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, width=style.width).print(drawing)
    return stream.getvalue().rstrip("\n")


def _text(value: Any, digits: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{3 if digits is None else digits}f}"
    if isinstance(value, (list, tuple)):
        return ",".join(_text(item, digits) for item in value)
    return printable(str(value))
