"""Places asked at once: in order, each once, and never more tools than ibsim lets in."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from fabctl.errors import SourceError
from fabctl.offload.at_once import at_once
from fabctl.sources import live


def test_tools_are_counted_however_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are asked at once, and of each node its ports."""
    running: list[int] = [0]
    most: list[int] = []
    one = threading.Lock()

    def tool(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        with one:
            running[0] += 1
            most.append(running[0])
        time.sleep(0.002)
        with one:
            running[0] -= 1
        return subprocess.CompletedProcess(command, 0, command[-1].encode(), b"")

    monkeypatch.setattr(live.subprocess, "run", tool)
    monkeypatch.setattr(live.shutil, "which", lambda name, path: name)
    answers = at_once(lambda node: at_once(lambda port: live.run_tool("smpquery", f"{node}/{port}")[0], range(9)), range(9))
    assert answers == [[f"{node}/{port}".encode() for port in range(9)] for node in range(9)]
    assert 1 < max(most) <= live.TOOLS_AT_ONCE


def test_the_first_failure_ends_it() -> None:
    asked = []

    def ask(item: int) -> None:
        asked.append(item)
        raise SourceError("no answer")

    with pytest.raises(SourceError, match="no answer"):
        at_once(ask, range(10_000))
    assert len(asked) < 10_000


def test_a_terminal_does_not_signal_the_tools() -> None:
    """A Ctrl-C must not end the tool that writes an old value back."""
    group = int(live.run_tool("cut", "-d ", "-f5", "/proc/self/stat")[0])
    assert group != os.getpgrp()
