"""One simulated fabric, described by every tool: the sources must agree on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fabric_texts import cables

from fabctl.model.fabric import Fabric, NodeKind
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.units import Speed

WHOLE = {
    "ibnetdiscover.txt": "ibnetdiscover",
    "osmdump/opensm-subnet.lst": "subnet-lst",
}
WITHOUT_LIDS = {
    "ibnetdiscover.before_sm.txt": "ibnetdiscover",
    "ibsim-small.net": "ibsim",
}
PORT_LINES = {
    "ibnetdiscover-p.txt": "ibnetdiscover-p",
    "iblinkinfo-l.txt": "iblinkinfo",
    "iblinkinfo-lp.txt": "iblinkinfo",
    "iblinkinfo--switches-only-l.txt": "iblinkinfo",
}
TABLES = ("dump_fts.txt", "dump_fts-n.txt", "dump_fts-a.txt", "dump_lfts.txt", "osmdump/opensm-lfts.dump", "osmdump/opensm.fdbs")


@pytest.fixture
def outputs(fixtures: Path) -> Path:
    return fixtures / "tool-output"


@pytest.fixture
def fabric(outputs: Path) -> Fabric:
    return load_fabric(str(outputs / "ibnetdiscover.txt")).fabric


@pytest.mark.parametrize("dump", [*WHOLE, *WITHOUT_LIDS, *PORT_LINES])
def test_same_cables(outputs: Path, fabric: Fabric, dump: str) -> None:
    loaded = load_fabric(str(outputs / dump))
    assert loaded.report.source == (WHOLE | WITHOUT_LIDS | PORT_LINES)[dump]
    assert cables(loaded.fabric) == cables(fabric)
    assert sorted(loaded.fabric.labels) == sorted(fabric.labels)
    for kind in ("unknown", "headings", "tool_messages", "one_sided", "undeclared", "disagreements", "duplicates"):
        assert not getattr(loaded.report, kind)


@pytest.mark.parametrize("group", [WHOLE, WITHOUT_LIDS, PORT_LINES], ids=["whole", "without LIDs", "port lines"])
def test_same_columns_where_the_formats_hold_the_same(outputs: Path, group: dict[str, str]) -> None:
    assert len({load_fabric(str(outputs / dump)).fabric.digest for dump in group}) == 1


def test_what_the_fabric_is(outputs: Path, fabric: Fabric) -> None:
    assert (fabric.n_switches, fabric.n_nodes, fabric.n_cables) == (6, 14, 16)
    assert set(fabric.port_speed[fabric.channel_port]) == {Speed.SDR}
    assert load_fabric(str(outputs / "osmdump/opensm-subnet.lst")).fabric.sm_lid == 1
    lids = {fabric.labels[node]: fabric.node_lid(node) for node in range(fabric.n_nodes)}
    assert lids["spine-0"] == 7
    assert lids["node00007"] == 14


def test_adapters_of_port_lines_go_by_their_port_guids(outputs: Path, fabric: Fabric) -> None:
    loaded = load_fabric(str(outputs / "ibnetdiscover-p.txt"))
    by_port = loaded.fabric
    adapters = by_port.node_kind == NodeKind.CA
    assert by_port.node_guid[adapters].tolist() == (fabric.node_guid[adapters] + np.uint64(1)).tolist()
    assert any("node GUID" in note for note in loaded.report.notes)


@pytest.mark.parametrize("dump", TABLES)
def test_same_tables(outputs: Path, fabric: Fabric, dump: str) -> None:
    tables = load_tables(str(outputs / dump), fabric)
    assert tables.notes == ()
    np.testing.assert_array_equal(tables.lft, load_tables(str(outputs / TABLES[0]), fabric).lft)


def test_what_the_tables_say(outputs: Path, fabric: Fabric) -> None:
    """The figures are those of ``opensm.fdbs``, read by eye."""
    lft = load_tables(str(outputs / "osmdump/opensm.fdbs"), fabric).lft
    leaf_0 = fabric.labels.index("leaf-0")
    assert lft[leaf_0].tolist() == [255, 1, 0, 3, 3, 2, 3, 3, 3, 4, 4, 3, 4, 3, 4]


@pytest.mark.parametrize("dump", [*WHOLE, *PORT_LINES])
def test_tables_bind_to_every_description_with_lids(outputs: Path, fabric: Fabric, dump: str) -> None:
    other = load_fabric(str(outputs / dump)).fabric
    tables = load_tables(str(outputs / "dump_fts.txt"), other)
    np.testing.assert_array_equal(tables.lft, load_tables(str(outputs / "dump_fts.txt"), fabric).lft)
