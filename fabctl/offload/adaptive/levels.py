"""Service levels as people write them, and as masks of ``opensm.conf``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fabctl.errors import UsageError
from fabctl.nodeset import fold

N_SLS = 16
_SPAN = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


def parse_sls(text: str) -> tuple[int, ...]:
    """Return service levels from ``0,2-3``.

    Raises
    ------
    UsageError
        If it is something else.

    Examples
    --------
    >>> parse_sls("0,2-4")
    (0, 2, 3, 4)
    """
    found: set[int] = set()
    for part in text.split(","):
        span = _SPAN.fullmatch(part)
        levels = range(int(span[1]), int(span[2] or span[1]) + 1) if span else range(0)
        if not levels or levels[-1] >= N_SLS:
            raise UsageError(f"'{text}' names no service levels", hint=f"write 0,2-3; there are 0 to {N_SLS - 1}")
        found |= set(levels)
    return tuple(sorted(found))


def sl_mask(sls: Iterable[int]) -> str:
    """Return a mask of service levels as ``opensm.conf`` has it.

    Examples
    --------
    >>> sl_mask([0, 2])
    '0x0005'
    """
    return f"0x{sum(1 << sl for sl in sls):04x}"


def kept_mask(current: str | None, sls: Iterable[int]) -> str:
    """Return a mask of service levels; as it is written now, if it is the same.

    Examples
    --------
    >>> kept_mask("0xF", [0, 1, 2, 3]), kept_mask("0xF", [0])
    ('0xF', '0x0001')
    """
    wanted = tuple(sorted(sls))
    return current if current and masked_sls(current) == wanted else sl_mask(wanted)


def masked_sls(text: str) -> tuple[int, ...] | None:
    """Return the service levels of a mask; None if it is no mask of 16 bits."""
    try:
        mask = int(text, 0)
    except ValueError:
        return None
    return tuple(sl for sl in range(N_SLS) if mask >> sl & 1) if 0 <= mask < 1 << N_SLS else None


def named(sls: Iterable[int]) -> str:
    """Return service levels for people.

    Examples
    --------
    >>> named([0, 1, 2, 5])
    '0-2,5'
    """
    return fold(map(str, sls)).strip("[]")
