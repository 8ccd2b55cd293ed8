"""Mistakes in a spec: message, place and exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabctl.errors import ExitCode, InputError
from fabctl.generate import FAMILIES
from fabctl.generate.spec import COMMON_KEYS, recognises
from fabctl.sources.reading import load_fabric

GOOD = "family: leaf-spine\nhosts_per_leaf: 4\nleaves: 3\nspines: 2\nspeed: EDR\n"
TORUS = "family: torus\ndims: [4, 4]\nhosts_per_switch: 2\nspeed: EDR\n"
DRAGONFLY = "family: dragonfly\nhosts_per_switch: 4\nswitches_per_group: 8\nglobal_links: 4\nspeed: EDR\n"
PLUS = "family: dragonfly-plus\nhosts_per_leaf: 8\nleaves: 8\nspines: 8\nglobal_links: 2\nspeed: EDR\n"
SLIM = "family: slim-fly\nq: 5\nhosts_per_switch: 4\nspeed: EDR\n"
RANDOM = "family: random-regular\nswitches: 20\ndegree: 3\nhosts_per_switch: 2\nspeed: EDR\n"
DIRECTOR = "family: director\nradix: 36\nline_cards: 36\nfabric_cards: 18\nspeed: EDR\n"
LEAVES = DIRECTOR + "leaves: 72\nhosts_per_leaf: 18\nchassis: 2\ncables: 9\n"
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
    "ports-exceeded-by-aggregation": (
        GOOD.replace("leaves: 3", "leaves: 254") + "aggregation_nodes: true\n",
        "1:9",
        "a spine switch needs 254 ports (254 down, 0 up), it has 253",
        "",
    ),
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
    "lmc-8": (GOOD + "lmc: 8\n", "6:6", "'lmc' must be at most 7, not 8", ""),
    "lmc-too-many-lids": (
        "family: fat-tree\nradix: 36\nlevels: 3\nlmc: 3\n",
        "4:6",
        "with 8 LIDs for each HCA this fabric needs LIDs up to 94,939, a subnet has 49,151",
        "smaller 'lmc'",
    ),
    "no-dims": (TORUS.replace("[4, 4]", "[]"), "2:7", "'dims' has 0 dimensions, a grid has 1 to 4", ""),
    "five-dims": (TORUS.replace("[4, 4]", "[2, 2, 2, 2, 2]"), "2:7", "'dims' has 5 dimensions, a grid has 1 to 4", ""),
    "flat-dim": (TORUS.replace("[4, 4]", "[4, 1]"), "2:11", "'dims[1]' must be at least 2, not 1", ""),
    "dims-4x4": (TORUS.replace("[4, 4]", "4x4"), "2:7", "'dims' must be a list, not '4x4'", ""),
    "torus-ports": (
        TORUS + "cables: 9\nswitch: SB7800\n",
        "6:9",
        "needs 38 ports (2 to hosts, 36 to neighbours), it has 36",
        "radix",
    ),
    "torus-lids": (TORUS.replace("[4, 4]", "[256, 256]"), "1:9", "this fabric needs 196,608 LIDs", ""),
    "huge-torus": (TORUS.replace("[4, 4]", "[999999, 999999, 999999]"), "1:9", "LIDs, a subnet has 49,151", ""),
    "hypercube-of-15": ("family: hypercube\ndimensions: 15\nhosts_per_switch: 1\n", "2:13", "must be at most 14, not 15", ""),
    "hyperx-ports": (
        "family: hyperx\ndims: [12, 30]\nhosts_per_switch: 7\nradix: 36\n",
        "4:8",
        "a switch needs 47 ports (7 to hosts, 40 to neighbours), it has 36",
        "larger radix",
    ),
    "one-group": (DRAGONFLY + "groups: 1\n", "6:9", "'groups' must be at least 2, not 1", ""),
    "too-many-groups": (DRAGONFLY + "groups: 34\n", "6:9", "'groups' must be at most 33, not 34", ""),
    "dragonfly-ports": (DRAGONFLY + "radix: 14\n", "6:8", "needs 15 ports (4 to hosts, 7 local, 4 global), it has 14", ""),
    "too-many-plus-groups": (PLUS + "groups: 18\n", "7:9", "'groups' must be at most 17, not 18", ""),
    "plus-spine-ports": (PLUS + "radix: 9\n", "7:8", "a leaf switch needs 16 ports (8 to hosts, 8 to spines), it has 9", ""),
    "plus-leaf-ports": (
        PLUS.replace("global_links: 2", "global_links: 9") + "radix: 16\n",
        "7:8",
        "a spine switch needs 17 ports (8 to leaves, 9 global), it has 16",
        "",
    ),
    "no-prime-power": (
        SLIM.replace("5", "6"),
        "2:4",
        "'q' must be a power of a prime, not 6",
        "such as 3, 4, 5, 7, 8, 9, 11, 13",
    ),
    "q-of-two": (SLIM.replace("5", "2"), "2:4", "'q' must be at least 3, not 2", ""),
    "slim-fly-ports": (SLIM + "radix: 10\n", "5:8", "a switch needs 11 ports (4 to hosts, 7 to switches), it has 10", ""),
    "half-a-link": (
        RANDOM.replace("20", "21"),
        "3:9",
        "21 switches with 3 links each would end in half a link",
        "",
    ),
    "degree-of-all": (RANDOM.replace("degree: 3", "degree: 20"), "3:9", "'degree' must be at most 19, not 20", ""),
    "degree-of-one": (RANDOM.replace("degree: 3", "degree: 1"), "3:9", "'degree' must be at least 2, not 1", ""),
    "director-without-radix": (DIRECTOR.replace("radix: 36\n", ""), "1:9", "a director needs an even 'radix'", "switch: SB7800"),
    "director-of-odd-radix": (DIRECTOR.replace("radix: 36", "radix: 35"), "2:8", "a director needs an even 'radix'", ""),
    "uneven-fabric-cards": (
        DIRECTOR.replace("18", "4"),
        "4:15",
        "18 inner ports of a line card cannot be shared evenly by 4 fabric cards",
        "",
    ),
    "too-many-line-cards": (
        DIRECTOR.replace("line_cards: 36", "line_cards: 37"),
        "3:13",
        "a fabric card needs 37 ports (1 for each line card), it has 36",
        "",
    ),
    "line-card-hosts": (DIRECTOR + "hosts_per_line_card: 19\n", "6:22", "must be at most 18, not 19", ""),
    "chassis-without-leaves": (DIRECTOR + "chassis: 2\n", "6:10", "'chassis' is for directors above leaves", "'leaves'"),
    "leaves-without-hosts": (DIRECTOR + "leaves: 72\n", "6:9", "'leaves' needs 'hosts_per_leaf'", ""),
    "hosts-on-line-cards": (LEAVES + "hosts_per_line_card: 3\n", "10:22", "hosts are on the leaves here", "'hosts_per_leaf'"),
    "uneven-leaves": (LEAVES.replace("72", "71"), "6:9", "71 leaves cannot be shared evenly by 36 line cards", ""),
    "line-card-ports": (
        LEAVES.replace("72", "108"),
        "6:9",
        "a line card needs 27 outer ports (3 leaves, 9 cables each), it has 18",
        "",
    ),
    "director-leaf-ports": (
        LEAVES.replace("chassis: 2", "chassis: 3"),
        "2:8",
        "a leaf switch needs 45 ports (18 down, 27 up), it has 36",
        "chassis",
    ),
    "director-lids": (
        LEAVES.replace("36", "254").replace("18", "127").replace("leaves: 72", "leaves: 508").replace("chassis: 2", "chassis: 1"),
        "1:9",
        "this fabric needs 65,405 LIDs",
        "",
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
