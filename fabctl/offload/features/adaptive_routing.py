"""Adaptive routing: switches choose among ports by their load, by NVIDIA's subnet manager, per service level.

Facts: NVIDIA, *InfiniBand Cluster Bring-up Procedure*, "Adaptive Routing" (engines, groups, HUP, roots); UFM user manual 6.23.11,
"Appendix - Adaptive Routing" (XDR); UFM-SDN appliance CLI 4.10 (``ar_sl_mask``); MLNXSM release notes 5.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from fabctl.errors import RefusedError, UsageError
from fabctl.model.adaptive_plan import AdaptivePlan
from fabctl.model.assessment import Assessed, Status
from fabctl.model.catalog import Hca, SwitchAsic, hca, switch_asic, unlisted
from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_switch
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk
from fabctl.nodeset import expand
from fabctl.offload import nvidia
from fabctl.offload.adaptive import armgr, words
from fabctl.offload.adaptive.gain import gains
from fabctl.offload.adaptive.groups import ENGINES, ROOTS, adaptive_plan, engine_for, is_xdr, routes, top_switches
from fabctl.offload.adaptive.levels import N_SLS, kept_mask, masked_sls, named, parse_sls
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request, planned
from fabctl.offload.features.settings import number, refuse_disabling
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM

NAME = "adaptive-routing"
STATIC_ENGINES = ("updn", "ftree", "minhop", "dor")
OTHERS = ("dfp2",)
"""Adaptive engines that are not planned."""
SINCE = "Mellanox community DOC-3206: switches from Switch-IB on, HCAs from ConnectX-5 on"
_STATIC = {"ar_updn": "updn", "ar_ftree": "ftree"}
_VERBATIM = ("ar_mode", "ar_transport_mask", "ar_tree_asymmetric_flow")


class AdaptiveRouting:
    """The routing engine and the service levels of NVIDIA's OpenSM, with what they mean on this fabric."""

    name = NAME
    keys: ClassVar[Mapping[str, str]] = {
        "engine": "ar_updn, ar_ftree or dfp [default: by the fabric's structure]; with --disable one without adaptive routing",
        "sls": "service levels that are routed adaptively: 0,2-3 [default: as ar_sl_mask is; NVIDIA's default is all]",
        "roots": "root switches, a node set [default: those of opensm.conf, else the switches of the highest tier]",
        "ar_mode": "written as it is; what its values mean is not published",
        "ar_transport_mask": "written as it is; what its bits mean is not published",
        "ar_tree_asymmetric_flow": "0, 1 or 3",
        "conf_dir": "with the driver files: folder of opensm.conf on the subnet manager's machine [default: /etc/opensm]",
        "form": "opensm [default], or armgr: the plugin of MLNX_OFED 2.1 to 2.3",
        **armgr.KEYS,
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return what switches and HCAs can do by the catalogue, and what the subnet manager is told."""
        fabric = site.fabric
        switches = [_capable(fabric, node, switch_asic, "routes adaptively") for node in range(fabric.n_switches)]
        hcas = [_capable(fabric, node, hca, "takes packets in any order") for node in np.flatnonzero(fabric.is_hca).tolist()]
        return [_told(site), *switches, *hcas]

    def plan(self, site: Site, request: Request) -> Plan:
        """Plan adaptive routing, or static routing with ``--disable``."""
        hint = "it goes by service level: --set sls=1 leaves the others static"
        nvidia.refuse_some_switches(site, request, "adaptive routing", hint)
        old_form = _is_old_form(request)
        if request.enable and not old_form and not site.drivers:
            return planned(site, request, NAME, (), (), _meaning(site, request.values))
        driver = nvidia.conf_driver(site, "adaptive routing")
        if old_form:
            return armgr.plan(site, request, driver)
        return _enabled(site, request, driver) if request.enable else _disabled(site, request, driver)


FEATURE = AdaptiveRouting()


def details(site: Site, values: Mapping[str, str]) -> AdaptivePlan:
    """Return what ``--set`` values mean switch by switch, and what a job gains.

    Raises
    ------
    UsageError, RefusedError
        As the plan.
    """
    old, roots = values.get("form") == "armgr", _asked_roots(site.fabric, values)
    engine = armgr.algorithm_of(site.fabric, values) if old else _engine(site, values)
    sls = tuple(range(N_SLS)) if old else _sls(site, values)
    found, note = gains(site, routes(site, engine, roots))
    return replace(adaptive_plan(site, engine, sls, roots=roots), gains=found, gain_note=note)


def _enabled(site: Site, request: Request, driver: Driver) -> Plan:
    engine, sls, values = _engine(site, request.values), _sls(site, request.values), request.values
    meaning = _meaning(site, values)
    first, engines = nvidia.routing_engine(site)
    wanted: dict[str, str | None] = {"routing_engine": engines if first == engine else engine}
    if "sls" in values:
        wanted["ar_sl_mask"] = kept_mask(nvidia.conf_value(site, "ar_sl_mask")[0], sls)
    wanted |= {key: values[key] for key in _VERBATIM if key in values}
    roots = _roots(site, request, driver, engine)
    wanted |= roots.keys
    changes = (*roots.files, *nvidia.conf_changes(site, driver, wanted, f"adaptive routing on SL {named(sls)}"))
    mode = nvidia.conf_value(site, "ar_mode")[0]
    if mode == "0" and "ar_mode" not in values:
        meaning.append(
            "ar_mode 0 stays: what its values mean is not published; if routes stay static, look there (--set ar_mode=...)"
        )
    notes = [*meaning, *roots.notes, *nvidia.reach_notes(site, driver, wanted)]
    return planned(site, request, NAME, changes, _engine_check(driver, engine), notes)


def _meaning(site: Site, values: Mapping[str, str]) -> list[str]:
    """Return what adaptive routing means here; refuse what it would break."""
    engine, fabric = _engine(site, values), site.fabric
    _refuse_xdr(fabric, engine)
    able = [*words.hca_notes(fabric, asked="sls" in values), *words.switch_notes(fabric)]
    what = adaptive_plan(site, engine, _sls(site, values), roots=_asked_roots(fabric, values))
    return [
        *words.group_notes(what),
        *words.safety_notes(what),
        *able,
        f"hosts: {' '.join(what.environment)}",
        words.ORDER,
        words.UNREAD,
    ]


def _disabled(site: Site, request: Request, driver: Driver) -> Plan:
    refuse_disabling(request.values, but=("engine", "conf_dir", "form"))
    current = nvidia.routing_engine(site)[0]
    engine = request.values.get("engine") or _STATIC.get(current, "" if current in ENGINES else current)
    if engine not in STATIC_ENGINES:
        raise RefusedError(
            f"it is not known which routes are to take the place of those of {current or 'the adaptive engine'}",
            hint=f"--set engine={'|'.join(STATIC_ENGINES)}: a routing engine without adaptive routing disables it",
        )
    changes = nvidia.conf_changes(site, driver, {"routing_engine": engine}, "static routes")
    notes = [
        "disabled by a routing engine without it (Bring-up Procedure); whether switches forget their groups is not published",
        *nvidia.reach_notes(site, driver, {"routing_engine": engine}),
    ]
    return planned(site, request, NAME, changes, _engine_check(driver, engine), notes)


def _engine(site: Site, values: Mapping[str, str]) -> str:
    engine = values.get("engine", "")
    if engine and engine not in ENGINES:
        raise UsageError(f"'{engine}' is no adaptive routing engine", hint=f"--set engine={'|'.join(ENGINES)}")
    current = nvidia.routing_engine(site)[0]
    return engine or (current if current in ENGINES else engine_for(site.fabric))


def _engine_check(driver: Driver, engine: str) -> list[Check]:
    keys = {nvidia.UFM: "smconf.routing_engine_active"} | dict.fromkeys(OPENSM, "routing-engine")
    return [Check(Place(driver.name, FABRIC, keys[driver.name]), engine)] if driver.name in keys else []


def _sls(site: Site, values: Mapping[str, str]) -> tuple[int, ...]:
    if "sls" in values:
        return parse_sls(values["sls"])
    mask = nvidia.conf_value(site, "ar_sl_mask")[0]
    found = masked_sls(mask) if mask else tuple(range(N_SLS))
    if not found:
        raise RefusedError(f"ar_sl_mask is {mask}: no service level would be routed adaptively", hint="--set sls=0-15")
    return found


class _Roots(NamedTuple):
    """How opensm.conf names the root switches: its keys, the file, and what must be said."""

    keys: Mapping[str, str]
    files: Sequence[Change]
    notes: Sequence[str]


def _roots(site: Site, request: Request, driver: Driver, engine: str) -> _Roots:
    fabric, kept = site.fabric, nvidia.conf_value(site, "root_guid_file")[0]
    asked = _asked_roots(fabric, request.values)
    if ENGINES[engine].mode != "tree":
        return _Roots({}, (), ())
    if kept and not asked:
        return _Roots({}, (), (f"the roots are those of {kept}",))
    if driver.name == nvidia.UFM:
        if asked:
            raise RefusedError(
                "roots cannot be written through UFM", hint="write their GUIDs into the file of root_guid_file, one a line"
            )
        return _Roots({}, (), ("root_guid_file is not set, nor can it be through UFM: NVIDIA recommends one, XDR needs one",))
    roots = asked or top_switches(fabric)
    path = kept if kept and driver.name in OPENSM else f"{nvidia.conf_folder(driver, request)}/{ROOTS}"
    how = "as asked" if asked else "the highest tier, found by structure: look at them"
    text = "".join(f"{fabric.guid_text(root)}\n" for root in roots)
    files = nvidia.file_change(driver, ROOTS, text, Risk.SWEEP, f"roots: {how}")
    return _Roots(
        {"root_guid_file": path}, files, (f"{len(roots)} roots, {how}: {words.some([fabric.labels[root] for root in roots])}",)
    )


def _asked_roots(fabric: Fabric, values: Mapping[str, str]) -> tuple[int, ...]:
    text = values.get("roots", "")
    return tuple(sorted({find_switch(fabric, name) for name in expand(text)})) if text else ()


def _is_old_form(request: Request) -> bool:
    """Return whether the plugin is asked for.

    Raises
    ------
    UsageError
        For values that do not exist, or belong to the other form.
    """
    values = request.values
    form = values.get("form", "opensm")
    if form not in ("opensm", "armgr"):
        raise UsageError(f"there is no form '{form}'", hint="--set form=opensm|armgr")
    old = form == "armgr"
    foreign = set(values) & set(("engine", "sls", "roots", *_VERBATIM) if old else armgr.KEYS)
    if foreign:
        raise UsageError(f"--set {min(foreign)} {'is not for' if old else 'needs'} --set form=armgr")
    if values.get("ar_tree_asymmetric_flow", "0") not in ("0", "1", "3"):
        raise UsageError("ar_tree_asymmetric_flow is 0, 1 or 3 (UFM user manual 6.23.11)")
    for key in ("ar_mode", "ar_transport_mask"):
        number(values, key, 0, 255, 0)
    return old


def _refuse_xdr(fabric: Fabric, engine: str) -> None:
    if engine != "ar_updn" and is_xdr(fabric):
        raise RefusedError(
            f"XDR fabrics are routed by ar_updn alone, not by {engine} (UFM user manual 6.23.11, Appendix - Adaptive Routing)",
            hint="--set engine=ar_updn",
        )


def _told(site: Site) -> Assessed:
    """Return what the subnet manager does, by what it is told."""
    refused = nvidia.other_manager(site, NAME, "adaptive routing")
    if refused:
        return refused
    engine, source = nvidia.conf_value(site, "routing_engine")
    if not source:
        return nvidia.unknown(NAME)
    if engine is None:
        fact = "routing_engine is not set: the default is ar_updn since MLNXSM 5.10, minhop before"
        return Assessed(NAME, FABRIC, Status.UNKNOWN, fact, source)
    first, mask = nvidia.routing_engine(site)[0], nvidia.conf_value(site, "ar_sl_mask")[0]
    if first in (*ENGINES, *OTHERS):
        levels = f", ar_sl_mask {mask}" if mask else ""
        return Assessed(NAME, FABRIC, Status.ON, f"routing_engine {engine}{levels}", source)
    status = Status.OFF if first in STATIC_ENGINES else Status.UNKNOWN
    return Assessed(NAME, FABRIC, status, f"routing_engine {engine}", source)


def _capable(fabric: Fabric, node: int, find: Callable[[int], SwitchAsic | Hca | None], what: str) -> Assessed:
    device_id = int(fabric.device_id[node])
    model, label = find(device_id), fabric.labels[node]
    if model is None:
        return Assessed(NAME, label, Status.UNKNOWN, unlisted(device_id), "")
    if model.adaptive_routing:
        return Assessed(NAME, label, Status.CAN, f"{model.name} {what}", model.source)
    return Assessed(NAME, label, Status.CANNOT, f"{model.name} is older than what {what}", SINCE)
