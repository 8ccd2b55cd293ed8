"""The subnet manager that features go through: the right one, or a refusal that names the one that runs."""

from __future__ import annotations

from collections.abc import Iterable

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Change, Place, Risk
from fabctl.offload.at_once import at_once
from fabctl.offload.driver import Driver, Manager
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_conf import key_risk
from fabctl.offload.drivers.opensm_observe import unfolded
from fabctl.offload.drivers.opensm_process import NVIDIA, UNKNOWN
from fabctl.offload.site import Site

OPENSM = ("opensm", "twin")
"""Drivers of an OpenSM."""


def opensm(site: Site) -> OpensmDriver:
    """Return the driver of an OpenSM of either flavour.

    Raises
    ------
    RefusedError
        If there is none, the OpenSM that runs is of an unknown flavour, or is not the master.
    SourceError
        If it has ended.
    """
    driver = site.driver(*OPENSM)
    if not isinstance(driver, OpensmDriver):
        raise RefusedError(f"the driver '{driver.name}' is no OpenSM's")
    found = driver.manager()
    if found.flavour == UNKNOWN:
        raise RefusedError(
            f"it cannot be told which OpenSM runs: {found.evidence}", hint="fabctl knows upstream's 3.3 and NVIDIA's 5"
        )
    return driver


def configured_engine(driver: OpensmDriver) -> str:
    """Return the first routing engine of OpenSM's settings; its own default if they name none."""
    return driver.settings.values.get("routing_engine", "minhop").split(",")[0].strip()


def held_by_ports(driver: Driver, fabric: Fabric, key: str, nodes: Iterable[int]) -> list[dict[int, str]]:
    """Return what the ports of each node hold: ``sl2vl``, ``vlarb`` or ``pkeys``, by port number."""
    return at_once(lambda node: unfolded(driver.observe(Place(driver.name, fabric.guid_text(node), key)).value or ""), nodes)


def require_nvidia(site: Site, what: str) -> Driver:
    """Return the driver of NVIDIA's OpenSM.

    Parameters
    ----------
    what : str
        What only NVIDIA's can, for people: ``SHARP``.

    Raises
    ------
    RefusedError
        If another one runs: it would ignore the settings in silence, route on and report success.
    SourceError
        If it has ended.
    """
    driver = site.driver(*OPENSM)
    found = driver.manager()
    if found is None or found.flavour != NVIDIA:
        raise RefusedError(
            f"{what} needs NVIDIA's OpenSM, and this one is {_words(found)}: it would ignore the settings in silence",
            hint="NVIDIA's comes with UFM, MLNX_OFED and DOCA; --driver files:folder=DIR renders its files",
        )
    return driver


def conf_change(
    driver: OpensmDriver, key: str, old: str | None, new: str | None, why: str = "", risk: Risk | None = None
) -> Change:
    """Return the change of a key of ``opensm.conf``, with the risk of its class.

    Parameters
    ----------
    risk : Risk, optional
        Where it is not that of upstream OpenSM.

    Raises
    ------
    RefusedError
        If OpenSM's command line goes before it, or OpenSM must be restarted for it and nobody here can.
    """
    settings = driver.settings
    if key in settings.told:
        raise RefusedError(
            f"OpenSM was started with an option for {key}, which goes before opensm.conf",
            where=str(settings.config),
            hint=f"start OpenSM without it; {key} belongs into opensm.conf",
        )
    risk = key_risk(key) if risk is None else risk
    if risk is Risk.RESTART and not driver.restarts:
        raise RefusedError(
            f"OpenSM heeds {key} at its start only, and fabctl cannot restart it: it belongs to no unit of systemd",
            where=str(settings.config),
            hint=f"set '{key} {new}' there and restart OpenSM, then plan again",
        )
    return Change(Place(driver.name, FABRIC, f"conf:{key}"), old, new, risk, why)


def _words(manager: Manager | None) -> str:
    if manager is None:
        return "unknown"
    return f"{manager.flavour} {manager.version} ({manager.evidence})"
