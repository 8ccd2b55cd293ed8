"""fabctl twin faults: what is cut, lost, counted and dropped, and OpenSM's answer to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twin_harness import Fabctl

from fabctl.errors import ExitCode, InputError, UsageError
from fabctl.model.tables import RoutingTables
from fabctl.routing.verify import verify
from fabctl.sources.reading import load_fabric
from fabctl.twin.control import VARIABLE, send_faults
from fabctl.twin.faults import FIELDS, Fault, parse_faults, read_faults
from fabctl.twin.twin import Twin


@pytest.fixture(scope="module")
def twin(project: Path) -> Iterator[Twin]:
    """A twin of 64 hosts; each test restores what it breaks."""
    from realstack import preload, tool

    for name in ("ibsim", "opensm", "ibnetdiscover"):
        tool(name)
    preload()
    with Twin(load_fabric(str(project / "topologies/xgft-64.yaml")).fabric) as live:
        yield live


@pytest.fixture
def inside(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> Twin:
    """The twin, and its variable in the environment as its programs have it."""
    monkeypatch.setenv(VARIABLE, twin.environment[VARIABLE])
    return twin


def test_a_cut_is_routed_around(run: Any, inside: Twin) -> None:
    fabric, before = inside.fabric, inside.tables()
    assert run("twin", "faults", "cut", "leaf-01/P6").code == 0
    during, seen = inside.tables(), inside.discover()
    cut = fabric.channel_at[fabric.labels.index("leaf-01"), 6]
    assert (before.next_channel == cut).any()
    assert not np.isin(during.next_channel, [cut, fabric.channel_reverse[cut]]).any()
    assert seen.n_cables == fabric.n_cables - 1
    assert not verify(RoutingTables(seen, during.lft, "opensm")).lost_hca
    assert run("twin", "faults", "restore", "leaf-01/P6").code == 0
    assert inside.discover().n_cables == fabric.n_cables
    assert not verify(inside.tables()).lost_hca


def test_a_lost_switch_and_back(run: Any, inside: Twin) -> None:
    fabric = inside.fabric
    spine = fabric.labels.index("spine-02")
    assert run("twin", "faults", "lose", "spine-02").code == 0
    during, seen = inside.tables(), inside.discover()
    assert seen.n_switches == fabric.n_switches - 1
    assert (during.lft[spine] == 255).all()
    assert during.notes == ("1 switches (spine-02, ...) are cut off: their tables count as empty",)
    into = np.flatnonzero((fabric.channel_dst == spine) & (fabric.channel_src < fabric.n_switches))
    hosts = fabric.port_lid[fabric.endpoints]
    assert not np.isin(during.next_channel[:, hosts], into).any()
    assert run("twin", "faults", "restore", "spine-02").code == 0
    assert not verify(inside.tables()).lost_hca
    assert inside.tables().notes == ()


@pytest.mark.parametrize(
    ("attribute", "option"), [("PortCounters", []), ("PortRcvErrorDetails", ["-E"]), ("PortXmitDiscardDetails", ["-D"])]
)
def test_counters_are_seen_by_real_tools(run: Any, inside: Twin, attribute: str, option: list[str]) -> None:
    """Each gets a value of its own; the traffic counters are left out, because ibsim counts management packets too."""
    fields = [field for field in FIELDS[attribute] if not field.endswith(("Data", "Pkts"))]
    wanted = list(range(1, 1 + len(fields)))
    settings = [f"{attribute}.{field}={value}" for field, value in zip(fields, wanted, strict=True)]
    assert run("twin", "faults", "counter", "leaf-02/P3", *settings).code == 0
    shown = inside.sim.run("perfquery", *option, str(inside.fabric.node_lid(inside.fabric.labels.index("leaf-02"))), "3")
    assert set(wanted) <= {int(line.rpartition(".")[2]) for line in shown.splitlines() if line.rpartition(".")[2].isdecimal()}, (
        shown
    )


def test_a_cable_may_be_named_by_both_ends(inside: Twin) -> None:
    fabric = inside.fabric
    name = fabric.cable_label(int(fabric.channel_at[fabric.labels.index("leaf-03"), 7]))
    assert " -> " in name
    inside.inject([Fault("cut", name)])
    assert inside.discover().n_cables == fabric.n_cables - 1
    inside.inject([Fault("restore", name)])
    assert inside.discover().n_cables == fabric.n_cables


def test_dropped_packets(run: Any, inside: Twin) -> None:
    lid = str(inside.fabric.node_lid(inside.fabric.labels.index("node-0009 mlx5_0")))
    assert run("twin", "faults", "drop", "node-0009 mlx5_0", "100").code == 0
    with pytest.raises(Exception, match="smpquery failed"):
        inside.sim.run("smpquery", "-t", "20", "nodedesc", lid)
    assert run("twin", "faults", "drop", "node-0009 mlx5_0", "0").code == 0
    assert "node-0009" in inside.sim.run("smpquery", "nodedesc", lid)


def test_a_file_of_faults(run: Any, inside: Twin, tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- cut: [leaf-05/P5, leaf-06/P5]\n- lose: spine-03\n- counter: leaf-05/P1 PortXmitWait=9 SymbolErrorCounter=2\n"
    )
    assert run("twin", "faults", "--file", path).code == 0
    degree = int(np.count_nonzero(inside.fabric.channel_src == inside.fabric.labels.index("spine-03")))
    assert inside.discover().n_cables == inside.fabric.n_cables - 2 - degree
    assert run("twin", "faults", "--file", "-", stdin="- restore: [leaf-05/P5, leaf-06/P5, spine-03]\n").code == 0
    assert inside.discover().n_cables == inside.fabric.n_cables


def test_one_wrong_name_and_nothing_is_done(run: Any, inside: Twin, tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("- cut: leaf-05/P5\n- lose: spine-99\n")
    done = run("twin", "faults", "--file", path)
    assert done.code == ExitCode.USAGE
    assert "this fabric has no 'spine-99'\n  hint: did you mean 'spine-" in done.err
    assert inside.discover().n_cables == inside.fabric.n_cables


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("cut", "leaf-99/P6"), 2, "this fabric has no 'leaf-99/P6'\n  hint: did you mean 'leaf-"),
        (("cut", "leaf-01/P99"), 2, "'leaf-01' has no cable at P99\n  hint: it has: P1, P2"),
        (("cut", "leaf-01"), 2, "cut wants a port, and 'leaf-01' is a node"),
        (("lose", "leaf-02/P6"), 2, "lose wants a node, and 'leaf-02/P6' is a port\n  hint: write: cut leaf-02/P6"),
        (("cutt", "leaf-01/P6"), 2, "unknown fault 'cutt'\n  hint: did you mean 'cut'?"),
        (("cut",), 2, "cut wants names"),
        (("counter", "leaf-01/P1"), 2, "sets no counter"),
        (("counter", "leaf-01/P1", "SymbolErrors=3"), 2, "ibsim has no counter 'SymbolErrors'\n  hint: did you mean 'SymbolErr"),
        (("counter", "leaf-01/P1", "SymbolErrorCounter=-3"), 2, "sets no counter"),
        (("drop", "leaf-02", "101"), 2, "names no share of packets"),
        (("drop", "leaf-02"), 2, "names no share of packets"),
        (("restore", "leaf-02/P6"), 6, "ibsim did not do"),
        (("cut", "leaf-01/P1"), 6, "would take them off the fabric\n  hint: choose another node"),
        (("lose", "leaf-01"), 6, "would take them off the fabric"),
        (("lose", "node-0001 mlx5_0"), 6, "would take them off the fabric"),
        ((), 2, "give faults or --file FILE"),
        (("cut", "leaf-02/P6", "--file", "x"), 2, "give faults or --file FILE"),
        (("--file", "absent.yaml"), 3, "absent.yaml: no such file"),
    ],
)
def test_bad_requests(run: Any, inside: Twin, words: tuple[str, ...], code: int, said: str) -> None:
    done = run("twin", "faults", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- cutt: a/P1\n", "f.yaml:1:3: unknown key 'cutt'"),
        ("cut: a/P1\n", "f.yaml:1:1: "),
        ("- cut: a/P1\n  lose: b\n", "f.yaml:1:3: one fault for each line"),
        ("- counter: a/P1 Symbol=3\n", "f.yaml:1:12: ibsim has no counter 'Symbol'"),
        ("- drop: a b\n", "f.yaml:1:9: 'a b' names no share"),
        ("- cut: {a: b}\n", "f.yaml:1:8: "),
        ("", "f.yaml"),
    ],
)
def test_bad_files(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_faults("f.yaml", text)
    assert said in str(caught.value)


def test_files_and_words_say_the_same() -> None:
    text = "- counter: a b/P1 SymbolErrorCounter=1 PortXmitWait=2\n- drop: a b 30\n- cut: [a b/P1, c=d/P2]\n"
    words = [("counter", "a b/P1", "SymbolErrorCounter=1", "PortXmitWait=2"), ("drop", "a b", "30"), ("cut", "a b/P1", "c=d/P2")]
    assert read_faults("f.yaml", text) == [fault for verb, *rest in words for fault in parse_faults(verb, rest)]


def test_outside_any_twin(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = run("twin", "faults", "cut", "leaf-01/P6")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "there is no twin here: FABCTL_TWIN is not set\n  hint: inside a twin only: fabctl twin run" in done.err
    for folder in (tmp_path / "gone", tmp_path):
        monkeypatch.setenv(VARIABLE, str(folder))
        done = run("twin", "faults", "cut", "leaf-01/P6")
        assert (done.code, done.out) == (ExitCode.SOURCE, "")
        assert f"the twin in {folder} does not answer: No such file or directory" in done.err


def test_a_runbook(fabctl: Fabctl) -> None:
    runbook = """
    set -e
    ibtracert 1 14 > before
    fabctl twin faults cut leaf-01/P$(sed -n 's/^\\[\\([0-9]*\\)\\] -> switch port.*spine.*/\\1/p' before | head -1)
    ibtracert 1 14 > after
    ! cmp -s before after
    tail -1 after
    """
    done = fabctl("twin", "run", "xgft-64", "--", "bash", "-c", runbook)
    assert (done.returncode, done.stderr) == (0, "")
    assert "node-0014" in done.stdout


def test_what_the_twin_does_not_understand_is_an_error(inside: Twin) -> None:
    with pytest.raises(UsageError, match="the twin did not understand this request"):
        send_faults([Fault("explode", "leaf-01/P6")], wait=False)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(inside.folder / "control"))
        connection.sendall(b"no JSON\n")
        assert b"did not understand" in connection.recv(4096)
