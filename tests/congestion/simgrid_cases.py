"""Runs of the real SimGrid, as ``fabctl route -o simgrid`` sets it up; skipped where Debian's python3-simgrid is not installed."""

from __future__ import annotations

import csv
import io
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fabctl.congestion.maxmin import Completion, complete
from fabctl.congestion.phases import phase_channels
from fabctl.model.flows import Flows
from fabctl.model.phases import JobTraffic, Phase
from fabctl.model.tables import RoutingTables
from fabctl.routing.cases.case import Case
from fabctl.routing.cases.simgrid import simgrid
from fabctl.units import Speed

PYTHON = "/usr/bin/python3"
"""Debian's: it has the package."""


@cache
def simgrid_missing() -> bool:
    try:
        return subprocess.run([PYTHON, "-c", "import simgrid"], capture_output=True, check=False).returncode != 0
    except FileNotFoundError:
        return True


def need_simgrid() -> None:
    if simgrid_missing():
        pytest.skip("SimGrid is not installed: apt-get install python3-simgrid")


def run_program(program: str) -> list[dict[str, str]]:
    """Run a program that ``-o simgrid`` wrote, and return the rows of its CSV."""
    need_simgrid()
    done = subprocess.run([PYTHON, "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def fat_tree_times(m: tuple[int, ...], w: tuple[int, ...], flows: list[tuple[int, int, int]], rate: int) -> np.ndarray:
    """Return when flows between hosts end on SimGrid's own fat tree, on the routes that SimGrid chooses."""
    need_simgrid()
    done = subprocess.run([PYTHON, "-c", _FAT_TREE, repr((m, w, flows, rate))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.array([float(line) for line in done.stdout.split()])


_FAT_TREE = """
import sys
from simgrid import Actor, ClusterCallbacks, Comm, Engine, FatTreeParams, Link, NetZone

m, w, flows, rate = eval(sys.argv[1])
settings = ["network/model:CM02", "network/TCP-gamma:0", "network/crosstraffic:0", "surf/precision:1e-15", "maxmin/precision:1e-14"]
engine = Engine(["fat-tree", "--log=xbt_cfg.thresh:warning", *("--cfg=" + setting for setting in settings)])
hosts = {}

def host(zone, coordinates, number):
    hosts[number] = zone.create_host(str(number), 1e9)
    return hosts[number].netpoint, None

shape = FatTreeParams(len(m), list(m), [1, *w], [1] * len(m))
NetZone.create_fatTree_zone("tree", None, shape, ClusterCallbacks(host, None, None), rate, 0, Link.SPLITDUPLEX).seal()

def send():
    sent = [Comm.sendto_async(hosts[src], hosts[dst], size) for src, dst, size in flows]
    Comm.wait_all(sent)
    print(*(repr(comm.finish_time) for comm in sent), sep="\\n")

Actor.create("send", hosts[0], send)
engine.run()
"""


def traffic(*phases: Flows, name: str = "job") -> JobTraffic:
    """Return a job that sends flows, phase by phase."""
    nobody = [np.zeros(len(flows), dtype=np.int32) for flows in phases]
    return JobTraffic(name, (), 1, tuple(Phase(f"phase {n}", flows, nobody[n], nobody[n]) for n, flows in enumerate(phases)))


def compare(tables: RoutingTables, flows: Flows, rates: np.ndarray) -> tuple[Completion, float]:
    """Return fabctl's completion of flows, and its largest relative difference from SimGrid's of any flow."""
    job = traffic(flows)
    rows = run_program(simgrid(Case(tables, (job,), rates)))
    theirs = np.array([float(row["seconds"]) for row in rows])
    ours = complete(phase_channels(tables, job.phases[0]), flows.weight, rates)
    assert len(theirs) == len(flows)
    np.testing.assert_array_equal(ours.seconds == 0, theirs == 0)
    return ours, float(np.max(np.abs(ours.seconds - theirs) / np.maximum(theirs, np.finfo(float).tiny), initial=0.0))


def at_random(tables: RoutingTables, rng: np.random.Generator) -> RoutingTables:
    """Return the tables on a fabric whose cables have random widths and speeds."""
    fabric = tables.fabric
    lanes, speed = fabric.port_lanes.copy(), fabric.port_speed.copy()
    cables = np.flatnonzero(fabric.port_peer > np.arange(len(fabric.port_peer)))
    some = cables[rng.random(len(cables)) < rng.choice([0.1, 0.9])]
    lanes[some], speed[some] = (
        rng.choice([1, 2, 4], len(some)),
        rng.choice([Speed.FDR, Speed.EDR, Speed.HDR, Speed.NDR], len(some)),
    )
    lanes[fabric.port_peer[some]], speed[fabric.port_peer[some]] = lanes[some], speed[some]
    return replace(tables, fabric=replace(fabric, port_lanes=lanes, port_speed=speed))
