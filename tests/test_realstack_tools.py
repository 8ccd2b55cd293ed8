"""fabctl's sources against the real tools: what they print now is what the recorded outputs hold, and parses the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from realstack import Ibsim, Verdict, ibdmchk, parse_ibdmchk

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables
from fabctl.sources.reading import load_fabric, load_tables


@pytest.fixture
def small(fixtures: Path) -> Path:
    """A simulated fabric of 4 leaves, 2 spines and 8 hosts."""
    return fixtures / "tool-output/ibsim-small.net"


def read_fabric(text: str, folder: Path) -> Fabric:
    path = folder / "fabric.txt"
    path.write_text(text)
    return load_fabric(str(path)).fabric


def read_tables(text: str, fabric: Fabric, folder: Path) -> RoutingTables:
    path = folder / "tables.txt"
    path.write_text(text)
    return load_tables(str(path), fabric)


@pytest.mark.parametrize("option", [(), ("-f",), ("-g",), ("-p",)], ids=lambda option: option[0] if option else "plain")
def test_ibnetdiscover_now_and_then(small: Path, fixtures: Path, tmp_path: Path, option: tuple[str, ...]) -> None:
    with Ibsim(small, tmp_path) as sim:
        sim.opensm("minhop")
        now = read_fabric(sim.ibnetdiscover(*option), tmp_path)
    then = load_fabric(str(fixtures / "tool-output" / f"ibnetdiscover{option[0] if option else ''}.txt")).fabric
    assert now.digest == then.digest


def test_dump_fts_now_and_then(small: Path, fixtures: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt")).fabric
    with Ibsim(small, tmp_path) as sim:
        dumps = sim.opensm("minhop")
        with_names = read_tables(sim.run("dump_fts"), fabric, tmp_path)
        without_names = read_tables(sim.dump_fts(), fabric, tmp_path)
    recorded = load_tables(str(fixtures / "tool-output/dump_fts.txt"), fabric)
    of_opensm = load_tables(str(dumps.lfts), fabric)
    of_fdbs = load_tables(str(dumps.fdbs), fabric)
    for tables in (with_names, without_names, of_opensm, of_fdbs):
        np.testing.assert_array_equal(tables.lft, recorded.lft)


def test_the_harness_sees_a_silent_fall_back(small: Path, fixtures: Path, tmp_path: Path) -> None:
    text = (fixtures / "tool-output/osmdump/opensm-lfts.dump").read_text()
    broken = tmp_path / "broken.lfts"
    broken.write_text(text.replace("0x0001 001", "0x0001 077", 1))
    with Ibsim(small, tmp_path) as sim, pytest.raises(RefusedError, match="OpenSM fell back to minhop: "):
        sim.opensm("file", broken)


def test_the_harness_cleans_up_after_an_exception(small: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyError), Ibsim(small, tmp_path) as sim:
        raise KeyError
    assert sim.child.exit_code is not None


def test_ibdmchk_passes_good_routes(small: Path, tmp_path: Path) -> None:
    with Ibsim(small, tmp_path) as sim:
        dumps = sim.opensm("minhop")
    assert ibdmchk(dumps.subnet, dumps.fdbs, tmp_path) == Verdict(paths=56, lost=0, loops=0, credit_loop=())


def test_ibdmchk_finds_the_credit_loop_of_a_ring(fixtures: Path, tmp_path: Path) -> None:
    with Ibsim(fixtures / "tool-output/ring6.net", tmp_path) as sim:
        dumps = sim.opensm("minhop")
    verdict = ibdmchk(dumps.subnet, dumps.fdbs, tmp_path)
    assert (verdict.paths, verdict.lost, verdict.loops) == (30, 0, 0)
    assert verdict.credit_loop


@pytest.mark.parametrize(
    ("changes", "loops"),
    [
        ({"leaf-0": "255"}, 0),
        ({"leaf-0": "003", "spine-0": "001"}, 2),
    ],
    ids=["black hole", "loop"],
)
def test_ibdmchk_finds_lost_paths_and_loops(fixtures: Path, tmp_path: Path, changes: dict[str, str], loops: int) -> None:
    recorded = fixtures / "tool-output/osmdump"
    guids = {"leaf-0": "0x0000000000200000", "spine-0": "0x0000000000200004"}
    blocks = (recorded / "opensm.fdbs").read_text().split("dump_ucast_routes: Switch ")
    for name, port in changes.items():
        number = next(i for i, block in enumerate(blocks) if block.startswith(guids[name]))
        head, _, tail = blocks[number].partition("0x000E : ")
        blocks[number] = f"{head}0x000E : {port}{tail[3:]}"
    fdbs = tmp_path / "changed.fdbs"
    fdbs.write_text("dump_ucast_routes: Switch ".join(blocks))
    assert ibdmchk(recorded / "opensm-subnet.lst", fdbs, tmp_path) == Verdict(paths=56, lost=2, loops=loops, credit_loop=None)


def test_ibdmchk_that_died_early_is_no_verdict() -> None:
    with pytest.raises(AssertionError, match="did not walk"):
        parse_ibdmchk("-I- Parsing Subnet file:opensm-subnet.lst\n")
    with pytest.raises(AssertionError, match="did not look for credit loops"):
        parse_ibdmchk("-I- Scanned:56 CA to CA paths\n-I- Using full credit loop check.\n")
