"""SHARP: switches reduce on the way, by NVIDIA's subnet manager and aggregation manager, on all switches or on some.

Facts: NVIDIA SHARP 3.3 manual, "Setting up" (engines, dedicated server, onboard subnet managers); SHARP 2.6.1 to 3.13, "Disabling
SHARP on Specific Network Devices in OpenSM"; NVIDIA/nccl issue 1219 (the subnet manager's own port); known issue 3371820.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from fabctl.errors import RefusedError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.catalog import hca, switch_asic, unlisted
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Place, Plan
from fabctl.model.sharp_plan import SharpTrees
from fabctl.offload import nvidia
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request, planned
from fabctl.offload.features.settings import refuse_disabling
from fabctl.offload.sharp import files, seen
from fabctl.offload.sharp.eligible import manager_ports
from fabctl.offload.sharp.plan import sharp_trees
from fabctl.offload.sharp.settings import KEYS, settings_of
from fabctl.offload.sharp.ways import in_tiers
from fabctl.offload.site import Site

NAME = "sharp"
ENGINES = ("updn", "ar_updn", "ftree", "ar_ftree", "dfp", "dor")
"""Routing engines with which SHARP works (SHARP 3.3, Setting up); ``dor`` on hypercubes."""
_AM_KEY = {"quota": "per_prio_default_quota", "sat-quota": "per_prio_default_sat_quota"}
_SOURCE = "SHARP 3.13 General Information"


class Sharp:
    """SHARP on all switches, or on some; its trees are `fabctl.offload.sharp.plan.sharp_trees`."""

    name = NAME
    keys: ClassVar[Mapping[str, str]] = {
        **KEYS,
        "conf_dir": "with the driver files: folder of opensm.conf on the subnet manager's machine [default: /etc/opensm]",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return which switches aggregate and which HCAs stream by the catalogue, and what the subnet manager is told."""
        fabric = site.fabric
        try:
            off, known = files.excluded(site), True
        except RefusedError:
            off, known = frozenset(), False
        used, there = seen.on_trees(site), seen.with_node(fabric)
        switches = [
            Assessed(NAME, fabric.labels[switch], Status.ON, "its aggregation node is on trees", seen.DUMP)
            if switch in used
            else _switch(fabric, switch, switch in there, switch in off, known)
            for switch in range(fabric.n_switches)
        ]
        return [_told(site), *switches, *(_hca(fabric, node) for node in np.flatnonzero(fabric.is_hca).tolist())]

    def plan(self, site: Site, request: Request) -> Plan:
        """Plan SHARP on or off, on the switches that are meant."""
        settings_of(request.values, files.am_cfg(site))
        if not site.drivers:
            return planned(site, request, NAME, (), (), _job_notes(site) if request.enable else [UNREAD])
        driver = nvidia.conf_driver(site, "SHARP")
        return _enabled(site, request, driver) if request.enable else _disabled(site, request, driver)


FEATURE = Sharp()


def trees(site: Site, names: Sequence[str], values: Mapping[str, str]) -> SharpTrees:
    """Return the trees of a site's jobs, by ``--set`` and the files of its managers.

    Raises
    ------
    UsageError, InputError, RefusedError
        As `settings_of`, `fabctl.offload.sharp.files.excluded` and `sharp_trees` do.
    """
    return sharp_trees(site, names, settings_of(values, files.am_cfg(site)), files.excluded(site))


def _enabled(site: Site, request: Request, driver: Driver) -> Plan:
    _refuse_switches(site.fabric, request)
    _refuse_manager_in_job(site)
    notes = _engine_notes(site)
    meant, off = set(request.switches), files.excluded(site)
    is_on = nvidia.conf_value(site, files.ENABLED)[0] == files.ON
    able = {switch for switch in range(site.fabric.n_switches) if _sharp(site.fabric, switch)}
    off = off - meant if is_on or meant >= able else frozenset(able - meant)
    changes, keys = files.policy_changes(site, driver, request, off)
    keys = {files.ENABLED: files.ON, **keys}
    manager_keys = _manager_keys(site, request)
    changes = (
        *changes,
        *nvidia.conf_changes(site, driver, keys, "SHARP on"),
        *files.am_changes(site, driver, manager_keys),
    )
    if off:
        notes.append(f"SHARP stays off on {len(off)} of {len(able)} switches that have it")
    notes += _manager_notes(driver, manager_keys)
    return planned(site, request, NAME, changes, (), [*notes, *nvidia.reach_notes(site, driver, keys), *_job_notes(site)])


