"""fabctl twin run: real tools inside, streams and exit codes passed on, and nothing left behind however it ends."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twin_harness import Fabctl, command

from fabctl.errors import ExitCode
from fabctl.generate.spec import parse
from fabctl.model.builder import FabricBuilder
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.routing.compute import compute_tables
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric, load_tables
from fabctl.twin import tools
from fabctl.twin.netfile import ibsim_net, simulated_guids
from fabctl.twin.twin import Twin
from fabctl.units import Speed

HOSTILE = ("$(reboot)", "a b'c", 'the "best" node', "`id`; [1]#@", "-n", "ünïcode")


def hostile() -> Fabric:
    """Return hosts with names that no shell, console or parser should trip over, on one switch of such a name."""
    builder = FabricBuilder()
    builder.node(NodeKind.SWITCH, 0x1000, "sw $(reboot)", ports=8)
    builder.port(0x1000, 0, lid=40)
    for index, name in enumerate(HOSTILE):
        guid = 0x100000 + 16 * index
        builder.node(NodeKind.CA, guid, name, ports=1)
        builder.port(guid, 1, port_guid=guid + 1, lid=7 + index)
        builder.link(0x1000, 1 + index, guid, 1, lanes=4, speed=Speed.QDR)
        builder.link(guid, 1, 0x1000, 1 + index, lanes=4, speed=Speed.QDR)
    return builder.build()


def test_a_real_tool_on_a_shipped_topology(fabctl: Fabctl) -> None:
    done = fabctl("twin", "run", "xgft-64", "--", "ibtracert", "1", "14")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == 'From ca {0x02fab04000000000} portnum 1 lid 1-1 "node-0001 mlx5_0"'
    assert done.stdout.splitlines()[-1] == 'To ca {0x02fab04000000d00} portnum 1 lid 14-14 "node-0014 mlx5_0"'
    assert len(re.findall("-> switch port", done.stdout)) == 3


def test_streams_arguments_and_exit_code_pass_through(fabctl: Fabctl) -> None:
    script = 'cat; printf "%s|" "$@"; echo oops >&2; exit 7'
    done = fabctl("twin", "run", "xgft-16", "--", "bash", "-c", script, "x", "a b", "--engine", "$(reboot)", "", stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in\na b|--engine|$(reboot)||", "oops\n")


def test_a_program_that_a_signal_ends(fabctl: Fabctl) -> None:
    assert fabctl("twin", "run", "xgft-16", "--", "bash", "-c", "kill -SEGV $$").returncode == 128 + signal.SIGSEGV


def test_fabctl_itself_runs_inside(fabctl: Fabctl, project: Path) -> None:
    done = fabctl("twin", "run", "xgft-16", "--", *command("discover", "--live", "-o", "json", "--save", "live.json"))
    assert done.returncode == 0, done.stderr
    planned, seen = load_fabric(str(project / "topologies/xgft-16.yaml")).fabric, load_fabric("live.json").fabric
    np.testing.assert_array_equal(seen.node_guid, planned.node_guid)
    np.testing.assert_array_equal(seen.port_peer, planned.port_peer)
    np.testing.assert_array_equal(seen.port_lid, planned.port_lid)


def test_a_twin_in_a_twin(fabctl: Fabctl) -> None:
    inner = command("twin", "run", "xgft-16", "--", "ibnetdiscover")
    done = fabctl("twin", "run", "xgft-64", "--", "bash", "-c", '"$@" | grep -c ^Ca; ibnetdiscover | grep -c ^Ca', "x", *inner)
    assert done.stdout.split() == ["16", "64"], done.stderr


@pytest.mark.parametrize("lmc", [0, 1])
def test_lids_stay_as_they_are(lmc: int) -> None:
    """OpenSM would give other LIDs than these, had the ports none."""
    planned = parse(f"family: leaf-spine\nhosts_per_leaf: 3\nleaves: 3\nspines: 2\nspeed: EDR\nlmc: {lmc}\n", "spec.yaml")[0]
    owners = np.flatnonzero(planned.port_lid > 0)
    lids = planned.port_lid.copy()
    lids[owners] = 128 - (2 << lmc) * np.arange(len(owners))
    shuffled = replace(planned, port_lid=lids)
    with Twin(shuffled) as twin:
        seen, tables = twin.discover(), twin.tables()
    np.testing.assert_array_equal(seen.port_lid[seen.port_lid > 0], lids[owners])
    np.testing.assert_array_equal(seen.port_lmc.max(), lmc)
    assert not verify(tables).lost_hca


def test_hostile_names(fabctl: Fabctl) -> None:
    fabric = hostile()
    Path("hostile.net").write_text(ibsim_net(fabric))
    host = fabric.labels[1]
    script = "ibnetdiscover; " + "; ".join(f"smpquery nodedesc {7 + index}" for index in range(len(HOSTILE)))
    done = fabctl("twin", "run", "hostile.net", "--host", host, "--", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"^Node Description:\.*(.*)$", done.stdout, re.MULTILINE)
    assert shown == [name.replace('"', "'").replace("ü", "  ").replace("ï", "  ") for name in HOSTILE]  # the tools print ASCII


def test_faults_on_hostile_names(fabctl: Fabctl) -> None:
    Path("hostile.net").write_text(ibsim_net(hostile()))
    faults = "- cut: '$(reboot)/P1'\n- lose: \"a b'c\"\n- counter: sw $(reboot)/P3 SymbolErrorCounter=5\n- cut: -n/P1\n"
    Path("faults.yaml").write_text(faults)
    done = fabctl("twin", "run", "hostile.net", "--host", "the 'best' node", "--faults", "faults.yaml", "--", "ibnetdiscover")
    assert done.returncode == 0, done.stderr
    left = re.findall(r'^Ca.*# "(.*)"', done.stdout, re.MULTILINE)
    assert sorted(left) == sorted(["the 'best' node", "`id`; [1]#@", "  n  code"])


def test_tables_are_installed(fabctl: Fabctl, project: Path) -> None:
    for name in ("a", "b"):
        assert fabctl("route", "xgft-16", "--engine", "ftree", "--export", "opensm", name).returncode in (0, 1)
    fabric = load_fabric(str(project / "topologies/xgft-16.yaml")).fabric
    script = 'dump_fts -n; grep -c "file tables configured" $FABCTL_TWIN/opensm/opensm.log >&2'
    done = fabctl("twin", "run", "xgft-16", "--tables", "a/opensm-lfts.dump", "--", "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "1\n")
    Path("seen.txt").write_text(done.stdout)
    np.testing.assert_array_equal(load_tables("seen.txt", fabric).lft, load_tables("b/opensm-lfts.dump", fabric).lft)


def test_port_guids_of_a_real_card_do_not_move_lids(fabctl: Fabctl) -> None:
    """Port GUIDs of a real card may be what ibsim gives its neighbour: tables must not be read by them."""
    fabric = hostile()
    guids = fabric.port_guid.copy()
    hosts = fabric.port_node >= fabric.n_switches
    guids[hosts] = np.roll(simulated_guids(fabric)[hosts], 1)
    real = replace(fabric, port_guid=guids)
    tables = compute_tables(real, "minhop")
    with Twin(real, tables=tables) as twin:
        np.testing.assert_array_equal(twin.tables().lft, tables.lft)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("xgft-16",), 2, "no COMMAND"),
        ((), 2, "no COMMAND"),
        (("--", "ibnetdiscover"), 2, "no COMMAND"),
        (("xgft-16", "--", "ibtracer", "1", "2"), 2, "there is no command 'ibtracer'\n  hint: did you mean 'ibtracert'?"),
        (("xgft-16", "--", "./script.sh"), 2, "'./script.sh' is not executable\n  hint: bash ./script.sh"),
        (("xgft-16", "ibtracert", "-n", "1", "2"), 2, "-n"),
        (("nowhere.txt", "--", "true"), 3, "nowhere.txt: no such file"),
        (("xgft-16", "--engine", "mihop", "--", "true"), 2, "OpenSM has no engine 'mihop'\n  hint: did you mean 'minhop'?"),
        (("xgft-16", "--engine", "ftree", "--tables", "x", "--", "true"), 2, "--tables excludes --engine"),
        (("xgft-16", "--tables", "absent.dump", "--", "true"), 3, "absent.dump: no such file"),
        (("xgft-16", "--roots", "script.sh", "--", "true"), 2, "--roots is for updn, dnup and ftree"),
        (("xgft-16", "--host", "node-01 mlx5_0", "--", "true"), 2, "this fabric has no node 'node-01 mlx5_0'\n  hint: did you"),
        (("xgft-16", "--faults", "faults.yaml", "--", "true"), 3, "faults.yaml:2:12: ibsim has no counter 'Bad'"),
        (("torus-44", "--engine", "ftree", "--", "true"), 6, "OpenSM fell back to minhop: "),
    ],
)
def test_bad_requests(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.sh").write_text("true\n")
    Path("faults.yaml").write_text("- cut: leaf-01/P6\n- counter: leaf-01/P6 Bad=1\n")
    done = run("twin", "run", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("missing", "package"), [("ibsim", "ibsim-utils"), ("opensm", "opensm"), ("dump_fts", "infiniband-diags")]
)
def test_a_missing_package_is_named(run: Any, monkeypatch: pytest.MonkeyPatch, missing: str, package: str) -> None:
    which = tools.shutil.which
    monkeypatch.setattr(tools.shutil, "which", lambda name, path: None if name == missing else which(name, path=path))
    done = run("twin", "run", "xgft-16", "--", "dump_fts", "-n")
    assert done.code == ExitCode.SOURCE
    assert done.err == f"fabctl: {missing} is not installed\n  hint: apt-get install {package}\n"
