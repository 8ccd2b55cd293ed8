from __future__ import annotations

import io
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabctl.cli.main import main

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """What one fabctl command did: exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of real dumps and tool outputs that lies beside the project."""
    folder = PROJECT.parent / "shared" / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"the real dumps are not here: {folder} is missing")
    return folder


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes into the journal of this machine."""
    monkeypatch.setenv("FABCTL_STATE_DIR", str(tmp_path_factory.getbasetemp() / f"state-{uuid.uuid4().hex}"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run fabctl in this process: ``run("discover", "-", stdin=text)`` gives ``.code``, ``.out`` and ``.err``."""
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FABCTL_DEBUG", "FABCTL_TOPOLOGY_PATH"):
        monkeypatch.delenv(name, raising=False)

    def run_fabctl(*argv: object, stdin: str | bytes | None = None) -> Outcome:
        data = stdin.encode() if isinstance(stdin, str) else stdin or b""
        streams = {
            "stdin": io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"),
            "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""),
            "stderr": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""),
        }
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = main([str(argument) for argument in argv])
        written = []
        for name in ("stdout", "stderr"):
            streams[name].flush()
            written.append(streams[name].buffer.getvalue().decode())
        return Outcome(int(code), *written)

    return run_fabctl
