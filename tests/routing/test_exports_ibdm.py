"""Exports for ibdmchk: it reads them as fabctl means them, and its verdict is fabctl's, with one lane and with several."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from fabric_plans import leaf_spine
from realstack import Verdict, ibdmchk, run_ibdmchk
from routing_oracles import plain_path

from fabctl.errors import ExitCode, RefusedError
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.lids import with_lids
from fabctl.model.tables import NO_ROUTE, RoutingTables
from fabctl.routing.compute import assess, compute_tables
from fabctl.routing.exports.ibdm import FDBS, MCFDBS, PSL, SUBNET, fdbs, ibdm, path_levels, subnet_lst
from fabctl.routing.options import DEFAULTS
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric, load_tables

Run = Callable[..., Any]

SMALL = [(family, "small") for family in families.SPECS]


def written(tables: RoutingTables, folder: Path) -> Verdict:
    """Have ibdmchk judge tables, safe or not."""
    (folder / SUBNET).write_text("".join(subnet_lst(tables.fabric)))
    (folder / FDBS).write_text("".join(fdbs(tables)))
    psl = None
    if tables.service_level is not None:
        psl = folder / PSL
        psl.write_text("".join(path_levels(tables)))
    return ibdmchk(folder / SUBNET, folder / FDBS, folder, psl)


def by_readme(folder: Path) -> Verdict:
    """Run the command that an export's README gives."""
    command = re.search(r"^    (ibdmchk .*)$", (folder / "README").read_text(), re.MULTILINE)
    assert command
    return run_ibdmchk(command[1].split(), folder)


def adapters(fabric: Fabric) -> int:
    return int(np.count_nonzero((fabric.node_kind[fabric.port_node] == NodeKind.CA) & (fabric.port_peer >= 0)))


def ring(fixtures: Path) -> RoutingTables:
    """Return the shortest ways around a ring of six, those to the far side in the direction of the numbers: a credit loop."""
    fabric = load_fabric(str(fixtures / "tool-output/ring6.net")).fabric
    fabric, _ = with_lids(fabric)
    lft = np.full((6, len(fabric.port_of_lid)), NO_ROUTE, dtype=np.uint8)
    place = {fabric.labels.index(f"sw-{number}"): number for number in range(6)}
    for port in fabric.endpoints.tolist():
        home = fabric.port_peer[port]
        for switch, number in place.items():
            ahead = (place[int(fabric.port_node[home])] - number) % 6
            lft[switch, fabric.port_lid[port]] = fabric.port_number[home] if ahead == 0 else 2 if ahead <= 3 else 3
    return RoutingTables(fabric, lft, "ring")


def dateline(tables: RoutingTables) -> RoutingTables:
    """Put the paths of a ring of six that cross the cable between its first and its last switch on a lane of their own."""
    fabric = tables.fabric
    level = np.zeros(tables.lft.shape, dtype=np.uint8)
    ends = {fabric.labels.index("sw-0"), fabric.labels.index("sw-5")}
    for source in fabric.endpoints.tolist():
        for target in fabric.endpoints.tolist():
            if source != target:
                path = plain_path(tables, source, target)
                assert path
                crosses = any({int(fabric.channel_src[c]), int(fabric.channel_dst[c])} == ends for c in path)
                level[fabric.port_node[fabric.port_peer[source]], fabric.port_lid[target]] = crosses
    return replace(tables, service_level=level)


def test_a_dateline_breaks_the_ring_s_credit_loop(fixtures: Path, tmp_path: Path) -> None:
    one_lane = ring(fixtures)
    found, judged = verify(one_lane), written(one_lane, tmp_path)
    assert (len(found.credit_loop), bool(judged.credit_loop)) == (6, True)
    two_lanes = dateline(one_lane)
    found, judged = verify(two_lanes), written(two_lanes, tmp_path)
    assert (found.credit_loop, judged) == ((), Verdict(30, 0, 0, ()))
    assert two_lanes.service_level is not None
    other_lane = replace(one_lane, service_level=np.ones_like(two_lanes.service_level))
    found, judged = verify(other_lane), written(other_lane, tmp_path)
    assert judged.credit_loop
    assert (len(found.credit_loop), found.loop_vl) == (6, 1)
    assert judged.credit_loop[0].endswith("VL: 1")


def test_the_psl_is_decimal(fixtures: Path, tmp_path: Path) -> None:
    """ibdmchk misreads hexadecimal LIDs in silence: with them it finds the loop again."""
    tables = dateline(ring(fixtures))
    lids = tables.fabric.port_lid[tables.fabric.endpoints]
    assert max(lids) > 9
    assert written(tables, tmp_path).credit_loop == ()
    psl = tmp_path / PSL
    psl.write_text(re.sub(r" (\d+) (\d+)$", lambda line: f" {int(line[1]):#x} {line[2]}", psl.read_text(), flags=re.MULTILINE))
    assert ibdmchk(tmp_path / SUBNET, tmp_path / FDBS, tmp_path, psl) != Verdict(30, 0, 0, ())


def random_lanes(seed: int, fixtures: Path) -> RoutingTables:
    """Return the ring with its dateline, part of whose paths are back on the common lane; or with a few random lanes."""
    rng = np.random.default_rng(seed)
    tables = dateline(ring(fixtures))
    change = rng.random(tables.lft.shape) < seed / 14
    other = 0 if seed % 2 else rng.integers(0, 4, change.shape)
    return replace(tables, service_level=np.where(change, other, tables.service_level).astype(np.uint8))


