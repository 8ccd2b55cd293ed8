"""QoS: which virtual lane each service level travels on, and the lanes' shares of each port.

OpenSM gives all ports of a class the same tables. ``qos FALSE`` makes it stop writing them, and leaves in the switches what it
has written (measured, 3.3.23): so the way back writes the old tables explicitly and reads them back before the old lines return.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabctl.errors import RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric, NodeKind
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Stage
from fabctl.offload.basis import basis_of
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_files import ENGINE, POLICY, path_of
from fabctl.offload.drivers.opensm_observe import folded
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import refuse_disabling
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM, conf_change, configured_engine, held_by_ports, opensm
from fabctl.routing.exports.opensm import OPERATIONAL
from fabctl.sources.live import fewest_virtual_lanes

SL2VL = "sl2vl"
LOW = "vlarb_low"
HIGH = "vlarb_high"
DROP = 15
"""Lane that drops a service level (InfiniBand Architecture Specification volume 1, 7.6.6)."""

SWITCH_PORTS = "swe"
HCA_PORTS = "ca"
_WORDS = {SWITCH_PORTS: "switch ports", HCA_PORTS: "HCA ports"}

Tables = Mapping[str, Mapping[str, str]]
"""Class of ports to `SL2VL`, `LOW` and `HIGH` to the table, as ports hold it and as ``opensm.conf`` says it."""

DEFAULTS = {
    SL2VL: "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,7",
    LOW: ",".join(f"{lane}:{4 if lane else 0}" for lane in range(15)),
    HIGH: ",".join(f"{lane}:{0 if lane else 4}" for lane in range(15)),
}
"""OpenSM's own tables (opensm(8), QOS CONFIGURATION)."""


@dataclass(frozen=True)
class _Node:
    """A switch or an HCA: class of its ports, GUID, and its ports with a cable."""

    kind: str
    target: str
    ports: tuple[int, ...]


