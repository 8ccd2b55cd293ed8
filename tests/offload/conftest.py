from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator.ufm_fixture import identities, ufm

from fabctl.offload.journal import Journal

__all__ = ["identities", "ufm"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder of the test's own."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """The journal in it."""
    with Journal(state) as opened:
        yield opened
