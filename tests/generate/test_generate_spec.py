"""Mistakes in a spec: message, place and exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabctl.errors import ExitCode, InputError
from fabctl.generate import FAMILIES
from fabctl.generate.spec import COMMON_KEYS, recognises
from fabctl.sources.reading import load_fabric

GOOD = "family: leaf-spine\nhosts_per_leaf: 4\nleaves: 3\nspines: 2\nspeed: EDR\n"
RAILS = "family: rail-optimised\nnode_type: dgx-h100\nnodes_per_unit: 32\nunits: 4\n"

MISTAKES = {
    # name: (spec, line:column, part of the message, part of the hint)
    "unknown-family": ("family: fattree\n", "1:9", "unknown family 'fattree'", "did you mean 'fat-tree'"),
    "misspelt-family": ("familly: xgft\nm: [2]\nw: [1]\n", "1:1", "unknown key 'familly'", "did you mean 'family'"),
    "family-no-word": ("family: [xgft]\n", "1:9", "'family' must be a word, not a list", ""),
    "family-empty": ("family:\n", "1:8", "'family' must be a word, not empty", ""),
    "unknown-key": (GOOD + "spinez: 3\n", "6:1", "unknown key 'spinez'", "did you mean 'spines'"),
    "other-familys-key": (GOOD + "units: 3\n", "6:1", "unknown key 'units'", "known: "),
    "doubled-key": (GOOD + "leaves: 5\n", "6:1", "key 'leaves' is here twice", ":3:9"),
    "missing-key": ("family: leaf-spine\nleaves: 3\nspines: 2\n", "1:1", "key 'hosts_per_leaf' is missing", ""),
    "word-for-number": (GOOD.replace("3", "three"), "3:9", "'leaves' must be a whole number, not 'three'", ""),
    "number-in-quotes": (GOOD.replace("3", '"3"'), "3:9", "'leaves' must be a whole number", ""),
    "fraction": (GOOD.replace("3", "2.5"), "3:9", "'leaves' must be a whole number, not '2.5'", ""),
    "list-for-number": (GOOD.replace("3", "[3]"), "3:9", "'leaves' must be a whole number, not a list", ""),
    "zero": (GOOD.replace("3", "0"), "3:9", "'leaves' must be at least 1, not 0", ""),
    "negative": (GOOD.replace("3", "-3"), "3:9", "'leaves' must be at least 1, not -3", ""),
    "unknown-speed": (GOOD.replace("EDR", "EDX"), "5:8", "unknown speed 'EDX'", "did you mean 'EDR'"),
    "odd-width": (GOOD + "width: 3\n", "6:8", "a cable has 1, 2, 4, 8, 12 lanes, not 3", ""),
    "unknown-switch": (GOOD + "switch: QM9800\n", "6:9", "unknown switch 'QM9800'", "did you mean 'QM"),
    "too-fast-for-the-switch": (
        GOOD.replace("EDR", "NDR") + "switch: QM8700\n",
        "5:8",
        "the named hardware does HDR, not NDR",
        "",
    ),
    "flag-no-flag": (GOOD + "aggregation_nodes: maybe\n", "6:20", "'aggregation_nodes' must be true or false", ""),
    "host-prefix": (GOOD + "host_prefix: my host\n", "6:14", "'my host' does not begin a host name", "letters"),
    "radix-exceeded": (GOOD + "radix: 5\n", "6:8", "a leaf switch needs 6 ports (4 down, 2 up), it has 5", "larger radix"),
    "spine-radix-exceeded": (
        GOOD.replace("leaves: 3", "leaves: 37") + "switch: SB7800\n",
        "6:9",
        "a spine switch needs 37 ports (37 down, 0 up), it has 36",
        "larger radix",
    ),
    "ports-exceeded": (GOOD.replace("3", "255"), "1:9", "a spine switch needs 255 ports (255 down, 0 up), it has 254", ""),
    "radix-above-switch": (GOOD + "switch: SB7800\nradix: 40\n", "7:8", "'radix' must be at most 36, not 40", ""),
    "radix-of-255": (GOOD + "radix: 255\n", "6:8", "'radix' must be at most 254, not 255", ""),
    "no-port-for-aggregation": (
        GOOD + "radix: 254\naggregation_nodes: true\n",
        "6:8",
        "'radix' must be at most 253, not 254",
        "",
    ),
    "uneven-oversubscription": (
        GOOD + "oversubscription: 3\n",
        "6:19",
        "4 down-links at 3:1 make 1.333 up-links, no whole number",
        "",
    ),
    "uneven-spines": (GOOD + "oversubscription: 4\n", "6:19", "1 up-links per leaf cannot be shared evenly by 2 spines", ""),
    "said-twice": (GOOD + "oversubscription: 2\ncables: 1\n", "6:19", "'cables' and 'oversubscription' say the same", "keep one"),
    "oversubscription-word": (GOOD + "oversubscription: 2:1\n", "6:19", "'oversubscription' must be a number, not '2:1'", ""),
    "no-radix": ("family: fat-tree\nlevels: 3\n", "1:9", "a fat tree needs a 'radix'", "radix: 36"),
    "odd-radix": ("family: fat-tree\nlevels: 3\nradix: 35\n", "3:8", "a fat tree needs an even radix, not 35", ""),
    "too-many-levels": ("family: fat-tree\nlevels: 5\nradix: 4\n", "2:9", "'levels' must be at most 4, not 5", ""),
    "too-many-lids": ("family: fat-tree\nlevels: 3\nradix: 64\n", "1:9", "needs 70,656 LIDs, a subnet has 49,151", ""),
    "far-too-many-lids": ("family: xgft\nm: [99, 99, 99, 99, 99]\nw: [1, 9, 9, 9, 9]\n", "1:9", "a subnet has 49,151", ""),
    "no-list": ("family: xgft\nm: 16,32\nw: [1, 16]\n", "2:4", "'m' must be a list, not '16,32'", ""),
    "empty-list": ("family: xgft\nm: []\nw: []\n", "2:4", "'m' has 0 levels, a tree has 1 to 8", ""),
    "high-tree": (f"family: xgft\nm: {[1] * 9}\nw: {[1] * 9}\n", "2:4", "'m' has 9 levels, a tree has 1 to 8", ""),
    "uneven-lists": ("family: xgft\nm: [4, 4]\nw: [1, 2, 3]\n", "3:4", "'w' has 3 levels, 'm' has 2", ""),
    "bad-item": ("family: xgft\nm: [4, x]\nw: [1, 2]\n", "2:8", "'m[1]' must be a whole number, not 'x'", ""),
    "several-parents-of-hosts": ("family: xgft\nm: [4, 4]\nw: [2, 2]\n", "3:5", "'w' must begin with 1, not 2", "rail-optimised"),
    "unknown-node-type": (RAILS.replace("h100", "h1000"), "2:12", "unknown node_type 'dgx-h1000'", "did you mean 'dgx-h100'"),
    "no-rails": (RAILS.replace("node_type: dgx-h100\n", ""), "1:9", "'node_type' or 'rails' must say how many rails", "dgx-h100"),
    "other-rails": (RAILS + "rails: 4\n", "5:8", "a dgx-h100 has 8 rails, not 4", ""),
    "nodes-per-leaf": (RAILS + "leaves_per_rail: 3\n", "5:18", "32 nodes cannot be shared evenly by 3 leaves", ""),
    "node-ports": (RAILS.replace("32", "40"), "2:12", "a leaf switch needs 80 ports (40 down, 40 up), it has 64", "larger radix"),
    "many-units": (RAILS.replace("units: 4", "units: 999999999"), "4:8", "'units' must be at most 49151", ""),
    "uneven-pods": (RAILS + "units_per_pod: 3\n", "5:16", "4 units do not make whole pods of 3", ""),
    "pod-above-units": (RAILS + "units_per_pod: 8\n", "5:16", "'units_per_pod' must be at most 4, not 8", ""),
    "spines-no-share": (
        RAILS + "spines: 12\n",
        "5:9",
        "32 up-links from each switch below cannot be shared evenly by 12 spines",
        "",
    ),
    "spines-no-groups": (
        RAILS.replace("units: 4", "units: 16") + "spines: 100\n",
        "5:9",
        "100 spines do not make 8 equal groups",
        "",
    ),
    "cores-no-share": (RAILS + "cores: 24\n", "5:8", "cannot be shared evenly by 6 cores (24 in 4 groups)", ""),
    "no-regular-tree": (
        RAILS.replace("units: 4", "units: 37"),
        "1:9",
        "296 leaves with 32 up-links do not make a regular tree of three levels on 64 ports",
        "units_per_pod",
    ),
    "yaml-syntax": ("family: xgft\nm: [16, 32\nw: [1, 16]\n", "3:2", "this is no YAML", ""),
    "yaml-tab": ("family: xgft\n\tm: [1]\n", "2:1", "this is no YAML", "tabs"),
    "two-documents": (GOOD + "---\n" + GOOD, "6:1", "this is no YAML", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_with_their_place(name: str, tmp_path: Path) -> None:
    text, place, message, hint = MISTAKES[name]
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_fabric(str(path))
    assert message in caught.value.message
    assert caught.value.where == f"{path}:{place}"
    assert hint in caught.value.hint
    assert caught.value.exit_code == ExitCode.INPUT == 3


@pytest.mark.parametrize("text", ["just words\n", "- family: xgft\n", "3\n"])
def test_what_is_no_mapping_is_refused_when_forced(text: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="must be a mapping") as caught:
        load_fabric(str(path), "topology")
    assert caught.value.where == f"{path}:1:1"


def test_a_spec_without_a_speed_says_what_it_took(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD.replace("speed: EDR\n", ""))
    assert load_fabric(str(path)).report.notes == ("the spec says no speed: EDR taken",)


@pytest.mark.parametrize(
    "head",
    [
        GOOD,
        "# a comment\n\n---\nspeed: EDR\nfamily : xgft\n",
        "\ufefffamily: xgft\n",
        "leaves: 3\r\nfamily: leaf-spine\r\n",
        "Family: xgft\n",
    ],
)
def test_specs_are_recognised(head: str) -> None:
    assert recognises(head)


def test_nothing_else_is_taken_for_a_spec(fixtures: Path) -> None:
    others = [path for path in sorted(fixtures.rglob("*")) if path.is_file() and path.name != "ibnd.cache"]
    assert len(others) > 50
    claimed = [path.name for path in others if recognises(path.read_text(encoding="latin-1")[: 1 << 16])]
    assert claimed == []
    assert not recognises('{"family": "xgft"}')
    assert not recognises("collective: all-reduce\nhosts: node-[0001-0016]\nsize: 1G\n")
    assert not recognises("")


def test_no_family_hides_a_common_key() -> None:
    for name in FAMILIES.names():
        family = FAMILIES.load(name)
        assert not set(family.keys) & set(COMMON_KEYS)
        assert set(family.required) <= set(family.keys)
