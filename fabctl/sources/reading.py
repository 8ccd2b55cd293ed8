"""Files, stdin and gzip to text, and text to a fabric or to tables by content."""

from __future__ import annotations

import gzip
import hashlib
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabctl.errors import InputError
from fabctl.model import loading
from fabctl.model.binding import bind_tables
from fabctl.model.fabric import Fabric
from fabctl.model.loading import RawTables, Source, TableSource
from fabctl.model.results import ParseReport
from fabctl.model.tables import RoutingTables
from fabctl.registry import Registry
from fabctl.sources import SOURCES, TABLE_SOURCES

HEAD_CHARS = 1 << 16
"""How much of a text the sources look at to recognise their format."""


@dataclass(frozen=True)
class LoadedFabric:
    """A fabric with where it came from.

    Parameters
    ----------
    fabric : Fabric
    report : ParseReport
    sha256 : str
        Of the bytes read (after gunzip).
    """

    fabric: Fabric
    report: ParseReport
    sha256: str


def read_bytes(path: str) -> bytes:
    """Return a file's bytes, gunzipped if need be; ``-`` is stdin.

    Raises
    ------
    InputError
        If the file is missing, a folder, unreadable, empty or a damaged gzip.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such file", where=path) from error
    except IsADirectoryError as error:
        raise InputError("this is a directory, not a file", where=path) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=path) from error
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"damaged gzip file: {error}", where=path, hint="copy the file again") from error
    if not data.strip():
        raise InputError("the file is empty", where=path, hint="did the tool that wrote it fail?")
    return data


def decode(data: bytes, path: str) -> str:
    """Return a file's text, as `fabctl.model.loading.decode` does."""
    return loading.decode(data, path, hint="an ibnetdiscover cache is turned into text by: ibnetdiscover --load-cache FILE")


def load_fabric(path: str, source: str | None = None) -> LoadedFabric:
    """Read a fabric from a file, found by content unless `source` names its format.

    Raises
    ------
    InputError
        If the input cannot be read or understood.
    UsageError
        If `source` is not registered.
    """
    data = read_bytes(path)
    text = decode(data, path)
    chosen: Source = SOURCES.load(source) if source else _recognise(SOURCES, text, path, TABLE_SOURCES)
    fabric, report = chosen.parse(text, path)
    if not fabric.n_nodes:
        raise InputError("this file describes no nodes", where=path)
    return LoadedFabric(fabric, report, hashlib.sha256(data).hexdigest())


def load_tables(path: str, fabric: Fabric, *, lenient: bool = False) -> RoutingTables:
    """Read forwarding tables from a file and bind them to `fabric`; `lenient` as in `fabctl.model.binding.bind_tables`.

    Raises
    ------
    InputError
        If the input cannot be read or understood, or belongs to another fabric.
    """
    text = decode(read_bytes(path), path)
    chosen: TableSource = _recognise(TABLE_SOURCES, text, path, SOURCES)
    raw: RawTables = chosen.parse(text, path)
    return bind_tables(fabric, raw, path, lenient=lenient)


def _recognise(registry: Registry, text: str, path: str, other: Registry) -> Any:
    head = text[:HEAD_CHARS]
    for name in registry.names():
        source = registry.load(name)
        if source.recognises(head):
            return source
    for name in other.names():
        if other.load(name).recognises(head):
            raise InputError(f"this is no {registry.kind} but a {other.kind}: {other.entries[name].summary}", where=path)
    raise InputError(
        f"no known {registry.kind} format: the text begins with {text.strip()[:40]!r}",
        where=path,
        hint=f"known: {', '.join(registry.names())}",
    )
