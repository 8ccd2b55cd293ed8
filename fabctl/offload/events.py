"""What the journal holds: operations, and the events of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fabctl.model.offload_plan import Place


class Kind(StrEnum):
    """What an event is."""

    STATE = "state"
    BEFORE = "before"
    WRITE = "write"
    WROTE = "wrote"
    SETTLE = "settle"
    SETTLED = "settled"
    READ = "read"
    SILENT = "silent"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """A line of the journal.

    Parameters
    ----------
    kind : Kind
        ``write``, ``settle``: before the step; ``wrote``, ``settled``: after it; ``silent``: a ``read`` without an answer.
    stage : str
        Name of the stage; of the state that was entered.
    place : Place, optional
    label : str
        What people call the place.
    old, new : str, optional
        The value before and after a write; what was expected and what was read.
    words : str
        Reason or evidence.
    deadline_at : float, optional
        Of the state ``unconfirmed``; seconds since 1970, UTC.
    at : float
        Seconds since 1970, UTC.
    """

    kind: Kind
    stage: str = ""
    place: Place | None = None
    label: str = ""
    old: str | None = None
    new: str | None = None
    words: str = ""
    deadline_at: float | None = None
    at: float = 0.0


@dataclass(frozen=True)
class Entry:
    """An operation as it was begun.

    Parameters
    ----------
    id : int
    at : float
        Seconds since 1970, UTC.
    key : str
        Of the fabric's lock.
    plan_id, feature, request, fabric : str
        Of its plan; `fabric` is the fabric's digest.
    to_change : int
        Places that its plan changes.
    confirm_s : float, optional
        How long it waits to be confirmed.
    """

    id: int
    at: float
    key: str
    plan_id: str
    feature: str
    request: str
    fabric: str
    to_change: int
    confirm_s: float | None
