"""Node sets as Slurm and ClusterShell write them: ``luna-[001-458,460]`` to names, and names to the shortest such text.

A bracket holds numbers and ranges; several brackets in one name multiply, the first slowest. A leading zero sets the width
(``[08-10]`` is 08, 09, 10). Sets are joined by commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from math import prod

from fabctl.errors import UsageError

MAX_NAMES = 1_000_000
"""Longest expansion: a typo in a range must not eat the memory."""

_PIECE = re.compile(r"[^,\[\]]+|\[[^\[\]]*\]")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_GUID = re.compile(r"0x[0-9a-f]+")
_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,18})(?![0-9])")


class NodesetError(UsageError):
    """A node set cannot be read; `part` is the faulty fragment."""

    def __init__(self, message: str, part: str) -> None:
        super().__init__(f"{message}: '{part}'" if part else message, hint="write names like luna-[001-458,460],gw-1")
        self.part = part


def expand(text: str) -> list[str]:
    """Return the names of a node set, in the order written, doubled ones included.

    Raises
    ------
    NodesetError
        If the set is empty, a bracket is left open or holds no numbers, a range runs backwards or changes its width, or
        the set has more than `MAX_NAMES` names.

    Examples
    --------
    >>> expand("luna-[008-010,012],gw")
    ['luna-008', 'luna-009', 'luna-010', 'luna-012', 'gw']
    >>> expand("r[1-2]n[1-2]")
    ['r1n1', 'r1n2', 'r2n1', 'r2n2']
    """
    if not text.strip():
        raise NodesetError("the node set is empty", "")
    names: list[str] = []
    for word in _words(text):
        parts = [_numbers(piece) if piece.startswith("[") else [piece] for piece in _PIECE.findall(word)]
        if len(names) + prod(len(part) for part in parts) > MAX_NAMES:
            raise NodesetError(f"more than {MAX_NAMES:,} names", word)
        names += ["".join(choice) for choice in product(*parts)]
    return names


def fold(names: Iterable[str]) -> str:
    """Return the node set of `names`: doubled names once, in natural order, numbers gathered into brackets.

    ``set(expand(fold(names))) == set(names)`` for names without commas, brackets and outer blanks.

    Raises
    ------
    NodesetError
        If a name cannot stand in a node set.

    Notes
    -----
    Names of one pattern are joined number by number, the last number first, so a full grid becomes one term; GUIDs are left
    as they are. Linear in the number of names but for the sort.

    Examples
    --------
    >>> fold(["n10", "n9", "n8", "gw"])
    'gw,n[8-10]'
    >>> fold(f"r{r}n{n:02}" for r in (1, 2) for n in range(8, 12))
    'r[1-2]n[08-11]'
    """
    patterns: dict[tuple[str, ...], list[tuple[tuple[str, ...], ...]]] = {}
    for name in sorted(set(names), key=_natural):
        if not name or name != name.strip() or re.search(r"[,\[\]]", name):
            raise NodesetError("this name cannot stand in a node set", name)
        pieces = [name] if _GUID.fullmatch(name) else _NUMBER.split(name)
        patterns.setdefault(tuple(pieces[0::2]), []).append(tuple((number,) for number in pieces[1::2]))
    terms: list[tuple[str, str]] = []
    for texts, members in patterns.items():
        for grid in _joined(members, len(texts) - 1):
            pieces = [_bracket(numbers) for numbers in grid]
            first = "".join(text + numbers[0] for text, numbers in zip(texts, grid, strict=False)) + texts[-1]
            terms.append((first, "".join(text + piece for text, piece in zip(texts, pieces, strict=False)) + texts[-1]))
    return ",".join(term for _, term in sorted(terms, key=lambda term: _natural(term[0])))


def folded(names: Iterable[str]) -> str:
    """Return names for people: their node set, or a plain list if one of them cannot stand in a node set.

    Examples
    --------
    >>> folded(["n1", "n2"]), folded(["n1", "a,b"])
    ('n[1-2]', 'n1,a,b')
    """
    names = tuple(names)
    try:
        return fold(names)
    except NodesetError:
        return ",".join(names)


def _words(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    words, depth, start = [], 0, 0
    for position, character in enumerate(text + ","):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == "," and (depth == 0 or position == len(text)):
            words.append(text[start:position].strip())
            start = position + 1
        if depth not in (0, 1):
            raise NodesetError("brackets do not match", text[start : position + 1].strip())
    if depth:
        raise NodesetError("a bracket is left open", words[-1])
    if "" in words:
        raise NodesetError("a name is missing between commas", text.strip())
    return words


def _numbers(bracket: str) -> list[str]:
    numbers: list[str] = []
    for item in bracket[1:-1].split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None:
            raise NodesetError("this is no number or range", item.strip() or bracket)
        low, high = match[1], match[2] or match[1]
        if int(high) < int(low):
            raise NodesetError("this range runs backwards", item.strip())
        if len(high) < len(low) or (len(high) > len(low) and high.startswith("0")):
            raise NodesetError("the ends of this range differ in width", item.strip())
        if int(high) - int(low) >= MAX_NAMES:
            raise NodesetError(f"more than {MAX_NAMES:,} names", item.strip())
        numbers += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return numbers


def _joined(members: list[tuple[tuple[str, ...], ...]], dimensions: int) -> list[tuple[tuple[str, ...], ...]]:
    for dimension in reversed(range(dimensions)):
        groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
        for grid in members:
            groups.setdefault(grid[:dimension] + grid[dimension + 1 :], []).extend(grid[dimension])
        members = [(*rest[:dimension], tuple(numbers), *rest[dimension:]) for rest, numbers in groups.items()]
    return members


def _bracket(numbers: tuple[str, ...]) -> str:
    """Return ``[08-11,13]``, or the bare number if there is one."""
    if len(numbers) == 1:
        return numbers[0]
    runs: list[list[str]] = []
    expecting: dict[str, list[str]] = {}
    for number in sorted(numbers, key=lambda number: (int(number), len(number))):
        run = expecting.pop(number, None)
        if run is None:
            run = [number]
            runs.append(run)
        run[1:] = [number]
        expecting[str(int(number) + 1).zfill(len(run[0]))] = run
    return "[" + ",".join(run[0] if run[0] == run[-1] else f"{run[0]}-{run[-1]}" for run in runs) + "]"


def _natural(name: str) -> tuple[list[str | int], str]:
    pieces: list[str | int] = list(_NUMBER.split(name))
    pieces[1::2] = [int(piece) for piece in pieces[1::2]]
    return pieces, name
