"""kill -9 at every step: whatever dies where, the fabric is in the old state, the new one, or one that ``recover`` names and ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest
from kill_child import SIZE

from fabctl.model.operation import State
from fabctl.offload import history, recover, work
from fabctl.offload.journal import Journal
from fabctl.offload.recover import recover as recover_all
from fabctl.offload.rollback import touched

HERE = Path(__file__).parent

SCENARIOS: dict[str, tuple[str, int]] = {
    "apply": ("", 200),
    "unconfirmed": ("", 100),
    "fails": ("stuck", 300),
    "confirm": ("unconfirmed", 3),
    "rollback": ("apply", 100),
    "recover": ("half", 50),
}
"""What is done before, and how many steps there are at least."""


@pytest.fixture(scope="module")
def child() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "kill_child.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a thousand kills want a fast disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE_S", 0.0)
    monkeypatch.setattr(recover, "start_watchdog", lambda folder, number: None)


class Bench:
    """A fabric and a journal as they are before a scenario, copied for every kill."""

    def __init__(self, folder: Path, child: subprocess.Popen[str]) -> None:
        self.root, self.child = folder, child
        self.lab, self.state = folder / "lab", folder / "state"
        lab.make_site(self.lab, *SIZE)
        self.old = lab.state(self.lab)
        self.state.mkdir(mode=0o700)

    def act(self, scenario: str, last: int = 0) -> str:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(f"{scenario} {last} {self.lab} {self.state}\n")
        return self.child.stdout.readline().strip()

    def keep(self) -> None:
        for name in ("lab", "state"):
            shutil.copytree(self.root / name, self.root / f"kept-{name}")

    def again(self) -> None:
        for name in ("lab", "state"):
            shutil.rmtree(self.root / name)
            shutil.copytree(self.root / f"kept-{name}", self.root / name)


def prepared(scenario: str, bench: Bench) -> None:
    first = SCENARIOS[scenario][0]
    if first == "stuck":
        lab.fault(bench.lab, f"stuck-{lab.switches(lab.fabric(*SIZE))[1]} sl2vl")
    elif first == "half":
        assert bench.act("apply", 100) == "killed"
    elif first:
        assert bench.act(first).isdigit()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_step_leaves_a_state_that_is_named_and_ended(
    scenario: str, memory: Path, child: subprocess.Popen[str]
) -> None:
    bench = Bench(memory, child)
    prepared(scenario, bench)
    bench.keep()
    before = lab.state(bench.lab)
    *error, steps = bench.act(scenario).split()
    assert error == (["UnverifiedError"] if scenario == "fails" else [])
    new = before if scenario in ("confirm", "rollback") else lab.state(bench.lab)
    assert int(steps) >= SCENARIOS[scenario][1]
    skipped = SCENARIOS["apply"][1] if scenario == "fails" else 0  # until it fails it is the same as "apply"
    for last in range(skipped + 1, int(steps) + 1):
        bench.again()
        assert bench.act(scenario, last) == "killed"
        judge(bench, scenario, new, f"{scenario} killed at step {last} of {steps}")


def judge(bench: Bench, scenario: str, new: dict[str, str | None], where: str) -> None:
    site = lab.open_site(bench.lab, *SIZE)
    held = lab.state(bench.lab)
    with Journal(bench.state) as journal:
        begun = history.operations(journal)
        if not begun:
            assert held == bench.old, where
            return
        operation = begun[0]
        assert not operation.alive, where
        named = {lab.file_name(place) for place in touched(journal, 1)}
        odd = {name.partition("/")[2] for name in held if held[name] != bench.old.get(name) and name.startswith("configured")}
        assert odd <= named, f"{where}: changed and not written down"
        if operation.state.ended:
            assert held == (bench.old if operation.state is State.ROLLED_BACK else new), where
            return
        ended = recover_all(site, journal)[0]
        assert ended.found, where
        assert ended.done in ("undone", "finished", "waits for confirm"), where
        expected = bench.old if ended.done == "undone" else new
        assert lab.state(bench.lab) == expected, f"{where}: {ended}"
        assert (
            ended.operation.state
            is {
                "undone": State.ROLLED_BACK,
                "finished": State.APPLIED,
                "waits for confirm": State.UNCONFIRMED,
            }[ended.done]
        ), where
        assert recover_all(site, journal) == () or ended.done == "waits for confirm", where


def test_the_deadline_passes_while_nobody_watches(
    tmp_path: Path, child: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, child)
    assert bench.act("unconfirmed").isdigit()
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    with Journal(bench.state) as journal:
        (ended,) = recover_all(lab.open_site(bench.lab, *SIZE), journal)
    assert (ended.done, ended.found) == ("undone", "not confirmed in time: the deadline was 55 min ago")
    assert lab.state(bench.lab) == bench.old
