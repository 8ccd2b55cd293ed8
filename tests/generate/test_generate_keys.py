"""Every key of every family, wrong, missing, doubled, misspelt and out of range: message and place."""

from __future__ import annotations

import re

import pytest

from fabctl.errors import InputError
from fabctl.generate import FAMILIES
from fabctl.generate.spec import parse

SPECS: dict[str, list[dict[str, str]]] = {
    # together the specs of a family have all its keys
    "xgft": [{"m": "[4, 4]", "w": "[1, 2]", "p": "[1, 2]"}],
    "fat-tree": [{"radix": "8", "levels": "2"}],
    "leaf-spine": [
        {"hosts_per_leaf": "4", "leaves": "3", "spines": "2", "cables": "2"},
        {"hosts_per_leaf": "4", "leaves": "3", "spines": "2", "oversubscription": "2"},
    ],
    "rail-optimised": [
        {"node_type": "dgx-h100", "nodes_per_unit": "32", "units": "4", "leaves_per_rail": "2", "oversubscription": "2"},
        {"rails": "4", "radix": "16", "nodes_per_unit": "8", "units": "8", "units_per_pod": "8", "spines": "32", "cores": "16"},
    ],
    "director": [
        {"radix": "12", "line_cards": "6", "fabric_cards": "3", "hosts_per_line_card": "5"},
        {
            "radix": "12",
            "line_cards": "6",
            "fabric_cards": "3",
            "leaves": "6",
            "hosts_per_leaf": "6",
            "chassis": "2",
            "cables": "3",
        },
    ],
    "torus": [{"dims": "[4, 4]", "hosts_per_switch": "2", "cables": "2"}],
    "mesh": [{"dims": "[4, 4]", "hosts_per_switch": "2", "cables": "2"}],
    "hypercube": [{"dimensions": "4", "hosts_per_switch": "2", "cables": "2"}],
    "hyperx": [{"dims": "[4, 4]", "hosts_per_switch": "2", "cables": "2"}],
    "dragonfly": [{"hosts_per_switch": "2", "switches_per_group": "4", "global_links": "2", "groups": "5"}],
    "dragonfly-plus": [{"hosts_per_leaf": "2", "leaves": "2", "spines": "2", "global_links": "2", "groups": "3"}],
    "slim-fly": [{"q": "5", "hosts_per_switch": "2"}],
    "random-regular": [{"switches": "10", "degree": "3", "hosts_per_switch": "2", "seed": "1"}],
}
COMMON = {
    "speed": "EDR",
    "width": "4",
    "switch": "SB7800",
    "host_prefix": "node-",
    "aggregation_nodes": "true",
    "lmc": "1",
    "remove": "{cables: 1}",
}
CASES = [(family, spec, key) for family, specs in SPECS.items() for spec in specs for key in spec]
CASES += [("torus", {"radix": "36", **SPECS["torus"][0], **COMMON}, key) for key in ("radix", *COMMON)]

each_key = pytest.mark.parametrize(("family", "spec", "key"), CASES, ids=lambda value: "" if isinstance(value, dict) else value)


def text_of(family: str, spec: dict[str, str]) -> str:
    return f"family: {family}\n" + "".join(f"{key}: {value}\n" for key, value in spec.items())


def refused(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse(text, "spec.yaml")
    assert re.fullmatch(r"spec\.yaml:\d+:\d+", caught.value.where)
    return caught.value


def place_of(spec: dict[str, str], key: str) -> str:
    return f"spec.yaml:{2 + list(spec).index(key)}:{len(key) + 3}"


@pytest.mark.parametrize("family", FAMILIES.names())
def test_every_key_is_here(family: str) -> None:
    keys = {key for spec in SPECS[family] for key in spec} - {"radix"}
    assert keys == set(FAMILIES.load(family).keys)
    for spec in SPECS[family]:
        assert parse(text_of(family, spec), "spec.yaml")[0].n_switches


@each_key
@pytest.mark.parametrize("value", ["{a: 1}", "[[1]]", "oops!", "''"])
def test_what_is_no_value_for_a_key_is_told_at_the_value(family: str, spec: dict[str, str], key: str, value: str) -> None:
    error = refused(text_of(family, {**spec, key: value}))
    line, column = map(int, place_of(spec, key).split(":")[1:])
    assert error.where in {f"spec.yaml:{line}:{column}", f"spec.yaml:{line}:{column + 1}"}  # the value, or what is in it
    assert key in error.message or value in error.message or "'a'" in error.message


@each_key
def test_a_key_is_missing(family: str, spec: dict[str, str], key: str) -> None:
    rest = {other: value for other, value in spec.items() if other != key}
    if key in FAMILIES.load(family).required:
        error = refused(text_of(family, rest))
        assert (error.message, error.where) == (f"key '{key}' is missing", "spec.yaml:1:1")


@each_key
def test_a_key_is_doubled_or_misspelt(family: str, spec: dict[str, str], key: str) -> None:
    last = len(spec) + 2
    error = refused(text_of(family, spec) + f"{key}: {spec[key]}\n")
    assert (error.message, error.where) == (f"key '{key}' is here twice", f"spec.yaml:{last}:1")
    assert error.hint == f"the first is at {place_of(spec, key)}"
    error = refused(text_of(family, spec) + f"{key}z: 1\n")
    assert (error.message, error.where) == (f"unknown key '{key}z'", f"spec.yaml:{last}:1")
    if len(key) > 1:
        assert f"did you mean '{key}'" in error.hint


@each_key
def test_numbers_out_of_range_are_told(family: str, spec: dict[str, str], key: str) -> None:
    if not re.fullmatch(r"[\d\[\], ]+", spec[key]):
        return
    too_small = ["-1"] if key in ("seed", "lmc") else ["0", "-1"]
    for number in too_small:
        error = refused(text_of(family, {**spec, key: re.sub(r"\d+", number, spec[key])}))
        line = place_of(spec, key).split(":")[1]
        assert error.where.split(":")[1] == line
        assert number in error.message
    too_large = re.sub(r"\d+", "9" * (19 if key == "seed" else 12), spec[key])
    assert refused(text_of(family, {**spec, key: too_large})).message
