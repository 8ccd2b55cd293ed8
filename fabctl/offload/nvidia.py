"""What NVIDIA's OpenSM alone understands: refused by name where another one runs, written where it is asked for.

Upstream OpenSM ignores the options of NVIDIA's: it prints ``Unrecognized token``, routes as before and exits with 0 (measured
on 3.3.23). So whose OpenSM it is comes first, before anything is planned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fabctl.errors import RefusedError
from fabctl.install.settings import CONFIG
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Change, Place, Risk
from fabctl.offload.driver import Driver, Manager
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_conf import value_of, with_value
from fabctl.offload.drivers.opensm_process import NVIDIA, UPSTREAM
from fabctl.offload.feature import Request
from fabctl.offload.secrets import bare_secret
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM, conf_change, require_nvidia

FILES = "files"
UFM = "ufm"
DRIVERS = (*OPENSM, UFM, FILES)
"""Drivers that reach NVIDIA's ``opensm.conf``, the first that is there."""

OWN_KEYS = ("sharp_enabled", "ar_mode", "ar_sl_mask", "shield_mode", "hbf_sl_mask", "mlnx_congestion_control")
"""Some of the options that only NVIDIA's OpenSM has: what tells its ``opensm.conf`` from upstream's."""

UFM_HINT = "--driver files:folder=DIR renders opensm.conf; UFM's is /opt/ufm/files/conf/opensm/opensm.conf"

HOT_KEYS = frozenset({"routing_engine"})
"""Keys of which it is published that a HUP suffices (*InfiniBand Cluster Bring-up Procedure*, "Adaptive Routing"). Of the others
it is not, and a restart is what surely makes OpenSM read them."""


def key_risk(key: str) -> Risk:
    """Return how disruptive the change of a key of NVIDIA's ``opensm.conf`` is."""
    return Risk.SWEEP if key in HOT_KEYS else Risk.RESTART


def conf_driver(site: Site, what: str) -> Driver:
    """Return the driver through which NVIDIA's ``opensm.conf`` is written.

    Parameters
    ----------
    what : str
        The feature, for people.

    Raises
    ------
    RefusedError
        If there is none, or the OpenSM that it reaches is not NVIDIA's, with what it is and what says so.
    SourceError
        If the OpenSM has ended.
    """
    if any(name in site.drivers for name in OPENSM):
        return require_nvidia(site, what)
    return site.driver(*DRIVERS)


def other_manager(site: Site, feature: str, what: str) -> Assessed | None:
    """Return that a feature cannot be, where an OpenSM runs that is not NVIDIA's; None otherwise.

    Raises
    ------
    SourceError
        If the OpenSM has ended.
    """
    driver = next((site.drivers[name] for name in DRIVERS if name in site.drivers), None)
    manager = driver.manager() if driver else None
    if manager is None or manager.flavour == NVIDIA:
        return None
    if manager.flavour == UPSTREAM:
        fact, source = (
            f"upstream OpenSM {manager.version} has no {what}",
            "linux-rdma/opensm, whose sources hold none of the options",
        )
        return Assessed(feature, FABRIC, Status.CANNOT, fact, source)
    return Assessed(feature, FABRIC, Status.UNKNOWN, f"whose OpenSM this is is unknown: {manager.evidence}", "")


def conf_value(site: Site, key: str) -> tuple[str | None, str]:
    """Return a key's value, None if it is not set, and where that is from; nowhere if nobody has an ``opensm.conf``."""
    for name in DRIVERS:
        if name in site.drivers:
            found, value = _read(site.drivers[name], key)
            if found:
                return _set(value), f"{CONFIG}, by the driver '{name}'"
    if CONFIG in site.captured:
        return _set(value_of(site.captured[CONFIG], key)), f"{CONFIG}, captured"
    return None, ""


def routing_engine(site: Site) -> tuple[str, str]:
    """Return the first of the routing engines that ``opensm.conf`` names, and all of them; empty where it names none."""
    names = conf_value(site, "routing_engine")[0] or ""
    return names.split(",")[0].strip(), names


def conf_changes(site: Site, driver: Driver, wanted: Mapping[str, str | None], why: str) -> tuple[Change, ...]:
    """Return what gives keys of ``opensm.conf`` their values; nothing where they have them.

    One change per key; through the driver ``files`` one of the whole file, which is edited where it lies, else made from the
    captured one.

    Parameters
    ----------
    wanted : mapping of str to (str or None)
        None removes a key, so that OpenSM's default holds.
    """
    if driver.name != FILES:
        old = {key: driver.read(conf_place(driver, key)) for key in wanted}
        return tuple(_conf_change(driver, key, old[key], new, why) for key, new in wanted.items() if old[key] != new)
    place = Place(FILES, FABRIC, f"file:{CONFIG}")
    before = driver.read(place)
    if before is None:
        before = site.captured.get(CONFIG, "")
        refuse_secret(before, CONFIG)
    text = before
    for key, value in wanted.items():
        if value_of(text, key) != value:
            text = with_value(text, key, value)
    return () if text == before else file_change(driver, CONFIG, text, Risk.NONE, why)


def conf_place(driver: Driver, key: str) -> Place:
    """Return where a driver keeps a key."""
    return Place(driver.name, FABRIC, f"smconf.{key}" if driver.name == UFM else f"conf:{key}")


