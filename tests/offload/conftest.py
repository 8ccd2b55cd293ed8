from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lab
import lab_feature
import pytest
from emulator.ufm_fixture import identities, ufm

from fabctl.offload import DRIVERS, FEATURES
from fabctl.offload.journal import Journal

__all__ = ["identities", "ufm"]

LAB = FEATURES.entries.pop(lab_feature.FEATURE.name), DRIVERS.entries.pop(lab.Lab.name)
"""What the lab's modules register where they are imported: here for the tests of this folder alone."""


@pytest.fixture(autouse=True)
def _lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES.entries, lab_feature.FEATURE.name, LAB[0])
    monkeypatch.setitem(DRIVERS.entries, lab.Lab.name, LAB[1])


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