def _disabled(site: Site, request: Request, driver: Driver) -> Plan:
    refuse_disabling(request.values, but=("conf_dir",))
    meant = set(request.switches)
    if len(meant) == site.fabric.n_switches:
        keys: dict[str, str] = {files.ENABLED: files.OFF}
        changes = nvidia.conf_changes(site, driver, keys, "SHARP off")
        notes = ["sharp_enabled 1 is the off of NVIDIA's keys alike; its manual documents 2 alone"]
    else:
        off = files.excluded(site) | {switch for switch in meant if _sharp(site.fabric, switch)}
        policy, keys = files.policy_changes(site, driver, request, off)
        changes = (*policy, *(nvidia.conf_changes(site, driver, keys, "where these files lie") if keys else ()))
        notes = ["jobs whose trees go through these switches end, or fail: none may run when OpenSM reads the files"]
    notes += [*_reserved_notes(site), *nvidia.reach_notes(site, driver, keys), UNREAD]
    return planned(site, request, NAME, changes, (), notes)


def _reserved_notes(site: Site) -> list[str]:
    """Return for whom UFM has SHARP reserved."""
    ufm = site.drivers.get(nvidia.UFM)
    names = (ufm.read(Place(nvidia.UFM, FABRIC, "reservations")) or "").split() if ufm else []
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"UFM has SHARP reserved as {', '.join(names[:3])}{more}: jobs that use these lose it"]


UNREAD = (
    "what switches hold is not read back: NVIDIA's ibdiagnet --sharp does, and list --captured DIR reads its ibdiagnet2.sharp"
)


def _refuse_switches(fabric: Fabric, request: Request) -> None:
    """Raise `RefusedError` for a switch that was named and cannot."""
    able = [switch for switch in request.switches if _sharp(fabric, switch)]
    if len(able) < len(request.switches) and len(request.switches) < fabric.n_switches:
        switch = next(switch for switch in request.switches if not _sharp(fabric, switch))
        raise RefusedError(f"{fabric.labels[switch]} cannot: {_why_not(fabric, switch)}", hint="leave it out of --switch")
    if not able:
        raise RefusedError(f"no switch of this fabric has SHARP: {_why_not(fabric, 0)}", hint="Switch-IB 2 and later have it")


def _refuse_manager_in_job(site: Site) -> None:
    for job in site.jobs:
        for port in manager_ports(site.fabric):
            if port in job.ports:
                raise RefusedError(
                    f"the subnet manager runs on {site.fabric.port_label(port)}, an HCA of the job: SHARP refuses it there",
                    hint="leave that host out of the job; NVIDIA wants the managers on a server of their own (SHARP 3.3)",
                )


def _engine_notes(site: Site) -> list[str]:
    """Refuse routing engines with which SHARP does not work; say what is not known."""
    value, source = nvidia.conf_value(site, "routing_engine")
    if value is None:
        of = f"is not set in {source}" if source else "is not known"
        return [f"routing_engine {of}: SHARP works with {', '.join(ENGINES)}"]
    engines = [name.strip() for name in value.split(",")]
    for name in engines:
        if name not in ENGINES:
            raise RefusedError(
                f"SHARP does not work with the routing engine {name} (SHARP 3.3, Setting up)",
                where=source,
                hint=f"it works with {', '.join(ENGINES)}: fabctl offload plan adaptive-routing sets one",
            )
    if "dor" in engines and (nvidia.conf_value(site, "dor_hyper_cube_mode")[0] or "").upper() != "TRUE":
        raise RefusedError("SHARP works with dor on hypercubes alone, and dor_hyper_cube_mode is not TRUE", where=source)
    return []


