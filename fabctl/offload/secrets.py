"""Keys of configuration files that are secrets: they stay in the file, and everything else sees a mark in their place.

A whole file is a value, and values go into plans, the journal and reports. A driver reads with `mask` and writes with `unmask`:
the bytes come back, the secret never leaves its file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from fabctl.errors import RefusedError

_KEYS = r"(?:m|sm|sa|cc|vs|n2n|am)_?key|key_mgr_seed|(?:\w+_)?(?:password|passwd|token|secret)"
_LINE = re.compile(rf"^[ \t]*(?P<key>{_KEYS})(?:[ \t]*[=:][ \t.]*|[ \t]+)(?P<value>[^\s#]+)", re.MULTILINE | re.IGNORECASE)
_WORDS = ("key", "passw", "token", "secret")
_PUBLIC = re.compile(r"\(null\)|null|(?:0x)?0*[01]?", re.IGNORECASE)
"""Unset, or OpenSM's defaults: 0, and 1 for the SM's and the SA's key."""

_MARK = "<kept-in-place:{}>"


def mask(text: str) -> str:
    r"""Return a configuration file with a mark in the place of each secret.

    Examples
    --------
    >>> mask("m_key 0x77\nsm_key 0x1\nqos TRUE\n")
    'm_key <kept-in-place:m_key>\nsm_key 0x1\nqos TRUE\n'
    """
    return _replaced(text, [(line, _MARK.format(line["key"])) for line in _secrets(text)])


def unmask(text: str, current: str) -> str:
    """Return a masked file with the secrets that the file in place holds.

    Raises
    ------
    RefusedError
        If that file does not hold one of them.
    """
    held: dict[str, list[str]] = defaultdict(list)
    for line in _LINE.finditer(current):
        held[line["key"]].append(line["value"])
    out = []
    for line in _LINE.finditer(text):
        if line["value"] == _MARK.format(line["key"]):
            if not held[line["key"]]:
                raise RefusedError(
                    f"the file in place holds no {line['key']}, which is to be kept", hint="put the key back, then try again"
                )
            out.append((line, held[line["key"]].pop(0)))
        elif held[line["key"]]:
            held[line["key"]].pop(0)
    return _replaced(text, out)


def bare_secret(text: str) -> str | None:
    """Return the key of a secret that a text holds, None if it holds none."""
    return next((line["key"] for line in _secrets(text)), None)


def _secrets(text: str) -> Iterator[re.Match[str]]:
    small = text.lower()
    if not any(word in small for word in _WORDS):
        return  # tables of a large fabric are 70 MB, and hold none
    for line in _LINE.finditer(text):
        if not _PUBLIC.fullmatch(line["value"]) and line["value"] != _MARK.format(line["key"]):
            yield line


def _replaced(text: str, values: list[tuple[re.Match[str], str]]) -> str:
    out, end = [], 0
    for line, value in values:
        out += [text[end : line.start("value")], value]
        end = line.end("value")
    return "".join([*out, text[end:]])
