"""`Plan`: what would be changed where, how disruptive that is, what must hold afterwards, and how it is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class Risk(IntEnum):
    """How disruptive a change is, least first."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Make a member that carries its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    NONE = 0, "nothing notices"
    HOT = 1, "takes effect at once, traffic goes on"
    SWEEP = 2, "the subnet manager sweeps"
    RESTART = 3, "the subnet manager restarts"
    REBOOT = 4, "switches reboot"


FABRIC = "fabric"
"""Target of what is there once for the whole fabric."""


@dataclass(frozen=True, order=True)
class Place:
    """Where one value is.

    Parameters
    ----------
    driver : str
        Who reads and writes it: ``opensm``, ``mad``, ``ufm``, ``files``.
    target : str
        What it belongs to: ``fabric``, a switch or HCA by GUID (``0x0c42a103002559fe``), a port (``0x.../P3``).
    key : str
        ``file:partitions.conf`` for a whole file, ``cc.threshold``, ``sl2vl``, ``smconf.routing_engine`` ...
    """

    driver: str
    target: str
    key: str


@dataclass(frozen=True)
class Change:
    """One value to be written.

    Parameters
    ----------
    place : Place
    old, new : str, optional
        None: absent. Files are their bytes as latin-1 text, so that every byte comes back.
    risk : Risk
    why : str
        For people.
    """

    place: Place
    old: str | None
    new: str | None
    risk: Risk
    why: str = ""


@dataclass(frozen=True)
class Check:
    """What must be read back from the hardware.

    Parameters
    ----------
    place : Place
        Read by `Driver.observe`: from the switch, the HCA or the subnet manager, not from a file.
    value : str
    """

    place: Place
    value: str


@dataclass(frozen=True)
class Stage:
    """Changes that take effect together, and what must then hold.

    Parameters
    ----------
    name : str
    changes : tuple of Change
    checks : tuple of Check
    """

    name: str
    changes: tuple[Change, ...]
    checks: tuple[Check, ...]

    @property
    def risk(self) -> Risk:
        """The greatest of its changes."""
        return max((change.risk for change in self.changes), default=Risk.NONE)


@dataclass(frozen=True)
class Basis:
    """What a plan was made from; if any of it has changed, the plan is stale.

    Parameters
    ----------
    fabric : str
        Digest of the fabric (`Fabric.digest`).
    tables : str
        Digest of the forwarding tables; empty where they do not matter.
    manager : str
        GUID of the master subnet manager's port, and its flavour: ``upstream 3.3.23``; empty where nothing depends on it.
    values : tuple of (Place, str)
        SHA-256 of the value of each place that is changed; of the empty text where it is absent.
    """

    fabric: str
    tables: str
    manager: str
    values: tuple[tuple[Place, str], ...]


@dataclass(frozen=True)
class Plan:
    """A feature to be switched on or off at some places.

    Parameters
    ----------
    feature : str
    request : str
        What was asked for, as one would type it: ``enable qos --switch leaf-[1-4]``.
    basis : Basis
    stages : tuple of Stage
        In order; nothing to do if there are none.
    undo : tuple of Stage
        Explicit old values, in order: switching a feature off does not undo it.
    notes : tuple of str
        What was decided, what cannot be known, what will be overwritten by whom.
    """

    feature: str
    request: str
    basis: Basis
    stages: tuple[Stage, ...]
    undo: tuple[Stage, ...]
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, in order."""
        return tuple(change for stage in self.stages for change in stage.changes)

    @property
    def risk(self) -> Risk:
        """The greatest of its changes."""
        return max((stage.risk for stage in self.stages), default=Risk.NONE)

    @property
    def disruptive(self) -> bool:
        """Whether the subnet manager restarts, or switches reboot."""
        return self.risk >= Risk.RESTART
