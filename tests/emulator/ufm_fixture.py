"""Test equipment, no part of fabctl: UFMs for tests, with certificates made for the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from emulator.ufm_server import Certificate, UfmServer, certificate

from fabctl.model.fabric import Fabric


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Certificate]:
    """Certificates for ``IP:127.0.0.1`` or ``DNS:elsewhere``; one of each a run."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: install the package openssl")
    folder = tmp_path_factory.mktemp("certificates")
    made: dict[str, Certificate] = {}

    def identity(name: str) -> Certificate:
        return made[name] if name in made else made.setdefault(name, certificate(folder, name))

    return identity


@pytest.fixture
def ufm(identities: Callable[[str], Certificate], tmp_path: Path) -> Iterator[Callable[[Fabric], UfmServer]]:
    """A UFM of a fabric: ``server = ufm(fabric)``."""
    with ExitStack() as stack:
        yield lambda fabric: stack.enter_context(UfmServer(fabric, tmp_path, identities("IP:127.0.0.1")))
