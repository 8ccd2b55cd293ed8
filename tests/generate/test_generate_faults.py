"""`remove`: what is named or drawn goes, with all that hangs from it, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.errors import InputError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.sources.reading import load_fabric

TREE = "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 4\nspines: 2\ncables: 2\nspeed: EDR\n"
RAILS = "family: rail-optimised\nrails: 2\nnodes_per_unit: 3\nunits: 1\nspeed: EDR\naggregation_nodes: true\n"
WIDE = TREE.replace("spines: 2", "spines: 4") + "aggregation_nodes: true\n"
TORUS = "family: torus\ndims: [4, 4]\nhosts_per_switch: 1\nspeed: EDR\n"

Cable = frozenset[tuple[str, int]]


def without(text: str, remove: str) -> Fabric:
    return parse(f"{text}remove: {{{remove}}}\n", "spec.yaml")[0]


def cables(fabric: Fabric) -> set[Cable]:
    """Return every cable by its ends' names and ports."""
    node, number = fabric.port_node.tolist(), fabric.port_number.tolist()
    ends = [(fabric.labels[node[port]], number[port]) for port in range(len(node))]
    return {frozenset((ends[port], ends[fabric.port_peer[port]])) for port in fabric.channel_port.tolist()}


def switches(fabric: Fabric) -> set[str]:
    return set(fabric.labels[: fabric.n_switches])


def check_rest(whole: Fabric, left: Fabric) -> None:
    """What is left is as it was: names, GUIDs, LIDs, ports and cables; HCAs and aggregation nodes are there if cabled."""
    assert cables(left) <= cables(whole)
    kept = set(left.labels)
    assert kept - switches(left) == {end[0] for cable in cables(left) for end in cable} - switches(left)
    was = {label: node for node, label in enumerate(whole.labels)}
    for node, label in enumerate(left.labels):
        before = was[label]
        assert left.node_guid[node] == whole.node_guid[before]
        assert left.system_guid[node] == whole.system_guid[before]
        assert left.node_port_count[node] == whole.node_port_count[before]
        assert left.node_lid(node) == whole.node_lid(before) > 0
    ports = {(label, number) for cable in cables(left) for label, number in cable} | {(label, 0) for label in switches(left)}
    assert set(zip([left.labels[node] for node in left.port_node], left.port_number.tolist(), strict=True)) == ports


@pytest.mark.parametrize("text", [TREE, RAILS, TORUS])
def test_removing_nothing_changes_nothing(text: str) -> None:
    whole = parse(text, "spec.yaml")[0]
    for nothing in ("", "seed: 3", "names: []", "cables: 0, switches: 0.0"):
        assert without(text, nothing).digest == whole.digest


# ---- by name -----------------------------------------------------------------------------------------------------------


def has_end(*ends: str | tuple[str, int]) -> Callable[[Cable], bool]:
    """Return whether a cable has all these ends: a node, or a node and its port."""
    return lambda cable: all(any(end in (one, one[0]) for one in cable) for end in ends)


@pytest.mark.parametrize(
    ("text", "names", "nodes", "gone"),
    [
        (TREE, "spine-02", {"spine-02"}, has_end("spine-02")),
        (TREE, "leaf-01 - spine-02", set(), has_end("leaf-01", "spine-02")),
        (TREE, "spine-02 -> leaf-01", set(), has_end("leaf-01", "spine-02")),
        (TREE, "leaf-01/P6", set(), has_end(("leaf-01", 6))),
        (TREE, "leaf-01/P6 - spine-02", set(), has_end(("leaf-01", 6), "spine-02")),
        (TREE, "leaf-01/P6 - spine-02/P1", set(), has_end(("leaf-01", 6), ("spine-02", 1))),
        (TREE, "leaf-04", {"leaf-04", *(f"node-00{n} mlx5_0" for n in (10, 11, 12))}, has_end("leaf-04")),
        (TREE, "leaf-01/P2", {"node-0002 mlx5_0"}, has_end(("leaf-01", 2))),
        (TREE, "node-0002", {"node-0002 mlx5_0"}, has_end("node-0002 mlx5_0")),
        (TREE, "node-0002 - leaf-01", {"node-0002 mlx5_0"}, has_end("node-0002 mlx5_0")),
        (RAILS, "node-0001 mlx5_1", {"node-0001 mlx5_1"}, has_end("node-0001 mlx5_1")),
        (TORUS, "sw-0-0 - sw-0-3", set(), has_end("sw-0-0", "sw-0-3")),
    ],
)
def test_what_is_named_goes(text: str, names: str, nodes: set[str], gone: Callable[[Cable], bool]) -> None:
    whole, left = parse(text, "spec.yaml")[0], without(text, f"names: [{names}]")
    assert set(whole.labels) - set(left.labels) == nodes
    assert cables(whole) - cables(left) == set(filter(gone, cables(whole))) != set()
    check_rest(whole, left)


