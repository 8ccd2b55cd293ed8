"""Scores against published numbers, closed forms and brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from routing_oracles import plain_path, random_fabrics
from scipy.stats import hypergeom

from fabctl.congestion.load import flow_channels
from fabctl.congestion.quality import Z99, effective_bisection, score, shift_congestion
from fabctl.model.fabric import Fabric
from fabctl.model.flows import unit_flows
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric


def routed(project: Path, topology: str, engine: str = "ftree") -> RoutingTables:
    return compute_tables(load_fabric(str(project / f"topologies/{topology}.yaml")).fabric, engine)


@pytest.mark.parametrize(("topology", "published"), [("xgft-512", 0.8118), ("leaf-spine-648", 0.8084), ("xgft-4096", 0.6887)])
def test_published_effective_bisection_bandwidth(project: Path, topology: str, published: float) -> None:
    tables = routed(project, topology)
    ebb = effective_bisection(tables, tables.fabric.endpoints, samples=2000)
    assert ebb.mean == pytest.approx(published, abs=0.002)
    assert 0 < ebb.ci99 < 0.002


def test_random_permutations_closed_form(project: Path) -> None:
    """XGFT(2;16,32;1,16) with D-mod-k: P_in + (1 - P_in) * sum_x Hypergeom(mL-1, L-2, m-1).pmf(x) / (1 + x)."""
    m, leaves = 16, 32
    inside = (m - 1) / (m * leaves - 1)
    x = np.arange(m)
    wanted = inside + (1 - inside) * float((hypergeom(m * leaves - 1, leaves - 2, m - 1).pmf(x) / (1 + x)).sum())
    assert wanted == pytest.approx(0.6681, abs=1e-4)
    tables = routed(project, "xgft-512")
    ports = tables.fabric.endpoints
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(400):
        while True:
            target = rng.permutation(ports)
            if not np.any(target == ports):
                break
        shares.append((1 / congestion(tables, ports, target)).mean())
    assert np.mean(shares) == pytest.approx(wanted, abs=4 * np.std(shares) / 20)


def test_adversarial_permutation(project: Path) -> None:
    """Host (leaf i, slot j) -> (leaf i + j + 1, slot i mod m) puts m flows on one cable for every flow (Zahavi 2012)."""
    tables = routed(project, "xgft-512")
    ports = tables.fabric.endpoints.reshape(32, 16)
    leaf, slot = np.indices(ports.shape)
    target = ports[(leaf + slot + 1) % 32, leaf % 16]
    assert set(congestion(tables, ports.ravel(), target.ravel()).tolist()) == {16}


def congestion(tables: RoutingTables, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return each flow's highest number of flows on a channel of its route."""
    ptr, channels = flow_channels(tables, unit_flows(src, dst))
    count = np.bincount(channels)
    return np.maximum.reduceat(count[channels], ptr[:-1])


@settings(max_examples=25, deadline=None)
@given(random_fabrics())
def test_scores_equal_brute_force(fabric: Fabric) -> None:
    tables = compute_tables(fabric, "minhop")
    ports = fabric.endpoints
    n = len(ports)
    worst = []
    for shift in range(1, n):
        load = np.zeros(len(fabric.channel_port), dtype=int)
        for i in range(n):
            load[plain_path(tables, int(ports[i]), int(ports[(i + shift) % n]))] += 1
        worst.append(int(load.max()))
    shifts = shift_congestion(tables, ports)
    assert (shifts.worst, shifts.worst_shift, shifts.tried) == (max(worst), 1 + int(np.argmax(worst)), n - 1)
    assert shifts.mean == pytest.approx(np.mean(worst))
    quality = score(tables, ports, bisections=50)
    assert quality.alltoall_fraction == pytest.approx((n - 1) / quality.alltoall_max)
    half = n // 2
    rng = np.random.default_rng(1)
    order = rng.permuted(np.broadcast_to(ports, (50, n)), axis=1)
    means = []
    for row in order:
        pairs = list(zip(row[:half].tolist(), row[half : 2 * half].tolist(), strict=True))
        paths = [plain_path(tables, *pair) for pair in pairs]
        load = np.bincount(np.concatenate(paths))
        means.append(np.mean([1 / load[path].max() for path in paths]))
    assert quality.ebb.mean == pytest.approx(np.mean(means))
    assert quality.ebb.ci99 == pytest.approx(Z99 * np.std(means, ddof=1) / np.sqrt(50))


def test_the_interval_holds_the_truth_as_often_as_it_says(project: Path) -> None:
    """Of 200 independent 99 % intervals, between 190 and 200 hold the mean of all (ORCS's, with the variance, would not)."""
    tables = routed(project, "xgft-64")
    estimates = [effective_bisection(tables, tables.fabric.endpoints, samples=100, seed=seed) for seed in range(200)]
    truth = np.mean([estimate.mean for estimate in estimates])
    held = sum(abs(estimate.mean - truth) <= estimate.ci99 for estimate in estimates)
    assert 190 <= held <= 200


def test_a_large_fabric_tries_an_even_sample_of_shifts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabctl.congestion.quality.SHIFT_FLOWS", 640)
    tables = routed(project, "xgft-64")
    shifts = shift_congestion(tables, tables.fabric.endpoints)
    assert (shifts.tried, shifts.total, shifts.worst) == (10, 63, 1)


def test_balance_counts_destinations(project: Path) -> None:
    """On a clean 16-host tree every channel between switches carries traffic for the same number of destinations in a tier."""
    tables = routed(project, "leaf-spine-648")
    quality = score(tables, tables.fabric.endpoints, bisections=2)
    assert (quality.unused, quality.between) == (0, 2 * 648)
    assert (quality.destinations_min, quality.destinations_max) == (1, 35)


def test_rates_bound_the_all_to_all(project: Path) -> None:
    """One up-link of a clean tree at a quarter of its width bounds the whole at a quarter."""
    from dataclasses import replace

    fabric = load_fabric(str(project / "topologies/xgft-16.yaml")).fabric
    channel = int(np.flatnonzero((fabric.channel_src < fabric.n_switches) & (fabric.channel_dst < fabric.n_switches))[0])
    lanes = fabric.port_lanes.copy()
    lanes[fabric.channel_port[channel]] = 1
    slow = compute_tables(replace(fabric, port_lanes=lanes), "ftree")
    clean = compute_tables(fabric, "ftree")
    ports = fabric.endpoints
    fast = score(clean, ports, bisections=2)
    assert fast.alltoall_fraction == 1
    assert score(replace(clean, fabric=slow.fabric), ports, bisections=2).alltoall_fraction == pytest.approx(15 / 12 / 4)
