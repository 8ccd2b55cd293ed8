"""Every flow's completion time against SimGrid's: the program that ``fabctl route -o simgrid`` writes is what runs there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from routing_oracles import ragged_tree
from simgrid_cases import at_random, compare, fat_tree_times, run_program, traffic

from fabctl.congestion.maxmin import complete
from fabctl.congestion.maxmin_kernel import ROUNDS
from fabctl.congestion.phases import phase_channels
from fabctl.errors import InputError
from fabctl.generate.spec import parse
from fabctl.model.flows import Flows
from fabctl.model.phases import Channels
from fabctl.model.rates import PAYLOAD_SHARE, payload_rates
from fabctl.model.snapshot import dump_snapshot
from fabctl.model.tables import RoutingTables
from fabctl.routing.cases.case import Case, make_case
from fabctl.routing.cases.simgrid import simgrid
from fabctl.routing.compute import compute_tables
from fabctl.sources.reading import load_fabric

Run = Callable[..., Any]

NEAR = 1e-11
GB = 1e9


@cache
def tree(m: tuple[int, ...], w: tuple[int, ...]) -> RoutingTables:
    """Return D-mod-k routes of an extended generalised fat tree."""
    text = f"family: xgft\nm: {list(m)}\nw: {[1, *w]}\nspeed: HDR\n"
    return compute_tables(parse(text, "tree.yaml")[0], "ftree")


def flows_between(tables: RoutingTables, src: np.ndarray, dst: np.ndarray, size: float | np.ndarray = GB) -> Flows:
    ports = tables.fabric.endpoints
    return Flows(ports[src], ports[dst], np.broadcast_to(size, len(src)).astype(float))


def rates(tables: RoutingTables) -> np.ndarray:
    return np.full(len(tables.fabric.channel_port), 50 * GB)


def permutation(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n), np.random.default_rng(n).permutation(n)


def alltoall(n: int) -> tuple[np.ndarray, np.ndarray]:
    src, dst = np.divmod(np.arange(n * n), n)
    return src[src != dst], dst[src != dst]


def incast(n: int) -> tuple[np.ndarray, np.ndarray]:
    """199 senders to eight receivers: 25 to seven of them, 24 to the last."""
    senders = np.random.default_rng(n).permutation(np.arange(8, n))[:199]
    return senders, np.arange(199) % 8


def anything(n: int) -> tuple[np.ndarray, np.ndarray]:
    src, dst = np.random.default_rng(n).integers(n, size=(2, 4096))
    return src, dst


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], Callable[[int], tuple[np.ndarray, np.ndarray]], float | None]] = {
    "2L16 perm": ((4, 4), (4,), permutation, None),
    "2L512 perm": ((16, 32), (16,), permutation, None),
    "2L512 2:1 perm": ((16, 32), (8,), permutation, None),
    "3L64 perm": ((4, 4, 4), (4, 4), permutation, None),
    "3L512 perm": ((8, 8, 8), (8, 8), permutation, None),
    "3L4096 perm": ((16, 16, 16), (16, 16), permutation, None),
    "3L4096 slim perm": ((16, 16, 16), (8, 8), permutation, None),
    "3L64 a2a": ((4, 4, 4), (4, 4), alltoall, 63 / 50),
    "2L128 a2a": ((16, 8), (16,), alltoall, 127 / 50),
    "2L128 2:1 a2a": ((16, 8), (8,), alltoall, 224 / 50),
    "2L256 incast to 8": ((16, 16), (16,), incast, 25 / 50),
    "3L512 4096 random flows": ((8, 8, 8), (8, 8), anything, None),
}
"""Trees, patterns, and the makespan where there is a closed form; 1 GB per flow over channels of 50 GB/s."""


@pytest.mark.parametrize("name", CASES)
def test_equal_flows_end_when_simgrid_says(name: str) -> None:
    m, w, pattern, makespan_s = CASES[name]
    tables = tree(m, w)
    flows = flows_between(tables, *pattern(len(tables.fabric.endpoints)))
    ours, off = compare(tables, flows, rates(tables))
    assert off <= NEAR
    assert makespan_s is None or ours.makespan == pytest.approx(makespan_s, rel=1e-12)


RANDOM_FABRICS: tuple[Callable[[np.random.Generator], RoutingTables], ...] = (
    lambda rng: tree(tuple(rng.integers(2, 7, 2).tolist()), tuple(rng.integers(1, 7, 1).tolist())),
    lambda rng: tree(tuple(rng.integers(2, 5, 3).tolist()), tuple(rng.integers(1, 5, 2).tolist())),
    lambda rng: compute_tables(ragged_tree(int(rng.integers(1000))), "minhop"),
    lambda rng: routed(f"family: torus\ndims: {rng.integers(2, 6, 2).tolist()}\nhosts_per_switch: 2\nspeed: EDR\n", "dor"),
    lambda rng: routed(
        f"family: random-regular\nswitches: 20\ndegree: 4\nhosts_per_switch: 2\nseed: {rng.integers(99)}\nspeed: EDR\n", "minhop"
    ),
)


def routed(text: str, engine: str) -> RoutingTables:
    return compute_tables(parse(text, "random.yaml")[0], engine)


@pytest.mark.parametrize("seed", range(20))
def test_random_flows_end_when_simgrid_says(seed: int) -> None:
    """Random trees, ragged trees, tori and graphs of mixed and degraded cables; flows of all sizes, some twice, some empty."""
    rng = np.random.default_rng(seed)
    tables = at_random(RANDOM_FABRICS[seed % len(RANDOM_FABRICS)](rng), rng)
    ports = tables.fabric.endpoints
    src, dst = rng.choice(ports, (2, int(rng.integers(10, 400))))
    size = [
        np.rint(10 ** rng.uniform(0, 10, len(src))),
        10 ** rng.uniform(3, 9, len(src)),
        rng.choice([0.0, 1e6, 2e6, 4e6 / 3], len(src)),
    ][seed % 3]
    _, off = compare(tables, Flows(src, dst, size), payload_rates(tables.fabric))
    assert off <= NEAR


def test_more_endings_than_one_call_of_the_kernel_takes() -> None:
    """A slim tree and flows of sizes of their own: far more rate computations than the kernel makes in one call."""
    tables = tree((8, 8, 8), (4, 4))
    rng = np.random.default_rng(1)
    src, dst = rng.integers(len(tables.fabric.endpoints), size=(2, 1500))
    ours, off = compare(tables, flows_between(tables, src, dst, rng.integers(10**8, 10**9, 1500)), rates(tables))
    assert ours.solves > 2 * ROUNDS
    assert off <= NEAR


@pytest.mark.parametrize(("m", "w"), [((4, 4, 4), (4, 4)), ((4, 4, 4), (2, 2)), ((16, 8), (8,))])
def test_simgrid_builds_and_routes_the_same_trees(m: tuple[int, ...], w: tuple[int, ...]) -> None:
    """SimGrid's own fat tree, with the D-mod-k routes that it chooses: nothing of fabctl's is in that run but the flows."""
    tables = tree(m, w)
    rng = np.random.default_rng(1)
    pairs = rng.permutation(np.stack(alltoall(len(tables.fabric.endpoints))).T)[:300]
    size = rng.integers(1, 10**9, len(pairs))
    theirs = fat_tree_times(m, w, np.column_stack([pairs, size]).tolist(), 50 * 10**9)
    flows = flows_between(tables, *pairs.T, size)
    ours = complete(phase_channels(tables, traffic(flows).phases[0]), flows.weight, rates(tables))
    np.testing.assert_allclose(ours.seconds, theirs, rtol=NEAR)


@pytest.mark.parametrize("seed", range(3))
def test_endless_flows_are_a_background(seed: int) -> None:
    """To SimGrid they are flows of 10^18 bytes, which end when all others have ended long ago."""
    rng = np.random.default_rng(seed)
    tables = at_random(tree((8, 8), (4,)), rng)
    src, dst = rng.choice(tables.fabric.endpoints, (2, 200))
    size, background = rng.integers(1, 10**9, 200).astype(float), rng.random(200) < 0.3
    size[background] = 1e18
    flows = Flows(src, dst, size)
    rows = run_program(simgrid(Case(tables, (traffic(flows),), payload_rates(tables.fabric))))
    endless = np.where(background, np.inf, size)
    ours = complete(phase_channels(tables, traffic(flows).phases[0]), endless, payload_rates(tables.fabric))
    theirs = np.array([float(row["seconds"]) for row in rows])
    np.testing.assert_allclose(ours.seconds[~background], theirs[~background], rtol=NEAR)
    assert np.all(ours.seconds[background & (src != dst)] == np.inf)


# ---- the program ---------------------------------------------------------------------------------------------------


def test_the_program_runs_every_phase_of_every_job_by_itself() -> None:
    tables = tree((4, 4), (4,))
    many = flows_between(tables, *alltoall(16))
    one = flows_between(tables, np.array([0, 3]), np.array([5, 3]), np.array([1e9, 1e9]))
    program = simgrid(Case(tables, (traffic(many, one, name="a"), traffic(one, name='b, "quoted"')), rates(tables)))
    rows = run_program(program)
    assert [row["phase"] for row in rows] == ["a: phase 0"] * 240 + ["a: phase 1"] * 2 + ['b, "quoted": phase 0'] * 2
    assert [int(row["flow"]) for row in rows] == [*range(240), 0, 1, 0, 1]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds[:240] == pytest.approx([15 / 50] * 240)
    assert seconds[240:] == [1 / 50, 0, 1 / 50, 0]
    assert (rows[240]["src"], rows[240]["dst"], float(rows[240]["bytes"])) == ("node-0001 mlx5_0/P1", "node-0006 mlx5_0/P1", 1e9)


def test_trees_with_the_same_ends_keep_their_own_channels() -> None:
    """Three flows from one port to another, or to itself, over channels that no table knows, as multicast and SHARP take them."""
    tables = tree((4, 4), (4,))
    fixed = Channels(np.array([0, 3, 4, 6, 8]), np.array([0, 1, 2, 2, 2, 3, 0, 4], dtype=np.int32))
    flows = flows_between(tables, np.array([0, 0, 0, 2]), np.array([1, 1, 1, 2]))
    phase = replace(traffic(flows).phases[0], fixed=fixed)
    rows = run_program(simgrid(Case(tables, (replace(traffic(flows), phases=(phase,)),), rates(tables))))
    ours = complete(fixed, flows.weight, rates(tables))
    np.testing.assert_allclose([float(row["seconds"]) for row in rows], ours.seconds, rtol=NEAR)
    assert ours.seconds.max() > 2 / 50


def test_the_command_writes_the_program(run: Run, project: Path, tmp_path: Path) -> None:
    command = ("route", project / "topologies/dgx1-16.yaml", "--engine", "ftree", "-o", "simgrid")
    job = ("--job", project / "topologies/jobs/dgx1-16.yaml")
    written = run(*command, *job, "--out", tmp_path / "case.py")
    assert (written.code, written.out, written.err) == (0, "", "")
    program = (tmp_path / "case.py").read_text()
    assert run(*command, *job).out == program
    rows = run_program(program)
    ring_bytes = 2 * 127 / 128 * 2**30 / 4
    rate = 100e9 / 8 * PAYLOAD_SHARE
    assert len(rows) == 64
    assert {float(row["bytes"]) for row in rows} == {ring_bytes}
    assert [float(row["seconds"]) for row in rows] == pytest.approx([ring_bytes / rate] * 64)


def test_a_case_needs_a_job_and_known_speeds(run: Run, project: Path, tmp_path: Path) -> None:
    source = project / "topologies/xgft-16.yaml"
    assert "needs --job FILE" in run("route", source, "-o", "simgrid").err
    assert run("route", source, "-o", "simgrid").code == 2
    job = tmp_path / "job.yaml"
    job.write_text("hosts: all\ncollective: all_reduce\n")
    assert run("route", source, "--job", job, "-o", "simgrid", "--export", "ibdm", tmp_path / "out").code == 2
    assert run("route", source, "--job", job, "--assume-speed", "4xHDR").code == 2
    assert run("route", source, "--job", job, "-o", "simgrid", "--adaptive", "tree").code == 2
    fabric = load_fabric(str(source)).fabric
    unknown = tmp_path / "unknown.json"
    unknown.write_text(dump_snapshot(replace(fabric, port_speed=np.zeros_like(fabric.port_speed))))
    refused = run("route", unknown, "--job", job, "-o", "simgrid")
    assert refused.code == 6
    assert "have no known rate" in refused.err
    assert run("route", unknown, "--job", job, "-o", "simgrid", "--assume-speed", "4xHDR").code == 0
    with pytest.raises(InputError, match="nothing crosses the fabric"):
        make_case(tree((4, 4), (4,)), [traffic()])
