"""auto: the engine that fits the structure, and why; ftree's roots, which auto passes on."""

from __future__ import annotations

from collections.abc import Callable

import families
import numpy as np
import pytest
from hypothesis import given, settings
from routing_oracles import build, random_fabrics

from fabctl.congestion.load import alltoall_loads
from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.routing.verify import verify

TREES = ("xgft", "xgft-faults", "fat-tree", "leaf-spine", "rail-optimised", "director")
PICKS: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(TREES, ("ftree",) * 3),
    "torus": ("dor", "torus-2QoS", "torus-2QoS"),  # 4 x 4 is a hypercube
    "torus-faults": ("dor", "dor", "torus-2QoS"),
    "mesh": ("dor",) * 3,
    "hypercube": ("dor",) * 3,
    "hyperx": ("dor",) * 3,
    "dragonfly": ("torus-2QoS", "dfsssp", "dfsssp"),  # the small one is a ring of 6
    "dragonfly-plus": ("dfp",) * 3,
    "slim-fly": ("dfsssp",) * 3,
    "random-regular": ("dfsssp",) * 3,
}


@pytest.mark.parametrize("family", families.SPECS)
def test_what_is_picked_for_every_family(family: str) -> None:
    for size, pick in zip(families.SIZES, PICKS[family], strict=True):
        fabric = families.build(family, size)
        tables = compute_tables(fabric, "auto")
        assert tables.origin == pick, size
        assert tables.notes[-1].startswith(f"auto: {pick}, as ")
        assert verify(tables).safe
        np.testing.assert_array_equal(tables.lft, compute_tables(fabric, pick).lft)


def test_the_reason_is_told() -> None:
    told = {family: compute_tables(families.build(family, "middle"), "auto").notes[-1] for family in families.SPECS}
    assert told["fat-tree"] == "auto: ftree, as this is a fat tree"
    assert told["hyperx"] == "auto: dor, as this is a grid without rings"
    assert told["dragonfly-plus"] == "auto: dfp, as this is a Dragonfly+"
    assert told["slim-fly"] == "auto: dfsssp, as ftree needs a fat tree; this fabric is no grid; this fabric is no Dragonfly+"


@settings(max_examples=60, deadline=None)
@given(random_fabrics())
def test_whatever_is_picked_is_safe(fabric: Fabric) -> None:
    assert verify(compute_tables(fabric, "auto")).safe


def test_too_few_lanes_go_on_to_the_next_engine_and_it_is_said() -> None:
    """A ring needs two lanes on its shortest paths; nue and updn route it on one."""
    tables = compute_tables(build([1] * 6, [(i, (i + 1) % 6) for i in range(6)]), "auto", Options(max_vls=1))
    assert tables.origin == "nue"
    assert "the paths of torus-2QoS need 2 virtual lanes" in tables.notes[-1]
    assert tables.n_vls == 1
    assert verify(tables).safe


def test_options_are_those_of_the_engine_that_is_picked(run: Callable[..., object]) -> None:
    torus = families.build("torus", "large")
    with pytest.raises(UsageError, match="engine torus-2QoS does not honour --root"):
        compute_tables(torus, "auto", Options(roots=(1,)))
    ports = (int(torus.endpoints[0]),)
    assert compute_tables(torus, "auto", Options(ignored=ports)).origin == "torus-2QoS"
    assert compute_tables(families.build("fat-tree", "small"), "auto", Options(max_vls=2)).origin == "ftree"


# ---- ftree's roots -----------------------------------------------------------------------------------------------------


def test_ftree_takes_the_roots_that_it_would_find() -> None:
    fabric = families.build("fat-tree", "middle")
    top = tuple(np.flatnonzero(fabric.tiers == fabric.tiers.max()).tolist())
    np.testing.assert_array_equal(compute_tables(fabric, "ftree", Options(roots=top)).lft, compute_tables(fabric, "ftree").lft)
    assert compute_tables(fabric, "auto", Options(roots=top)).origin == "ftree"


def test_one_root_of_two_takes_all_traffic_up() -> None:
    fabric = build([2] * 3 + [0] * 2, [(leaf, 3 + spine) for leaf in range(3) for spine in range(2)])
    tables = compute_tables(fabric, "ftree", Options(roots=(3,)))
    loads = alltoall_loads(tables, fabric.compute_endpoints)
    used = {int(fabric.channel_dst[c]) for c in np.flatnonzero(loads).tolist() if fabric.channel_src[c] < 3} & {3, 4}
    assert used == {3}
    assert verify(tables).safe


def test_roots_that_are_nearer_to_some_hosts_are_refused() -> None:
    fabric = build([2] * 3 + [0] * 2, [(leaf, 3 + spine) for leaf in range(3) for spine in range(2)])
    with pytest.raises(RefusedError, match="all compute hosts at one distance from the roots; those of switch-1 are nearer"):
        compute_tables(fabric, "ftree", Options(roots=(1,)))
