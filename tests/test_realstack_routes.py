"""fabctl's routes before the real judges: OpenSM installs them, the switches read back equal, ibdmchk finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from judge_routes import Judged, judge
from realstack import Dumps, Ibsim, Verdict, ibdmchk

from fabctl.errors import ExitCode
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing import ENGINES
from fabctl.routing.exports.lfts import lft_dump
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.twin.netfile import ibsim_net

PROJECT = Path(__file__).resolve().parent.parent
LARGER = {
    "dgx1-16": "minhop",
    "oversubscribed-2to1": "updn",
    "leaf-spine-648": "nue",
    "superpod-4su": "ftree",
    "fat-tree-1024": "ftree",
}
"""Topologies that are installed with one engine; `SMALL` meets all of them."""

SMALL = ("xgft-faults", "torus", "torus-faults", "hyperx", "dragonfly", "dragonfly-plus", "random-regular")
TREE_ONLY = {"ftree"}


@pytest.mark.parametrize("engine", ENGINES.names())
@pytest.mark.parametrize("family", SMALL)
def test_every_engine_s_routes_are_installed_read_back_and_safe(family: str, engine: str, tmp_path: Path) -> None:
    """With their SLs, if they use several lanes. What an engine refuses it names, and one that is always free refuses nothing."""
    judged = judged_small(family, engine, tmp_path)
    if judged.refusal:
        assert ENGINES.entries[engine].deadlock != "always free" or (engine in TREE_ONLY and not family.startswith("xgft"))
    else:
        assert judged.good, judged


def judged_small(family: str, engine: str, folder: Path) -> Judged:
    """Judge an engine on a family's small fabric."""
    fabric = families.build(family, "small")
    (folder / "fabric.net").write_text(ibsim_net(fabric))
    with Ibsim(folder / "fabric.net", folder / "sim") as sim:
        return judge(sim, fabric, engine, folder, samples=6)


def test_several_lanes_come_before_the_judges(tmp_path: Path) -> None:
    """The test above means little unless some engine needs lanes that would loop without their SLs."""
    judged = judged_small("random-regular", "dfsssp", tmp_path)
    assert judged.good
    assert judged.lanes >= 2
    run = tmp_path / "run"
    assert ibdmchk(run / "opensm-subnet.lst", run / "opensm.fdbs", tmp_path).credit_loop


@pytest.mark.parametrize(("family", "engine"), [("xgft", "minhop"), ("random-regular", "updn"), ("random-regular", "nue")])
def test_every_lid_of_a_port_is_installed(family: str, engine: str, tmp_path: Path) -> None:
    """OpenSM gives out four LIDs a port, as the export's settings tell it to."""
    fabric = parse(families.SPECS[family][0] + "lmc: 2\n", "lmc.yaml")[0]
    assert np.count_nonzero(fabric.port_of_lid >= 0) == 4 * len(fabric.endpoints) + fabric.n_switches
    (tmp_path / "fabric.net").write_text(ibsim_net(fabric))
    with Ibsim(tmp_path / "fabric.net", tmp_path / "sim") as sim:
        judged = judge(sim, fabric, engine, tmp_path)
    assert judged.good, judged
    assert "Only the first LID of each port is walked" in (tmp_path / "ibdm/README").read_text()


@pytest.mark.parametrize("topology", LARGER)
def test_planned_fabrics_are_discovered_routed_and_safe(run: Any, topology: str, project: Path, tmp_path: Path) -> None:
    net = tmp_path / "fabric.net"
    assert run("discover", topology, "-o", "ibsim", "--out", net).code == ExitCode.DONE
    planned = load_fabric(str(project / f"topologies/{topology}.yaml")).fabric
    with Ibsim(net, tmp_path) as sim:
        discovered = tmp_path / "discovered.txt"
        discovered.write_text(sim.ibnetdiscover())
        fabric = load_fabric(str(discovered)).fabric
        assert (fabric.n_switches, fabric.n_cables) == (planned.n_switches, planned.n_cables)
        np.testing.assert_array_equal(fabric.node_guid, planned.node_guid)
        np.testing.assert_array_equal(fabric.port_peer, planned.port_peer)
        judged = judge(sim, planned, LARGER[topology], tmp_path)
    assert judged.good, judged


@pytest.mark.parametrize("engine", ["minhop", "updn", "ftree", "dfsssp", "nue"])
def test_routes_on_a_discovered_fabric(run: Any, engine: str, fixtures: Path, tmp_path: Path) -> None:
    net = fixtures / "tool-output/ibnetdiscover.txt"
    assert run("route", net, "--engine", engine, "--export", "opensm", tmp_path).code == ExitCode.DONE
    with Ibsim(net, tmp_path) as sim:
        dumps, read_back = install(sim, tmp_path / "opensm-lfts.dump", tmp_path)
        live = fabctl_live(sim, "route", "--live", "-o", "json")
    saved = json.loads(run("route", net, "--tables", read_back, "-o", "json").out)
    del live["data"]["origin"], saved["data"]["origin"]
    assert live["data"] == saved["data"]
    verdict = ibdmchk(dumps.subnet, dumps.fdbs, tmp_path)
    assert (verdict.paths, verdict.lost, verdict.credit_loop) == (56, 0, ())


