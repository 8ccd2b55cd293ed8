"""`Assessed`: what a switch, an HCA or a fabric is and could be, for one feature; `Survey`: for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


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


class Kind(StrEnum):
    """What an assessed place is."""

    plural: str

    def __new__(cls, value: str, plural: str) -> Self:
        """Make a member that carries its plural."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.plural = plural
        return member

    FABRIC = "fabric", "fabric"
    SWITCH = "switch", "switches"
    HCA = "hca", "HCAs"
    HOST = "host", "hosts"


@dataclass(frozen=True)
class Alike:
    """Places of one kind at which a feature is assessed alike.

    Parameters
    ----------
    feature : str
    kind : Kind
    status : Status
    fact, source : str
        As `Assessed` has them.
    targets : tuple of str
        In the fabric's order.
    """

    feature: str
    kind: Kind
    status: Status
    fact: str
    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """Features over a fabric.

    Parameters
    ----------
    features : tuple of str
        In the order in which they were asked for.
    counts : mapping of Kind to int
        Switches, HCAs and hosts that there are.
    drivers : tuple of str
        Who could be asked.
    alike : tuple of Alike
        By feature and kind, the most common first.
    unread : mapping of str to str
        Features that could not be read where they are, and why.
    """

    features: tuple[str, ...]
    counts: Mapping[Kind, int]
    drivers: tuple[str, ...]
    alike: tuple[Alike, ...]
    unread: Mapping[str, str]
