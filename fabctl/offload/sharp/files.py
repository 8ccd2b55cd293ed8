"""NVIDIA's files as they are and as they should be: ``opensm.conf``, port groups, device configuration, ``sharp_am.cfg``.

They are read through a driver, or from what was captured; changes go through the driver.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Change, Place, Risk
from fabctl.offload import nvidia
from fabctl.offload.driver import Driver
from fabctl.offload.drivers.opensm_conf import value_of, with_value
from fabctl.offload.feature import Request
from fabctl.offload.sharp.policy import exclusion, with_excluded
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM

ENABLED = "sharp_enabled"
IGNORE, OFF, ON = "0", "1", "2"
"""Values of `ENABLED`: 2 is published (nccl-rdma-sharp-plugins, .ci/configure_sharp.sh); the others follow its keys alike and
the three verbs ``ignore``, ``no ... enable`` and ``enable`` of its appliance."""
GROUPS, DEVICES, AM_CFG = "sharp-port-groups.conf", "sharp-devices.conf", "sharp_am.cfg"
_KEY_OF = {GROUPS: "pgrp_policy_file", DEVICES: "device_configuration_file"}


@dataclass(frozen=True)
class Policy:
    """The two files that leave SHARP off on some switches.

    Parameters
    ----------
    groups, devices : str
        Their texts; empty where there are none.
    """

    groups: str
    devices: str


def policy(site: Site) -> Policy:
    """Return the two files, by a driver or captured.

    Raises
    ------
    RefusedError
        If ``opensm.conf`` names a file that is not there to be read.
    """
    devices = _text(site, DEVICES)
    if devices is None and _is_named(site, DEVICES):
        raise _unseen(site, DEVICES)
    return Policy(_text(site, GROUPS) or "", devices or "")


def excluded(site: Site) -> frozenset[int]:
    """Return the switches on which these files leave SHARP off.

    Raises
    ------
    RefusedError, InputError
        As `fabctl.offload.sharp.policy.exclusion`.
    """
    now = policy(site)
    guids = exclusion(now.groups, now.devices).guids
    return frozenset(switch for switch in range(site.fabric.n_switches) if port_guid(site.fabric, switch) in guids)


def port_guid(fabric: Fabric, switch: int) -> int:
    """Return the GUID of a switch's port 0, which is the node's where the source does not tell it."""
    first = int(fabric.port_node.searchsorted(switch))
    is_port_0 = fabric.port_node[first] == switch and fabric.port_number[first] == 0
    return int(fabric.port_guid[first] if is_port_0 else 0) or int(fabric.node_guid[switch])


def am_cfg(site: Site) -> str:
    """Return ``sharp_am.cfg``, rendered before or captured; empty: unknown."""
    return _text(site, AM_CFG) or ""


def policy_changes(
    site: Site, driver: Driver, request: Request, off: Collection[int]
) -> tuple[tuple[Change, ...], dict[str, str]]:
    """Return what leaves SHARP off on some switches and on no other, and keys of ``opensm.conf`` that this needs.

    Raises
    ------
    RefusedError
        If the driver cannot write such files; as `fabctl.offload.sharp.policy.with_excluded`.
    """
    now = policy(site)
    if off and _text(site, GROUPS) is None and _is_named(site, GROUPS):
        raise _unseen(site, GROUPS)
    groups, devices = with_excluded(now.groups, now.devices, {port_guid(site.fabric, switch) for switch in off})
    if (groups, devices) == (now.groups, now.devices):
        return (), {}
    if driver.name not in (*OPENSM, nvidia.FILES):
        raise RefusedError(
            f"single switches are left out by files that the driver '{driver.name}' cannot write",
            hint="--driver files:folder=DIR renders them",
        )
    why = f"SHARP off on {len(off)} switch{'es' if len(off) > 1 else ''}" if off else "SHARP off on no switch"
    changes = [
        change
        for name, text in ((GROUPS, groups), (DEVICES, devices))
        for change in nvidia.file_change(driver, _name(site, driver, name), text, Risk.RESTART, why)
    ]
    folder = nvidia.conf_folder(driver, request)
    unset = {name: key for name, key in _KEY_OF.items() if off and nvidia.conf_value(site, key)[0] is None}
    return tuple(changes), {key: f"{folder}/{name}" for name, key in unset.items()}


def am_changes(site: Site, driver: Driver, wanted: dict[str, str]) -> tuple[Change, ...]:
    """Return the change of ``sharp_am.cfg``, every byte but some values kept; only the driver ``files`` renders it."""
    text = am_cfg(site)
    missing = {key: value for key, value in wanted.items() if value_of(text, key) != value}
    if driver.name != nvidia.FILES or not missing:
        return ()
    nvidia.refuse_secret(text, AM_CFG)
    for key, value in missing.items():
        text = with_value(text, key, value)
    return nvidia.file_change(driver, AM_CFG, text, Risk.NONE, ", ".join(missing))


def _is_named(site: Site, name: str) -> bool:
    """Return whether ``opensm.conf`` names a file that only somebody else can see: OpenSM's driver would have read it."""
    return nvidia.conf_value(site, _KEY_OF[name])[0] is not None and not any(driver in site.drivers for driver in OPENSM)


def _unseen(site: Site, name: str) -> RefusedError:
    value, source = nvidia.conf_value(site, _KEY_OF[name])
    return RefusedError(
        f"{_KEY_OF[name]} is {value}, and fabctl does not have that file: what it says is unknown",
        where=source,
        hint="copy it into the folder of --driver files, or into that of --captured",
    )


def _text(site: Site, name: str) -> str | None:
    for driver in (site.drivers[found] for found in (*OPENSM, nvidia.FILES) if found in site.drivers):
        if name == AM_CFG and driver.name in OPENSM:
            continue
        text = driver.read(Place(driver.name, FABRIC, f"file:{_name(site, driver, name)}"))
        if text is not None:
            return text
    return site.captured.get(_base_name(site, name))


def _name(site: Site, driver: Driver, name: str) -> str:
    """Return what a driver calls a file: OpenSM's finds it by ``opensm.conf``, the renderer by its own name there."""
    return name if driver.name in OPENSM else _base_name(site, name)


def _base_name(site: Site, name: str) -> str:
    path = nvidia.conf_value(site, _KEY_OF[name])[0] if name in _KEY_OF else None
    return PurePosixPath(path).name if path else name