def test_a_host_goes_with_all_its_hcas_and_a_switch_with_its_aggregation_node() -> None:
    whole = parse(RAILS, "spec.yaml")[0]
    left = without(RAILS, "names: [node-0001]")
    assert set(whole.labels) - set(left.labels) == {"node-0001 mlx5_0", "node-0001 mlx5_1"}
    left = without(RAILS, "names: [spine-01]")
    assert (whole.n_switches - left.n_switches, int(whole.is_aggregation.sum() - left.is_aggregation.sum())) == (1, 1)
    check_rest(whole, left)


def test_parts_of_directors_have_names_with_slashes() -> None:
    text = "family: director\nradix: 8\nline_cards: 4\nfabric_cards: 2\nspeed: EDR\n"
    whole = parse(text, "spec.yaml")[0]
    left = without(text, "names: [director-1/S02/U1, director-1/L01/U1/P5]")
    assert switches(whole) - switches(left) == {"director-1/S02/U1"}
    assert len(cables(whole) - cables(left)) == 8 + 1
    check_rest(whole, left)


# ---- at random ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    text=st.sampled_from([WIDE, TORUS]),
    seed=st.integers(0, 10**18 - 1),
    n_switches=st.integers(0, 2),
    n_cables=st.integers(0, 8),
)
def test_as_many_go_as_are_asked_for(text: str, seed: int, n_switches: int, n_cables: int) -> None:
    whole = parse(text, "spec.yaml")[0]
    between = {cable for cable in cables(whole) if {end[0] for end in cable} <= switches(whole)}
    remove = f"seed: {seed}, switches: {n_switches}, cables: {n_cables}"
    left = without(text, remove)
    check_rest(whole, left)
    gone = switches(whole) - switches(left)
    assert len(gone) == n_switches
    with_them = {cable for cable in cables(whole) if {end[0] for end in cable} & gone}
    drawn = cables(whole) - cables(left) - with_them
    assert len(drawn) == n_cables
    assert drawn <= between
    assert without(text, remove).digest == left.digest


@pytest.mark.parametrize("text", [TREE, TORUS])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_more_faults_hold_all_that_fewer_do(text: str, seed: int) -> None:
    whole = parse(text, "spec.yaml")[0]
    losses = [cables(whole) - cables(without(text, f"seed: {seed}, cables: {count}")) for count in range(16)]
    assert [len(loss) for loss in losses] == list(range(16))
    assert all(fewer < more for fewer, more in pairwise(losses))
    gone = [switches(whole) - switches(without(text, f"seed: {seed}, switches: {count}")) for count in range(4)]
    assert [len(names) for names in gone] == [0, 1, 2, 3]
    assert all(fewer < more for fewer, more in pairwise(gone))
    both = [cables(whole) - cables(without(text, f"seed: {seed}, switches: {count}, cables: 3")) for count in range(2)]
    assert all(fewer < more for fewer, more in pairwise(both))


def test_the_seed_sets_what_goes() -> None:
    whole = parse(TORUS, "spec.yaml")[0]
    losses = [frozenset(cables(whole) - cables(without(TORUS, f"seed: {seed}, cables: 3"))) for seed in range(20)]
    assert len(set(losses)) > 15
    assert losses[0] == frozenset(cables(whole) - cables(without(TORUS, "cables: 3")))


