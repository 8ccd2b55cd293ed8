"""The bound of all routings: never below the linear program's optimum or any engine's routes, and reached on clean trees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from routing_oracles import build, ragged_tree, random_fabrics
from scipy.optimize import linprog
from scipy.sparse import coo_matrix
from small_fabrics import two_levels

from fabctl.congestion.bound import alltoall_bound
from fabctl.congestion.load import alltoall_loads
from fabctl.model.fabric import Fabric
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric
from fabctl.units import Speed


def best_fraction(fabric: Fabric, ports: np.ndarray) -> float:
    """Return the all-to-all fraction of the best multipath routing: the maximum concurrent flow, as a linear program.

    One commodity for each source switch; every channel by itself.
    """
    own = fabric.channel_of_port[ports]
    relative = fabric.data_gbps / np.median(fabric.data_gbps[own])
    hosts = np.bincount(fabric.channel_dst[own], minlength=fabric.n_nodes)[: fabric.n_switches]
    between = np.flatnonzero((fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches))
    sources = np.flatnonzero(hosts)
    n, width = fabric.n_switches, len(between)
    kept, wanted, limits = [], [], []
    row = 0
    for number, source in enumerate(sources):
        for switch in range(n):
            if switch == source:
                continue
            for edge, channel in enumerate(between):
                if fabric.channel_dst[channel] == switch:
                    kept.append((row, number * width + edge, 1.0))
                if fabric.channel_src[channel] == switch:
                    kept.append((row, number * width + edge, -1.0))
            wanted.append(float(hosts[source] * hosts[switch]))
            row += 1
    for edge, channel in enumerate(between):
        limits += [(edge, number * width + edge, 1.0) for number in range(len(sources))]
        limits.append((edge, len(sources) * width, -relative[channel]))
    variables = len(sources) * width + 1
    slowest_port = (len(ports) - 1) / relative[own].min()
    answer = linprog(
        np.eye(1, variables, variables - 1).ravel(),
        A_ub=_matrix(limits, width, variables),
        b_ub=np.zeros(width),
        A_eq=_matrix(kept, row, variables),
        b_eq=wanted,
        bounds=[(0, None)] * (variables - 1) + [(slowest_port, None)],
    )
    return (len(ports) - 1) / answer.fun if answer.status == 0 else 0.0


def _matrix(cells: list[tuple[int, int, float]], rows: int, columns: int) -> coo_matrix:
    at, over, value = zip(*cells, strict=True) if cells else ((), (), ())
    return coo_matrix((value, (at, over)), shape=(rows, columns))


@settings(max_examples=30, deadline=None)
@given(random_fabrics())
def test_no_bound_is_below_the_linear_program(fabric: Fabric) -> None:
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert bound.fraction >= best_fraction(fabric, fabric.endpoints) - 1e-6
    tables = compute_tables(fabric, "minhop")
    reached = (len(fabric.endpoints) - 1) / alltoall_loads(tables, fabric.endpoints).max()
    assert bound.fraction >= reached - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_ragged_trees_are_bound_within_a_tenth(seed: int) -> None:
    fabric = ragged_tree(seed)
    best = best_fraction(fabric, fabric.endpoints)
    assert best - 1e-6 <= alltoall_bound(fabric, fabric.endpoints).fraction <= 1.1 * best


@pytest.mark.parametrize(
    ("hosts", "per_leaf", "spines", "kind"), [(8, 4, 4, "ports"), (12, 4, 2, "switch"), (12, 4, 1, "switch"), (4, 1, 1, "ports")]
)
def test_clean_trees_are_bound_exactly(hosts: int, per_leaf: int, spines: int, kind: str) -> None:
    fabric = two_levels(hosts, per_leaf, spines)
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert bound.fraction == pytest.approx(best_fraction(fabric, fabric.endpoints))
    assert bound.kind == kind


def test_slow_uplinks_count_by_their_rate() -> None:
    fabric = two_levels(8, 4, 4, up_speed=Speed.HDR)
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert bound.fraction == pytest.approx(7 * 4 * 0.5 / (4 * 4), rel=1e-2)
    assert "leaf-" in bound.limit


def test_a_ring_is_bound_by_distance() -> None:
    """Six switches with two hosts each, 9/5 hops apart on average: 12 channels carry 12 x 10 x 9/5 units of 11 that a port sends."""
    fabric = build([2] * 6, [(switch, (switch + 1) % 6) for switch in range(6)])
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert bound.fraction == pytest.approx(best_fraction(fabric, fabric.endpoints))
    assert bound.kind == "distance"
    assert bound.fraction == pytest.approx(11 * 12 / (12 * 2 * 9))


def test_groups_are_cuts() -> None:
    """Two groups of a dragonfly+: leaves under spines, one cable between the groups."""
    edges = [(0, 2), (0, 3), (1, 2), (1, 3), (4, 6), (4, 7), (5, 6), (5, 7), (2, 6)]
    fabric = build([2, 2, 0, 0, 2, 2, 0, 0], edges)
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert (bound.kind, bound.fraction) == ("pod", pytest.approx(7 / 16))
    assert bound.limit == "the one cable of the pod of switch-0 (4 switches), with 4 HCA ports behind it"


def test_selene_is_bound_by_its_poorest_leaf(fixtures: object) -> None:
    fabric = load_fabric(f"{fixtures}/ibnetdiscover/selene-compute-2021.txt").fabric
    bound = alltoall_bound(fabric, fabric.compute_endpoints)
    assert bound.fraction == pytest.approx(0.95495, abs=1e-5)
    assert bound.limit == "the 19 cables of LG13-07, with 20 HCA ports behind them"
    assert bound == alltoall_bound(fabric, fabric.compute_endpoints)


def test_a_fabric_in_parts_has_no_all_to_all() -> None:
    fabric = build([2, 2, 2, 2], [(0, 1), (2, 3)])
    bound = alltoall_bound(fabric, fabric.endpoints)
    assert (bound.kind, bound.fraction) == ("part", 0.0)
    assert bound.limit == "no cable joins the part of switch-0 (2 switches), with 4 HCA ports behind it, to the others"


def test_ports_on_one_switch_are_bound_by_themselves() -> None:
    fabric = build([3], [])
    assert alltoall_bound(fabric, fabric.endpoints).fraction == 1.0
