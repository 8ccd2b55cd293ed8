"""What a source is: how it recognises its format and what it makes of a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
