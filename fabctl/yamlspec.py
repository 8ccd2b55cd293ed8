"""Small hand-written YAML with places: whatever is wrong in a spec is said as ``file:line:column``, with the nearest right word.

Values are taken lazily from PyYAML's node graph, so a spec costs what is read of it and an alias cannot blow up. Numbers are
decimal (YAML 1.1 would read ``010`` as 8), and `Node.text` gives a plain scalar as it is written (``on`` stays ``on``).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fabctl.errors import InputError

MAX_DEPTH = 50
"""Deepest nesting of lists and mappings in a spec."""
_TOO_DEEP = f"lists and mappings nest deeper than {MAX_DEPTH} levels"

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_LONG = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d+)?([eE][+-]?\d{1,2})?")
_FLAGS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


@dataclass(frozen=True)
class Node:
    """A value of a spec: where it stands, what it is called, and getters that check its type.

    Parameters
    ----------
    path : str
        File name, for messages.
    name : str
        Key or ``key[index]`` that holds the value; empty for the whole document.
    yaml_node : yaml.ScalarNode, yaml.SequenceNode or yaml.MappingNode
        What PyYAML composed.

    Notes
    -----
    All getters raise `InputError` with the value's place.
    """

    path: str
    name: str
    yaml_node: Any

    @property
    def where(self) -> str:
        """``file:line:column``, both counted from 1."""
        return _place(self.path, self.yaml_node)

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return self.yaml_node.id == "mapping"

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return self.yaml_node.id == "sequence"

    def error(self, message: str, *, hint: str = "") -> InputError:
        """Return an error at this value's place."""
        return InputError(message, where=self.where, hint=hint)

    def find(self, key: str) -> Node | None:
        """Return a mapping's value by key, unchecked: the one that says which other keys there may be."""
        for key_node, value_node in self.yaml_node.value if self.is_mapping else ():
            if key_node.value == key:
                return Node(self.path, key, value_node)
        return None

    def mapping(self, known: Collection[str], *, required: Collection[str] = ()) -> dict[str, Node]:
        """Return a mapping's values by key; unknown, doubled and missing keys are errors."""
        if not self.is_mapping:
            raise self._not("a mapping (key: value)")
        values: dict[str, Node] = {}
        for key_node, value_node in self.yaml_node.value:
            key = key_node.value if key_node.id == "scalar" else "(not a word)"
            where = _place(self.path, key_node)
            if key not in known:
                raise InputError(f"unknown key '{key}'", where=where, hint=suggestion(key, known))
            if key in values:
                raise InputError(f"key '{key}' is here twice", where=where, hint=f"the first is at {values[key].where}")
            values[key] = Node(self.path, key, value_node)
        for key in required:
            if key not in values:
                raise self.error(f"key '{key}' is missing")
        return values

    def items(self) -> list[Node]:
        """Return a list's values."""
        if not self.is_list:
            raise self._not("a list")
        return [Node(self.path, f"{self.name}[{index}]", item) for index, item in enumerate(self.yaml_node.value)]

    def text(self) -> str:
        """Return a scalar as it is written; empty is an error."""
        if self.yaml_node.id != "scalar" or not self.yaml_node.value.strip():
            raise self._not("a word")
        return str(self.yaml_node.value)

    def integer(self, *, low: int | None = None, high: int | None = None) -> int:
        """Return a whole number between `low` and `high`."""
        text = self._number_text()
        if not _INTEGER.fullmatch(text):
            raise self._not("a whole number" if not _LONG.fullmatch(text) else "a number of at most 18 digits")
        value = int(text)
        self._check_range(value, low, high)
        return value

    def number(self, *, low: float | None = None, high: float | None = None) -> float:
        """Return a number between `low` and `high`."""
        text = self._number_text()
        if not _NUMBER.fullmatch(text):
            raise self._not("a number")
        value = float(text)
        self._check_range(value, low, high)
        return value

    def flag(self) -> bool:
        """Return a truth value."""
        text = self.yaml_node.value
        if self.yaml_node.id != "scalar" or text.lower() not in _FLAGS:
            raise self._not("true or false")
        return _FLAGS[text.lower()]

    def choice(self, known: Collection[str]) -> str:
        """Return a word out of `known`; anything else is an error with the nearest."""
        text = self.text()
        if text not in known:
            raise self.error(f"unknown {self.name} '{text}'", hint=suggestion(text, known))
        return text

    def _number_text(self) -> str:
        quoted = self.yaml_node.id == "scalar" and self.yaml_node.style in ("'", '"')
        return str(self.yaml_node.value) if self.yaml_node.id == "scalar" and not quoted else ""

    def _check_range(self, value: float, low: float | None, high: float | None) -> None:
        if low is not None and value < low:
            raise self.error(f"{self._title()} must be at least {low}, not {value}")
        if high is not None and value > high:
            raise self.error(f"{self._title()} must be at most {high}, not {value}")

    def _title(self) -> str:
        return f"'{self.name}'" if self.name else "this file"

    def _not(self, wanted: str) -> InputError:
        return self.error(f"{self._title()} must be {wanted}, not {self._found()}")

    def _found(self) -> str:
        node = self.yaml_node
        if node.id != "scalar":
            return "a mapping" if self.is_mapping else "a list"
        if not node.value:
            return "empty"
        return f"the text '{node.value}'" if node.style in ("'", '"') else f"'{node.value}'"


def load(text: str, path: str) -> Node:
    """Return the one document of a YAML text.

    Parameters
    ----------
    text : str
    path : str
        File name, for messages.

    Raises
    ------
    InputError
        If the text is no YAML, holds nothing or several documents, or nests deeper than `MAX_DEPTH`; with
        ``file:line:column``.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(text, path, loader)
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        if "nesting depth" in (error.problem or ""):
            raise InputError(_TOO_DEEP, where=where) from error
        what = ", ".join(filter(None, (error.context, error.problem)))
        line = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
        raise InputError(f"this is no YAML: {what}", where=where, hint=_yaml_hint(what, line)) from error
    except yaml.YAMLError as error:
        raise InputError(f"this is no YAML: {str(error).splitlines()[0]}", where=path) from error
    if root is None:
        raise InputError("the file holds nothing", where=path)
    return Node(path, "", root)


def suggestion(word: str, known: Collection[str]) -> str:
    """Return a hint with the nearest of `known`, and all of them if they are few.

    Examples
    --------
    >>> suggestion("colective", ["hosts", "collective"])
    "did you mean 'collective'? known: hosts, collective"
    """
    near = get_close_matches(word, known, n=1)
    lead = f"did you mean '{near[0]}'? " if near else ""
    return f"{lead}known: {', '.join(known)}" if len(known) <= 20 else lead.strip()


def _yaml_hint(what: str, line: str) -> str:
    if "\t" in line:
        return "indent with blanks, not with tabs"
    return "inside [ ] a text that itself holds brackets goes into quotes" if "flow sequence" in what else ""


def _check_depth(text: str, path: str, loader: Any) -> None:
    """Refuse what would overflow the C stack of PyYAML's composer."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InputError(_TOO_DEEP, where=_place(path, event))


def _place(path: str, node: Any) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
