"""What the cycle asks of a driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Place, Risk


@dataclass(frozen=True)
class Manager:
    """The subnet manager that a driver found.

    Parameters
    ----------
    flavour : str
        ``upstream``, ``nvidia``, or ``unknown``.
    version : str
    guid : str
        Port GUID of the master; empty: unknown.
    evidence : str
        What it was told by: a line of its log, a version string.
    """

    flavour: str
    version: str
    guid: str
    evidence: str

    @property
    def label(self) -> str:
        """``upstream 3.3.23 at 0x...``, as a plan's basis keeps it."""
        return f"{self.flavour} {self.version}" + (f" at {self.guid}" if self.guid else "")


@dataclass(frozen=True)
class Observed:
    """A value read back from the hardware.

    Parameters
    ----------
    value : str, optional
        None: there is none.
    evidence : str
        The command that was run and the line that it printed, for the record.
    """

    value: str | None
    evidence: str


class Driver(Protocol):
    """Reads and writes values at places of its own name. Names from the fabric never reach a shell or a path.

    `read` and `observe` are called from several threads; nothing is written meanwhile.
    """

    name: str
    keys: ClassVar[Mapping[str, str]]
    """What `make` takes: key to one line of explanation, with the default if there is one."""
    options: Mapping[str, str]
    """What `make` takes to make it again in another process; it is kept in the journal. Secrets by the path of their file."""

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        """Return a driver for a fabric: from ``--driver NAME:KEY=VALUE,...``, or from what the journal kept.

        Raises
        ------
        UsageError
            For options that it does not know, or that are missing.
        RefusedError, SourceError
            If it cannot be reached.
        """

    def manager(self) -> Manager | None:
        """Return the subnet manager; None if this driver does not go through one."""

    def read(self, place: Place) -> str | None:
        """Return what is configured.

        Raises
        ------
        SourceError
            If it cannot be reached.
        """

    def write(self, place: Place, value: str | None) -> None:
        """Write a value, whole or not at all; None removes it. It need not be in force before `settle`.

        Raises
        ------
        InputError, SourceError, RefusedError
            If it cannot be written.
        """

    def settle(self, risk: Risk) -> None:
        """Have what was written take effect, and wait for it.

        Raises
        ------
        SourceError
            If it does not.
        """

    def observe(self, place: Place) -> Observed:
        """Read a value back from the hardware or the subnet manager's own answers.

        Raises
        ------
        SourceError
            If it cannot be reached.
        """
