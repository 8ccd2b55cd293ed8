"""One root for every error a user can cause, and the exit codes that scripts rely on."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """Process exit codes; the table is part of fabctl's interface (``fabctl help exit-codes``)."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member that carries its line of the table."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done, nothing found"
    FINDINGS = 1, "done, with findings: differences, a threshold exceeded, a possible deadlock"
    USAGE = 2, "the command line or a setting is wrong"
    INPUT = 3, "an input is unreadable or invalid (file:line is printed), or an output cannot be written"
    SOURCE = 4, "a live source cannot be reached, or a tool is missing"
    PARTIAL = 5, "the result is partial"
    REFUSED = 6, "refused: a capability or precondition is missing"
    UNVERIFIED = 7, "applied, not verified, rolled back"
    ROLLBACK_FAILED = 8, "the rollback failed"
    LOCKED = 9, "somebody else holds the lock"
    INTERNAL = 70, "a bug in fabctl; FABCTL_DEBUG=1 shows where"
    INTERRUPTED = 130, "interrupted (Ctrl-C or SIGTERM)"
    BROKEN_PIPE = 141, "the reader of stdout went away"


class FabctlError(Exception):
    """Root of all errors that name something the user can mend.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    where : str, optional
        The place: ``file``, ``file:line`` or ``file:line:column``.
    hint : str, optional
        What to do about it.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class UsageError(FabctlError):
    """The command line or a setting is wrong."""

    exit_code = ExitCode.USAGE


class InputError(FabctlError):
    """An input file is missing, unreadable or invalid."""

    exit_code = ExitCode.INPUT


class SourceError(FabctlError):
    """A live source cannot be reached, or the tool that reads it is missing."""

    exit_code = ExitCode.SOURCE


class RefusedError(FabctlError):
    """fabctl will not do it: a capability or precondition is missing."""

    exit_code = ExitCode.REFUSED


class UnverifiedError(FabctlError):
    """A change was made, did not turn out as wanted, and was undone."""

    exit_code = ExitCode.UNVERIFIED


class RollbackError(FabctlError):
    """A change did not turn out as wanted, and could not be undone."""

    exit_code = ExitCode.ROLLBACK_FAILED


class LockedError(FabctlError):
    """Somebody else is making the same change right now."""

    exit_code = ExitCode.LOCKED