class Qos:
    """SL2VL and VL arbitration through OpenSM."""

    name = "qos"
    keys: Mapping[str, str] = {
        SL2VL: "virtual lanes of SL 0 to 15, as 0,1,0,1,...; 15 drops a service level",
        LOW: "low-priority shares as VL:WEIGHT,VL:WEIGHT,... in units of 64 bytes",
        HIGH: "high-priority shares, likewise",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return, per switch, whether OpenSM writes its tables, and over how many lanes they spread the service levels."""
        fabric = site.fabric
        driver = next((site.drivers[name] for name in OPENSM if name in site.drivers), None)
        labels = fabric.labels[: fabric.n_switches]
        if driver is None:
            fact = "SL2VL tables are not in a dump; --driver opensm reads them"
            return [Assessed(self.name, label, Status.UNKNOWN, fact) for label in labels]
        on = driver.read(Place(driver.name, FABRIC, "conf:qos")) == "TRUE"
        status, who = (Status.ON, "OpenSM writes") if on else (Status.OFF, "OpenSM does not write")
        out = []
        for label, held in zip(labels, held_by_ports(driver, fabric, SL2VL, range(fabric.n_switches)), strict=True):
            lanes = {lane for table in held.values() for lane in table.split(",")} - {str(DROP)}
            fact = f"{who} the tables; they name {len(lanes)} virtual lanes"
            out.append(Assessed(self.name, label, status, fact, "opensm.conf, smpquery sl2vl"))
        return out

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the lines of ``opensm.conf``, what each switch and HCA must hold then, and the way back."""
        self._refuse_request(site, request)
        driver = opensm(site)
        lanes = _lanes(driver)
        asked = {key: _checked(key, value, lanes) for key, value in request.values.items()} if request.enable else DEFAULTS
        nodes, before = _held(driver, site.fabric)
        if request.enable:
            _refuse_longer(asked, before)
        programmable = {
            kind: {key: _programmed(table, key, lanes, table) for key, table in tables.items()} for kind, tables in before.items()
        }
        wanted = {
            kind: {key: _programmed(asked.get(key, table), key, lanes, table) for key, table in tables.items()}
            for kind, tables in programmable.items()
        }
        on = driver.settings.values.get("qos") == "TRUE"
        lines = _lines(wanted, asked if on else DEFAULTS)
        _refuse_overridden(driver, lines)
        stages = self._stages(driver, request.enable, lines, wanted, nodes, done=before == wanted)
        changes = [change for stage in stages for change in stage.changes]
        if changes and any(tables[SL2VL] != before[kind][SL2VL] for kind, tables in wanted.items()):
            _refuse_under_routes(driver)
        undo = _way_back(driver, changes, _lines(programmable, DEFAULTS), _checks(driver, nodes, programmable)) if changes else ()
        notes = _notes(before, programmable, lanes) if changes else ()
        return Plan(self.name, request.words, basis_of(site, [*changes, *(undo[0].changes if undo else ())]), stages, undo, notes)

    def _refuse_request(self, site: Site, request: Request) -> None:
        if len(request.switches) < site.fabric.n_switches:
            raise RefusedError("OpenSM gives all switches the same QoS tables", hint="leave --switch away")
        if request.enable and not request.values:
            raise UsageError("enable qos needs a table", hint="--set sl2vl=0,1,0,1,0,1,0,1,0,1,0,1,0,1,0,1")
        if not request.enable:
            refuse_disabling(request.values)

    def _stages(
        self, driver: OpensmDriver, enable: bool, lines: Mapping[str, str], wanted: Tables, nodes: Sequence[_Node], *, done: bool
    ) -> tuple[Stage, ...]:
        checks = _checks(driver, nodes, wanted)
        why = "" if enable else "OpenSM's own table, explicitly"
        old = {key: driver.read(Place(driver.name, FABRIC, f"conf:{key}")) for key in lines}
        changes = tuple(conf_change(driver, key, old[key], value, why) for key, value in lines.items() if old[key] != value)
        if enable:
            return (Stage("tables", changes, checks),) if changes or not done else ()
        off = conf_change(driver, "qos", "TRUE" if not done else old["qos"], "FALSE", "OpenSM writes no more tables")
        if done:
            return (Stage("off", (off,), checks),) if old["qos"] == "TRUE" else ()
        return Stage("OpenSM's own tables", changes, checks), Stage("off", (off,), checks)


FEATURE = Qos()


def _lanes(driver: OpensmDriver) -> int:
    """Return how many data lanes every port works with."""
    fewest, _ = fewest_virtual_lanes()
    most = {code: lanes for lanes, code in OPERATIONAL.items()}
    code = driver.settings.values.get("max_op_vls", "")
    return min(fewest, most.get(int(code, 0), fewest) if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", code) else fewest)


def _checked(key: str, value: str, lanes: int) -> str:
    """Return a table as it is written; refuse what OpenSM would bend."""
    cells = value.replace(" ", "").split(",")
    form = r"\d{1,2}" if key == SL2VL else r"\d{1,2}:\d{1,3}"
    if not all(re.fullmatch(form, cell) for cell in cells) or (key == SL2VL and len(cells) != 16):
        raise UsageError(f"--set {key}={value} is no such table", hint=f"{key}: {Qos.keys[key]}")
    for cell in cells:
        lane, _, weight = cell.partition(":")
        if int(lane) >= lanes and not (key == SL2VL and int(lane) == DROP):
            raise RefusedError(f"{key} names VL {lane}, and ports work with {lanes} data lanes: VL 0 to {lanes - 1}")
        if weight and int(weight) > 255:
            raise UsageError(f"{key}: weight {weight} is more than 255")
    return ",".join(":".join(str(int(number)) for number in cell.split(":")) for cell in cells)


def _held(driver: OpensmDriver, fabric: Fabric) -> tuple[list[_Node], Tables]:
    """Return the nodes, and the tables that all ports of each class hold.

    Raises
    ------
    RefusedError
        If ports of a class differ: OpenSM could not put that back.
    """
    nodes: list[_Node] = []
    found: dict[str, tuple[str, dict[str, str]]] = {}
    meant = np.flatnonzero(fabric.node_kind != NodeKind.ROUTER).tolist()
    for node, sl2vl, shares in zip(
        meant, held_by_ports(driver, fabric, SL2VL, meant), held_by_ports(driver, fabric, "vlarb", meant), strict=True
    ):
        kind = SWITCH_PORTS if node < fabric.n_switches else HCA_PORTS
        if sl2vl:
            nodes.append(_Node(kind, fabric.guid_text(node), tuple(sl2vl)))
        for port, table in sl2vl.items():
            _, low, _, high = shares[port].split(" ")
            tables, label = {SL2VL: table, LOW: low, HIGH: high}, f"{fabric.labels[node]}/P{port}"
            first, others = found.setdefault(kind, (label, tables))
            differs = next((key for key in tables if tables[key] != others[key]), None)
            if differs or " or " in table:
                what = f"{differs or SL2VL} of {first} is {others[differs or SL2VL]}, of {label} {tables[differs or SL2VL]}"
                raise RefusedError(
                    f"{_WORDS[kind]} hold different tables: {what}",
                    hint="OpenSM would make them alike, and could not put that back",
                )
    return nodes, {kind: tables for kind, (_, tables) in found.items()}


def _programmed(table: str, key: str, lanes: int, held: str) -> str:
    """Return what OpenSM makes of a table: lanes that a port lacks are folded onto those that it has (``osm_qos.c``)."""
    mask = 15 if lanes == 15 else lanes - 1
    if key == SL2VL:
        return ",".join(str(lane if lane == DROP else lane & mask) for lane in map(int, table.split(",")))
    cells = [cell.split(":") for cell in table.split(",")]
    size = held.count(",") + 1
    cells += [["0", "0"]] * (size - len(cells))
    return ",".join(f"{int(lane) & mask}:{weight}" for lane, weight in cells[:size])


def _refuse_longer(asked: Mapping[str, str], held: Tables) -> None:
    """Raise `RefusedError` for a table that ports have no room for: OpenSM would cut it."""
    for key, table in asked.items():
        size = min(tables[key].count(",") + 1 for tables in held.values())
        if key != SL2VL and table.count(",") + 1 > size:
            raise RefusedError(f"{key} has {table.count(',') + 1} entries, and ports have room for {size}")


def _lines(tables: Tables, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the lines of ``opensm.conf``: one for all classes of ports if they are alike, else one for each."""
    lines = {"qos": "TRUE"}
    for key in keys:
        values = {kind: held[key] for kind, held in tables.items()}
        if len(set(values.values())) == 1:
            lines[f"qos_{key}"] = next(iter(values.values()))
        else:
            lines |= {f"qos_{kind}_{key}": value for kind, value in values.items()}
    return lines


def _refuse_under_routes(driver: OpensmDriver) -> None:
    """Refuse other lanes under routes whose service levels keep them free of deadlocks."""
    if configured_engine(driver) == ENGINE and driver.read(Place(driver.name, FABRIC, f"file:{POLICY}")) is not None:
        raise RefusedError(
            "the routes in force have service levels of their own, and may deadlock on other lanes",
            where=str(path_of(driver.settings, POLICY)),
            hint="first fabctl offload rollback the routes, or fabctl offload disable routes --live",
        )


def _refuse_overridden(driver: OpensmDriver, lines: Mapping[str, str]) -> None:
    settings = driver.settings
    for key in DEFAULTS:
        for kind in ("ca", "sw0", "swe", "rtr"):
            name = f"qos_{kind}_{key}"
            if f"qos_{key}" in lines and name in settings.values:
                raise RefusedError(f"opensm.conf sets {name}, which goes before qos_{key}", where=str(settings.config))


def _checks(driver: OpensmDriver, nodes: Sequence[_Node], tables: Tables) -> tuple[Check, ...]:
    checks = []
    for node in nodes:
        held = tables[node.kind]
        for key, value in ((SL2VL, held[SL2VL]), ("vlarb", f"low {held[LOW]} high {held[HIGH]}")):
            checks.append(Check(Place(driver.name, node.target, key), folded({value: node.ports})))
    return tuple(checks)


def _way_back(
    driver: OpensmDriver, changes: Sequence[Change], lines: Mapping[str, str], checks: tuple[Check, ...]
) -> tuple[Stage, ...]:
    """Return the old tables as explicit lines, read back; then the old lines."""
    before: dict[Place, str | None] = {}
    for change in changes:
        before.setdefault(change.place, change.old)
    now = {change.place: change.new for change in changes}
    explicit = []
    for key, value in lines.items():
        place = Place(driver.name, FABRIC, f"conf:{key}")
        before.setdefault(place, driver.read(place))
        explicit.append(conf_change(driver, key, now.get(place, before[place]), value, "the old table, explicitly"))
    now |= {change.place: change.new for change in explicit}
    back = tuple(
        conf_change(driver, place.key.removeprefix("conf:"), now[place], value, "the line as it was")
        for place, value in before.items()
    )
    return Stage("the old tables, explicitly", tuple(explicit), checks), Stage("the old lines", back, checks)


def _notes(before: Tables, programmable: Tables, lanes: int) -> tuple[str, ...]:
    notes = ["taken back in two steps: OpenSM's qos FALSE leaves its tables in the switches"]
    if before != programmable:
        notes.append(
            f"some service levels are mapped to lanes that ports lack (they have {lanes}); OpenSM cannot write that back, and"
            " folds them onto the lanes that there are"
        )
    return tuple(notes)
