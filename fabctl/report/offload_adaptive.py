"""`AdaptivePlan`: among which ports each switch may choose, towards how many HCA ports, and what that gains a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fabctl.model.adaptive_plan import AdaptiveGain, AdaptivePlan, SwitchGroups
from fabctl.nodeset import fold
from fabctl.report.offload_list import some
from fabctl.report.output import Column, Table, rounded
from fabctl.units import size_text

_ALIKE = (
    Column("count", "SWITCHES", right=True),
    Column("tier", "TIER", right=True),
    Column("able", "ADAPTIVE"),
    Column("groups", "GROUPS", right=True),
    Column("ports", "PORTS IN THE WIDEST", right=True),
    Column("towards", "HCA PORTS BY CHOICE", right=True),
    Column("forced", "BY ONE WAY", right=True),
    Column("names", "WHICH"),
)
_EACH = (
    Column("switch", "SWITCH"),
    Column("guid", "GUID"),
    Column("ports", "PORTS"),
    Column("destinations", "HCA PORTS", right=True),
)
_GAINS = (
    Column("operation", "OPERATION"),
    Column("size", "SIZE", right=True),
    Column("static_gb_s", "STATIC busbw(GB/s)", right=True, digits=2),
    Column("adaptive_gb_s", "ADAPTIVE busbw(GB/s)", right=True, digits=2),
    Column("speedup", "SPEEDUP", right=True, digits=2),
)
_ABLE = {True: "can", False: "cannot", None: "unknown"}


def adaptive_text(plan: AdaptivePlan) -> list[str | Table]:
    """Return the groups for people: switches that are alike together, and with ``-o wide`` each one's ports."""
    levels = fold(map(str, plan.sls)).strip("[]")
    title = f"Groups by {plan.algorithm}, from the routes of {plan.routes}, on SL {levels}"
    each = [_group_row(switch, number) for switch in plan.switches for number in range(len(switch.groups))]
    text: list[str | Table] = [
        Table(title, _ALIKE, _alike(plan.switches)),
        Table("Groups of each switch", _EACH, each, wide=True),
    ]
    if plan.gains:
        text.append(Table("Predicted", _GAINS, [_gain_row(gain) for gain in plan.gains]))
    return [*text, f"  ({plan.gain_note})"] if plan.gain_note else text


def adaptive_data(plan: AdaptivePlan) -> dict[str, Any]:
    """Return the groups for JSON."""
    return {
        "kind": "AdaptivePlan",
        "engine": plan.engine,
        "algorithm": plan.algorithm,
        "routes": plan.routes,
        "sls": list(plan.sls),
        "may_circle": plan.circle,
        "switches": [
            {
                "switch": switch.switch,
                "guid": switch.guid,
                "tier": switch.tier,
                "able": switch.able,
                "groups": [{"ports": list(group.ports), "hca_ports": group.destinations} for group in switch.groups],
                "hca_ports_by_one_way": switch.forced,
            }
            for switch in plan.switches
        ],
        "gains": [_gain_row(gain) for gain in plan.gains],
        "gain_note": plan.gain_note,
        "environment": list(plan.environment),
    }


def _alike(switches: Sequence[SwitchGroups]) -> list[dict[str, Any]]:
    """Return a row for all switches of a tier whose widest groups are as wide."""
    found: dict[tuple[int, int, str], list[SwitchGroups]] = {}
    for switch in switches:
        widest = len(switch.groups[0].ports) if switch.groups else 1
        found.setdefault((switch.tier, -widest, _ABLE[switch.able]), []).append(switch)
    return [
        {
            "count": len(alike),
            "tier": tier,
            "able": able,
            "groups": _span(len(switch.groups) for switch in alike),
            "ports": -widest,
            "towards": _span(sum(group.destinations for group in switch.groups) for switch in alike),
            "forced": _span(switch.forced for switch in alike),
            "names": some([switch.switch for switch in alike]),
        }
        for (tier, widest, able), alike in sorted(found.items())
    ]


def _span(values: Iterable[int]) -> str:
    every = sorted(set(values))
    return f"{every[0]}" if len(every) == 1 else f"{every[0]} to {every[-1]}"


def _group_row(switch: SwitchGroups, number: int) -> dict[str, Any]:
    group = switch.groups[number]
    ports = fold(map(str, group.ports)).strip("[]")
    return {"switch": switch.switch, "guid": switch.guid, "ports": ports, "destinations": group.destinations}


def _gain_row(gain: AdaptiveGain) -> dict[str, Any]:
    return {
        "operation": gain.operation,
        "size_bytes": gain.size_bytes,
        "size": size_text(gain.size_bytes),
        "static_gb_s": rounded(gain.static_gb_s),
        "adaptive_gb_s": rounded(gain.adaptive_gb_s),
        "speedup": rounded(gain.speedup),
    }
