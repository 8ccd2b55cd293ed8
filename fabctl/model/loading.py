"""What a source is: how it recognises its format and what it makes of a text."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.results import ParseReport, Remark


@dataclass(frozen=True)
class Source:
    """A text format that holds a fabric.

    Parameters
    ----------
    recognises : callable
        Takes the first 64 KiB of a text; tells whether it is in this format.
    parse : callable
        Takes the text and the name to use in messages; returns the fabric and what was not understood. Raises
        `InputError` with ``file:line`` for redacted, truncated or contradictory input.
    """

    recognises: Callable[[str], bool]
    parse: Callable[[str, str], tuple[Fabric, ParseReport]]


@dataclass(frozen=True, eq=False)
class RawTables:
    """Forwarding tables as a dump holds them, before they are bound to a fabric.

    Parameters
    ----------
    switch_guid : uint64 array of shape (n,)
    switch_name : tuple of str of length n
        Description of each switch in the dump; empty where it has none.
    lft : uint8 array of shape (n, top)
        Output port of each switch for each LID below `top`; 255 where the dump lists none.
    owner_guid : uint64 array of shape (top,)
        Port GUID that the dump names for each LID; 0 where it names none.
    unknown : tuple of Remark
        Lines that were not understood.
    """

    switch_guid: NDArray[np.uint64]
    switch_name: tuple[str, ...]
    lft: NDArray[np.uint8]
    owner_guid: NDArray[np.uint64]
    unknown: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class TableSource:
    """A text format that holds forwarding tables; the functions are those of `Source`."""

    recognises: Callable[[str], bool]
    parse: Callable[[str, str], RawTables]


def decode(data: bytes, path: str, hint: str = "") -> str:
    """Return text from UTF-8 or, failing that, Latin-1 bytes; a byte order mark is taken off, and UTF-16 heeded if it has one.

    Parameters
    ----------
    hint : str
        What helps where the bytes are no text.

    Raises
    ------
    InputError
        If the bytes are no text.
    """
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace")  # PowerShell's redirection writes this
    if b"\x00" in data:
        raise InputError("this is a binary file, not text", where=path, hint=hint)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
