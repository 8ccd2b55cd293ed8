"""State, speed and width of switch ports that are named one by one: by the `mad` driver, or by UFM, which only isolates.

A port is set on the switch's side: an HCA whose own port is switched off cannot be reached to switch it on again. What nobody
could reach any more afterwards, or what would be lost of the fabric, is worked out first (`fabctl.offload.cut_off`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabctl.errors import RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_switch
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.nodeset import expand
from fabctl.offload.basis import basis_of
from fabctl.offload.cut_off import refuse_cut
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import refuse_unknown
from fabctl.offload.simulator import refuse_ports
from fabctl.offload.site import Site
from fabctl.offload.undo import mirrored
from fabctl.units import Speed

_PORT = re.compile(r"(.+)/P(\d{1,3})")
_SUPPORTED = "supported"
_STATES = {"mad": ("port.state", "enabled", "disabled"), "ufm": ("port-health", "healthy", "unhealthy")}
"""Drivers that switch ports on and off, the first that is there: the key of their places, and its values for on and off."""


@dataclass(frozen=True)
class _Port:
    """A switch port: node index, number, the target of its places, and its name."""

    switch: int
    number: int
    target: str
    label: str


class Ports:
    """Ports of switches: on or off, and at which speed and width."""

    name = "ports"
    keys: Mapping[str, str] = {
        "ports": "the switch ports that are meant: leaf-1/P20,leaf-[2-3]/P[1-4]",
        "speed": "fastest speed to allow, SDR to NDR, or supported; the link is trained anew",
        "width": "widest link to allow, 1X to 12X, or supported; the link is trained anew",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return that ports can be set where a driver is; their state is asked for when they are named."""
        status, fact, source = Status.UNKNOWN, "its ports are set by name: --driver mad or ufm", ""
        if "mad" in site.drivers:
            status, fact, source = Status.CAN, "its ports are switched on and off, and slowed down, by name", "ibportstate(8)"
        elif "ufm" in site.drivers:
            status, fact, source = Status.CAN, "its ports are isolated and let in again, by name", "UFM, app/unhealthy_ports"
        labels = site.fabric.labels[: site.fabric.n_switches]
        return [Assessed(self.name, label, status, fact, source) for label in labels]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return what differs from what is wanted at the ports that are named."""
        refuse_unknown(self, request.values)
        speed, width = request.values.get("speed"), request.values.get("width")
        driver = site.driver("mad") if speed or width else site.driver(*_STATES)
        if driver.name == "mad":
            refuse_ports()
        ports = _named_ports(site.fabric, request)
        if (speed or width) and not request.enable:
            raise UsageError("--disable switches ports off; speed and width are set without it")
        notes: list[str] = []
        if speed or width:
            stage = _rate_stage(driver, ports, speed, width)
        else:
            if not request.enable:
                notes = _refuse_cut(site, driver, ports)
            stage = _state_stage(driver, ports, request.enable)
        stages = (stage,) if stage.changes else ()
        basis = basis_of(site, (change for kept in stages for change in kept.changes))
        return Plan(self.name, request.words, basis, stages, mirrored(stages), tuple(notes))


FEATURE = Ports()


def _named_ports(fabric: Fabric, request: Request) -> list[_Port]:
    text = request.values.get("ports")
    if not text:
        raise UsageError("which ports?", hint="--set ports=leaf-1/P20,leaf-[2-3]/P[1-4]")
    found: dict[tuple[int, int], _Port] = {}
    for name in expand(text):
        match = _PORT.fullmatch(name)
        if match is None:
            raise UsageError(f"'{name}' is no port", hint="write switch/P7")
        switch, number = _switch(fabric, match[1], name), int(match[2])
        known = fabric.port_number[fabric.port_node == switch].max(initial=0)
        if not 1 <= number <= max(int(fabric.node_port_count[switch]), int(known)):
            raise UsageError(f"switch '{fabric.labels[switch]}' has no port {number}", hint="write switch/P7")
        label = f"{fabric.labels[switch]}/P{number}"
        found[switch, number] = _Port(switch, number, f"{fabric.guid_text(switch)}/P{number}", label)
    outside = [port for port in found.values() if port.switch not in request.switches]
    if outside:
        raise UsageError(f"{outside[0].label} is a port of a switch that --switch leaves out")
    return list(found.values())


def _switch(fabric: Fabric, name: str, port: str) -> int:
    if name in fabric.labels[fabric.n_switches :]:
        node = fabric.labels.index(name)
        ends = [fabric.port_label(int(fabric.port_peer[end])) for end in _cabled(fabric, node)]
        raise RefusedError(
            f"'{port}' is a port of an HCA: once it is off, nobody reaches it to switch it on again",
            hint=f"name the other end of its cable: {' or '.join(ends)}" if ends else "name a port of a switch",
        )
    return find_switch(fabric, name)


def _cabled(fabric: Fabric, node: int) -> list[int]:
    return np.flatnonzero((fabric.port_node == node) & (fabric.port_peer >= 0)).tolist()


def _refuse_cut(site: Site, driver: Driver, ports: Sequence[_Port]) -> list[str]:
    """Refuse to switch off what somebody needs; return what is lost nevertheless."""
    local = driver.read(Place(driver.name, FABRIC, "local")) if driver.name == "mad" else None
    lost = refuse_cut(site.fabric, [(port.switch, port.number) for port in ports], local or "")
    return [f"{hca} is off the fabric then; its host has other HCAs" for hca in lost]


def _state_stage(driver: Driver, ports: Sequence[_Port], enable: bool) -> Stage:
    key, on, off = _STATES[driver.name]
    wanted = on if enable else off
    changes = []
    for port in ports:
        place = Place(driver.name, port.target, key)
        old = driver.read(place)
        if old != wanted:
            changes.append(Change(place, old, wanted, Risk.SWEEP, "the link comes up" if enable else "the link goes down"))
    return Stage(f"ports {wanted}", tuple(changes), tuple(Check(change.place, wanted) for change in changes))


def _rate_stage(driver: Driver, ports: Sequence[_Port], speed: str | None, width: str | None) -> Stage:
    changes: list[Change] = []
    checks: list[Check] = []
    for port in ports:
        info = dict(word.split("=", 1) for word in (driver.read(Place(driver.name, port.target, "port.info")) or "").split())
        mine = list(_rate_changes(driver, port, info, speed, width))
        changes += mine
        checks += [Check(change.place, change.new or "") for change in mine]
        if mine and info["physical"] == "LinkUp":
            checks.append(Check(Place(driver.name, port.target, "port.link"), "up"))
    return Stage("links trained anew", tuple(changes), tuple(checks))


def _rate_changes(driver: Driver, port: _Port, info: Mapping[str, str], speed: str | None, width: str | None) -> Iterator[Change]:
    wanted = {}
    if speed:
        wanted["speed"] = _up_to(speed, info["supported_speeds"], [name.name for name in Speed if name], port)
    if width:
        wanted["width"] = _up_to(width, info["supported_widths"], ["1X", "2X", "4X", "8X", "12X"], port)
    for what, new in wanted.items():
        old = info[f"{what}s"]
        if old != new:
            yield Change(Place(driver.name, port.target, f"port.{what}"), old, new, Risk.SWEEP, "the link is trained anew")


def _up_to(word: str, supported: str, order: Sequence[str], port: _Port) -> str:
    """Return those of some rates that a port supports, up to one."""
    possible = supported.split(",")
    if word == _SUPPORTED:
        return supported
    if word not in order:
        raise UsageError(f"'{word}' is none of {', '.join(order)}, {_SUPPORTED}")
    if word not in possible:
        raise RefusedError(f"{port.label} does not support {word}: it supports {', '.join(possible)}")
    return ",".join(name for name in possible if order.index(name) <= order.index(word))