def install(sim: Ibsim, lfts: Path, folder: Path) -> tuple[Dumps, Path]:
    """Give tables to OpenSM's file engine; return its dumps and what the switches hold afterwards."""
    dumps = sim.opensm("file", lfts)
    read_back = folder / "read-back.txt"
    read_back.write_text(sim.dump_fts())
    return dumps, read_back


def fabctl_live(sim: Ibsim, *arguments: str) -> Any:
    """Run fabctl on the simulated fabric as on a real host and return its JSON."""
    command = [sys.executable, "-m", "fabctl", *arguments]
    environment = {**sim.environment, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=environment, cwd=sim.folder, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.DONE, done.stderr
    return json.loads(done.stdout)


def test_discover_live(run: Any, fixtures: Path, tmp_path: Path) -> None:
    with Ibsim(fixtures / "tool-output/ibsim-small.net", tmp_path) as sim:
        sim.opensm("minhop")
        live = fabctl_live(sim, "discover", "--live", "-o", "json")
    saved = json.loads(run("discover", fixtures / "tool-output/ibnetdiscover.txt", "-o", "json").out)
    for document in (live, saved):
        del document["inputs"]
    assert live == saved


def test_a_ring_has_a_credit_loop_for_fabctl_and_for_ibdmchk(fixtures: Path, tmp_path: Path) -> None:
    with Ibsim(fixtures / "tool-output/ring6.net", tmp_path) as sim:
        dumps = sim.opensm("minhop")
        discovered = tmp_path / "ring.txt"
        discovered.write_text(sim.ibnetdiscover())
    fabric = load_fabric(str(discovered)).fabric
    found = verify(load_tables(str(dumps.lfts), fabric))
    judged = ibdmchk(dumps.subnet, dumps.fdbs, tmp_path)
    assert judged.credit_loop
    assert len(found.credit_loop) == 6  # the ring
    assert (found.lost_hca, found.loop) == (0, ())


@pytest.mark.parametrize("seed", range(6))
def test_fabctl_and_ibdmchk_lose_the_same_paths(seed: int, fixtures: Path, tmp_path: Path) -> None:
    net = fixtures / "tool-output/ibnetdiscover.txt"
    fabric = load_fabric(str(net)).fabric
    lft = load_tables(str(fixtures / "tool-output/osmdump/opensm-lfts.dump"), fabric).lft.copy()
    rng = np.random.default_rng(seed)
    for _ in range(seed):
        lft[rng.integers(fabric.n_switches), rng.choice(fabric.port_lid[fabric.endpoints])] = rng.integers(1, 5)
    tables = RoutingTables(fabric, lft, "damaged")
    judged = judge_tables(tables, net, tmp_path)
    walked = {(int(a), int(b)) for a in fabric.endpoints for b in fabric.endpoints if a != b and not arrives(tables, a, b)}
    assert judged.lost == len(walked)
    leaf = fabric.port_node[fabric.port_peer]
    assert verify(tables).lost_hca == len({(int(leaf[a]), b) for a, b in walked})


@pytest.mark.parametrize("seed", range(6, 14))
def test_fabctl_and_ibdmchk_agree_on_credit_loops(seed: int, fixtures: Path, tmp_path: Path) -> None:
    net = fixtures / "tool-output/ibnetdiscover.txt"
    fabric = load_fabric(str(net)).fabric
    tables = random_trees(fabric, np.random.default_rng(seed))
    found, judged = verify(tables), judge_tables(tables, net, tmp_path)
    assert (found.lost_hca, judged.lost) == (0, 0)
    assert bool(found.credit_loop) == bool(judged.credit_loop)


def judge_tables(tables: RoutingTables, net: Path, folder: Path) -> Verdict:
    """Install tables on a simulated fabric and have ibdmchk judge them."""
    lfts = folder / "given.lfts"
    lfts.write_text("".join(lft_dump(tables)))
    with Ibsim(net, folder) as sim:
        dumps = sim.opensm("file", lfts)
    return ibdmchk(dumps.subnet, dumps.fdbs, folder)


def arrives(tables: RoutingTables, source: int, destination: int) -> bool:
    """Walk from port to port as a packet does."""
    fabric = tables.fabric
    port = source
    for _ in range(fabric.n_switches + 2):
        port = int(fabric.port_peer[port])
        if port < 0 or port == destination:
            return port == destination
        switch = int(fabric.port_node[port])
        if switch >= fabric.n_switches:
            return False
        out = tables.lft[switch, fabric.port_lid[destination]]
        ports = np.flatnonzero((fabric.port_node == switch) & (fabric.port_number == out))
        if not len(ports):
            return False
        port = int(ports[0])
    return False


def random_trees(fabric: Fabric, rng: np.random.Generator) -> RoutingTables:
    """Return tables that lead to each HCA along a random spanning tree, and to no switch's own LID."""
    lft = np.full((fabric.n_switches, int(fabric.port_lid.max()) + 1), NO_ROUTE, dtype=np.uint8)
    for destination in fabric.endpoints:
        lid = fabric.port_lid[destination]
        edge = [int(fabric.port_peer[destination])]
        while edge:
            port = edge.pop(rng.integers(len(edge)))
            switch = fabric.port_node[port]
            if switch < fabric.n_switches and lft[switch, lid] == NO_ROUTE:
                lft[switch, lid] = fabric.port_number[port]
                others = fabric.channel_port[(fabric.channel_src == switch) & (fabric.channel_dst < fabric.n_switches)]
                edge += fabric.port_peer[others].tolist()
    return RoutingTables(fabric, lft, "random trees")
