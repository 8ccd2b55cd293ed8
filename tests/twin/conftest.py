"""What the tests of the twin share: fabctl as a process of its own, and the skip where Debian's packages are missing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from realstack import preload, tool
from twin_harness import DEADLINE_S, Fabctl, command, left_behind


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip, naming the package, where the real stack is not installed."""
    for name in ("ibsim", "opensm", "ibnetdiscover"):
        tool(name)
    preload()
    monkeypatch.delenv("FABCTL_TWIN", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def fabctl(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fabctl]:
    """Run fabctl as a user would, in an empty folder; afterwards nothing is left behind there or among the processes."""
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setenv("FABCTL_TOPOLOGY_PATH", str(project / "topologies"))
    monkeypatch.chdir(here)

    def run(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words), input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, check=False, errors="replace"
        )

    yield run
    assert left_behind(scratch) == []
    assert list(here.glob("sys-*")) == []
