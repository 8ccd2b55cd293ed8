"""NCCL issue 319: a ring over two switches at 43.53 / 19.53 = 2.23 times the time of a ring on one.

Published: 8 nodes of 8 V100, two ConnectX-6 each at 200 Gb/s (issue 307), on one switch or on two; ring busbw 43.53 and 19.53 GB/s,
and 43.57 and 39.93 with another NCCL on the same fabric; that two flows on one cable halve the rate (issue 307). That fabric
has collisions of that kind (issue 325). Not published: what joins the switches, the order of the nodes, the tables.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pair_oracles import routed

from fabctl.congestion.load import channel_loads
from fabctl.model.flows import unit_flows
from fabctl.model.lookup import find_switch
from fabctl.sources.reading import load_fabric

Run = Callable[..., Any]

PUBLISHED = {"one": 43.53, "two": 19.53, "one, other NCCL": 43.57, "two, other NCCL": 39.93}


@pytest.fixture
def busbw(run: Run, project: Path) -> Callable[..., float]:
    """Return the ring's busbw for endless messages on a topology."""

    def of(topology: str, *options: object) -> float:
        argv = ("bench", topology, "--job", project / "topologies/jobs/nccl-319.yaml", *options, "-o", "json")
        (prediction,) = json.loads(run(*argv).out)["data"]["predictions"]
        assert (prediction["collective"], prediction["algorithm"]) == ("all_reduce", "ring")
        return float(prediction["peak_busbw_gb_s"])

    return of


@pytest.fixture
def collided(project: Path) -> Path:
    """Tables in which the two ways to node-0005 share a cable."""
    return project / "topologies/tables/nccl-319-two-switches.lfts"


def test_two_cables_are_the_fewest_that_the_issue_allows(busbw: Callable[..., float]) -> None:
    """The other NCCL's 39.93 GB/s crossed between the switches: more than one cable carries."""
    one_cable = busbw("nccl-319-one-switch") / 2
    assert one_cable < PUBLISHED["two, other NCCL"] < 2 * one_cable
    assert PUBLISHED["two"] < one_cable


def test_the_ratio_appears_where_two_flows_share_a_cable(busbw: Callable[..., float], collided: Path) -> None:
    """2.00 against 2.23: within 12 %.

    Max-min fairness halves two flows on one cable exactly. That the measured ratio is larger is no congestion: without a
    collision, crossing to the second switch cost 43.57 / 39.93 = 1.09 on that fabric, and 2.00 x 1.09 is 2.18.
    """
    ratio = busbw("nccl-319-one-switch") / busbw("nccl-319-two-switches", "--tables", collided)
    assert ratio == pytest.approx(2.0)
    assert ratio == pytest.approx(PUBLISHED["one"] / PUBLISHED["two"], rel=0.12)
    crossing = PUBLISHED["one, other NCCL"] / PUBLISHED["two, other NCCL"]
    assert ratio * crossing == pytest.approx(PUBLISHED["one"] / PUBLISHED["two"], rel=0.03)


@pytest.mark.parametrize("engine", ["minhop", "updn", "ftree", "sssp"])
def test_without_the_collision_two_switches_are_as_good_as_one(busbw: Callable[..., float], engine: str) -> None:
    """1.00 against 1.09: every engine spreads the two ways, as the other NCCL's flows were spread."""
    ratio = busbw("nccl-319-one-switch") / busbw("nccl-319-two-switches", "--engine", engine)
    assert ratio == pytest.approx(1.0)
    assert ratio == pytest.approx(PUBLISHED["one, other NCCL"] / PUBLISHED["two, other NCCL"], rel=0.1)


def test_how_often_even_spreads_collide(project: Path) -> None:
    """Of the 70 ways to spread the eight LIDs beyond a switch over its two cables, four each, 30 halve the ring."""
    fabric = load_fabric(str(project / "topologies/nccl-319-two-switches.yaml")).fabric
    tables, ports = routed(fabric), fabric.endpoints.reshape(8, 2)
    ring = unit_flows(ports.ravel(), np.roll(ports, -1, axis=0).ravel())
    leaf, far = find_switch(fabric, "leaf-01"), fabric.port_lid[ports[4:].ravel()]
    up = np.unique(tables.lft[leaf, far])
    halved = 0
    for first in itertools.combinations(range(8), 4):
        lft = tables.lft.copy()
        lft[leaf, far] = np.where(np.isin(np.arange(8), first), up[0], up[1])
        load = channel_loads(replace(tables, lft=lft), ring).max()
        assert load in (1, 2)
        halved += load == 2
    assert (len(up), halved) == (2, 30)


def test_explain_names_the_cable_and_the_entry(run: Run, project: Path, collided: Path) -> None:
    job = project / "topologies/jobs/nccl-319.yaml"
    argv = ("explain", "node-0004", "node-0005", "--fabric", "nccl-319-two-switches", "--job", job, "--tables", collided)
    data = json.loads(run(*argv, "-o", "json").out)["data"]
    cable = data["bottleneck"]
    assert (cable["from"], cable["from_port"], cable["to"]) == ("leaf-01", 9, "spine-01")
    assert data["advice"]["kind"] == "entry"
    assert data["advice"]["helps"]
    worst = next(leg for leg in data["legs"] if leg["source"] == data["worst"]["source"])
    assert data["advice"]["after_gb_s"] == pytest.approx(2 * worst["now_gb_s"])
    text = run(*argv).out
    assert "at leaf-01 send LID " in text
    assert "out of port 10 instead of 9: 12.42 -> 24.84 GB/s (2.00x)" in text


def test_the_entry_mends_the_ring(busbw: Callable[..., float], collided: Path, tmp_path: Path) -> None:
    mended = tmp_path / "mended.lfts"
    mended.write_text(collided.read_text().replace("0x000a 009", "0x000a 010", 1))
    assert busbw("nccl-319-two-switches", "--tables", mended) == pytest.approx(busbw("nccl-319-one-switch"))


def test_bench_names_the_same_cable(run: Run, project: Path, collided: Path) -> None:
    job = project / "topologies/jobs/nccl-319.yaml"
    done = run("bench", "nccl-319-two-switches", "--job", job, "--tables", collided, "-o", "csv")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert (row["bound"], row["bound_flows"]) == ("leaf-01/P9 -> spine-01/P1", "2")


def test_the_transcript_of_the_docs_is_true(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (project / "docs/explain.md").read_text()
    command, _, output = text.partition("    $ fabctl ")[2].replace(" \\\n        ", " ").partition("\n")
    monkeypatch.chdir(project)
    expected = [line.strip() for line in output.splitlines() if line.startswith("    ")]
    assert len(expected) == 3
    assert run(*command.split()).out.splitlines()[:3] == expected
