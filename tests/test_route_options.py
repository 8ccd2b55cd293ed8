"""What an operator asks of an engine: roots, ignored ports, lanes, hop weights; and the list of engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
from test_cli_contract import completions, heavy_modules

from fabctl.cli.main import COMMANDS
from fabctl.cli.route import SUBCOMMANDS
from fabctl.errors import InputError
from fabctl.model.lookup import find_hca_port, find_switch
from fabctl.routing import ENGINES
from fabctl.routing.compute import compute_tables
from fabctl.routing.options import Options
from fabctl.sources.option_files import read_hop_weights
from fabctl.sources.reading import load_fabric, load_tables

Run = Callable[..., Any]


@pytest.fixture
def tree(project: Path) -> Path:
    return project / "topologies/xgft-64.yaml"


# ---- subcommands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUBCOMMANDS.names())
def test_subcommands_explain_themselves_and_start_light(run: Run, name: str) -> None:
    command: click.Command = SUBCOMMANDS.load(name)
    assert command.get_short_help_str(limit=1000) == SUBCOMMANDS.entries[name].summary
    done = run("route", name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: fabctl route {name} " in done.out
    assert f"fabctl route {name} " in done.out.partition("Examples:")[2]
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []
    assert heavy_modules("route", name, "--help") == set()
    assert f"fabctl route {name} " in run("route", "--help").out


def test_a_subcommand_is_a_first_argument_only(run: Run, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compare").write_text(tree.read_text())
    assert "RouteReport" in run("route", "./compare", "-o", "json").out
    assert run("route", "compare").code == 2
    wrong = run("route", "compare", "--nothing")
    assert "hint: fabctl route compare --help" in wrong.err


def test_tab_offers_subcommands_and_their_options() -> None:
    assert "compare" in completions("fabctl route com")
    assert "compare" not in completions("fabctl route --strict com")
    assert "--list-engines" in completions("fabctl route --li")
    assert "--bisections" in completions("fabctl route compare --bis")
    assert "dgx1-16" in completions("fabctl route compare dgx")


# ---- the list of engines ------------------------------------------------------------------------------------------------


def test_the_list_of_engines(run: Run, project: Path) -> None:
    shown = run("route", "--list-engines")
    assert shown.code == 0
    for name in ENGINES.names():
        assert f"\n{name} " in shown.out
    assert "opensm:NAME" in shown.out
    assert run("route", "--list-engines", "-o", "name").out.split() == ENGINES.names()
    payload = json.loads(run("route", "--list-engines", "-o", "json").out)
    schema = json.loads((project / "fabctl/report/schemas/engine-list.json").read_text())
    jsonschema.validate(payload["data"], schema, cls=jsonschema.Draft202012Validator)
    assert {row["name"]: row["options"] for row in payload["data"]["engines"]} == {
        name: list(entry.options) for name, entry in ENGINES.entries.items()
    }


def test_the_list_of_engines_starts_light() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fabctl", "route", "--list-engines"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "numba" not in done.stderr


# ---- options ------------------------------------------------------------------------------------------------------------


def tables_of(run: Run, tree: Path, folder: Path, *arguments: object) -> np.ndarray:
    done = run("route", tree, *arguments, "--bisections", 2, "--export", "opensm", folder)
    assert done.code == 0, done.err
    return load_tables(str(folder / "opensm-lfts.dump"), load_fabric(str(tree)).fabric).lft


def test_roots_by_name_guid_and_file_are_the_same(run: Run, tree: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    tops = np.flatnonzero(fabric.tiers == fabric.tiers.max())[:2].tolist()
    names = [fabric.labels[top] for top in tops]
    (tmp_path / "roots").write_text(f"# tops\n{fabric.guid_text(tops[0])}   # one\n\n{names[1]}\n")
    expected = compute_tables(fabric, "updn", Options(roots=tuple(tops))).lft
    assert (expected != compute_tables(fabric, "updn").lft).any()
    by_name = tables_of(run, tree, tmp_path / "a", "--engine", "updn", "--root", names[1], "--root", names[0])
    np.testing.assert_array_equal(by_name, expected)
    np.testing.assert_array_equal(
        tables_of(run, tree, tmp_path / "b", "--engine", "updn", "--roots", tmp_path / "roots"), expected
    )


def test_ignored_ports_reach_the_engine(run: Run, tree: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    ports = fabric.endpoints[[3, 5, 7]].tolist()
    (tmp_path / "ports").write_text(f"0x{int(fabric.port_guid[ports[0]]):016x}\n{fabric.port_label(ports[1])}\n")
    given = ("--ignore-ports", tmp_path / "ports", "--ignore-port", fabric.port_label(int(fabric.port_peer[ports[2]])))
    expected = compute_tables(fabric, "minhop", Options(ignored=tuple(sorted(ports)))).lft
    np.testing.assert_array_equal(tables_of(run, tree, tmp_path / "out", *given), expected)


def test_hop_weights_turn_traffic_away(run: Run, tree: Path, tmp_path: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    leaf = int(np.flatnonzero(fabric.tiers == 0)[0])
    ups = [c for c in range(*fabric.channel_ptr[leaf : leaf + 2].tolist()) if fabric.channel_dst[c] < fabric.n_switches]
    heavy = ups[0]
    number = int(fabric.port_number[fabric.channel_port[heavy]])
    (tmp_path / "weights").write_text(f"# GUID port weight\n{fabric.guid_text(leaf)} {number} 3\n")
    weight = read_hop_weights(str(tmp_path / "weights"), fabric)
    assert np.flatnonzero(weight != 1).tolist() == [heavy]
    assert weight[heavy] == 3
    lft = tables_of(run, tree, tmp_path / "out", "--hop-weights", tmp_path / "weights")
    far = fabric.port_lid[fabric.endpoints[fabric.channel_dst[fabric.channel_of_port[fabric.endpoints]] != leaf]]
    assert (lft[leaf, far] != number).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{guid} 5\n", ":1: not understood: "),
        ("# fine\n{guid} 5 two\n", ":2: not understood"),
        ("{guid} 99 2\n", ":1: {leaf} has ports 1 to "),
        ("{guid} 5 0\n", "a hop weighs 1 to 255, not 0"),
        ("{guid} 5 256\n", "a hop weighs 1 to 255, not 256"),
        ("{guid} 5 2\n{guid} 5 3\n", ":2: {leaf}/P5 has two weights"),
        ("0x00000000deadbeef 5 2\n", ":1: no switch '0x00000000deadbeef' in this fabric"),
    ],
)
def test_bad_hop_weights(run: Run, tree: Path, tmp_path: Path, text: str, words: str) -> None:
    fabric = load_fabric(str(tree)).fabric
    names = {"guid": fabric.guid_text(0), "leaf": fabric.labels[0]}
    (tmp_path / "weights").write_text(text.format(**names))
    done = run("route", tree, "--hop-weights", tmp_path / "weights")
    assert (done.code, done.out) == (3, "")
    assert f"{tmp_path / 'weights'}:" in done.err
    assert words.format(**names) in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--vls", "0"], 2, "--vls"),
        (["--vls", "16"], 2, "--vls"),
        (["--vls", "2"], 2, "engine minhop does not honour --vls"),
        (["--engine", "updn", "--root", "core-9-9"], 3, "no switch 'core-9-9' in this fabric"),
        (["--engine", "updn", "--root", "node-0001 mlx5_0"], 3, "'node-0001 mlx5_0' is no switch"),
        (["--engine", "updn", "--roots", "/nowhere"], 3, "no such file"),
        (["--ignore-port", "node-0001 mlx5_0/P2"], 3, "is no connected port of an HCA"),
        (["--ignore-port", "nobody"], 3, "no node 'nobody'"),
        (["--engine", "opensm:"], 2, "wants the name"),
        (["--tables", "x", "--vls", "2"], 2, "are for engines"),
        (["--list-engines"], 2, "takes no SOURCE"),
    ],
)
def test_bad_options(run: Run, tree: Path, arguments: list[str], code: int, words: str) -> None:
    done = run("route", tree, *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_an_empty_list_is_an_error(run: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "roots").write_text("# none yet\n")
    done = run("route", tree, "--engine", "updn", "--roots", tmp_path / "roots")
    assert done.code == 3
    assert "names nothing" in done.err


def test_names_are_found_and_neighbours_offered(tree: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    for switch in range(fabric.n_switches):
        assert find_switch(fabric, fabric.labels[switch]) == switch == find_switch(fabric, fabric.guid_text(switch))
    with pytest.raises(InputError, match=f"did you mean .*{fabric.labels[0]}"):
        find_switch(fabric, fabric.labels[0] + "x")
    for port in fabric.endpoints[:4].tolist():
        assert find_hca_port(fabric, fabric.port_label(port)) == port
        assert find_hca_port(fabric, fabric.labels[fabric.port_node[port]]) == port
        assert find_hca_port(fabric, f"0x{int(fabric.port_guid[port]):x}") == port


def test_ambiguous_names_want_a_guid(tree: Path) -> None:
    fabric = load_fabric(str(tree)).fabric
    twins = replace(fabric, node_name=("switch", "switch", *fabric.node_name[2:]))
    with pytest.raises(InputError, match="2 nodes are called 'switch'") as caught:
        find_switch(twins, "switch")
    assert fabric.guid_text(1) in str(caught.value)
    assert find_switch(twins, twins.labels[1]) == 1


def test_the_lanes_of_a_route_are_said(run: Run, tree: Path) -> None:
    data = json.loads(run("route", tree, "--engine", "ftree", "-o", "json").out)["data"]["verification"]
    assert (data["vls"], data["credit_loop_vl"]) == (1, None)
    assert "1 virtual lane)" in run("route", tree, "--engine", "ftree").out


def test_every_command_is_still_a_command() -> None:
    assert all(isinstance(COMMANDS.load(name), click.Command) for name in COMMANDS.names())
