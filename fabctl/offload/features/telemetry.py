"""Error counters of switches' ports, held against thresholds. Nothing is written, and no counter is reset.

The thresholds are those that infiniband-diags ships in ``error_thresholds``; PortXmitWait, which counts congestion and not
errors, has one only if it is asked for. Counters hold what has happened since they were last reset, and stop at their largest
value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fabctl.errors import SourceError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import Place, Plan
from fabctl.offload.at_once import at_once
from fabctl.offload.basis import basis_of
from fabctl.offload.driver import Driver
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import number, refuse_unknown
from fabctl.offload.site import Site

THRESHOLDS = {
    "SymbolErrorCounter": 10,
    "LinkErrorRecoveryCounter": 10,
    "LinkDownedCounter": 10,
    "PortRcvErrors": 10,
    "PortRcvRemotePhysicalErrors": 100,
    "PortRcvSwitchRelayErrors": 100,
    "PortXmitDiscards": 100,
    "PortXmitConstraintErrors": 100,
    "PortRcvConstraintErrors": 100,
    "LocalLinkIntegrityErrors": 10,
    "ExcessiveBufferOverrunErrors": 10,
    "VL15Dropped": 100,
}
"""Most that is no finding (infiniband-diags 44, ``error_thresholds``)."""

_ON_REQUEST = "PortXmitWait"
_LARGEST = {4: 15, 8: 255, 16: 65_535, 32: 4_294_967_295}
_BITS = {
    "LinkErrorRecoveryCounter": 8,
    "LinkDownedCounter": 8,
    "PortXmitConstraintErrors": 8,
    "PortRcvConstraintErrors": 8,
    "LocalLinkIntegrityErrors": 4,
    "ExcessiveBufferOverrunErrors": 4,
    _ON_REQUEST: 32,
}
"""Widths that are not 16 bits (IBA vol. 1, PortCounters, 16.1.3.5)."""

_DRIVERS = ("mad", "ufm")


@dataclass(frozen=True)
class _Finding:
    """A counter above its threshold."""

    port: str
    counter: str
    count: int

    def __str__(self) -> str:
        largest = _LARGEST[_BITS.get(self.counter, 16)]
        return f"P{self.port} {self.counter} {'at least ' if self.count >= largest else ''}{self.count}"


class Telemetry:
    """Counters that are read; there is nothing to switch on."""

    name = "telemetry"
    keys: Mapping[str, str] = {
        **{name: f"most that is no finding [default: {most}]" for name, most in THRESHOLDS.items()},
        _ON_REQUEST: "most that is no finding, in ticks without credits [default: it is not looked at]",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return for each switch which of its ports' counters are above their thresholds."""
        driver, fabric = _driver(site), site.fabric
        told = at_once(lambda switch: _status(site, driver, switch), range(fabric.n_switches))
        return [Assessed(self.name, fabric.labels[switch], *words) for switch, words in enumerate(told)]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return a plan that changes nothing; its notes are the findings."""
        refuse_unknown(self, request.values)
        values = request.values
        thresholds = {name: number(values, name, 0, _LARGEST[32], most) for name, most in THRESHOLDS.items()}
        if _ON_REQUEST in values:
            thresholds[_ON_REQUEST] = number(values, _ON_REQUEST, 0, _LARGEST[32], 0)
        driver = site.driver(*_DRIVERS)
        found = at_once(lambda switch: list(_findings(site, driver, switch, thresholds)), request.switches)
        notes = [
            f"{site.fabric.labels[switch]}/{finding}, more than {thresholds[finding.counter]}"
            for switch, findings in zip(request.switches, found, strict=True)
            for finding in findings
        ]
        summary = f"{len(notes)} counters are above their thresholds on {len(request.switches)} switches; nothing is written"
        return Plan(self.name, request.words, basis_of(site, ()), (), (), (summary, *notes))


FEATURE = Telemetry()


def _driver(site: Site) -> Driver | None:
    return next((site.drivers[name] for name in _DRIVERS if name in site.drivers), None)


def _status(site: Site, driver: Driver | None, switch: int) -> tuple[Status, str, str]:
    if driver is None:
        return Status.UNKNOWN, "counters are on the switch: --driver mad", ""
    try:
        found = list(_findings(site, driver, switch, THRESHOLDS))
    except SourceError as error:
        return Status.UNKNOWN, "does not answer for its counters", error.message
    if not found:
        return Status.ON, "no error counter above its threshold", "PortCounters"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return Status.ON, "; ".join(map(str, found[:3])) + more, "PortCounters"


def _findings(site: Site, driver: Driver, switch: int, thresholds: Mapping[str, int]) -> Iterator[_Finding]:
    counted = json.loads(driver.read(Place(driver.name, site.fabric.guid_text(switch), "counters")) or "{}")
    for port, counters in counted.items():
        for name, most in thresholds.items():
            if counters.get(name, 0) > most:
                yield _Finding(port, name, counters[name])
