"""A link is cut and OpenSM routes again: fabctl names the LIDs that moved, and asks for no more writes than that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.sources.reading import load_fabric
from fabctl.twin.faults import Fault
from fabctl.twin.opensm import Settings
from fabctl.twin.twin import Twin


def uplink(fabric: Fabric) -> int:
    """Return the channel of the first cable from the first compute HCA's leaf to a switch above it."""
    leaf = fabric.port_node[fabric.port_peer[fabric.compute_endpoints[0]]]
    above = (fabric.channel_src == leaf) & (fabric.channel_dst < fabric.n_switches)
    return int(np.flatnonzero(above & (fabric.tiers[np.minimum(fabric.channel_dst, fabric.n_switches - 1)] == 1))[0])


def cut_on_the_twin(source: Path, engine: str, folder: Path) -> tuple[RoutingTables, RoutingTables, int]:
    """Cut the uplink; return tables before and after, and the channel; leave both and the fabric of now in `folder`."""
    with Twin(load_fabric(str(source)).fabric, Settings(engine)) as twin:
        fabric, before = twin.fabric, twin.tables()
        channel = uplink(fabric)
        twin.inject([Fault("cut", fabric.cable_label(channel))])
        after = twin.tables()
        (folder / "now.txt").write_text(twin.sim.run("ibnetdiscover"))
    for name, tables in (("before", before), ("after", after)):
        (folder / f"{name}.dump").write_text("".join(lft_dump(tables)))
    return before, after, channel


def reported(run: Any, folder: Path, *words: object) -> dict[str, Any]:
    done = run("route", folder / "now.txt", "--previous", folder / "before.dump", *words, "--bisections", "2", "-o", "json")
    return json.loads(done.out)["data"]["change"]


def check_difference(run: Any, folder: Path, before: RoutingTables, after: RoutingTables, channel: int) -> int:
    """Compare what fabctl says of the two dumps with the tables themselves; return the blocks that OpenSM wrote."""
    fabric = before.fabric
    seen = reported(run, folder, "--tables", folder / "after.dump")
    entries = {
        (moved["lid"], entry["switch"]): (entry["before"], entry["after"])
        for moved in seen["moved"]
        for entry in moved["entries"]
    }
    differ = np.argwhere(before.lft != after.lft)
    assert {(lid, fabric.labels[s]): (before.lft[s, lid], after.lft[s, lid]) for s, lid in differ.tolist()} == entries
    assert seen["rewritten"]["entries"] == len(differ)
    assert seen["rewritten"]["blocks"] == len({(s, lid // 64) for s, lid in differ.tolist()})
    used = np.isin(before.next_channel, [channel, fabric.channel_reverse[channel]])
    assert set(np.flatnonzero(used.any(axis=0)).tolist()) <= {moved["lid"] for moved in seen["moved"]}
    assert seen["engine_anew"] is None
    return int(seen["rewritten"]["blocks"])


@pytest.mark.parametrize("engine", ["minhop", "updn"])
def test_a_cut_link_of_a_small_tree(run: Any, project: Path, tmp_path: Path, engine: str) -> None:
    before, after, channel = cut_on_the_twin(project / "topologies/xgft-64.yaml", engine, tmp_path)
    assert check_difference(run, tmp_path, before, after, channel)


def test_a_cut_that_opensms_ftree_does_not_take(project: Path) -> None:
    """It wants the same number of uplinks on all leaves; the link is down, and the tables are minhop's: that is said."""
    with Twin(load_fabric(str(project / "topologies/xgft-64.yaml")).fabric, Settings("ftree")) as twin:
        cut = Fault("cut", twin.fabric.cable_label(uplink(twin.fabric)))
        with pytest.raises(
            RefusedError, match="OpenSM fell back to minhop: Different number of upward port groups on switches\n"
        ):
            twin.inject([cut])
        assert twin.discover().n_cables == twin.fabric.n_cables - 1
        twin.inject([Fault("restore", cut.target)])


def test_a_cut_link_of_selene(run: Any, fixtures: Path, tmp_path: Path) -> None:
    """OpenSM's minhop moves what the cable carried and nothing else; fabctl cannot do better, and does as well."""
    before, after, channel = cut_on_the_twin(fixtures / "ibnetdiscover/selene-compute-2021.txt", "minhop", tmp_path)
    theirs = check_difference(run, tmp_path, before, after, channel)
    ours = reported(run, tmp_path, "--engine", "minhop")
    assert ours["fallback"] is None
    assert ours["rewritten"]["blocks"] <= theirs
