"""Service levels as people write them, and as masks of ``opensm.conf``."""

from __future__ import annotations

from collections.abc import Iterable

from fabctl.errors import UsageError
from fabctl.nodeset import fold

N_SLS = 16


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
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"'{text}' names no service levels", hint="write sls=0,2-3; there are 0 to 15")
        found |= set(range(int(first), int(last or first) + 1))
    if not found or max(found) >= N_SLS:
        raise UsageError(f"'{text}' names no service levels", hint="write sls=0,2-3; there are 0 to 15")
    return tuple(sorted(found))


def sl_mask(sls: Iterable[int]) -> str:
    """Return a mask of service levels as ``opensm.conf`` has it.

    Examples
    --------
    >>> sl_mask([0, 2])
    '0x0005'
    """
    return f"0x{sum(1 << sl for sl in sls):04x}"


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