def file_change(driver: Driver, name: str, text: str, risk: Risk, why: str) -> tuple[Change, ...]:
    """Return what makes a file hold a text; nothing if it does."""
    place = Place(driver.name, FABRIC, f"file:{name}")
    old = driver.read(place)
    return () if old == text else (Change(place, old, text, Risk.NONE if driver.name == FILES else risk, why),)


def reach_notes(site: Site, driver: Driver, wanted: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return what must be said of how keys of ``opensm.conf`` come into force, and of what is known of the one in use.

    Parameters
    ----------
    wanted : mapping of str to (str or None)
        As for `conf_changes`.
    """
    conf = site.captured.get(CONFIG)
    notes = []
    if driver.name == FILES and wanted:
        hot, cold = ([key for key in wanted if (key_risk(key) is Risk.RESTART) is restart] for restart in (False, True))
        needs = [f"{', '.join(hot)}: a HUP (pkill -HUP opensm)"] if hot else []
        needs += [f"{', '.join(cold)}: a restart (that a HUP suffices is not published)"] if cold else []
        notes.append(f"rendered, not in force. On the subnet manager's machine these need {'; '.join(needs)}")
        if driver.read(Place(FILES, FABRIC, f"file:{CONFIG}")) is None:
            notes.append(_edits(conf, wanted))
    if conf and not any(value_of(conf, key) for key in OWN_KEYS):
        notes.append(f"the captured {CONFIG} sets no option of NVIDIA's OpenSM: if upstream's reads it, all of this is ignored")
    return tuple(notes)


def _edits(conf: str | None, wanted: Mapping[str, str | None]) -> str:
    if conf is None:
        return (
            f"there is no {CONFIG} to edit: these keys belong into the one in use (--captured DIR with it shows that file edited)"
        )
    edits = [f"{key} {value_of(conf, key) or 'absent'} -> {value or 'absent'}" for key, value in wanted.items()]
    return f"the captured {CONFIG}, edited: {'; '.join(edits)}"


def refuse_secret(text: str, name: str) -> None:
    """Raise `RefusedError` if a captured file holds a secret: a copy of it would."""
    key = bare_secret(text)
    if key:
        raise RefusedError(
            f"the captured {name} holds a secret, {key}, and fabctl copies none",
            hint=f"copy that {name} into the folder of --driver files: it is edited there, and keeps its secrets",
        )


def conf_folder(driver: Driver, request: Request) -> str:
    """Return the folder of ``opensm.conf`` on the subnet manager's machine."""
    return driver.options.get("conf", "") or request.values.get("conf_dir", "/etc/opensm").rstrip("/")


def refuse_older(site: Site, version: str, what: str) -> None:
    """Raise `RefusedError` if NVIDIA's OpenSM is known to be older than a version."""
    for manager in _managers(site):
        if _numbers(manager.version) < _numbers(version):
            raise RefusedError(f"{what} needs NVIDIA's OpenSM {version}, and this is {manager.version}")


def runs(site: Site) -> bool:
    """Return whether NVIDIA's OpenSM is known to run."""
    return bool(_managers(site))


def unknown(feature: str) -> Assessed:
    """Return that nothing is known of a fabric's subnet manager."""
    return Assessed(feature, FABRIC, Status.UNKNOWN, f"neither {CONFIG} nor the subnet manager is known", "")


def refuse_some_switches(site: Site, request: Request, what: str, hint: str) -> None:
    """Raise `RefusedError` if only some switches are meant by what NVIDIA's OpenSM does on all of them."""
    if len(set(request.switches)) != site.fabric.n_switches:
        raise RefusedError(f"NVIDIA's OpenSM has {what} on all switches or on none", hint=f"leave --switch out; {hint}")


def _read(driver: Driver, key: str) -> tuple[bool, str | None]:
    """Return whether there is an ``opensm.conf``, and a key's value."""
    if driver.name != FILES:
        return True, driver.read(conf_place(driver, key))
    text = driver.read(Place(FILES, FABRIC, f"file:{CONFIG}"))
    return text is not None, None if text is None else value_of(text, key)


def _set(value: str | None) -> str | None:
    """Return a value; None where OpenSM wrote that it has none."""
    return None if value == "(null)" else value


def _conf_change(driver: Driver, key: str, old: str | None, new: str | None, why: str) -> Change:
    if isinstance(driver, OpensmDriver):
        if key_risk(key) is Risk.RESTART and not driver.restarts:
            raise RefusedError(
                f"that a HUP suffices for {key} is not published, and fabctl cannot restart OpenSM: no unit of systemd holds it",
                hint=f"set '{key} {new or ''}' in its opensm.conf and restart it, then plan again",
            )
        return conf_change(driver, key, old, new, why, key_risk(key))
    if driver.name == UFM and (old is None or new is None):
        raise RefusedError(
            f"UFM cannot {'add' if old is None else 'remove'} {key}: it changes settings that it has", hint=UFM_HINT
        )
    return Change(conf_place(driver, key), old, new, key_risk(key), why)


def _managers(site: Site) -> list[Manager]:
    found = [site.drivers[name].manager() for name in (*OPENSM, UFM) if name in site.drivers]
    return [manager for manager in found if manager is not None and manager.flavour == NVIDIA]


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: (5, 21) of ``5.21.12.MLNX20250617``."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
