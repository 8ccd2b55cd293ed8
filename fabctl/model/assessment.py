"""`Assessed`: what a switch, an HCA or a fabric is and could be, for one feature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What is known of a feature somewhere."""

    ON = "on"
    OFF = "off"
    CAN = "can"
    CANNOT = "cannot"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Assessed:
    """A feature at one place.

    Parameters
    ----------
    feature : str
    target : str
        Label of a switch, an HCA or a host; ``fabric`` for all of it.
    status : Status
        ``on`` and ``off``: read from it. ``can`` and ``cannot``: by what is known of the hardware and the subnet manager.
    fact : str
        What says so.
    source : str
        Where the fact is from.
    """

    feature: str
    target: str
    status: Status
    fact: str
    source: str = ""
