"""LIDs of fabrics with an LMC: aligned, dense, and what the real OpenSM would give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from realstack import Ibsim

from fabctl.errors import InputError
from fabctl.generate.spec import parse
from fabctl.model.fabric import MAX_UNICAST_LID, Fabric
from fabctl.report.exports import EXPORTS
from fabctl.sources import SOURCES

TREE = "family: leaf-spine\nhosts_per_leaf: 3\nleaves: 3\nspines: 2\nspeed: EDR\n"
AGGREGATION = "aggregation_nodes: true\n"


def fabric_of(lmc: int, more: str = "") -> Fabric:
    return parse(f"{TREE}{more}lmc: {lmc}\n", "spec.yaml")[0]


def test_without_an_lmc_nothing_changes() -> None:
    assert fabric_of(0).digest == parse(TREE, "spec.yaml")[0].digest


@pytest.mark.parametrize("more", ["", AGGREGATION])
@pytest.mark.parametrize("lmc", range(8))
def test_blocks_of_lids_are_aligned_disjoint_and_dense(lmc: int, more: str) -> None:
    fabric, each = fabric_of(lmc, more), 1 << lmc
    owners = np.flatnonzero(fabric.port_lid > 0)
    of_switch = fabric.port_node[owners] < fabric.n_switches
    assert len(owners) == fabric.n_nodes
    assert np.array_equal(fabric.port_lmc[owners], np.where(of_switch, 0, lmc))
    assert not np.any(fabric.port_lid[owners][~of_switch] % each)
    taken = np.concatenate(
        [lid + np.arange(1 << own) for lid, own in zip(fabric.port_lid[owners], fabric.port_lmc[owners], strict=True)]
    )
    assert len(set(taken.tolist())) == len(taken)
    assert taken.min() == each
    n_aggregation = int(fabric.is_aggregation.sum())
    gap = -(9 * each + 5) % each if n_aggregation else 0
    assert taken.max() == each * (1 + 9 + n_aggregation) + 5 + gap - 1
    assert sorted(np.flatnonzero(fabric.port_of_lid >= 0).tolist()) == sorted(taken.tolist())


def test_lids_may_reach_the_last_of_a_subnet_and_no_further() -> None:
    text = "family: leaf-spine\nhosts_per_leaf: 99\nleaves: 31\nspeed: EDR\nlmc: 4\nspines: "
    assert MAX_UNICAST_LID == (1 + 99 * 31) * 16 + 31
    assert parse(f"{text}1\n", "spec.yaml")[0].port_lid.max() == MAX_UNICAST_LID
    with pytest.raises(InputError, match="needs LIDs up to 49,152, a subnet has 49,151"):
        parse(f"{text}2\n", "spec.yaml")


@pytest.mark.parametrize("lmc", [0, 1, 3])
def test_opensm_keeps_these_lids(lmc: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ibsim starts with the LIDs of the spec; OpenSM reassigns what it would not have given so."""
    fabric = fabric_of(lmc, AGGREGATION)
    monkeypatch.setenv("OSM_CACHE_DIR", str(tmp_path))
    (tmp_path / "net").write_text(EXPORTS.load("ibsim")(fabric))
    with Ibsim(tmp_path / "net", tmp_path / "run") as stack:
        stack.run("opensm", "-o", "-R", "minhop", "-l", str(lmc), "-f", str(tmp_path / "opensm.log"))
        seen = SOURCES.load("ibnetdiscover").parse(stack.ibnetdiscover(), "seen.txt")[0]
    assert np.array_equal(seen.node_guid, fabric.node_guid)
    assert np.array_equal(seen.port_lid, fabric.port_lid)
    assert np.array_equal(seen.port_lmc, fabric.port_lmc)
