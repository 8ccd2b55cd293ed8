"""Congestion control of the InfiniBand Architecture: switches mark packets where queues grow, and senders slow down.

Set per switch, and per HCA port where it is asked for, by the `mad` driver. This is annex A10 of the specification, which OpenSM
configures the same for all switches. Without ``mad``, NVIDIA's OpenSM does it its own way (`fabctl.offload.nvidia_congestion`).

Defaults: ``threshold``, ``marking_rate``, ``packet_size``, ``ccti_increase`` and ``trigger_threshold`` are those of Mellanox's
Congestion Control Manager (Mellanox OFED user manual 2.3, section 3.2.2.8.1; 512 bytes are 8 credits); ``ccti_timer`` and the
linear table are those of the examples of ``ibccconfig(8)``. The victim mask marks "whether they are the source or victim of
congestion" (OpenSM's opensm.conf): it is set for ports to HCAs, because an HCA that takes packets too slowly leaves its port
without credits, which looks as if the congestion were elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fabctl.errors import RefusedError, SourceError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.offload import nvidia_congestion
from fabctl.offload.at_once import at_once
from fabctl.offload.basis import basis_of
from fabctl.offload.congestion_values import (
    IDLE,
    N_SLS,
    CaSetting,
    Reaction,
    SwitchSetting,
    parse_ports,
    parse_table,
    table_text,
)
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import number, refuse_unknown
from fabctl.offload.simulator import CONGESTION_CONTROL, refuse_congestion_control, simulator
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored

_HCA_KEYS = ("ccti_timer", "ccti_increase", "trigger_threshold", "ccti_min", "cct", "sls", "sharp_sls")
_BLOCK = 64
_MAX_TABLE = 128
"""Two blocks, as OpenSM writes."""

_OPENSM = ("opensm", "twin")


class CongestionControl:
    """Marking in switches, and reactions of HCAs where they are asked for."""

    name = "congestion-control"
    keys: Mapping[str, str] = {
        "threshold": "how soon a switch marks: 0 never, 1 late ... 15 at once [default: 15]",
        "marking_rate": "mean number of packets between two marked ones, 0 to 65535 [default: 10]",
        "packet_size": "smaller packets are not marked; credits of 64 bytes, 0 to 255 [default: 8]",
        "victim_mask": "ports that mark without credits too: hosts, all, none, 1-18,21, or a mask such as 0x1e [default: hosts]",
        "credit_mask": "ports that act on credit starvation, in the same words [default: as it is]",
        "hcas": "whether the HCAs of these switches are set too: yes or no [default: yes with any key below, else no]",
        "ccti_timer": "time after which a sender speeds up a step, 0 to 65535, units of 1.024 us [default: 150]",
        "ccti_increase": "steps that a sender slows down for each mark, 0 to 255 [default: 1]",
        "trigger_threshold": "steps at which an HCA logs an event, 0 to 255 [default: 2]",
        "ccti_min": "steps below which a sender does not speed up, 0 to 127 [default: 0]",
        "cct": f"pauses by step, shift:multiplier, at most {_MAX_TABLE} [default: 0:0-127]",
        "sls": "SLs that react: numbers and ranges, 0-7,9 [default: 0-15]",
        "sharp_sls": "SLs that SHARP uses, which must not react; none where it uses none",
        **nvidia_congestion.KEYS,
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return what NVIDIA's OpenSM is told, and what each switch says of itself."""
        told = at_once(lambda switch: _status(site, switch), range(site.fabric.n_switches))
        switches = [Assessed(self.name, site.fabric.labels[switch], *words) for switch, words in enumerate(told)]
        return [*nvidia_congestion.assess(site), *switches]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the settings that differ from what is wanted, with those of now as the way back."""
        refuse_unknown(self, request.values)
        if nvidia_congestion.wanted(site, request.values):
            return nvidia_congestion.plan(site, request)
        refuse_congestion_control()
        if not request.enable and request.values.keys() - {"hcas"}:
            raise UsageError("--disable takes no settings but hcas=yes: marking is switched off, everything else stays")
        driver = site.driver("mad")
        _refuse_overwritten(site)
        change_hcas = _reactions if request.enable else _no_reactions
        hcas = list(change_hcas(site, request, driver)) if _with_hcas(request.values) else []
        stages = [_stage("HCAs react", hcas), _stage("switches mark", list(_switch_changes(site, request, driver)))]
        if not request.enable:
            stages.reverse()
        kept = tuple(stage for stage in stages if stage.changes)
        basis = basis_of(site, (change for stage in kept for change in stage.changes))
        return Plan(self.name, request.words, basis, kept, mirrored(kept), tuple(_notes(site, request)))


FEATURE = CongestionControl()


def _status(site: Site, switch: int) -> tuple[Status, str, str]:
    found = simulator()
    if found:
        return Status.CANNOT, f"{CONGESTION_CONTROL} ({found})", "ibsim 0.10"
    if "mad" not in site.drivers:
        return Status.UNKNOWN, "only the switch can say: --driver mad", ""
    try:
        observed = site.drivers["mad"].observe(Place("mad", site.fabric.guid_text(switch), "cc.switch"))
    except SourceError as error:
        return Status.UNKNOWN, "does not answer congestion control MADs", error.message
    except RefusedError as error:
        return Status.CANNOT, "has no congestion control", error.message
    setting = SwitchSetting.parse(observed.value or "")
    if not setting.threshold:
        return Status.OFF, "marks no packets", "ibccquery SwitchCongestionSetting"
    return Status.ON, f"threshold {setting.threshold}, marking rate {setting.rate}", "ibccquery SwitchCongestionSetting"


def _refuse_overwritten(site: Site) -> None:
    for name in _OPENSM:
        if name not in site.drivers:
            continue
        value = site.drivers[name].read(Place(name, FABRIC, "conf:congestion_control"))
        if value is not None and value.upper() in ("TRUE", "1", "YES", "ON"):
            raise RefusedError(
                "OpenSM configures congestion control itself (congestion_control TRUE), the same on all switches, and would"
                " overwrite what is set here",
                hint="set congestion_control FALSE in opensm.conf, and send OpenSM a HUP",
            )


def _with_hcas(values: Mapping[str, str]) -> bool:
    asked = any(key in values for key in _HCA_KEYS)
    word = values.get("hcas", "yes" if asked else "no")
    if word not in ("yes", "no"):
        raise UsageError(f"hcas is yes or no, not '{word}'")
    if word == "no" and asked:
        raise UsageError(f"{next(key for key in _HCA_KEYS if key in values)} is of HCAs, and hcas=no leaves them as they are")
    return word == "yes"


def _switch_changes(site: Site, request: Request, driver: Driver) -> Iterator[Change]:
    values = request.values
    threshold = number(values, "threshold", 0, 15, 15)
    rate = number(values, "marking_rate", 0, 0xFFFF, 10)
    size = number(values, "packet_size", 0, 255, 8)
    masks = {key: _mask(site.fabric, request, key) for key in ("victim_mask", "credit_mask")}
    places = [Place(driver.name, site.fabric.guid_text(switch), "cc.switch") for switch in request.switches]
    for switch, place, text in zip(request.switches, places, at_once(driver.read, places), strict=True):
        old = SwitchSetting.parse(text or "")
        new = replace(old, threshold=0)
        if request.enable:
            victims, starving = (mask[switch] if mask else None for mask in masks.values())
            new = replace(
                old,
                threshold=threshold,
                rate=rate,
                size=size,
                victims=_host_ports(site.fabric, switch) if victims is None else victims,
                credits=old.credits if starving is None else starving,
            )
        yield Change(place, old.text, new.text, Risk.HOT, "marks packets" if request.enable else "marks none")


def _reactions(site: Site, request: Request, driver: Driver) -> Iterator[Change]:
    """Yield what makes HCAs slow down for marked packets."""
    values, fabric = request.values, site.fabric
    reaction = Reaction(
        number(values, "ccti_timer", 0, 0xFFFF, 150),
        number(values, "ccti_increase", 0, 255, 1),
        number(values, "trigger_threshold", 0, 255, 2),
        number(values, "ccti_min", 0, 127, 0),
    )
    table, n_entries = _table(values)
    if reaction.minimum >= n_entries:
        raise UsageError(f"ccti_min is {reaction.minimum}, and the table has {n_entries} entries")
    levels = _levels(values, "sls", frozenset(range(N_SLS))) - _sharp_levels(fabric, values)
    ports = _hca_ports(fabric, request.switches)
    for port, info in zip(ports, _read(driver, fabric, ports, "cc.info").values(), strict=True):
        _refuse_long_table(info, n_entries, fabric.port_label(port))
    settings, tables = (_read(driver, fabric, ports, key) for key in ("cc.ca", "cc.table"))
    for (place, text), (entries, held) in zip(settings.items(), tables.items(), strict=True):
        yield Change(entries, held, table, Risk.HOT, "pauses by step")
        new = CaSetting.parse(text).reacting(levels, reaction)
        yield Change(place, text, new.text, Risk.HOT, "slows down for marked packets")


def _no_reactions(site: Site, request: Request, driver: Driver) -> Iterator[Change]:
    """Yield what keeps HCAs from slowing down."""
    for place, text in _read(driver, site.fabric, _hca_ports(site.fabric, request.switches), "cc.ca").items():
        new = replace(CaSetting.parse(text), reactions=(IDLE,) * N_SLS)
        yield Change(place, text, new.text, Risk.HOT, "does not react")


def _read(driver: Driver, fabric: Fabric, ports: Sequence[int], key: str) -> dict[Place, str]:
    """Return what HCA ports hold, by place and in order."""
    targets = [f"{fabric.guid_text(int(fabric.port_node[port]))}/P{fabric.port_number[port]}" for port in ports]
    places = [Place(driver.name, target, key) for target in targets]
    return {place: text or "" for place, text in zip(places, at_once(driver.read, places), strict=True)}


def _stage(name: str, changes: Sequence[Change]) -> Stage:
    """Return the changes that change something, and that they must hold."""
    wanted = tuple(change for change in changes if change.old != change.new)
    return Stage(name, wanted, tuple(Check(change.place, change.new or "") for change in wanted))


def _table(values: Mapping[str, str]) -> tuple[str, int]:
    """Return the table that is asked for, and how many entries it has."""
    try:
        entries = parse_table(values.get("cct", "0:0-127"))
    except ValueError as error:
        raise UsageError(f"cct: {error}", hint="--set cct=0:0-127") from error
    if len(entries) > _MAX_TABLE:
        raise UsageError(f"cct has {len(entries)} entries, more than {_MAX_TABLE}", hint="--set cct=0:0-127")
    return table_text(entries), len(entries)


def _refuse_long_table(info: str, n_entries: int, label: str) -> None:
    room = int(info.rpartition("table_blocks=")[2] or 0) * _BLOCK
    if room < n_entries:
        raise RefusedError(
            f"{label} takes {room} entries of a congestion control table, not {n_entries}",
            hint=f"--set cct=0:0-{room - 1}" if room else "leave its switch out: --switch",
        )


def _hca_ports(fabric: Fabric, switches: Sequence[int]) -> list[int]:
    """Return the HCA ports that are connected to some switches."""
    chosen = np.isin(fabric.port_node[fabric.port_peer], list(switches)) & (fabric.port_peer >= 0)
    return np.flatnonzero(chosen & fabric.is_hca[fabric.port_node]).tolist()


def _host_ports(fabric: Fabric, switch: int) -> int:
    mine = (fabric.port_node == switch) & (fabric.port_peer >= 0)
    ports = np.flatnonzero(mine & fabric.is_hca[fabric.port_node[fabric.port_peer]])
    return sum(1 << number for number in fabric.port_number[ports].tolist())


def _mask(fabric: Fabric, request: Request, key: str) -> dict[int, int] | None:
    """Return a mask for each switch that is meant; None where nothing was said."""
    word = request.values.get(key)
    if word is None:
        return None
    masks = {}
    for switch in request.switches:
        every = (1 << int(fabric.node_port_count[switch]) + 1) - 2
        named = {"hosts": _host_ports(fabric, switch), "all": every, "none": 0}
        try:
            masks[switch] = named[word] if word in named else int(word, 16) if word.startswith("0x") else parse_ports(word)
        except ValueError as error:
            raise UsageError(f"{key} is hosts, all, none, ports such as 1-18, or a mask such as 0x1e, not '{word}'") from error
        if masks[switch] & ~(every | 1):
            raise UsageError(f"{key} names ports that switch '{fabric.labels[switch]}' does not have: '{word}'")
    return masks


def _levels(values: Mapping[str, str], key: str, default: frozenset[int]) -> frozenset[int]:
    word = values.get(key)
    if word is None or word == "none":
        return frozenset() if word else default
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or not (last if dash else first).isdecimal():
            raise UsageError(f"{key}: '{part}' is no SL", hint=f"--set {key}=0-7,9")
        found |= set(range(int(first), int(last if dash else first) + 1))
    if not found or max(found) >= N_SLS:
        raise UsageError(f"{key}: SLs are 0 to {N_SLS - 1}", hint=f"--set {key}=0-7,9")
    return frozenset(found)


def _sharp_levels(fabric: Fabric, values: Mapping[str, str]) -> frozenset[int]:
    n_aggregating = int(np.count_nonzero(fabric.is_aggregation))
    if n_aggregating and "sharp_sls" not in values:
        raise RefusedError(
            f"the fabric has {n_aggregating} SHARP aggregation nodes, and congestion control cannot be configured on the SLs that"
            " sharp_am uses (SHARP release notes, known issue 3371820); which those are is not known here",
            hint="say it: --set sharp_sls=0, or sharp_sls=none if SHARP is not in use",
        )
    return _levels(values, "sharp_sls", frozenset())


def _notes(site: Site, request: Request) -> Iterator[str]:
    if not any(name in site.drivers for name in _OPENSM):
        yield (
            "an OpenSM with congestion_control TRUE overwrites these settings, the same on all switches; it is FALSE unless"
            " somebody set it"
        )
    if request.enable and not _with_hcas(request.values):
        yield "HCAs stay as they are: switches mark, and senders slow down only if their HCAs are set (--set hcas=yes)"
    if site.fabric.is_aggregation.any():
        yield "a switch marks packets of all SLs; SHARP's SLs are left out where HCAs react"
    yield "the switches hold these settings, and no file does: fabctl offload drift tells if one lost them"
