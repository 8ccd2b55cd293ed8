"""dnup: away from the hosts and back, at least as far as OpenSM's goes, and always free of credit loops."""

from __future__ import annotations

from pathlib import Path

import families
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from routing_oracles import build, dependency_graph, plain_path, ragged_tree, random_fabrics

from fabctl.congestion.load import alltoall_loads
from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.routing.verify import verify
from fabctl.twin.engine import ask_opensm

TREE = [(leaf, 4 + spine) for leaf in range(4) for spine in range(2)]
CORE_HOSTS = build(
    [2] * 4 + [0] * 4 + [1] * 2,
    [(0, 4), (0, 5), (1, 4), (1, 5), (2, 6), (2, 7), (3, 6), (3, 7)] + [(4 + s, 8 + c) for s in range(4) for c in range(2)],
)
FABRICS = {
    "tree": build([2] * 4 + [0] * 2, TREE),
    "hosts on all spines": build([3] * 4 + [2] * 2, TREE),
    "a host on one spine": build([8] * 4 + [1, 0], TREE),
    "hosts on cores": CORE_HOSTS,
    "ring": build([1] * 6, [(i, (i + 1) % 6) for i in range(6)]),
    "ring with hosts here and there": build([1, 0, 0, 1, 0, 0], [(i, (i + 1) % 6) for i in range(6)]),
    "line with hosts at its ends": build([1, 0, 0, 0, 1], [(i, i + 1) for i in range(4)]),
    "mesh": families.build("mesh", "small"),
    "dragonfly": families.build("dragonfly", "middle"),
}


@pytest.mark.parametrize("name", FABRICS)
def test_reachable_and_free_of_credit_loops(name: str) -> None:
    found = verify(compute_tables(FABRICS[name], "dnup"))
    assert found.safe
    assert (found.lost_hca, found.loop) == (0, ())


@pytest.mark.parametrize("name", ["tree", "hosts on all spines", "a host on one spine", "hosts on cores", "ring", "mesh"])
def test_what_opensm_s_dnup_joins_is_joined_on_no_hotter_channels(name: str) -> None:
    """OpenSM's leaves 16 pairs out where hosts hang from cores, and credit loops where switches with hosts are joined."""
    from realstack import tool

    for program in ("ibsim", "opensm", "dump_fts"):
        tool(program)
    fabric = FABRICS[name]
    theirs, ours = ask_opensm(fabric, "dnup").tables, compute_tables(fabric, "dnup")
    judged = verify(theirs)
    assert (judged.lost_hca > 0) == (name == "hosts on cores")
    assert verify(ours).lost_hca == 0
    if not judged.lost_hca:
        ports = fabric.compute_endpoints
        assert alltoall_loads(ours, ports).max() <= alltoall_loads(theirs, ports).max()


@settings(max_examples=60, deadline=None)
@given(random_fabrics())
def test_any_small_fabric(fabric: Fabric) -> None:
    found = verify(compute_tables(fabric, "dnup"))
    assert found.safe
    assert (found.lost_hca, found.loop) == (0, ())


def test_paths_never_go_away_again_once_they_have_come_nearer() -> None:
    for fabric in (
        families.build("xgft-faults", "middle"),
        families.build("dragonfly-plus", "small"),
        *map(ragged_tree, range(8)),
    ):
        tables = compute_tables(fabric, "dnup")
        tiers = fabric.tiers.astype(int)
        for source in fabric.endpoints[:8].tolist():
            for target in fabric.endpoints.tolist():
                path = [] if source == target else plain_path(tables, source, target) or []
                rise = tiers[fabric.channel_dst[path[1:-1]]] - tiers[fabric.channel_src[path[1:-1]]]
                turned = np.flatnonzero(rise <= 0)
                assert tables.notes or not len(turned) or (rise[turned[0] :] <= 0).all()


def test_grids_are_routed_in_dimension_order(project: Path) -> None:
    mesh = families.build("mesh", "middle")
    tables = compute_tables(mesh, "dnup")
    np.testing.assert_array_equal(tables.lft, compute_tables(mesh, "dor").lft)
    assert tables.n_vls == 1


def test_roots_turn_it_into_levels_below_them() -> None:
    ring = FABRICS["ring"]
    rooted = compute_tables(ring, "dnup", Options(roots=(2,), max_vls=1))
    assert nx.is_directed_acyclic_graph(dependency_graph(rooted))


def test_too_few_lanes_are_refused_with_the_number_needed() -> None:
    with pytest.raises(RefusedError, match=r"dnup need 2 virtual lanes .* 1 may be used"):
        compute_tables(FABRICS["ring"], "dnup", Options(max_vls=1))
