from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import ExitCode, InputError
from fabctl.yamlspec import Node, load, suggestion

KEYS = ("hosts", "size", "rails")


def values(text: str) -> dict[str, Node]:
    return load(text, "a.yaml").mapping(KEYS)


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("", "a.yaml", "the file holds nothing", ""),
        ("# only a comment\n", "a.yaml", "the file holds nothing", ""),
        ("hosts: [a, b", "a.yaml:2:1", "this is no YAML", ""),
        ("hosts: [a, b[1-2]]", "a.yaml:1:13", "this is no YAML", "inside [ ] a text that itself holds brackets goes into quotes"),
        ("hosts:\n\t- a", "a.yaml:2:1", "this is no YAML", "indent with blanks, not with tabs"),
        ("size: 1\n---\nsize: 2", "a.yaml:2:1", "found another document", ""),
        ("size: *there", "a.yaml:1:7", "undefined alias", ""),
        ("size: \x01", "a.yaml", "control characters", ""),
        ("- 1\n", "a.yaml:1:1", "this file must be a mapping (key: value), not a list", ""),
        ("word", "a.yaml:1:1", "this file must be a mapping (key: value), not 'word'", ""),
        ("size: 1\n  \nsiez: 2\n", "a.yaml:3:1", "unknown key 'siez'", "did you mean 'size'? known: hosts, size, rails"),
        ("zz: 2\n", "a.yaml:1:1", "unknown key 'zz'", "known: hosts, size, rails"),
        ("? [size]\n: 1", "a.yaml:1:3", "unknown key '(not a word)'", ""),
        ("size: 1\nrails: 2\nsize: 3\n", "a.yaml:3:1", "key 'size' is here twice", "the first is at a.yaml:1:7"),
    ],
)
def test_faulty_files(text: str, where: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        values(text)
    assert error.value.where == where
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.exit_code == ExitCode.INPUT


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="key 'hosts' is missing") as error:
        load("size: 1", "a.yaml").mapping(KEYS, required=("hosts",))
    assert error.value.where == "a.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "get", "value"),
    [
        ("8", Node.integer, 8),
        ("-8", Node.integer, -8),
        ("010", Node.integer, 10),
        ("1.5", Node.number, 1.5),
        ("2e3", Node.number, 2000.0),
        ("on", Node.text, "on"),
        ("010", Node.text, "010"),
        ("0x10", Node.text, "0x10"),
        ("12:30", Node.text, "12:30"),
        ("'8'", Node.text, "8"),
        ("true", Node.flag, True),
        ("Off", Node.flag, False),
    ],
)
def test_getters(text: str, get: Callable[[Node], object], value: object) -> None:
    assert get(values(f"size: {text}")["size"]) == value


@pytest.mark.parametrize(
    ("text", "get", "message"),
    [
        ("1.5", Node.integer, "'size' must be a whole number, not '1.5'"),
        ("'8'", Node.integer, "'size' must be a whole number, not the text '8'"),
        ("0x10", Node.integer, "'size' must be a whole number, not '0x10'"),
        ("9" * 30, Node.integer, "'size' must be a number of at most 18 digits, not '999"),
        ("", Node.integer, "'size' must be a whole number, not empty"),
        ("[8]", Node.integer, "'size' must be a whole number, not a list"),
        (".nan", Node.number, "'size' must be a number, not '.nan'"),
        ("1e999", Node.number, "'size' must be a number"),
        ("''", Node.text, "'size' must be a word, not empty"),
        ("{a: 1}", Node.text, "'size' must be a word, not a mapping"),
        ("8", Node.items, "'size' must be a list, not '8'"),
        ("1", Node.flag, "'size' must be true or false, not '1'"),
    ],
)
def test_wrong_types(text: str, get: Callable[[Node], object], message: str) -> None:
    with pytest.raises(InputError) as error:
        get(values(f"hosts: a\nsize:   {text}")["size"])
    assert message in error.value.message
    assert error.value.where.startswith("a.yaml:2:")


def test_ranges_and_choices() -> None:
    size = values("size: 8")["size"]
    assert size.integer(low=8, high=8) == 8
    with pytest.raises(InputError, match="'size' must be at least 9, not 8"):
        size.integer(low=9)
    with pytest.raises(InputError, match="'size' must be at most 7, not 8"):
        size.number(high=7)
    with pytest.raises(InputError, match="unknown size 'smal'\n  hint: did you mean 'small'"):
        values("size: smal")["size"].choice(["small", "large"])


def test_items_have_their_own_places() -> None:
    first, second = values("rails:\n  - 1\n  -   x\n")["rails"].items()
    assert first.integer() == 1
    with pytest.raises(InputError, match=r"a.yaml:3:7: 'rails\[1\]' must be a whole number, not 'x'"):
        second.integer()


def test_anchors_and_loops_are_no_trap() -> None:
    pair = values("hosts: &h [a, b]\nrails: *h")
    assert [item.text() for item in pair["rails"].items()] == ["a", "b"]
    loop = values("hosts: &h [*h]")["hosts"]
    with pytest.raises(InputError, match="must be a word, not a list"):
        loop.items()[0].text()


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(InputError, match=r"a.yaml:1:\d+: lists and mappings nest deeper than 50 levels"):
        values("hosts: " + "[" * 100_000)


def test_suggestions_list_short_tables_only() -> None:
    assert suggestion("x", [f"name{number}" for number in range(21)]) == ""
    assert suggestion("name10x", [f"name{number}" for number in range(21)]) == "did you mean 'name10'?"


def place_of_error(text: str) -> str:
    try:
        for node in values(text).values():
            node.text()
    except InputError as error:
        return error.where
    return "a.yaml"


@given(st.text(st.sampled_from("ahost: size[]{}-&*'\"\n\t#|>?!%é"), max_size=60))
def test_any_text_is_values_or_an_error_with_a_place(text: str) -> None:
    assert place_of_error(text).startswith("a.yaml")
