"""What infiniband-diags print: ``Name:......value`` lines, in one block or in several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fabctl.errors import SourceError

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_]*):\.*(\S.*|)")
_HEADER_LID = re.compile(r"\bLid (\d+)\b")


def fields(text: str) -> dict[str, str]:
    r"""Return the fields of a text that holds each once; of several with one name, the first.

    Examples
    --------
    >>> fields("# Node info: Lid 2\nNodeType:........................Switch\nLMC:.............................0\n")
    {'NodeType': 'Switch', 'LMC': '0'}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _FIELD.fullmatch(line.rstrip())
        if match:
            found.setdefault(match[1], match[2])
    return found


def blocks(text: str, first: str) -> list[dict[str, str]]:
    r"""Return the fields of each block of a text, a block begins with the field called `first`; what is before is left out.

    Examples
    --------
    >>> blocks("SL:......0\nCCTI_Timer:...5\n\nSL:......1\nCCTI_Timer:...6\n", "SL")
    [{'SL': '0', 'CCTI_Timer': '5'}, {'SL': '1', 'CCTI_Timer': '6'}]
    """
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        match = _FIELD.fullmatch(line.rstrip())
        if match and match[1] == first:
            found.append({first: match[2]})
        elif match and found:
            found[-1].setdefault(match[1], match[2])
    return found


def numbers(found: Mapping[str, str], names: Iterable[str], what: str) -> list[int]:
    """Return fields as numbers, hexadecimal ones too.

    Raises
    ------
    SourceError
        If one is not there, or is no number: the tool printed half an answer.
    """
    out = []
    for name in names:
        try:
            out.append(int(found[name], 0))
        except (KeyError, ValueError) as error:
            raise SourceError(f"{what}: the answer holds no {name}; the tool printed half of it") from error
    return out


def header_lid(text: str) -> int | None:
    """Return the LID in the header of a tool's output; None if it names none."""
    for line in text.splitlines():
        if line.startswith("#"):
            match = _HEADER_LID.search(line)
            return int(match[1]) if match else None
    return None
