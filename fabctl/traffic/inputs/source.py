"""What a job source is, and what the readers of job files share: text, lines, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fabctl.errors import InputError
from fabctl.model.loading import decode
from fabctl.traffic.job import LARGEST_BYTES, JobSpec

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
    """Return a file's text, as `fabctl.model.loading.decode` does."""
    return decode(data, path, hint="Chakra traces are recognised by their suffix, .et")


def line_at(text: str, position: int) -> int:
    """Return the number, from 1, of the line that holds a character."""
    return text.count("\n", 0, position) + 1


def checked_size(size_bytes: int, where: str, what: str = "a flow") -> int:
    """Return a size; one that is not between 1 and 2^63 - 1 is an `InputError`."""
    if size_bytes < 0:
        raise InputError(f"{what} cannot have a negative size: {size_bytes}", where=where)
    if size_bytes == 0:
        raise InputError(f"{what} of 0 bytes moves nothing", where=where, hint="leave it out")
    if size_bytes > LARGEST_BYTES:
        raise InputError(f"{what} of more than {LARGEST_BYTES} bytes (2^63 - 1) is none", where=where)
    return size_bytes