@pytest.mark.parametrize("seed", range(14))
def test_verdicts_on_random_lanes_agree(seed: int, fixtures: Path, tmp_path: Path) -> None:
    tables = random_lanes(seed, fixtures)
    found, judged = verify(tables), written(tables, tmp_path)
    assert (found.lost_hca, judged.lost) == (0, 0)
    assert bool(found.credit_loop) == bool(judged.credit_loop)


def test_random_lanes_are_a_fair_test(fixtures: Path) -> None:
    """Both verdicts are common."""
    loops = sum(bool(verify(random_lanes(seed, fixtures)).credit_loop) for seed in range(14))
    assert 4 <= loops <= 10


@pytest.mark.parametrize("seed", range(4))
def test_ibdmchk_loses_what_fabctl_loses(seed: int, tmp_path: Path) -> None:
    tables = compute_tables(families.build("leaf-spine", "small"), "minhop")
    fabric, rng = tables.fabric, np.random.default_rng(seed)
    lft = tables.lft.copy()
    for _ in range(seed):
        lft[rng.integers(fabric.n_switches), rng.choice(fabric.port_lid[fabric.endpoints])] = rng.choice([NO_ROUTE, 1, 2, 3])
    tables = replace(tables, lft=lft)
    ports = fabric.endpoints.tolist()
    lost = [(a, b) for a in ports for b in ports if a != b and plain_path(tables, a, b) is None]
    assert written(tables, tmp_path).lost == len(lost)
    assert len(lost) == 0 or seed


@pytest.mark.parametrize(("family", "size"), SMALL)
def test_every_family_passes_by_the_readme(family: str, size: str, tmp_path: Path) -> None:
    fabric = families.build(family, size)
    tables = compute_tables(fabric, "updn")
    level = np.arange(fabric.n_switches, dtype=np.uint8)[:, None] % 3
    for name, given in (
        ("one", tables),
        ("three", replace(tables, service_level=np.broadcast_to(level, tables.lft.shape).copy())),
    ):
        ibdm(assess(given, fabric.endpoints, bisections=2, seed=1, top=0), str(tmp_path / name), DEFAULTS)
        count = adapters(fabric)
        assert by_readme(tmp_path / name) == Verdict(count * (count - 1), 0, 0, ())
    assert (tmp_path / "three" / MCFDBS).read_bytes() == b""


@pytest.mark.parametrize("name", ["dgx-ndr-2025.txt", "jabl-1.txt", "ufm-lab-small.txt"])
def test_real_fabrics_are_read_back_as_they_are(name: str, fixtures: Path, tmp_path: Path) -> None:
    tables = compute_tables(load_fabric(str(fixtures / "ibnetdiscover" / name)).fabric, "updn")
    fabric = tables.fabric
    verdict = written(tables, tmp_path)
    count = adapters(fabric)
    assert (verdict.paths, verdict.lost) == (count * (count - 1), 0)
    again = load_fabric(str(tmp_path / SUBNET)).fabric
    cabled = np.unique(fabric.port_node[fabric.port_peer >= 0])
    np.testing.assert_array_equal(again.node_guid, fabric.node_guid[cabled])
    np.testing.assert_array_equal(again.node_port_count, fabric.node_port_count[cabled])
    np.testing.assert_array_equal(again.vendor_id, fabric.vendor_id[cabled])
    np.testing.assert_array_equal(again.channel_speed, fabric.channel_speed)
    np.testing.assert_array_equal(again.channel_lanes, fabric.channel_lanes)
    for column in ("port_number", "port_lid", "port_guid"):
        ours = getattr(fabric, column)[fabric.port_peer[fabric.channel_port]]
        of_adapters = fabric.port_node[fabric.port_peer[fabric.channel_port]] >= fabric.n_switches
        theirs = getattr(again, column)[again.port_peer[again.channel_port]]
        np.testing.assert_array_equal(theirs[of_adapters], ours[of_adapters])
    np.testing.assert_array_equal(load_tables(str(tmp_path / FDBS), fabric).lft, tables.lft)


def test_an_adapter_whose_ports_send_on_different_lanes_is_refused(tmp_path: Path) -> None:
    plan = leaf_spine(leaves=2, spines=2, hosts=2)
    plan.cable("n0", 2, "leaf-1", 9)
    fabric = plan.build()
    port = int(np.flatnonzero((fabric.port_node == fabric.labels.index("n0")) & (fabric.port_number == 2))[0])
    lid = fabric.port_lid.copy()
    lid[port] = 99
    fabric = replace(fabric, port_lid=lid)
    tables = compute_tables(fabric, "updn")
    levels = np.zeros(tables.lft.shape, dtype=np.uint8)
    levels[fabric.labels.index("leaf-1")] = 1
    judged = assess(replace(tables, service_level=levels), fabric.endpoints, bisections=2, seed=1, top=0)
    with pytest.raises(RefusedError, match="the ports n0/P1 and n0/P2 of one adapter send with different SLs"):
        ibdm(judged, str(tmp_path / "routes"), DEFAULTS)
    assert not (tmp_path / "routes").exists()


def test_the_command_line_writes_it(run: Run, project: Path, tmp_path: Path) -> None:
    outcome = run("route", project / "topologies/xgft-64.yaml", "--engine", "ftree", "--export", "ibdm", tmp_path / "routes")
    assert outcome.code == ExitCode.DONE
    assert {path.name for path in (tmp_path / "routes").iterdir()} == {SUBNET, FDBS, MCFDBS, "README", "manifest.json"}
    assert by_readme(tmp_path / "routes") == Verdict(64 * 63, 0, 0, ())
