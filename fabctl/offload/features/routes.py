"""fabctl's own routes in the OpenSM that runs: an export, or an engine's tables, through OpenSM's ``file`` engine.

``routing_engine`` is heeded at OpenSM's start only, so the first installation restarts it; later ones need a sweep. The way back
from the first writes the old tables explicitly while ``file`` still runs, reads them back, and only then restarts OpenSM with its
own engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fabctl.errors import RefusedError, UsageError
from fabctl.install.bundle import read_bundle
from fabctl.install.settings import refuse_other_settings
from fabctl.install.wanted import compared_lids, difference, refuse_unsafe, sample_paths, wanted_tables
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.model.tables import RoutingTables
from fabctl.offload.basis import basis_of
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_files import ENGINE, LFTS, POLICY, path_of
from fabctl.offload.drivers.opensm_observe import lft_value
from fabctl.offload.drivers.opensm_process import UPSTREAM
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import refuse_disabling
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM, conf_change, configured_engine, opensm
from fabctl.offload.undo import mirrored
from fabctl.routing.compute import compute_tables
from fabctl.routing.exports.lfts import lft_dump
from fabctl.routing.exports.opensm import settings
from fabctl.routing.exports.qos import qos_policy
from fabctl.sources.live import fewest_virtual_lanes, read_live_tables
from fabctl.twin.engine import refuse_unknown_engine

WHOLE = f"{ENGINE},no_fallback"
MOST_BYTES = 64 << 20
"""A plan holds the tables; OpenSM's format takes 40 bytes for each of switches x LIDs."""

_KEYS = ("routing_engine", "lfts_file")


