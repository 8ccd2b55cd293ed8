"""--engine opensm:NAME: the real OpenSM's tables, or its reason; never those of another engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabctl.errors import ExitCode, FabctlError, RefusedError, SourceError, UsageError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.routing.options import Options
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.twin.engine import ask_opensm
from fabctl.twin.netfile import ibsim_net
from fabctl.twin.opensm import OpenSM, Settings
from fabctl.twin.readback import refuse_moved_lids
from fabctl.twin.scratch import Scratch
from fabctl.twin.twin import Twin, simulated

RING = "family: torus\ndims: [6]\nhosts_per_switch: 1\nspeed: EDR\n"


def fabric_of(text: str) -> Fabric:
    return parse(text, "spec.yaml")[0]


def tree(hosts_per_leaf: int, leaves: int = 3, spines: int = 2, more: str = "") -> Fabric:
    return fabric_of(
        f"family: leaf-spine\nhosts_per_leaf: {hosts_per_leaf}\nleaves: {leaves}\nspines: {spines}\nspeed: EDR\n{more}"
    )


@pytest.mark.parametrize("engine", ["minhop", "updn", "dnup", "ftree", "dor", "sssp", "dfsssp", "lash"])
@pytest.mark.parametrize(
    "fabric", [tree(4), tree(19, leaves=3, spines=4), tree(3, more="lmc: 1\n")], ids=["17 LIDs", "64 LIDs", "LMC 1"]
)
def test_tables_are_those_that_opensm_dumps(fabric: Fabric, engine: str, tmp_path: Path) -> None:
    """The highest LID of the second is the first of a block, which dump_fts leaves out. Its ftree does not know LMC."""
    if engine == "ftree" and fabric.port_lmc.any():
        with pytest.raises(RefusedError, match="OpenSM fell back to minhop: ftree: cannot build lid matrices"):
            ask_opensm(fabric, engine)
        return
    run = ask_opensm(fabric, engine)
    with Scratch() as scratch:
        addressed, sim = simulated(fabric, scratch)
        lmc = int(fabric.port_lmc.max())
        with sim, OpenSM(sim, scratch.folder / "opensm", Settings(engine, lmc=lmc), once=True, dump=True) as manager:
            dumped = load_tables(str(manager.folder / "opensm-lfts.dump"), addressed)
    np.testing.assert_array_equal(run.tables.lft, dumped.lft)
    assert not verify(run.tables).lost_hca
    assert run.routing_s >= 0
    assert run.version.startswith("3.")


def test_the_command_shows_opensms_tables(run: Any, project: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(project / "topologies/xgft-64.yaml")).fabric
    with Twin(fabric) as twin:
        (tmp_path / "tables.txt").write_text(twin.sim.run("dump_fts", "-n"))
    asked = json.loads(run("route", "xgft-64", "--engine", "opensm:minhop", "-o", "json").out)["data"]
    read = json.loads(run("route", "xgft-64", "--tables", tmp_path / "tables.txt", "-o", "json").out)["data"]
    assert asked["quality"] == read["quality"]
    text = run("route", "xgft-64", "--engine", "opensm:minhop", "--bisections", "2").out
    assert text.startswith("Routes by engine opensm:minhop, computed by OpenSM on the digital twin")


@pytest.mark.parametrize(
    ("text", "engine", "reason"),
    [
        (RING, "ftree", "Found more than one root on fabric with maximum rank 0"),
        (RING, "updn", "updn: cannot build lid matrices"),
        ("family: torus\ndims: [4, 4]\nhosts_per_switch: 1\nspeed: EDR\n", "ftree", "Found more than one root"),
    ],
)
def test_a_silent_fall_back_is_an_error(text: str, engine: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=f"OpenSM's {engine} cannot route this fabric; OpenSM fell back to minhop: {reason}"):
        ask_opensm(fabric_of(text), engine)


def test_a_silent_fall_back_ends_the_command(run: Any) -> None:
    done = run("route", "torus-44", "--engine", "opensm:ftree")
    assert (done.code, done.out) == (ExitCode.REFUSED, "")
    assert done.err.startswith("fabctl: OpenSM's ftree cannot route this fabric; OpenSM fell back to minhop: Found more than")


@pytest.mark.parametrize(("engine", "lanes"), [("dfsssp", 2), ("lash", 3), ("nue", 5), ("minhop", 1)])
def test_lanes_needed_on_a_ring(engine: str, lanes: int) -> None:
    """Reference measurements of OpenSM 3.3.23 on a ring of six switches; nue takes what it may."""
    options = Options(max_vls=5) if engine != "minhop" else Options()
    assert ask_opensm(fabric_of(RING), engine, options).vls_needed == lanes


@pytest.mark.parametrize(("engine", "lanes"), [("dfsssp", 2), ("lash", 3)])
def test_too_few_lanes_are_refused(engine: str, lanes: int) -> None:
    with pytest.raises(RefusedError, match=f"OpenSM's {engine} needs {lanes} virtual lanes here, and {lanes - 1} are allowed"):
        ask_opensm(fabric_of(RING), engine, Options(max_vls=lanes - 1))


def test_roots_are_passed_on() -> None:
    ring = fabric_of(RING)
    tables = [ask_opensm(ring, "updn", Options(roots=(root,))).tables for root in (0, 3)]
    for root, routed in zip((0, 3), tables, strict=True):
        assert verify(routed).safe
        assert not np.isin(routed.next_channel[(root + 3) % 6], -1).all()
    assert (tables[0].lft != tables[1].lft).any()


def test_nue_draws_at_random_and_says_so() -> None:
    tables = ask_opensm(tree(4), "nue").tables
    assert not verify(tables).lost_hca
    assert "OpenSM's nue draws at random: another run gives other tables" in tables.notes


def test_hop_weights_are_passed_on() -> None:
    fabric = tree(4)
    heavy = np.flatnonzero((fabric.channel_src == 0) & (fabric.channel_dst < fabric.n_switches))[0]
    weight = np.where(np.arange(len(fabric.channel_port)) == heavy, 9, 1).astype(np.int16)
    hosts = fabric.port_lid[fabric.endpoints]
    plain = ask_opensm(fabric, "minhop").tables.next_channel[:, hosts]
    weighted = ask_opensm(fabric, "minhop", Options(hop_weight=weight)).tables.next_channel[:, hosts]
    assert (plain == heavy).any()
    assert not (weighted == heavy).any()


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("mihop", Options(), "OpenSM has no engine 'mihop'\n  hint: did you mean 'minhop'?"),
        ("file", Options(), "OpenSM has no engine 'file'"),
        ("minhop", Options(roots=(1,)), "opensm:minhop does not honour --root\n  hint: these do: opensm:updn, opensm:dnup"),
        ("minhop", Options(max_vls=2), "opensm:minhop does not honour --vls"),
        ("lash", Options(max_vls=9), "the twin's links have 8 virtual lanes; 9 are asked for"),
    ],
)
def test_bad_requests(engine: str, options: Options, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask_opensm(tree(4), engine, options)
    assert said in str(caught.value)


def test_a_fabric_without_cables_is_an_error() -> None:
    fabric = tree(4)
    with pytest.raises(FabctlError, match="no cables"):
        ask_opensm(replace(fabric, port_peer=np.full_like(fabric.port_peer, -1)), "minhop")


def test_moved_lids_are_an_error(tmp_path: Path) -> None:
    fabric = tree(4)
    path = tmp_path / "guid2lid"
    path.write_text(f"{fabric.guid_text(0)} 0x0077 0x0077\n\n")
    with pytest.raises(SourceError, match=r"OpenSM gave leaf-\S+ LID 119; it had "):
        refuse_moved_lids(fabric, path)


@pytest.mark.parametrize("damage", ["", "# nothing\n", 'Switch 4 "a"\n[1] "b"[1]\n', "\0\1\2"])
def test_a_network_that_ibsim_does_not_take_is_an_error(tmp_path: Path, damage: str) -> None:
    from realstack import Ibsim

    net = tmp_path / "bad.net"
    net.write_text(damage)
    with pytest.raises((SourceError, ValueError)), Ibsim(net, tmp_path, "x") as sim:
        sim.run("smpquery", "nodeinfo", "-D", "0")


def test_a_large_lid_has_room(tmp_path: Path) -> None:
    """ibsim's switches hold 30,720 LIDs unless told otherwise."""
    fabric = tree(4)
    lids = fabric.port_lid.copy()
    lids[fabric.endpoints[-1]] = 49_151
    high = replace(fabric, port_lid=lids)
    assert "lid 49151" in ibsim_net(high)
    assert not verify(ask_opensm(high, "minhop").tables).lost_hca
