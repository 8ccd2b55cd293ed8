"""``partitions.conf`` as text: what it defines, and definitions added and taken out with every other byte left as it was.

A mistake anywhere makes OpenSM drop the whole file and give every port full membership of the default partition (measured,
3.3.23). A file without a rule for that partition gives all but the subnet manager limited membership (opensm(8)).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

DEFAULT_KEY = 0x7FFF
FULL = 0x8000
"""Bit of a P_Key that says full membership (InfiniBand Architecture Specification volume 1, 10.9.1.2)."""

WITHOUT_FILE = "Default=0x7fff,ipoib:ALL=full;\n"
"""What OpenSM does without a file (opensm(8))."""

_HIDDEN = "\0"
_COMMENT = re.compile(r"#[^\n]*")
_STATEMENT = re.compile(r"[^;]*;[ \t\r]*\n?")
_HEAD = re.compile(r"\s*(?P<name>[^=,:\s]*)\s*(?:=\s*(?P<key>\w+))?\s*(?P<flags>(?:,[^:]*)?):")


@dataclass(frozen=True)
class Definition:
    """One statement.

    Parameters
    ----------
    name : str
    key : int, optional
        Low 15 bits of its P_Key; None: OpenSM makes one up.
    members : str
        What stands behind the colon, without comments and needless blanks.
    start, end : int
        Where it lies in the text, from its first word to the end of its last line; a comment behind it is not part of it.
    """

    name: str
    key: int | None
    members: str
    start: int
    end: int

    def asks_for(self, group: str) -> bool:
        """Return whether it makes a multicast group of this GID."""
        wanted = ipaddress.IPv6Address(group)
        return any(_gid(text) == wanted for text in re.findall(r"mgid=([^,;\s]+)", self.members))


def definitions(text: str) -> list[Definition]:
    """Return what a file defines; a statement that cannot be read is left out."""
    plain = _COMMENT.sub(lambda found: _HIDDEN * len(found[0]), text)
    out = []
    for statement in _STATEMENT.finditer(plain):
        words = statement[0].lstrip(f" \t\r\n{_HIDDEN}")
        head = _HEAD.match(words.replace(_HIDDEN, " "))
        if head is None:
            continue
        key = _number(head["key"]) if head["key"] else DEFAULT_KEY if head["name"] == "Default" else None
        members = " ".join(words[head.end() :].rpartition(";")[0].replace(_HIDDEN, " ").split())
        members = re.sub(r" ?([,=]) ?", r"\1", members)
        out.append(
            Definition(head["name"], None if key is None else key & ~FULL, members, statement.end() - len(words), statement.end())
        )
    return out


def with_definition(text: str | None, name: str, key: int, flags: Iterable[str], lines: Iterable[str]) -> str:
    """Return the file with a definition at its end.

    Parameters
    ----------
    text : str, optional
        None: there is no file; what OpenSM does without it is written first.
    lines : iterable of str
        Multicast groups, and last the members.
    """
    before = WITHOUT_FILE if text is None else text
    joint = "" if not before or before.endswith("\n") else "\n"
    head = ", ".join([f"{name}={key:#06x}", *flags])
    return f"{before}{joint}{head} :\n" + "\n".join(f"    {line}" for line in lines) + ";\n"


def without_definitions(text: str, gone: Iterable[Definition]) -> str:
    """Return the file without some of its definitions."""
    for definition in sorted(gone, key=lambda one: one.start, reverse=True):
        text = text[: definition.start] + text[definition.end :]
    return text


def _gid(text: str) -> ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(text)
    except ValueError:
        return None


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
