r"""The two files by which NVIDIA's OpenSM leaves SHARP off on some switches: port groups, and what is set on their ports.

Format: NVIDIA SHARP 2.6.1 to 3.13, "Disabling SHARP on Specific Network Devices in OpenSM"::

    port-group                                  port-conf
        name: NON_SHARP_SWITCHES                    port-group-name: NON_SHARP_SWITCHES
        port-guid: 0x0c42a10300255562               sharp-enabled: 0
    end-port-group                              end-port-conf

Edits touch the lines of single GUIDs; every other byte stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, count

from fabctl.errors import InputError, RefusedError

GROUP = "NON_SHARP_SWITCHES"
"""NVIDIA's name of the group in its manual."""


@dataclass(frozen=True)
class Exclusion:
    """Switches on which SHARP is left off.

    Parameters
    ----------
    guids : frozenset of int
        Port GUIDs.
    groups : tuple of str
        Port groups that name them.
    """

    guids: frozenset[int]
    groups: tuple[str, ...]


def exclusion(groups: str, devices: str) -> Exclusion:
    """Return the switches on which two files leave SHARP off.

    Raises
    ------
    RefusedError
        If a group on which SHARP is off is not listed by port GUIDs: its members are then unknown.
    InputError
        If a GUID is none, or a block has no end.
    """
    off = [
        name
        for block in _blocks(devices, "port-conf")
        if _values(block, "sharp-enabled")[-1:] == ["0"]
        for name in _values(block, "port-group-name")
    ]
    by_name = {name: block for block in _blocks(groups, "port-group") for name in _values(block, "name")[:1]}
    guids: set[int] = set()
    for name in off:
        block = by_name.get(name)
        others = [key for key in _keys(block or "") if key not in ("name", "use", "port-guid")]
        if block is None or others:
            how = f"by {others[0]}" if others else "in no file that fabctl has"
            raise RefusedError(
                f"SHARP is off on the port group {name}, whose members are given {how}: they are unknown",
                hint="list its switches by port-guid",
            )
        guids.update(_guids(block))
    return Exclusion(frozenset(guids), tuple(dict.fromkeys(off)))


def with_excluded(groups: str, devices: str, guids: Collection[int]) -> tuple[str, str]:
    """Return both files so that SHARP is off on these switches and on no other.

    Raises
    ------
    RefusedError
        As `exclusion`; if a switch would have to leave a group that sets something else too.
    InputError
        As `exclusion`.
    """
    now = exclusion(groups, devices)
    groups, devices = _taken_out(groups, devices, now, now.guids - set(guids))
    more = sorted(set(guids) - now.guids)
    left = exclusion(groups, devices).groups
    name = left[0] if left else _new_name(groups)
    if more and not left:
        devices = _appended(devices, f"port-conf\n    port-group-name: {name}\n    sharp-enabled: 0\nend-port-conf\n")
        groups = _appended(groups, f"port-group\n    name: {name}\nend-port-group\n")
    for guid in more:
        groups = _with_guid(groups, name, guid)
    return groups, devices


def _taken_out(groups: str, devices: str, now: Exclusion, guids: Collection[int]) -> tuple[str, str]:
    """Take switches out of the groups on which SHARP is off, and what is empty then out of both files."""
    for name in now.groups:
        held = set(_guids(_group(groups, name)[0])).intersection(guids)
        settings = [found for found in _matches(devices, "port-conf") if name in _values(found[0], "port-group-name")]
        others = {key for found in settings for key in _keys(found[0])} - {"port-group-name", "sharp-enabled"}
        if held and others:
            raise RefusedError(
                f"the port group {name} sets {min(others)} too, which a switch that leaves it would lose",
                hint="give it a group of its own for sharp-enabled: 0",
            )
        for guid in held:
            groups = _without_guid(groups, name, guid)
        if held and not any(_guids(_group(groups, name)[0])):
            found = _group(groups, name)
            groups = groups[: found.start()] + groups[found.end() :]
            for found in reversed(settings):
                devices = devices[: found.start()] + devices[found.end() :]
    return groups, devices


def _new_name(groups: str) -> str:
    """Return a name that no group has."""
    taken = {name for block in _blocks(groups, "port-group") for name in _values(block, "name")}
    return next(name for name in chain([GROUP], (f"{GROUP}_{number}" for number in count(2))) if name not in taken)


def _blocks(text: str, kind: str) -> Iterator[str]:
    """Yield each block of a kind, with its first and last line."""
    for found in _matches(text, kind):
        yield found[0]


def _matches(text: str, kind: str) -> list[re.Match[str]]:
    text = text.replace("\r", " ")
    begun = len(re.findall(rf"^[ \t]*{kind}[ \t]*(?:#.*)?$", text, re.MULTILINE))
    pattern = rf"^[ \t]*{kind}[ \t]*(?:#[^\n]*)?\n(?P<body>(?:(?![ \t]*end-{kind})[^\n]*\n)*)[ \t]*end-{kind}[^\n]*(?:\n|\Z)"
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != begun:
        raise InputError(f"a {kind} has no end-{kind}", where="port groups" if kind == "port-group" else "device configuration")
    return found


def _values(block: str, key: str) -> list[str]:
    found = re.findall(rf"^[ \t]*{key}[ \t]*:[ \t]*([^#\n]*)", block, re.MULTILINE)
    return [value.strip().strip('"') for value in found]


def _keys(block: str) -> list[str]:
    return re.findall(r"^[ \t]*([\w-]+)[ \t]*:", block, re.MULTILINE)


def _guids(block: str) -> Iterator[int]:
    for line in _values(block, "port-guid"):
        for word in filter(None, re.split(r"[,\s]+", line)):
            try:
                yield int(word, 16)
            except ValueError as error:
                raise InputError(f"'{word}' is no port GUID", where="port groups") from error


def _appended(text: str, block: str) -> str:
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{block}"


def _group(text: str, name: str) -> re.Match[str]:
    return next(found for found in _matches(text, "port-group") if name in _values(found[0], "name"))


def _with_guid(text: str, name: str, guid: int) -> str:
    end = _group(text, name).end("body")
    return f"{text[:end]}    port-guid: 0x{guid:016x}\n{text[end:]}"


def _without_guid(text: str, name: str, guid: int) -> str:
    """Take a GUID out of its line, and the line if it held no other."""
    found = _group(text, name)
    begin, body = found.start("body"), text[found.start("body") : found.end("body")]
    lines = []
    for line in body.splitlines(keepends=True):
        held = list(_guids(line))
        if guid not in held:
            lines.append(line)
        elif len(held) > 1:
            word = rf"0x0*{guid:x}\b"
            lines.append(re.sub(rf"[ \t]*{word}[ \t]*,|,[ \t]*{word}|[ \t]+{word}", "", line, flags=re.IGNORECASE))
    return text[:begin] + "".join(lines) + text[begin + len(body) :]
