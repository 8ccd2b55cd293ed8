"""SHIELD: switches take another port when a link fails, and tell their neighbours, before the subnet manager hears of it.

Facts: NVIDIA, *InfiniBand Cluster Bring-up Procedure*, "SHIELD" (on by default, ``shield_mode 0`` is off; FLFR and FLFN); MLNXSM
release notes 5.11 (pFRN: engines, switches, ``shield_mode 2``, timeouts), 5.12, 5.13, 5.15 (fast recovery).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from fabctl.errors import RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.catalog import switch_asic, unlisted
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Plan
from fabctl.offload import nvidia
from fabctl.offload.adaptive.words import some
from fabctl.offload.feature import Request, planned
from fabctl.offload.features.settings import choice, number, refuse_disabling
from fabctl.offload.site import Site

NAME = "shield"
OFF, WITHOUT_PFRN = "0", "2"
PFRN_ENGINES = ("ar_updn", "ar_ftree", "dfp2")
RELEASE_NOTES = "MLNXSM release notes 5.11: NVIDIA Quantum and Quantum-2 alone"
FAST_RECOVERY = {"ignore": "0", "off": "1", "on": "2"}
_RANGES = {
    "pfrn_sl": 15,
    "pfrn_mask_clear_timeout": 0xFFFF,
    "pfrn_mask_force_clear_timeout": 0xFFFF,
    "pfrn_over_router_enabled": 1,
}


class Shield:
    """SHIELD and its notifications (pFRN), of all switches."""

    name = NAME
    keys: ClassVar[Mapping[str, str]] = {
        "pfrn": "whether switches tell each other of failed links, on or off [default: on where all switches can]",
        "pfrn_sl": "service level of these messages [NVIDIA's default: 0]",
        "pfrn_mask_clear_timeout": "after the last message, until ports are used again; units of 30 s [NVIDIA's default: 180]",
        "pfrn_mask_force_clear_timeout": "the same, whatever arrives; units of 240 s [NVIDIA's default: 720]",
        "pfrn_over_router_enabled": "0 or 1, written as it is",
        "fast_recovery": "isolate ports that switches report: on, off, or ignore [default: as it is; NVIDIA's is ignore]",
        "shield_mode": "written as it is: 0 off, 2 without pFRN; what others mean is not published",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return which switches notify each other by the catalogue, and what the subnet manager is told."""
        return [_told(site), *(_capable(site.fabric, switch) for switch in range(site.fabric.n_switches))]

    def plan(self, site: Site, request: Request) -> Plan:
        """Plan SHIELD on, with pFRN where all can, or off."""
        driver = nvidia.conf_driver(site, "SHIELD")
        nvidia.refuse_some_switches(site, request, "SHIELD", "--set pfrn=off leaves the messages between switches out")
        values = request.values
        notes = [*_switch_notes(site.fabric)]
        wanted: dict[str, str | None] = {}
        if not request.enable:
            wanted["shield_mode"] = OFF
            refuse_disabling(values)
        else:
            mode, why = _mode(site, values)
            if mode != nvidia.conf_value(site, "shield_mode")[0]:
                wanted["shield_mode"] = mode
            wanted |= _settings(values)
            notes = [*why, *notes]
        changes = nvidia.conf_changes(site, driver, wanted, "SHIELD" if request.enable else "no SHIELD")
        notes += [
            *nvidia.reach_notes(site, driver, wanted),
            "what switches hold is not read back: ibdiagnet -r (ibdiagnet2.far)",
        ]
        return planned(site, request, NAME, changes, (), notes)


FEATURE = Shield()


def _mode(site: Site, values: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """Return the value of ``shield_mode`` (None: NVIDIA's default, which is on), and why."""
    asked = choice(values, "pfrn", ("on", "off"))
    if "shield_mode" in values:
        if asked:
            raise UsageError("--set pfrn and --set shield_mode say the same thing twice")
        return str(number(values, "shield_mode", 0, 255, 0)), ["shield_mode is written as it was given"]
    obstacles = list(_obstacles(site))
    if asked == "on":
        nvidia.refuse_older(site, "5.11", "pFRN")
        if obstacles:
            raise RefusedError(f"pFRN cannot be on: {obstacles[0]}", hint="--set pfrn=off: each switch recovers by itself")
    if asked == "off" or obstacles:
        return WITHOUT_PFRN, [f"without pFRN (shield_mode 2): {obstacles[0] if obstacles and not asked else 'as asked'}"]
    current = nvidia.conf_value(site, "shield_mode")[0]
    if current not in (None, OFF, WITHOUT_PFRN):
        return current, [f"shield_mode {current} stays: it is neither off (0) nor without pFRN (2)"]
    return None, ["shield_mode is left to NVIDIA's default: SHIELD on, with pFRN"]


def _obstacles(site: Site) -> Iterator[str]:
    """Yield what keeps pFRN from all switches."""
    fabric = site.fabric
    without = [fabric.labels[switch] for switch in range(fabric.n_switches) if not _pfrn(fabric, switch)]
    if without:
        yield f"all switches must have it, and {len(without)} of {fabric.n_switches} are not known to: {some(without)}"
    engine = nvidia.routing_engine(site)[0]
    if engine and engine not in PFRN_ENGINES:
        yield f"routes must be made by {', '.join(PFRN_ENGINES)}, and routing_engine is {engine}"


def _settings(values: Mapping[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {key: str(number(values, key, 0, top, 0)) for key, top in _RANGES.items() if key in values}
    word = choice(values, "fast_recovery", tuple(FAST_RECOVERY))
    return found | ({"fast_recovery_enabled": FAST_RECOVERY[word]} if word else {})


def _switch_notes(fabric: Fabric) -> list[str]:
    if fabric.tiers.max(initial=0) > 0:
        return []
    return ["switches tell neighbours of lost ways (FLFN) on fat trees and quasi fat trees only; this fabric is none"]


def _told(site: Site) -> Assessed:
    refused = nvidia.other_manager(site, NAME, "SHIELD")
    if refused:
        return refused
    mode, source = nvidia.conf_value(site, "shield_mode")
    if not source:
        return nvidia.unknown(NAME)
    if mode is None:
        status = Status.ON if nvidia.runs(site) else Status.UNKNOWN
        return Assessed(NAME, FABRIC, status, "shield_mode is not set: NVIDIA's OpenSM has it on by default", source)
    words = {OFF: "shield_mode 0", WITHOUT_PFRN: "shield_mode 2: without pFRN"}
    return Assessed(NAME, FABRIC, Status.OFF if mode == OFF else Status.ON, words.get(mode, f"shield_mode {mode}"), source)


def _capable(fabric: Fabric, switch: int) -> Assessed:
    device_id = int(fabric.device_id[switch])
    asic, label = switch_asic(device_id), fabric.labels[switch]
    if asic is None:
        return Assessed(NAME, label, Status.UNKNOWN, unlisted(device_id), "")
    if asic.pfrn:
        return Assessed(NAME, label, Status.CAN, f"{asic.name} tells its neighbours of failed links (pFRN)", RELEASE_NOTES)
    has = "no pFRN" if asic.pfrn is False else "whether it has pFRN is not published"
    return Assessed(NAME, label, Status.UNKNOWN, f"{asic.name}: {has}, nor whether it recovers by itself (FLFR)", RELEASE_NOTES)


def _pfrn(fabric: Fabric, switch: int) -> bool:
    asic = switch_asic(int(fabric.device_id[switch]))
    return asic is not None and asic.pfrn is True
