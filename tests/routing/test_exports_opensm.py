"""Exports for OpenSM: what the policy says of every path, what the manifest notices, and folders that are whole or untouched."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
from fabric_plans import leaf_spine
from hypothesis import given, settings
from hypothesis import strategies as st

from fabctl.errors import ExitCode, InputError, RefusedError
from fabctl.install.bundle import read_bundle
from fabctl.model.fabric import Fabric
from fabctl.model.routes import Assessment
from fabctl.model.tables import RoutingTables
from fabctl.routing.compute import assess, compute_tables
from fabctl.routing.exports.opensm import opensm
from fabctl.routing.exports.opensm import settings as opensm_settings
from fabctl.routing.exports.qos import match_rules, port_classes, qos_policy
from fabctl.routing.options import DEFAULTS, Options
from fabctl.sources.qos_policy import parse, service_levels

Run = Callable[..., Any]


def assessed(tables: RoutingTables) -> Assessment:
    return assess(tables, tables.fabric.endpoints, bisections=2, seed=1, top=0)


def levelled(fabric: Fabric, levels: np.ndarray, engine: str = "updn") -> RoutingTables:
    """Return routes with these SLs, by switch and LID; safe whatever they are, because they are safe on one lane."""
    tables = compute_tables(fabric, engine)
    whole = np.zeros(tables.lft.shape, dtype=np.uint8)
    whole[:] = np.broadcast_to(levels, tables.lft.shape)
    return replace(tables, service_level=whole)


# ---- the policy --------------------------------------------------------------------------------------------------------


class PlainPolicy:
    """A policy as OpenSM goes by it: its lines in dictionaries, its rules tried one by one."""

    def __init__(self, text: str) -> None:
        self.groups: dict[str, set[int]] = {}
        self.levels: dict[str, int] = {}
        self.rules: list[dict[str, list[str]]] = []
        block: dict[str, list[str]] = {}
        for line in text.splitlines():
            words = line.split(":", 1)
            if len(words) == 2:
                block.setdefault(words[0].strip(), []).extend(word.strip() for word in words[1].split(","))
            elif line == "end-port-group":
                self.groups[block["name"][0]] = {int(guid, 16) for guid in block["port-guid"]}
            elif line == "end-qos-level":
                self.levels[block["name"][0]] = int(block["sl"][0])
            elif line == "end-qos-match-rule":
                self.rules.append(block)
            if line in ("port-group", "qos-level", "qos-match-rule"):
                block = {}

    def level(self, source: int, destination: int) -> int:
        for rule in self.rules:
            if self._in(rule, "source", source) and self._in(rule, "destination", destination):
                return self.levels[rule["qos-level-name"][0]]
        return self.levels["DEFAULT"]

    def _in(self, rule: dict[str, list[str]], key: str, guid: int) -> bool:
        return key not in rule or any(guid in self.groups[name] for name in rule[key])


def leaves_of(fabric: Fabric) -> np.ndarray:
    senders = np.flatnonzero((fabric.port_node >= fabric.n_switches) & (fabric.port_peer >= 0))
    return np.unique(fabric.port_node[fabric.port_peer[senders]])


FABRICS = [families.build(family, "small") for family in ("leaf-spine", "torus", "rail-optimised", "dragonfly")]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(range(len(FABRICS))),
    st.integers(1, 15),
    st.sampled_from(["any", "rows", "columns", "few"]),
    st.integers(0, 99),
)
def test_the_policy_gives_every_path_its_level(number: int, top: int, kind: str, seed: int) -> None:
    fabric, rng = FABRICS[number], np.random.default_rng(seed)
    shape = (fabric.n_switches, len(fabric.port_of_lid))
    levels = rng.integers(0, top + 1, {"rows": (shape[0], 1), "columns": (1, shape[1])}.get(kind, shape))
    if kind == "few":
        levels = np.where(rng.random(shape) < 0.9, 3, levels)
    tables = levelled(fabric, levels)
    text = "".join(qos_policy(tables))
    plain = PlainPolicy(text)
    wanted = tables.service_level
    assert wanted is not None
    for source in fabric.endpoints.tolist():
        leaf = fabric.port_node[fabric.port_peer[source]]
        for lid in np.flatnonzero(fabric.port_of_lid >= 0).tolist():
            target = int(fabric.port_guid[fabric.port_of_lid[lid]])
            assert plain.level(int(fabric.port_guid[source]), target) == wanted[leaf, lid]
    read = service_levels(parse(text, "policy"), fabric, shape[1])
    lids = fabric.port_of_lid >= 0
    np.testing.assert_array_equal(read[leaves_of(fabric)][:, lids], wanted[leaves_of(fabric)][:, lids])


def rules_for(levels: np.ndarray) -> tuple[int, int]:
    """Return the default level and the number of rules for levels on the torus."""
    default, rules = match_rules(port_classes(levelled(FABRICS[1], levels)))
    return default, len(rules)


def test_the_policy_is_as_small_as_the_levels_are_plain() -> None:
    n, width = FABRICS[1].n_switches, len(FABRICS[1].port_of_lid)
    assert rules_for(np.full((n, width), 5)) == (5, 0)
    by_destination = np.broadcast_to(np.arange(width) % 4, (n, width))
    assert rules_for(by_destination)[1] == 3  # one for each level but the default, as nue's
    by_source = np.arange(n)[:, None] % 3
    assert rules_for(by_source)[1] == 2
    one_path = np.zeros((n, width), dtype=int)
    one_path[3, FABRICS[1].port_lid[FABRICS[1].endpoints[20]]] = 1
    assert rules_for(one_path) == (0, 1)


def test_the_usual_level_is_the_default() -> None:
    levels = np.full((16, len(FABRICS[1].port_of_lid)), 2)
    levels[:3] = 1
    text = "".join(qos_policy(levelled(FABRICS[1], levels)))
    assert PlainPolicy(text).levels == {"DEFAULT": 2, "sl1": 1}


def test_levels_that_a_policy_cannot_say_are_refused() -> None:
    plan = leaf_spine(leaves=2, spines=2, hosts=2)
    plan.nodes["n1"].lmc = 1
    plan.nodes["n1"].lid = 20
    fabric = plan.build()
    levels = np.zeros(len(fabric.port_of_lid), dtype=int)
    levels[20:22] = 1
    assert "sl1" in "".join(qos_policy(levelled(fabric, levels)))
    levels[21] = 2
    with pytest.raises(RefusedError, match=r"the LIDs 20 to 21 of n1/P1 want different SLs"):
        "".join(qos_policy(levelled(fabric, levels)))
    nameless = replace(fabric, port_guid=np.where(fabric.port_lid == 20, 0, fabric.port_guid).astype(np.uint64))
    with pytest.raises(RefusedError, match="their port GUIDs are unknown, as that of n1/P1"):
        "".join(qos_policy(levelled(nameless, np.zeros(1, dtype=int))))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("port-guid: 0x", "port-guid: 0y", 1), "is no port GUID"),
        (lambda text: text.replace("source: s", "source: t", 1), "port group 't"),
        (lambda text: text.replace("name: DEFAULT", "name: default"), "no level DEFAULT|which is not defined"),
        (lambda text: text.replace("sl: ", "sl: 1", 1).replace("sl: 1", "sl: 17", 1), "is no SL"),
        (lambda text: text.replace("qos-level-name: sl", "pkey: 0x", 1), "is not understood"),
        (lambda text: text.rpartition("end-qos-match-rule\n")[0], "ends inside a qos-match-rule"),
        (lambda text: "nonsense\n" + text, "policy:1: this line of a QoS policy is not understood"),
    ],
)
def test_a_damaged_policy_is_refused(damage: Callable[[str], str], message: str) -> None:
    rng = np.random.default_rng(1)
    text = "".join(qos_policy(levelled(FABRICS[1], rng.integers(0, 3, (16, len(FABRICS[1].port_of_lid))))))
    parse(text, "policy")
    with pytest.raises(InputError, match=message):
        parse(damage(text), "policy")


def test_a_policy_that_knows_only_some_hosts_of_a_switch_is_refused() -> None:
    fabric = FABRICS[1]
    text = "".join(qos_policy(levelled(fabric, np.arange(16)[:, None] % 2)))
    new_host = next(port for port in fabric.endpoints if fabric.port_node[fabric.port_peer[port]] == 3)
    text = text.replace(f"0x{fabric.port_guid[new_host]:x}", "0x1234")
    with pytest.raises(InputError, match="to 1 of the 2 ports on switch"):
        service_levels(parse(text, "policy"), fabric, len(fabric.port_of_lid))


# ---- settings and roots ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lanes", "code"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5), (15, 5)])
def test_settings_make_room_for_the_lanes(lanes: int, code: int) -> None:
    lines = dict(line.split(" ", 1) for line in opensm_settings(FABRICS[1], lanes, policy=True))
    assert lines["max_op_vls"] == str(code)
    assert lines["qos_max_vls"] == str(lanes)
    vls = [int(vl) for vl in lines["qos_sl2vl"].split(",")]
    assert len(vls) == 16
    assert vls[:lanes] == list(range(lanes))
    assert max(vls) == lanes - 1
    assert lines["qos_vlarb_low"] == ",".join(f"{vl}:64" for vl in range(lanes))


def test_settings_of_one_lane_leave_qos_alone() -> None:
    assert [line.split()[0] for line in opensm_settings(FABRICS[1], 1, policy=False)] == ["routing_engine", "lfts_file"]


def test_settings_know_the_lmc() -> None:
    plan = leaf_spine(leaves=2, spines=2, hosts=2)
    for number, node in enumerate(plan.nodes.values()):
        node.lid, node.lmc = 4 + 4 * number, 0 if node.description.startswith(("leaf", "spine")) else 2
    assert opensm_settings(plan.build(), 1, policy=False)[-2:] == ["lmc 2", "lmc_esp0 FALSE"]


def exported(tables: RoutingTables, folder: Path, options: Options = DEFAULTS) -> set[str]:
    opensm(assessed(tables), str(folder), options)
    return {path.name for path in folder.iterdir()}


def test_roots_are_the_top_tier_or_those_asked_for(tmp_path: Path) -> None:
    tree = families.build("xgft", "middle")
    assert "root-guids.txt" in exported(compute_tables(tree, "updn"), tmp_path / "tree")
    roots = (tmp_path / "tree/root-guids.txt").read_text().split()
    assert roots == [tree.guid_text(switch) for switch in np.flatnonzero(tree.tiers == tree.tiers.max())]
    exported(compute_tables(tree, "updn"), tmp_path / "given", Options(roots=(5, 2)))
    assert (tmp_path / "given/root-guids.txt").read_text().split() == [tree.guid_text(2), tree.guid_text(5)]
    assert "root-guids.txt" not in exported(compute_tables(FABRICS[1], "updn"), tmp_path / "torus")


# ---- folders -----------------------------------------------------------------------------------------------------------


def test_files_are_there_if_they_mean_something(tmp_path: Path) -> None:
    one_lane = {"README", "manifest.json", "opensm.conf", "opensm-lfts.dump"}
    assert exported(compute_tables(FABRICS[1], "updn"), tmp_path) == one_lane
    two_lanes = levelled(FABRICS[1], np.arange(16)[:, None] % 2)
    (tmp_path / "mine.txt").write_text("stays")
    assert exported(two_lanes, tmp_path) == {*one_lane, "qos-policy.conf", "mine.txt"}
    assert "opensm -o -R file,no_fallback -U opensm-lfts.dump -Q -Y qos-policy.conf" in (tmp_path / "README").read_text()
    assert exported(compute_tables(FABRICS[1], "updn"), tmp_path) == {*one_lane, "mine.txt"}


def test_the_same_routes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        exported(levelled(FABRICS[3], np.arange(FABRICS[3].n_switches)[:, None] % 3), tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_the_manifest_says_what_was_exported(tmp_path: Path) -> None:
    tables = compute_tables(FABRICS[1], "updn")
    exported(tables, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["engine"], manifest["fabric_digest"], manifest["virtual_lanes"]) == ("updn", tables.fabric.digest, 1)
    for name, entry in manifest["files"].items():
        done = subprocess.run(["sha256sum", tmp_path / name], capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] == entry["sha256"]
    assert read_bundle(str(tmp_path)).engine == "updn"


@pytest.mark.parametrize("name", ["opensm-lfts.dump", "README", "opensm.conf", "qos-policy.conf"])
def test_a_file_that_was_edited_or_lost_is_named(name: str, tmp_path: Path) -> None:
    exported(levelled(FABRICS[1], np.arange(16)[:, None] % 2), tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text().replace("0", "1", 1) + "#")
    with pytest.raises(RefusedError, match=f"{name}: this file was changed after the export"):
        read_bundle(str(tmp_path))
    path.unlink()
    with pytest.raises(RefusedError, match=f"{name}: this file of the export is missing"):
        read_bundle(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, ExitCode.INPUT, "holds no export"),
        ("", ExitCode.INPUT, "empty"),
        ("[]", ExitCode.INPUT, "no manifest"),
        ("{", ExitCode.INPUT, "no manifest"),
        ('{"format": 2, "engine": "x", "export": "opensm", "files": {}}', ExitCode.INPUT, "this fabctl understands"),
        ('{"format": 1, "engine": "x", "export": "opensm", "files": {"../x": {"sha256": "0"}}}', ExitCode.INPUT, "understands"),
        ('{"format": 1, "engine": "x", "export": "ibdm", "files": {}}', ExitCode.REFUSED, "an export for ibdm"),
    ],
)
def test_what_is_no_export_is_told(text: str | None, code: ExitCode, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises((InputError, RefusedError), match=message) as caught:
        read_bundle(str(tmp_path))
    assert caught.value.exit_code == code


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fabctl_with_room(size: int, arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run fabctl on a disk that is full once a file has `size` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "fabctl", *map(str, arguments)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("form", ["opensm", "ibdm"])
def test_a_full_disk_leaves_the_folder_as_it_was(run: Run, form: str, earlier: bool, project: Path, tmp_path: Path) -> None:
    tree, folder = project / "topologies/xgft-64.yaml", tmp_path / "routes"
    if earlier:
        assert run("route", tree, "--engine", "minhop", "--export", form, folder).code == ExitCode.DONE
    before = snapshot(tmp_path)
    done = fabctl_with_room(20_000, ["route", tree, "--engine", "ftree", "--export", form, folder])
    assert done.returncode == ExitCode.INPUT, done.stderr
    assert "cannot write" in done.stderr
    assert str(folder) in done.stderr
    assert snapshot(tmp_path) == before
    assert folder.exists() == earlier


def test_unsafe_lanes_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    tables = compute_tables(families.build("random-regular", "small"), "minhop")
    assert assessed(tables).verification.credit_loop
    on_two = replace(tables, service_level=np.full(tables.lft.shape, 1, dtype=np.uint8))
    with pytest.raises(RefusedError, match="may deadlock"):
        opensm(assessed(on_two), str(tmp_path / "routes"), DEFAULTS)
    assert not (tmp_path / "routes").exists()