class Routes:
    """Routing tables, put into force or left to OpenSM's own engine."""

    name = "routes"
    keys: Mapping[str, str] = {
        "engine": "fabctl's engine that makes the routes; of disable: OpenSM's own, minhop by default",
        "export": "folder that fabctl route --export opensm wrote",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return whether OpenSM installs tables from a file."""
        driver = next((site.drivers[name] for name in OPENSM if name in site.drivers), None)
        if driver is None:
            return [Assessed(self.name, FABRIC, Status.UNKNOWN, "which engine runs is not in a dump; --driver opensm asks")]
        seen = driver.observe(Place(driver.name, FABRIC, "routing-engine"))
        status = Status.UNKNOWN if seen.value is None else Status.ON if seen.value == ENGINE else Status.OFF
        return [Assessed(self.name, FABRIC, status, f"OpenSM routes with {seen.value or 'an unknown engine'}", "OpenSM's log")]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the files and settings, the table that each switch must hold then, and the way back."""
        if len(request.switches) < site.fabric.n_switches:
            raise RefusedError("routes belong to the whole fabric", hint="leave --switch away")
        if site.source != "live":
            raise RefusedError(
                "routes are installed on the fabric as it runs, not as a file has it", hint="--live in place of SOURCE"
            )
        driver = opensm(site)
        return self._enabled(site, request, driver) if request.enable else self._disabled(site, request, driver)

    def _enabled(self, site: Site, request: Request, driver: OpensmDriver) -> Plan:
        held = read_live_tables(site.fabric)
        files, wanted = _wanted(site, request.values)
        upon = [Place(driver.name, FABRIC, f"conf:{key}") for key in _required(driver, wanted)]
        running = configured_engine(driver) == ENGINE
        changes = [_file_change(driver, name, value) for name, value in files.items()]
        if not running:
            changes += _conf_changes(driver, {"routing_engine": WHOLE, "lfts_file": str(path_of(driver.settings, LFTS))})
        changes = [change for change in changes if change.old != change.new]
        checks = _table_checks(driver, wanted, held) + _level_checks(driver, wanted)
        if not running:
            checks += (Check(Place(driver.name, FABRIC, "routing-engine"), ENGINE),)
        if not changes:
            _refuse_unread(held, wanted)
            return Plan(self.name, request.words, basis_of(site, ()), (), ())
        stages = (Stage("routes", tuple(changes), checks),)
        undo = mirrored(stages) if running else _way_back(driver, stages, held)
        basis = basis_of(site, changes, upon=upon, tables=True)
        return Plan(self.name, request.words, basis, stages, undo, _notes(wanted, not running))

    def _disabled(self, site: Site, request: Request, driver: OpensmDriver) -> Plan:
        refuse_disabling(request.values, but=("engine",))
        engine = request.values.get("engine", "minhop")
        if driver.manager().flavour == UPSTREAM:
            refuse_unknown_engine(engine)
        if configured_engine(driver) == engine:
            return Plan(self.name, request.words, basis_of(site, ()), (), ())
        held = read_live_tables(site.fabric)
        changes = _conf_changes(driver, {"routing_engine": engine})
        stages = (Stage("OpenSM's own engine", tuple(changes), (Check(Place(driver.name, FABRIC, "routing-engine"), engine),)),)
        back = tuple(Stage(stage.name, stage.changes, _table_checks(driver, held, held)) for stage in mirrored(stages))
        return Plan(self.name, request.words, basis_of(site, changes, tables=True), stages, back, (_RESTARTS,))


FEATURE = Routes()

_RESTARTS = "OpenSM restarts: meanwhile nobody answers path queries, and traffic goes on"


def _wanted(site: Site, values: Mapping[str, str]) -> tuple[dict[str, str], RoutingTables]:
    """Return the files by name, and the tables that the switches must hold."""
    if len(values) != 1:
        raise UsageError("enable routes takes an engine or an export", hint="--set engine=ftree, or --set export=DIR")
    if "export" in values:
        bundle = read_bundle(values["export"])
        wanted = wanted_tables(bundle, site.fabric)
        files = {name: (bundle.folder / name).read_bytes().decode("latin-1") for name in bundle.files}
    else:
        wanted = compute_tables(site.fabric, values["engine"])
        refuse_unsafe(wanted, f"engine {values['engine']}")
        texts = {LFTS: lft_dump(wanted)} | ({POLICY: qos_policy(wanted)} if wanted.service_level is not None else {})
        files = {name: "".join(text).encode().decode("latin-1") for name, text in texts.items()}
    if len(files[LFTS]) > MOST_BYTES:
        size = len(files[LFTS]) / 1e6
        raise RefusedError(
            f"these tables take {size:.0f} MB in OpenSM's format, and a plan holds {MOST_BYTES / 1e6:.0f} MB at most",
            hint="fabctl route install takes tables of any size, once OpenSM runs its engine file",
        )
    return files, wanted


def _required(driver: OpensmDriver, wanted: RoutingTables) -> list[str]:
    """Return the keys on which routes with service levels rest; refuse where they, or the ports' lanes, would bend the routes."""
    if wanted.service_level is None:
        return []
    lines = settings(wanted.fabric, wanted.n_vls, policy=True, home=str(driver.conf_dir))
    lines = [line for line in lines if line.split()[0] not in _KEYS]
    refuse_other_settings(driver.settings, lines, wanted.n_vls)
    fewest, port = fewest_virtual_lanes()
    if fewest < wanted.n_vls:
        raise RefusedError(f"these routes use {wanted.n_vls} virtual lanes, and {port} has {fewest}")
    return [line.split()[0] for line in lines]


def _refuse_unread(held: RoutingTables, wanted: RoutingTables) -> None:
    """Refuse where the files hold these routes already and the switches do not: OpenSM has not read them, or not taken them."""
    differs = difference(held, wanted)
    if differs.entries:
        raise RefusedError(
            f"OpenSM's files hold these routes, and the switches others: {differs.first}",
            hint="kill -HUP OpenSM; if that does not help, its log says why it does not take them",
        )


def _file_change(driver: OpensmDriver, name: str, value: str) -> Change:
    place = Place(driver.name, FABRIC, f"file:{name}")
    return Change(place, driver.read(place), value, Risk.SWEEP)


def _conf_changes(driver: OpensmDriver, lines: Mapping[str, str]) -> list[Change]:
    old = {key: driver.read(Place(driver.name, FABRIC, f"conf:{key}")) for key in lines}
    return [conf_change(driver, key, old[key], value) for key, value in lines.items() if old[key] != value]


def _table_checks(driver: OpensmDriver, wanted: RoutingTables, held: RoutingTables) -> tuple[Check, ...]:
    fabric = wanted.fabric
    lids = compared_lids(fabric, held).tolist()
    return tuple(
        Check(Place(driver.name, fabric.guid_text(switch), "lft"), lft_value(wanted, switch, lids))
        for switch in range(fabric.n_switches)
    )


def _level_checks(driver: OpensmDriver, wanted: RoutingTables) -> tuple[Check, ...]:
    return tuple(
        Check(Place(driver.name, FABRIC, f"path-sl:{source}:{destination}"), str(level))
        for source, destination, level in sample_paths(wanted)
    )


def _way_back(driver: OpensmDriver, stages: Sequence[Stage], held: RoutingTables) -> tuple[Stage, ...]:
    """Return the old tables written explicitly and read back, then the old files and engine."""
    (stage,) = mirrored(stages)
    fabric = held.fabric
    checks = _table_checks(driver, held, held)
    back = Stage(stage.name, stage.changes, checks)
    if len(compared_lids(fabric, held)) < int((fabric.port_of_lid >= 0).sum()):
        return (back,)  # dump_fts hides a LID: written as it is shown, the old table would lose it
    place = Place(driver.name, FABRIC, f"file:{LFTS}")
    new = next(change.new for change in stages[0].changes if change.place == place)
    text = "".join(lft_dump(held)).encode().decode("latin-1")
    explicit = Change(place, new, text, Risk.SWEEP, "the old tables, explicitly")
    changes = tuple(
        Change(place, text, change.new, change.risk, change.why) if change.place == place else change for change in back.changes
    )
    return Stage("the old tables, explicitly", (explicit,), checks), Stage(back.name, changes, checks)


def _notes(wanted: RoutingTables, restarts: bool) -> tuple[str, ...]:
    notes = [
        *wanted.notes,
        "OpenSM's engine file does not react to the fabric: make the routes again when a cable or switch changes",
    ]
    if restarts:
        notes += [
            _RESTARTS,
            "taken back, OpenSM's engine routes anew; if its tables differ from those of before, that is reported",
        ]
    return tuple(notes)
