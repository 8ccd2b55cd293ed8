"""Hash-based forwarding: switches choose the port of statically routed packets by a hash, so that flows of two hosts spread.

Facts: NVIDIA, *InfiniBand Cluster Bring-up Procedure*, "HBF" (what it does; set in ``opensm.conf``); MLNXSM release notes 5.11
(beta) and 5.12 (general availability). The values of ``hbf_hash_type`` and ``hbf_seed_type`` are not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Plan
from fabctl.offload import nvidia
from fabctl.offload.adaptive.groups import ENGINES
from fabctl.offload.adaptive.levels import N_SLS, kept_mask, masked_sls, named, parse_sls
from fabctl.offload.feature import Request, planned
from fabctl.offload.features.settings import number, refuse_disabling
from fabctl.offload.site import Site

NAME = "hbf"
SINCE = "5.11"
_VERBATIM = ("hbf_hash_type", "hbf_seed_type")


class Hbf:
    """The service levels whose static routes are spread by hashes, of all switches."""

    name = NAME
    keys: ClassVar[Mapping[str, str]] = {
        "sls": "service levels that are hashed: 0,2-3 [default: 0-15]",
        "hbf_hash_type": "written as it is; what its values mean is not published",
        "hbf_seed_type": "written as it is; what its values mean is not published",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return what the subnet manager is told; which switches hash is not published."""
        labels = site.fabric.labels[: site.fabric.n_switches]
        fact = "which switches hash is not published: the subnet manager asks them"
        return [_told(site), *(Assessed(NAME, label, Status.UNKNOWN, fact, "") for label in labels)]

    def plan(self, site: Site, request: Request) -> Plan:
        """Plan hashing on some service levels, or on none."""
        driver = nvidia.conf_driver(site, "hash-based forwarding")
        nvidia.refuse_some_switches(site, request, "hash-based forwarding", "it goes by service level: --set sls=1")
        nvidia.refuse_older(site, SINCE, "hash-based forwarding")
        values = request.values
        if not request.enable:
            refuse_disabling(values)
        sls = parse_sls(values.get("sls", f"0-{N_SLS - 1}")) if request.enable else ()
        wanted: dict[str, str | None] = {"hbf_sl_mask": kept_mask(nvidia.conf_value(site, "hbf_sl_mask")[0], sls)}
        wanted |= {key: str(number(values, key, 0, 255, 0)) for key in _VERBATIM if key in values}
        why = f"hashes on SL {named(sls)}" if sls else "hashes on no SL"
        changes = nvidia.conf_changes(site, driver, wanted, why)
        notes = [
            *_overlap(site, sls),
            *([_SCORE] if request.enable else []),
            *nvidia.reach_notes(site, driver, wanted),
            "what switches hold is not read back: ibdiagnet 2.9 and later reads it",
        ]
        return planned(site, request, NAME, changes, (), notes)


FEATURE = Hbf()
_SCORE = "fabctl route SOURCE --adaptive tree --hash 1 --qps N scores it beside static and adaptive routes (docs/adaptive.md)"


def _overlap(site: Site, sls: Sequence[int]) -> list[str]:
    """Return which of the hashed service levels are routed adaptively: there it serves what is left to static routes."""
    mask = nvidia.conf_value(site, "ar_sl_mask")[0]
    engine = nvidia.routing_engine(site)[0]
    both = sorted(set(sls) & set(masked_sls(mask or "0xffff") or ())) if engine in ENGINES else []
    return [f"SL {named(both)} are routed adaptively: hashes serve there only what stays on static routes"] if both else []


def _told(site: Site) -> Assessed:
    refused = nvidia.other_manager(site, NAME, "hash-based forwarding")
    if refused:
        return refused
    mask, source = nvidia.conf_value(site, "hbf_sl_mask")
    if not source:
        return nvidia.unknown(NAME)
    sls = masked_sls(mask) if mask else None
    if sls is None:
        fact = f"hbf_sl_mask is {mask}" if mask else "hbf_sl_mask is not set, and what it is then is not published"
        return Assessed(NAME, FABRIC, Status.UNKNOWN, fact, source)
    return Assessed(
        NAME,
        FABRIC,
        Status.ON if sls else Status.OFF,
        f"hbf_sl_mask {mask}" + (f": SL {named(sls)}" if sls else ""),
        source,
    )