def _manager_keys(site: Site, request: Request) -> dict[str, str]:
    """Return what ``sharp_am.cfg`` should say: trees made per job, by the fabric's structure, and what was typed."""
    from fabctl.offload.drivers.opensm_conf import value_of
    from fabctl.offload.sharp.eligible import streaming_switches

    text = files.am_cfg(site)
    wanted = {_AM_KEY[key]: request.values[key] for key in _AM_KEY if key in request.values}
    if (value_of(text, "dynamic_tree_allocation") or "TRUE").upper() == "FALSE":
        wanted["dynamic_tree_allocation"] = "TRUE"
    algorithm = "0" if in_tiers(site.fabric, streaming_switches(site.fabric)) else "1"
    if (value_of(text, "dynamic_tree_algorithm") or "0") != algorithm:
        wanted["dynamic_tree_algorithm"] = algorithm
    return wanted


def _manager_notes(driver: Driver, keys: Mapping[str, str]) -> list[str]:
    found = ["the aggregation manager must run: sharp_am beside the subnet manager, on a server of their own (SHARP 3.3)"]
    if keys and driver.name != nvidia.FILES:
        wanted = ", ".join(f"{key} {value}" for key, value in keys.items())
        found.append(f"{files.AM_CFG} is not written by the driver '{driver.name}': set {wanted}, and restart sharp_am")
    elif keys:
        found.append(f"{files.AM_CFG} is read when sharp_am starts: service sharp_am restart")
    return found


def _job_notes(site: Site) -> list[str]:
    nccl = "" if site.jobs else "; NCCL_COLLNET_ENABLE=1"  # said with the jobs' trees
    return [
        f"in the jobs' environment: HCOLL_ENABLE_SHARP=2 for MPI{nccl}",
        "congestion control cannot be set on the service levels that sharp_am uses (SHARP, known issue 3371820)",
        UNREAD,
    ]


def _told(site: Site) -> Assessed:
    refused = nvidia.other_manager(site, NAME, "SHARP")
    if refused:
        return refused
    value, source = nvidia.conf_value(site, files.ENABLED)
    if not source:
        return nvidia.unknown(NAME)
    status = {files.ON: Status.ON, files.OFF: Status.OFF}.get(value or "", Status.UNKNOWN)
    words = {None: "sharp_enabled is not set", files.IGNORE: "sharp_enabled 0: switches stay as they are"}
    return Assessed(NAME, FABRIC, status, words.get(value, f"sharp_enabled {value}"), source)


def _switch(fabric: Fabric, switch: int, has_node: bool, off: bool, known: bool) -> Assessed:
    label, asic = fabric.labels[switch], switch_asic(int(fabric.device_id[switch]))
    if asic is None:
        return Assessed(NAME, label, Status.UNKNOWN, _why_not(fabric, switch))
    if not asic.sharp:
        return Assessed(NAME, label, Status.CANNOT, _why_not(fabric, switch), asic.source)
    if off:
        return Assessed(NAME, label, Status.OFF, "sharp-enabled: 0 in the device configuration", files.DEVICES)
    trees = "low-latency and streaming trees" if asic.sharp > 1 else "low-latency trees alone"
    node = "its aggregation node is there" if has_node else "no aggregation node is seen"
    policy = "" if known else "; it may be left out by a port group whose members are unknown"
    return Assessed(NAME, label, Status.CAN, f"{asic.name}: {trees}; {node}; firmware unknown{policy}", _SOURCE)


def _hca(fabric: Fabric, node: int) -> Assessed:
    device_id = int(fabric.device_id[node])
    model, label = hca(device_id), fabric.labels[node]
    if model is None:
        return Assessed(NAME, label, Status.UNKNOWN, unlisted(device_id))
    if model.streaming:
        return Assessed(NAME, label, Status.CAN, f"{model.name} streams", model.source)
    return Assessed(NAME, label, Status.CANNOT, f"{model.name} is older than what streams: ConnectX-6 and later", _SOURCE)


def _sharp(fabric: Fabric, switch: int) -> bool:
    asic = switch_asic(int(fabric.device_id[switch]))
    return asic is not None and asic.sharp > 0


def _why_not(fabric: Fabric, switch: int) -> str:
    device_id = int(fabric.device_id[switch])
    asic = switch_asic(device_id)
    return f"{asic.name} has no SHARP" if asic else unlisted(device_id)