@pytest.mark.parametrize(("fraction", "count"), [("0.0", 0), ("0.05", 2), ("0.5", 16), ("1.0", 32)])
def test_fractions_are_of_what_is_left(fraction: str, count: int) -> None:
    whole = parse(TORUS, "spec.yaml")[0]
    assert len(cables(whole)) - len(cables(without(TORUS, f"cables: {fraction}"))) == count
    one_less = without(TORUS, "names: [sw-0-0 - sw-0-1, sw-3-3]")
    left = without(TORUS, f"names: [sw-0-0 - sw-0-1, sw-3-3], cables: {fraction}")
    assert len(cables(one_less)) - len(cables(left)) == round(float(fraction) * (32 - 1 - 4))


# ---- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = {
    # what stands behind "remove: ": (column, part of the message, part of the hint)
    "": (8, "'remove' must be a mapping (key: value), not empty", ""),
    "3": (9, "'remove' must be a mapping (key: value), not '3'", ""),
    "{cabels: 3}": (10, "unknown key 'cabels'", "did you mean 'cables'"),
    "{cables: 3, cables: 4}": (21, "key 'cables' is here twice", "7:18"),
    "{cables: many}": (18, "'cables' must be a number, not 'many'", ""),
    "{cables: -1}": (18, "'cables' must be at least 0, not -1", ""),
    "{cables: 17}": (18, "'cables' must be at most 16, not 17", ""),
    "{cables: 1.5}": (18, "'cables' must be at most 1, not 1.5", ""),
    "{cables: 1e-1}": (18, "'cables' must be a whole number, not '1e-1'", ""),
    "{cables: [3]}": (18, "'cables' must be a number, not a list", ""),
    "{switches: 7}": (20, "'switches' must be at most 6, not 7", ""),
    "{names: [spine-02], switches: 6}": (39, "'switches' must be at most 5, not 6", ""),
    "{switches: 6}": (9, "this takes every host out", ""),
    "{seed: -1}": (16, "'seed' must be at least 0, not -1", ""),
    "{seed: x}": (16, "'seed' must be a whole number, not 'x'", ""),
    "{names: spine-02}": (17, "'names' must be a list, not 'spine-02'", ""),
    "{names: [[spine-02]]}": (18, "'names[0]' must be a word, not a list", ""),
    "{names: [leaf-01, spine-03]}": (27, "there is no 'spine-03' in this fabric", "did you mean 'spine-0"),
    "{names: [node-0013]}": (18, "there is no 'node-0013' in this fabric", "did you mean 'node-00"),
    "{names: [spine-03/P1]}": (18, "there is no 'spine-03' in this fabric", "did you mean 'spine-0"),
    "{names: [spine-02/P9]}": (18, "no cable is on spine-02/P9", "'spine-02' has cables on ports 1 to 8"),
    "{names: [spine-02/P1 - leaf-02]}": (18, "no cable joins spine-02/P1 and leaf-02", "known: leaf-01, leaf-02"),
    "{names: [leaf-01 - leaf-02]}": (18, "no cable joins leaf-01 and leaf-02", "spine-01, spine-02"),
    "{names: [leaf-01 - spine-02/P3]}": (18, "no cable joins leaf-01 and spine-02/P3", ""),
    "{names: [leaf-01 - spine-02 - leaf-02]}": (18, "has more than two ends", "leaf-1 - spine-2"),
}


@pytest.mark.parametrize("remove", MISTAKES)
def test_mistakes_are_told_with_their_place(remove: str) -> None:
    column, message, hint = MISTAKES[remove]
    with pytest.raises(InputError) as caught:
        parse(f"{TREE}remove: {remove}\n", "spec.yaml")
    assert message in caught.value.message
    assert caught.value.where == f"spec.yaml:7:{column}"
    assert hint in caught.value.hint


def test_shipped_faults_are_a_part_of_the_whole(project: object) -> None:
    whole, left = (load_fabric(f"{project}/topologies/fat-tree-1024{name}.yaml").fabric for name in ("", "-faults"))
    assert cables(left) < cables(whole)
    assert switches(left) < switches(whole)
