"""Forwarding-table dumps: every spelling, every way in which tables and fabric can fail to fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabctl.errors import InputError
from fabctl.model.binding import bind_tables
from fabctl.model.fabric import Fabric
from fabctl.model.loading import RawTables
from fabctl.model.tables import RoutingTables
from fabctl.sources import TABLE_SOURCES
from fabctl.sources.reading import load_fabric

LFT_DUMP, FDBS = TABLE_SOURCES.load("lft-dump"), TABLE_SOURCES.load("fdbs")
SWITCHES = {
    0x200000: "leaf-0",
    0x200001: "leaf-1",
    0x200002: "leaf-2",
    0x200003: "leaf-3",
    0x200004: "spine-0",
    0x200005: "spine-1",
}


@pytest.fixture(scope="module")
def fabric(fixtures: Path) -> Fabric:
    return load_fabric(str(fixtures / "tool-output/ibnetdiscover.txt")).fabric


@pytest.fixture(scope="module")
def dumps(fixtures: Path) -> Callable[[str], str]:
    return lambda name: (fixtures / "tool-output" / name).read_text()


@pytest.fixture(scope="module")
def true_lft(fabric: Fabric, dumps: Callable[[str], str]) -> np.ndarray:
    return bind(fabric, dumps("dump_fts.txt")).lft


def bind(fabric: Fabric, text: str) -> RoutingTables:
    source = next(source for source in (LFT_DUMP, FDBS) if source.recognises(text))
    return bind_tables(fabric, source.parse(text, "tables.txt"), "tables.txt")


# ---- spellings ---------------------------------------------------------------------------------------------------------


def minimal(lft: np.ndarray) -> str:
    """Write what a person would give to ``opensm -R file -U``."""
    blocks = []
    for row, guid in zip(lft, SWITCHES, strict=True):
        entries = [f"0x{lid:x} {port}" for lid, port in enumerate(row) if port != 255]
        blocks.append("\n".join([f"Unicast lids guid 0x{guid:x} x", *entries]))
    return "# by hand\n" + "\n\n".join(blocks) + "\n"


def test_a_file_by_hand(fabric: Fabric, true_lft: np.ndarray) -> None:
    tables = bind(fabric, minimal(true_lft))
    np.testing.assert_array_equal(tables.lft, true_lft)
    assert tables.notes == ()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "upper case LIDs": lambda text: re.sub(r"^0x[0-9a-f]{4}", lambda lid: "0x" + lid[0][2:].upper(), text, flags=re.MULTILINE),
    "indented": lambda text: re.sub("^", " ", text, flags=re.MULTILINE),
    "tabs": lambda text: re.sub(r"^(0x\w+) (\d+) ", r"\1\t\2\t", text, flags=re.MULTILINE),
    "short numbers": lambda text: re.sub(r"^0x0*(\w+) 0*(\d+)", r"0x\1 \2", text, flags=re.MULTILINE),
    "long numbers": lambda text: re.sub(r"^(0x\w+) (\d+)", r"\1 0\2", text, flags=re.MULTILINE),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "comments": lambda text: text.replace("\n", "\n  # Unicast lids [0x0-0x1] of switch Lid 1 guid 0x0000000000000001 (x):\n"),
    "no final newline": lambda text: text.rstrip(),
    "switches in another order": lambda text: "".join(sorted(re.split(r"(?=^Unicast)", text, flags=re.MULTILINE))),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("dump", ["dump_fts.txt", "dump_fts-n.txt", "osmdump/opensm-lfts.dump"])
def test_spellings(fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray, dump: str, spelling: str) -> None:
    tables = bind(fabric, SPELLINGS[spelling](dumps(dump)))
    np.testing.assert_array_equal(tables.lft, true_lft)
    assert tables.notes == ()


def test_names_and_owners(dumps: Callable[[str], str]) -> None:
    for dump in ("dump_fts.txt", "osmdump/opensm-lfts.dump"):
        raw = LFT_DUMP.parse(dumps(dump), dump)
        assert dict(zip(raw.switch_guid.tolist(), raw.switch_name, strict=True)) == SWITCHES
        assert raw.owner_guid.tolist()[:8] == [0, 0x100001, 0x200000, 0x200001, 0x200002, 0x100003, 0x200003, 0x200004]
    assert not LFT_DUMP.parse(dumps("dump_fts-n.txt"), "n").owner_guid.any()


def test_no_route_in_each_format(fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray) -> None:
    expected = true_lft.copy()
    expected[0, 14] = 255
    for dump, entry, no_route in (
        ("dump_fts-n.txt", "0x000e 004", "0x000e 255"),
        ("osmdump/opensm.fdbs", "0x000E : 004  : 03   : yes", "0x000E : UNREACHABLE"),
        ("osmdump/opensm.fdbs", "0x000E : 004  : 03   : yes", "0x000E : 255  : HOPS UNKNOWN"),
    ):
        head, leaf_0, tail = re.split(
            r"((?:Unicast|dump_ucast)[^\n]*0x0000000000200000(?:.|\n)*?\n(?=Unicast|dump_ucast|\Z))", dumps(dump)
        )
        assert leaf_0.count(entry) == 1
        np.testing.assert_array_equal(bind(fabric, head + leaf_0.replace(entry, no_route) + tail).lft, expected)


def test_an_old_opensm_and_a_poor_route(fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray) -> None:
    text = dumps("osmdump/opensm.fdbs").replace("dump_ucast_routes", "osm_ucast_mgr_dump_ucast_routes")
    text = text.replace("03   : yes", "03   : No 2 hop path possible via port 3!")
    np.testing.assert_array_equal(bind(fabric, text).lft, true_lft)


def reference(text: str) -> dict[int, dict[int, int]]:
    """Read a dump in the obvious way."""
    tables: dict[int, dict[int, int]] = {}
    row: dict[int, int] = {}
    for line in text.splitlines():
        header = re.match(r"(?:Unicast lids|dump_ucast_routes: Switch).* ?0x([0-9a-f]{16})(?: |$)", line)
        entry = re.match(r"0x(\w{1,4})(?: : | +)(\d{1,3}|UNREACHABLE)", line)
        if header:
            row = tables[int(header[1], 16)] = {}
        elif entry:
            row[int(entry[1], 16)] = 255 if entry[2] == "UNREACHABLE" else int(entry[2])
    return tables


def as_dict(raw: RawTables) -> dict[int, dict[int, int]]:
    return {
        guid: {lid: int(port) for lid, port in enumerate(row) if port != 255}
        for guid, row in zip(raw.switch_guid.tolist(), raw.lft, strict=True)
    }


@pytest.mark.parametrize(
    "dump", ["dump_fts.txt", "dump_fts-n.txt", "dump_fts-a.txt", "osmdump/opensm-lfts.dump", "osmdump/opensm.fdbs"]
)
def test_like_the_obvious_reader(dumps: Callable[[str], str], dump: str) -> None:
    text = dumps(dump)
    source = FDBS if "fdbs" in dump else LFT_DUMP
    found = as_dict(source.parse(text, dump))
    assert found == {guid: {lid: port for lid, port in row.items() if port != 255} for guid, row in reference(text).items()}
    assert sum(map(len, found.values())) == 84


TABLE = st.dictionaries(st.integers(1, 500), st.integers(0, 255), max_size=20)


@given(st.dictionaries(st.integers(0, 2**64 - 1), TABLE, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_random_tables(tables: dict[int, dict[int, int]], shuffle: object) -> None:
    routed = {guid: {lid: port for lid, port in row.items() if port != 255} for guid, row in tables.items()}
    by_hand, by_tool = "", ""
    for guid, row in tables.items():
        lines = list(row.items())
        shuffle.shuffle(lines)
        by_hand += f"Unicast lids guid 0x{guid:x}\n" + "".join(f"0x{lid:x} {port}\n" for lid, port in lines)
        by_tool += f"Unicast lids [0x0-0x{max(row, default=0):x}] of switch Lid 9 guid 0x{guid:016x} ((a) 'b'):\n"
        by_tool += "".join(f"0x{lid:04x} {port:03d} : (Switch portguid 0x{lid + 1:016x}: 'x')\n" for lid, port in lines)
        by_tool += f"{len(row)} valid lids dumped \n"
    raw = LFT_DUMP.parse(by_tool, "tool")
    assert as_dict(raw) == as_dict(LFT_DUMP.parse(by_hand, "hand")) == routed
    assert set(raw.switch_name) == {"(a) 'b'"}
    owners = {lid: int(guid) for lid, guid in enumerate(raw.owner_guid) if guid}
    assert owners == {lid: lid + 1 for row in tables.values() for lid in row}


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 255), min_size=9, max_size=9), min_size=1, max_size=5))
def test_random_fdbs(tables: dict[int, list[int]]) -> None:
    text = ""
    for guid, row in tables.items():
        text += f"dump_ucast_routes: Switch 0x{guid:016x}\nLID    : Port : Hops : Optimal\n"
        text += "".join(
            f"0x{lid:04X} : " + ("UNREACHABLE\n" if port == 255 else f"{port:03d}  : 01   : yes\n")
            for lid, port in enumerate(row, 1)
        )
    raw = FDBS.parse(text, "fdbs")
    assert {guid: row[1:] for guid, row in zip(raw.switch_guid.tolist(), raw.lft.tolist(), strict=True)} == {
        guid: (row + [255] * 9)[: raw.lft.shape[1] - 1] for guid, row in tables.items()
    }


# ---- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dump", ["dump_fts.txt", "dump_fts-n.txt", "dump_fts-a.txt", "osmdump/opensm-lfts.dump", "osmdump/opensm.fdbs", "by hand"]
)
def test_cut_anywhere_is_never_taken_for_whole(
    fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray, dump: str
) -> None:
    text = minimal(true_lft) if dump == "by hand" else dumps(dump)
    source = FDBS if "fdbs" in dump else LFT_DUMP
    last_block = max(text.rfind("Unicast lids"), text.rfind("dump_ucast_routes"))
    for end in [*range(0, last_block, 11), *range(last_block, len(text))]:  # before, whole switches are missing
        try:
            tables = bind_tables(fabric, source.parse(text[:end], "cut"), "cut")
        except InputError:
            continue
        whole = np.array_equal(tables.lft, true_lft)
        # a hand-written block has no end mark: cut between two of its lines it is a smaller table
        assert whole or (dump == "by hand" and end > last_block and text[end - 1] == "\n")


CASES: dict[str, tuple[Callable[[str], str], str, int]] = {
    "port above 255": (lambda text: text.replace("0x0005 004", "0x0005 256", 1), "port 256 is no port of any switch", 8),
    "port far above 255": (lambda text: text.replace("0x0005 004", "0x0005 99999", 1), "port 99999 is no port of any switch", 8),
    "multicast LID": (lambda text: text.replace("0x0005 004", "0xc005 004", 1), r"LID 49157 \(0xc005\) is no unicast LID", 8),
    "two ports for a LID": (lambda text: text.replace("0x0005 004", "0x0004 004", 1), "LID 4 has two ports", 7),
    "a LID too few": (lambda text: text.replace("0x0005 004 \n", "", 1), "says 14 LIDs and holds 13", 17),
    "count line lost": (lambda text: text.replace("14 valid lids dumped \n", "", 1), "lacks its last line", 17),
    "header without GUID": (lambda text: text.replace(" guid 0x0000000000200003", "", 1), "names no switch GUID", 1),
    "a switch twice": (lambda text: text + text, r"second table for switch 0x0000000000200003.*line 1\)", 109),
    "multicast tables": (
        lambda text: text + "Multicast mlids [0xc000-0xc3ff] of switch Lid 2 guid 0x1 (x):\n",
        "multicast tables begin",
        109,
    ),
    "the tool failed": (
        lambda text: text.replace("0x0005 004", "SubnGet(LFT) failed on switch 'leaf-3' MAD status 0x6e AM 0x0\n0x0005 004", 1),
        "could not read a part",
        8,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_refused_where_it_is(dumps: Callable[[str], str], case: str) -> None:
    damage, message, line = CASES[case]
    text = dumps("dump_fts-n.txt")
    with pytest.raises(InputError, match=message) as caught:
        LFT_DUMP.parse(damage(text), "t.txt")
    assert caught.value.where == f"t.txt:{line}"


def test_lines_not_understood_are_counted_and_located(fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray) -> None:
    lines = dumps("dump_fts-n.txt").splitlines()
    lines[5:5] = ["hello", "0x0004: 00 ff ff", "0x0005 x04", "0x0005 003 or so"]
    text = "umad (DR path slid 0; dlid 0; 0,1,3) bad status 110\n" + "\n".join(lines) + "\n"
    raw = LFT_DUMP.parse(text, "t.txt")
    assert [remark.line for remark in raw.unknown] == [1, 7, 8, 9, 10]
    tables = bind_tables(fabric, raw, "t.txt")
    np.testing.assert_array_equal(tables.lft, true_lft)
    (note,) = tables.notes
    assert note.startswith("5 lines of the tables were not understood; the first at t.txt:1: umad (DR path")


# ---- tables and fabric that do not fit ---------------------------------------------------------------------------------


def refused(fabric: Fabric, text: str) -> str:
    with pytest.raises(InputError) as caught:
        bind(fabric, text)
    assert caught.value.where == "tables.txt"
    return caught.value.message


def test_another_fabric(fixtures: Path, dumps: Callable[[str], str]) -> None:
    other = load_fabric(str(fixtures / "ibnetdiscover/ufm-lab-small.txt")).fabric
    assert "another fabric: none of their 6 switches" in refused(other, dumps("dump_fts.txt"))


def test_a_switch_too_many(fabric: Fabric, dumps: Callable[[str], str]) -> None:
    text = dumps("dump_fts.txt") + "Unicast lids guid 0x0000000000200099\n0x0001 1\n"
    assert refused(fabric, text) == "the tables hold 1 switches that the fabric does not have: 0x0000000000200099 ''"


def test_a_switch_too_few(fabric: Fabric, dumps: Callable[[str], str]) -> None:
    text = dumps("dump_fts.txt")
    assert refused(fabric, text[text.index("Unicast", 9) :]) == "1 of 6 switches have no table: leaf-3"


def test_a_port_that_the_switch_does_not_have(fabric: Fabric, dumps: Callable[[str], str]) -> None:
    text = dumps("dump_fts-n.txt").replace("0x0005 004", "0x0005 077", 1)
    assert refused(fabric, text) == "switch 'leaf-3' forwards LID 5 to port 77, but has ports 1 to 4"


def test_lids_that_moved_by_their_owners(fabric: Fabric, dumps: Callable[[str], str]) -> None:
    text = dumps("dump_fts.txt").replace("portguid 0x0000000000100003", "portguid 0x0000000000100005")
    assert "LIDs have moved: LID 5 belongs to port 0x0000000000100003 (node00001/P1) in the fabric" in refused(fabric, text)


def test_lids_that_moved_by_the_switches_own(fabric: Fabric, dumps: Callable[[str], str]) -> None:
    """Without owners (-n), a switch that forwards its own LID gives it away."""
    swap = {"0x0006": "0x0007", "0x0007": "0x0006"}
    text = re.sub("0x000[67]", lambda lid: swap[lid[0]], dumps("dump_fts-n.txt"))
    assert "LIDs have moved: switch 'leaf-3' has LID 6 in the fabric, and forwards that LID to port" in refused(fabric, text)


def test_owners_under_the_simulator(fabric: Fabric, dumps: Callable[[str], str], true_lft: np.ndarray) -> None:
    """ibsim makes port GUIDs from node GUIDs, whatever the dump that it reads says."""
    real = Fabric(**{name: getattr(fabric, name) for name in fabric.__dataclass_fields__})
    real.port_guid[:] = np.where(real.port_guid > 0, real.port_guid + np.uint64(0x7000), 0)
    np.testing.assert_array_equal(bind(real, dumps("dump_fts.txt")).lft, true_lft)
    real.port_guid[:] = np.where(real.port_guid > 0, real.port_guid - np.uint64(0x7000), 0)


def test_a_fabric_without_lids(fixtures: Path, dumps: Callable[[str], str]) -> None:
    fabric = load_fabric(str(fixtures / "tool-output/ibsim-small.net")).fabric
    assert "no LIDs" in refused(fabric, dumps("dump_fts.txt"))


def test_lids_that_nobody_has(fabric: Fabric, true_lft: np.ndarray) -> None:
    text = minimal(true_lft).replace("0x1 1\n", "0x1 1\n0x2222 1\n")
    tables = bind(fabric, text)
    assert tables.lft.shape == (6, 0x2223)
    assert tables.notes == ("the tables route 1 LIDs that no port of the fabric has; the first is 8738",)
