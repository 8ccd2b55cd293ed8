"""A fabric in a folder: test equipment, no product. Every value is a file, so that it survives the death of whoever wrote it.

``configured`` holds what was written, ``hardware`` what `settle` made of it. As with OpenSM, ``qos FALSE`` in ``opensm.conf`` leaves
the SL2VL tables that ``qos TRUE`` has programmed. Faults are files too: ``faults/stuck-TARGET`` keeps a switch as it is
(``stuck-TARGET KEY`` one value of it),
``faults/silent-TARGET`` keeps it from answering, ``faults/refuses-TARGET`` from being written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

from fabctl.errors import SourceError
from fabctl.generate.spec import parse
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import Change, Check, Place, Plan, Risk, Stage
from fabctl.offload import DRIVERS
from fabctl.offload.basis import basis_of
from fabctl.offload.driver import Manager, Observed
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored
from fabctl.registry import Entry

OLD_CONF = "# as it came\nqos FALSE\n"
NEW_CONF = "# as it came\nqos TRUE 0,1,2,3\n"
UNSET = "0,0,0,0"


class Lab:
    """The driver of such a fabric."""

    name = "lab"
    keys: ClassVar[Mapping[str, str]] = {"folder": "where the fabric is"}
    step: Callable[[str], None] = staticmethod(lambda what: None)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options: Mapping[str, str] = {"folder": str(folder)}
        self.writes = 0

    @classmethod
    def make(cls, options: Mapping[str, str], fabric: Fabric) -> Self:
        return cls(Path(options["folder"]))

    def manager(self) -> Manager | None:
        path = self.folder / "manager"
        return Manager("upstream", path.read_text(), "0x1", "a file") if path.exists() else None

    def read(self, place: Place) -> str | None:
        self._answer(place)
        return read(self.folder / "configured" / file_name(place))

    def write(self, place: Place, value: str | None) -> None:
        self._answer(place)
        if self._fault("refuses", place):
            raise SourceError(f"{place.target} does not take {place.key}")
        self.step(f"before writing {place.key}")
        self.writes += 1
        put(self.folder / "configured" / file_name(place), value)
        self.step(f"after writing {place.key}")

    def settle(self, risk: Risk) -> None:
        if (self.folder / "faults" / "dead").exists():
            raise SourceError("the subnet manager does not answer")
        for path in sorted((self.folder / "configured").iterdir()):
            self.step(f"while settling {path.name}")
            if path.name == "fabric file:opensm.conf":
                word = path.read_text().split("qos ")[1].split()
                for switch in sorted((self.folder / "hardware").glob("* sl2vl")) if word[0] == "TRUE" else ():
                    self._program(switch, word[1])
            else:
                self._program(self.folder / "hardware" / path.name, path.read_text())
        for path in (self.folder / "hardware").iterdir():
            if not path.name.endswith("sl2vl") and not (self.folder / "configured" / path.name).exists():
                path.unlink()
        self.step("after settling")

    def observe(self, place: Place) -> Observed:
        self._answer(place)
        self.step(f"while reading {place.key}")
        value = read(self.folder / "hardware" / file_name(place))
        return Observed(value, f"query {place.target} {place.key} -> {value}")

    def _program(self, path: Path, value: str) -> None:
        faults = (f"stuck-{path.name.split()[0]}", f"stuck-{path.name}")
        if read(path) != value and not any((self.folder / "faults" / name).exists() for name in faults):
            put(path, value)

    def _answer(self, place: Place) -> None:
        if self._fault("silent", place):
            raise SourceError(f"{place.target} does not answer")

    def _fault(self, kind: str, place: Place) -> bool:
        return (self.folder / "faults" / f"{kind}-{place.target}").exists()


DRIVERS.entries.setdefault("lab", Entry("lab:Lab", "a fabric in a folder, for tests"))


@cache
def fabric(leaves: int = 4, spines: int = 2) -> Fabric:
    return parse(f"family: leaf-spine\nhosts_per_leaf: 1\nleaves: {leaves}\nspines: {spines}\nspeed: EDR\n", "lab")[0]


def make_site(folder: Path, leaves: int = 4, spines: int = 2) -> Site:
    """Return a site with a fabric in a folder, as new."""
    known = fabric(leaves, spines)
    for name in ("configured", "hardware", "faults"):
        (folder / name).mkdir(parents=True)
    put(folder / "configured" / "fabric file:opensm.conf", OLD_CONF)
    for switch in switches(known):
        put(folder / "hardware" / f"{switch} sl2vl", UNSET)
        put(folder / "configured" / f"{switch} cc.threshold", "0")
        put(folder / "hardware" / f"{switch} cc.threshold", "0")
    return open_site(folder, leaves, spines)


def open_site(folder: Path, leaves: int = 4, spines: int = 2) -> Site:
    return Site(fabric(leaves, spines), {"lab": Lab(folder)}, source="lab")


def switches(known: Fabric) -> list[str]:
    return [known.guid_text(switch) for switch in range(known.n_switches)]


def thresholds(site: Site, value: str = "15", marking: str | None = "64") -> Plan:
    """Return a plan with a value for each switch, and a second one in a second stage where there is none yet."""
    found = switches(site.fabric)
    stages = [_per_switch(site, "threshold", found, "cc.threshold", value)]
    if marking is not None:
        stages.append(_per_switch(site, "marking", found, "cc.marking", marking))
    return plan_of(site, stages, mirrored(stages))


def everything(site: Site) -> Plan:
    """Return a plan with stages for each switch and one for the fabric, whose way back is longer than its way there."""
    plan = thresholds(site)
    conf = Place("lab", "fabric", "file:opensm.conf")
    found = switches(site.fabric)
    there = Stage(
        "qos",
        (Change(conf, OLD_CONF, NEW_CONF, Risk.SWEEP),),
        tuple(Check(Place("lab", switch, "sl2vl"), "0,1,2,3") for switch in found),
    )
    explicit = f"# as it came\nqos TRUE {UNSET}\n"
    back = (
        Stage(
            "old lanes, explicitly",
            (Change(conf, NEW_CONF, explicit, Risk.SWEEP),),
            tuple(Check(Place("lab", switch, "sl2vl"), UNSET) for switch in found),
        ),
        Stage("old file", (Change(conf, explicit, OLD_CONF, Risk.SWEEP),), ()),
    )
    return plan_of(site, [*plan.stages, there], (*back, *plan.undo))


def plan_of(site: Site, stages: list[Stage], undo: tuple[Stage, ...]) -> Plan:
    changes = [change for stage in stages for change in stage.changes]
    return Plan("lab", "enable lab", basis_of(site, changes), tuple(stages), undo)


def _per_switch(site: Site, name: str, found: list[str], key: str, value: str) -> Stage:
    places = [Place("lab", switch, key) for switch in found]
    lab = site.drivers["lab"]
    return Stage(
        name,
        tuple(Change(place, lab.read(place), value, Risk.HOT) for place in places),
        tuple(Check(place, value) for place in places),
    )


def state(folder: Path) -> dict[str, str | None]:
    """Return all that the fabric holds."""
    paths = [path for name in ("configured", "hardware") for path in sorted((folder / name).iterdir())]
    return {f"{path.parent.name}/{path.name}": read(path) for path in paths if not path.name.startswith(".")}


def fault(folder: Path, name: str) -> Path:
    path = folder / "faults" / name
    path.touch()
    return path


def file_name(place: Place) -> str:
    return f"{place.target} {place.key}".replace("/", "_")


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def put(path: Path, value: str | None) -> None:
    if value is None:
        path.unlink(missing_ok=True)
    else:
        new = path.with_name(f".{path.name}")
        new.write_text(value)
        new.replace(path)
