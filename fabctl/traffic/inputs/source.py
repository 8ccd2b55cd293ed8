"""What a job source is, and what the readers of job files share: text, lines, sizes."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from fabctl.errors import InputError
from fabctl.traffic.job import JobSpec

MAX_BYTES = (1 << 63) - 1
"""Largest size: what a signed 64-bit number holds."""
HEAD_BYTES = 1 << 16
"""How much of a file the sources look at to recognise their format."""


@dataclass(frozen=True)
class JobSource:
    """A format that describes jobs.

    Parameters
    ----------
    recognises : callable
        Takes the first 64 KiB of a file and its name; tells whether it is in this format.
    parse : callable
        Takes the bytes and the name to use in messages; returns the jobs, at least one. Raises `InputError` with the place.
    """

    recognises: Callable[[bytes, str], bool]
    parse: Callable[[bytes, str], tuple[JobSpec, ...]]


def text_of(data: bytes, path: str) -> str:
    """Return text from UTF-8 or, failing that, Latin-1; a byte order mark is taken off, and UTF-16 heeded if it has one.

    Raises
    ------
    InputError
        If the bytes are no text.
    """
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data.decode("utf-16", "replace")
    if b"\x00" in data:
        raise InputError("this is a binary file, not text", where=path, hint="Chakra traces are recognised by their suffix, .et")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def line_at(text: str, position: int) -> int:
    """Return the number, from 1, of the line that holds a character."""
    return text.count("\n", 0, position) + 1


def checked_size(size_bytes: int, where: str, what: str = "a flow") -> int:
    """Return a size; one that is not between 1 and 2^63 - 1 is an `InputError`."""
    if size_bytes < 0:
        raise InputError(f"{what} cannot have a negative size: {size_bytes}", where=where)
    if size_bytes == 0:
        raise InputError(f"{what} of 0 bytes moves nothing", where=where, hint="leave it out")
    if size_bytes > MAX_BYTES:
        raise InputError(f"{what} of more than {MAX_BYTES} bytes (2^63 - 1) is none", where=where)
    return size_bytes
