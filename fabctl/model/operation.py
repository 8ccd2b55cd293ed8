"""`Operation`: a plan that was applied, where it stands, and what was read back from the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fabctl.model.offload_plan import Place


class State(StrEnum):
    """Where an operation stands. A process that dies leaves one of the states that are not `ended`; ``recover`` ends those."""

    APPLYING = "applying"
    UNCONFIRMED = "unconfirmed"
    APPLIED = "applied"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    ROLLBACK_FAILED = "rollback-failed"

    @property
    def meaning(self) -> str:
        """The state in words."""
        return _MEANINGS[self]

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done."""
        return self in (State.APPLIED, State.ROLLED_BACK)


_MEANINGS = {
    State.APPLYING: "new values are being written",
    State.UNCONFIRMED: "new values are in place until the deadline, then the old ones come back",
    State.APPLIED: "new values are in place",
    State.ROLLING_BACK: "old values are being put back",
    State.ROLLED_BACK: "old values are in place",
    State.ROLLBACK_FAILED: "some old values could not be put back",
}


@dataclass(frozen=True)
class Reach:
    """How the site of a plan or an operation is reached, so that another process can do it again. It holds no secrets.

    Parameters
    ----------
    source : str
        ``live``, or the absolute path of the file that the fabric was read from; empty: unknown.
    drivers : tuple of (str, tuple of (str, str))
        Names of drivers, each with its options; a secret by the path of its file.
    """

    source: str
    drivers: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Reading:
    """A value read back from the hardware, kept as evidence.

    Parameters
    ----------
    place : Place
    label : str
        What people call it: ``leaf-3``, ``leaf-3/P7``, ``fabric``.
    expected, found : str, optional
        None: there is none.
    evidence : str
        What was run, and what it printed.
    answered : bool
        False: nobody answered; `evidence` says why.
    """

    place: Place
    label: str
    expected: str | None
    found: str | None
    evidence: str
    answered: bool = True

    @property
    def holds(self) -> bool:
        """Whether it is as it should be."""
        return self.answered and self.found == self.expected


@dataclass(frozen=True)
class Failure:
    """Something that did not turn out as planned.

    Parameters
    ----------
    label : str
        Where: a switch, an HCA, ``fabric``.
    why : str
    """

    label: str
    why: str


@dataclass(frozen=True)
class Operation:
    """A plan that was applied.

    Parameters
    ----------
    id : int
        Its number in the journal, for ``verify``, ``confirm`` and ``rollback``; 0 if nothing had to be changed.
    plan, fabric : str
        Id of the plan, digest of the fabric.
    feature, request : str
        As the plan has them.
    state : State
    begun_at, changed_at : float
        Seconds since 1970, UTC: when it began, and when it came into its state.
    deadline_at : float, optional
        Until when it must be confirmed; seconds since 1970, UTC.
    to_change : int
        Places that the plan changes.
    written : int
        Places that were written so far; by the rollback, if there was one, those that it put back.
    readings : tuple of Reading
        The last one of each place that was checked.
    failures : tuple of Failure
        Switches that were left as they were (``--max-failures``), or why it was rolled back.
    reason : str
        Why it came into its state.
    alive : bool
        Whether a process is at work on it now, or watches its deadline. If none does, an operation that has not ended needs
        ``recover``.
    """

    id: int
    plan: str
    fabric: str
    feature: str
    request: str
    state: State
    begun_at: float
    changed_at: float
    deadline_at: float | None
    to_change: int
    written: int
    readings: tuple[Reading, ...] = ()
    failures: tuple[Failure, ...] = ()
    reason: str = ""
    alive: bool = False

    @property
    def holds(self) -> bool:
        """Whether everything that was read back last is as it should be."""
        return all(reading.holds for reading in self.readings)


@dataclass(frozen=True)
class Recovered:
    """What ``recover`` found of an operation, and what it did.

    Parameters
    ----------
    found : str
        The state in which it was left, in words, with how far it had come.
    done : str
        ``undone``, ``finished``, ``waits for confirm``, ``not undone``.
    operation : Operation
        As it is now.
    """

    found: str
    done: str
    operation: Operation


@dataclass(frozen=True)
class Drifted:
    """A place that is no longer as fabctl left it.

    Parameters
    ----------
    operation : int
        Which operation left it so.
    kind : str
        ``configured`` or ``hardware``.
    reading : Reading
        What it should be and what it is.
    """

    operation: int
    kind: str
    reading: Reading


@dataclass(frozen=True)
class Drift:
    """What is no longer as fabctl left it.

    Parameters
    ----------
    drifted : tuple of Drifted
    unread : tuple of Failure
        Places that could not be read.
    n_places, n_checks : int
        Places that were compared, and values read from the hardware.
    """

    drifted: tuple[Drifted, ...]
    unread: tuple[Failure, ...]
    n_places: int
    n_checks: int
