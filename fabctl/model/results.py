"""Frozen result types that the library returns and `fabctl.report` renders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """Something an operator should look at.

    Parameters
    ----------
    code : str
        Stable identifier, ``FAB...`` for fabrics, ``RTE...`` for routes.
    severity : str
        ``error`` makes a command exit 1; ``warning`` and ``info`` do not.
    subject : str
        The cable, switch, host or LID it is about.
    message : str
        What is wrong, in one line.
    items : tuple of str
        Everything that it is about, where the message names only the first few.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remark:
    """Something a parser noticed at one line of its input."""

    line: int
    text: str


@dataclass(frozen=True)
class ParseReport:
    """What a source read, and what it did not understand.

    Parameters
    ----------
    source : str
        Registered name of the source that read the text.
    path : str
        File name, or ``-``.
    lines : int
        Lines read.
    unknown : tuple of Remark
        Lines that were not understood.
    headings : tuple of Remark
        Lines that were recognised and hold no record (chassis headings and the like).
    tool_messages : tuple of Remark
        Errors of the discovery tool found in the text: the discovery itself was incomplete.
    one_sided : tuple of Remark
        Links that only one end lists; they are kept.
    undeclared : tuple of Remark
        Peers that have no record of their own; they are kept, as far as known.
    disagreements : tuple of Remark
        Links whose ends say different things.
    duplicates : tuple of Remark
        Nodes with more than one record; the first is kept.
    node_type : str
        What the text says that its hosts are (a topology spec's ``node_type``); empty where it says nothing.
    """

    source: str
    path: str
    lines: int = 0
    unknown: tuple[Remark, ...] = ()
    headings: tuple[Remark, ...] = ()
    tool_messages: tuple[Remark, ...] = ()
    one_sided: tuple[Remark, ...] = ()
    undeclared: tuple[Remark, ...] = ()
    disagreements: tuple[Remark, ...] = ()
    duplicates: tuple[Remark, ...] = ()
    notes: tuple[str, ...] = field(default=())
    node_type: str = ""
