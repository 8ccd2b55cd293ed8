"""fabctl's own snapshot: nothing is lost in it, and no damage goes unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.snapshot import dump_snapshot, load_snapshot
from fabctl.sources.reading import load_fabric


@pytest.fixture(scope="module")
def fabric(fixtures: Path) -> Fabric:
    return replace(load_fabric(str(fixtures / "ibnetdiscover/ufm-lab-small.txt")).fabric, sm_lid=13)


@pytest.mark.parametrize("dump", ["selene-compute-2021.txt", "gb200-lone-host.txt", "hdr-directors-2021-terminal-log.txt"])
def test_nothing_is_lost(fixtures: Path, tmp_path: Path, dump: str) -> None:
    fabric = replace(load_fabric(str(fixtures / "ibnetdiscover" / dump)).fabric, sm_lid=7)
    path = tmp_path / "fabric.json"
    path.write_text(dump_snapshot(fabric))
    loaded = load_fabric(str(path))
    assert loaded.report.source == "snapshot"
    for column in fields(Fabric):
        there, here = getattr(loaded.fabric, column.name), getattr(fabric, column.name)
        assert np.array_equal(there, here)
        assert getattr(there, "dtype", None) == getattr(here, "dtype", None)


def test_same_fabric_same_bytes(fixtures: Path) -> None:
    texts = [
        dump_snapshot(load_fabric(str(fixtures / "tool-output" / dump)).fabric)
        for dump in ("ibnetdiscover.txt", "ibnetdiscover-g.txt")
    ]
    assert texts[0] == texts[1]


def test_guids_are_strings_that_every_json_reader_keeps(fabric: Fabric) -> None:
    document = json.loads(dump_snapshot(fabric))
    assert document["format"] == "fabctl-snapshot"
    assert document["node_guid"][0] == "0x0002c903007b78b0"
    assert all(guid is None or len(guid) == 18 for guid in document["port_guid"])
    assert max(n for column in document.values() if isinstance(column, list) for n in column if isinstance(n, int)) < 2**53


def test_no_change_of_one_character_goes_unnoticed(fabric: Fabric) -> None:
    """A change either breaks the snapshot or changes nothing (blanks, letter case of hex digits)."""
    text = dump_snapshot(fabric)
    for at in range(0, len(text), 3):
        for letter in '0x7, "':
            damaged = text[:at] + letter + text[at + 1 :]
            try:
                found = load_snapshot(damaged, "s.json")
            except InputError:
                continue
            assert found.digest == fabric.digest
            assert found.sm_lid == fabric.sm_lid


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return edit


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[:-20], "no JSON"),
    "cut in a column": (lambda text: text[:900], "no JSON"),
    "a LID edited": (edited(lambda d: d["port_lid"].__setitem__(3, 77)), "does not match its digest"),
    "a name edited": (edited(lambda d: d["node_name"].__setitem__(3, "other")), "does not match its digest"),
    "the manager edited": (edited(lambda d: d.update(sm_lid=99)), "does not match its digest"),
    "a column shorter": (edited(lambda d: d["port_lid"].pop()), "damaged snapshot"),
    "a column nested": (edited(lambda d: d.update(port_lid=[[lid] for lid in d["port_lid"]])), "no flat list"),
    "a column gone": (edited(lambda d: d.pop("port_lid")), "it has no 'port_lid'"),
    "the digest gone": (edited(lambda d: d.pop("digest")), "it has no 'digest'"),
    "a number too big": (edited(lambda d: d["port_lanes"].__setitem__(0, 300)), "damaged snapshot"),
    "a GUID too big": (edited(lambda d: d["port_guid"].__setitem__(0, "0x1" + 16 * "0")), "damaged snapshot"),
    "a GUID as a number": (edited(lambda d: d["port_guid"].__setitem__(0, 17)), "damaged snapshot"),
    "a name as a number": (edited(lambda d: d["node_name"].__setitem__(0, 17)), "damaged snapshot"),
    "a text for a column": (edited(lambda d: d.update(port_lid="many")), "damaged snapshot"),
    "no number for the manager": (edited(lambda d: d.update(sm_lid=float("inf"))), "damaged snapshot"),
    "another version": (edited(lambda d: d.update(version=2)), "a snapshot of version 2"),
    "another format": (edited(lambda d: d.update(format="other")), "its format is not"),
    "a list": (lambda text: f"[{text}]", "its format is not"),
    "a deep list": (lambda text: "[" * 100_000, "no JSON"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(fabric: Fabric, damage: str) -> None:
    change, message = DAMAGE[damage]
    with pytest.raises(InputError, match=message) as caught:
        load_snapshot(change(dump_snapshot(fabric)), "s.json")
    assert caught.value.where.startswith("s.json")


def test_a_snapshot_reformatted_is_still_good(fabric: Fabric) -> None:
    """``jq .`` changes no value."""
    again = load_snapshot(json.dumps(json.loads(dump_snapshot(fabric)), indent=4), "s.json")
    assert again.digest == fabric.digest
