"""A twin with everything that the cycle needs, small enough to read every port of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from realstack import preload, tool

from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Plan
from fabctl.offload.drivers.twin import TwinDriver
from fabctl.offload.journal import Journal
from fabctl.offload.planning import make_plan
from fabctl.offload.site import Site
from fabctl.sources.live import discover_live
from fabctl.twin.opensm import Settings
from fabctl.twin.twin import Twin

SPEC = "family: leaf-spine\nhosts_per_leaf: 2\nleaves: 2\nspines: 2\nspeed: EDR\n"
CONFIG = ("# kept by hand  ", "qos TRUE   # ours", "unknown_key 7")


@dataclass
class Rig:
    """A twin, and what a feature and the cycle see of it."""

    twin: Twin
    journal: Journal

    @property
    def site(self) -> Site:
        """The site as a command would make it now."""
        fabric = discover_live().fabric
        return Site(fabric, {"twin": TwinDriver.make({}, fabric)}, source="live")

    def plan(self, feature: str, *settings: str, enable: bool = True, switches: str = "") -> Plan:
        return make_plan(self.site, feature, enable=enable, switches=switches, settings=settings)

    def state(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the bytes of what OpenSM reads, and what every switch and HCA holds."""
        return self.files(), self.tables("pkeys", "sl2vl", "vlarb")

    def files(self) -> dict[str, bytes]:
        """Return the bytes of what OpenSM reads."""
        folder = self.twin.manager.folder
        return {
            path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".conf" or path.name == "opensm-lfts.dump"
        }

    def tables(self, *queries: str) -> dict[str, str]:
        """Return what every switch and HCA holds, in the tools' own words: of each the forwarding table and port 1."""
        lids = range(1, len(self.twin.fabric.port_of_lid))
        asked = [(query, str(lid)) for query in queries for lid in lids]
        tables = {f"{query} {lid}": self.twin.sim.run("smpquery", query, lid, "1") for query, lid in asked}
        return {**tables, "dump_fts": self.twin.sim.run("dump_fts")}


def spec() -> Fabric:
    """Return two leaves with two hosts each, and two spines."""
    return parse(SPEC, "spec.yaml")[0]


@contextmanager
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in memory: libumad2sim makes 64 folders for each tool that runs, which on a disk takes ten times as long."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder, monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        yield


def enter(monkeypatch: pytest.MonkeyPatch, twin: Twin) -> None:
    """Have the tools that fabctl runs see the twin."""
    for name, value in twin.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(twin.folder)


@contextmanager
def rigged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: tuple[str, ...] = CONFIG, text: str = SPEC) -> Iterator[Rig]:
    """Bring the fabric to life; skip where Debian's packages are not installed."""
    for name in ("ibsim", "opensm", "smpquery", "saquery", "dump_fts", "ibroute"):
        tool(name)
    preload()
    state = tmp_path / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    with (
        in_memory(monkeypatch),
        Twin(parse(text, "spec.yaml")[0], Settings(config=config)) as twin,
        monkeypatch.context() as patch,
        Journal(state) as journal,
    ):
        enter(patch, twin)
        yield Rig(twin, journal)
