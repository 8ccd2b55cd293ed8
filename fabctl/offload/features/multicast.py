"""Multicast groups that are there without a member: made by OpenSM from ``partitions.conf``, with rate, MTU and SL as given.

OpenSM keeps a group that is not configured any more, without members, until it restarts (measured, 3.3.23): what is taken back is
what the file asks for, and a plan says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from fabctl.errors import RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.offload.basis import basis_of
from fabctl.offload.drivers.opensm_files import PARTITIONS
from fabctl.offload.drivers.opensm_observe import effective_group, is_ip_group, observe_group
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import number, refuse_disabling
from fabctl.offload.partitions_conf import DEFAULT_KEY, definitions, with_definition, without_definitions
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM, opensm
from fabctl.offload.undo import mirrored

_MTU = {256: 1, 512: 2, 1024: 3, 2048: 4, 4096: 5}
"""Codes of MTUs (InfiniBand Architecture Specification volume 1, 15.2.5.16)."""

_NAME = "fabctl-multicast"


class Multicast:
    """One group of the default partition."""

    name = "multicast"
    keys: Mapping[str, str] = {
        "mgid": "the group, as ff12:401b::16 or ff12::1",
        "sl": "service level, 0 to 15; 0 by default",
        "mtu": "MTU in bytes: 256, 512, 1024, 2048 or 4096; 2048 by default; not for IP groups",
        "rate": "code of the rate (opensm(8)): 3 is 10 Gb/s, the default; not for IP groups",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return how many groups ``partitions.conf`` makes."""
        driver = next((site.drivers[name] for name in OPENSM if name in site.drivers), None)
        if driver is None:
            return [Assessed(self.name, FABRIC, Status.UNKNOWN, "groups are not in a dump; --driver opensm asks for them")]
        text = driver.read(Place(driver.name, FABRIC, f"file:{PARTITIONS}")) or ""
        count = sum(one.members.count("mgid=") for one in definitions(text))
        fact = f"{count} groups in partitions.conf, beside that of IPoIB"
        return [Assessed(self.name, FABRIC, Status.ON if count else Status.OFF, fact, PARTITIONS)]

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the new ``partitions.conf``, and what the subnet manager must answer then."""
        if len(request.switches) < site.fabric.n_switches:
            raise RefusedError("a multicast group belongs to the whole fabric", hint="leave --switch away")
        values = request.values
        group = _group(values.get("mgid", ""))
        driver = opensm(site)
        place = Place(driver.name, FABRIC, f"file:{PARTITIONS}")
        old = driver.read(place)
        mine = [one for one in definitions(old or "") if one.asks_for(group)]
        if not request.enable:
            refuse_disabling(values, but=("mgid",))
            new = without_definitions(old, [one for one in mine if one.name == _NAME]) if old is not None else None
            return _plan(site, request, Change(place, old, new, Risk.SWEEP, f"without group {group}"), ())
        line, value = _wanted(group, values)
        there = observe_group(effective_group(group)).value
        if there not in (None, value):
            raise RefusedError(
                f"the group is there already, with {there}", hint="OpenSM drops it at a restart if no file asks for it"
            )
        new = old if mine else with_definition(old, _NAME, DEFAULT_KEY, (), [line, "SELF=full"])
        check = Check(Place(driver.name, FABRIC, f"mcast:{group}"), value)
        return _plan(site, request, Change(place, old, new, Risk.SWEEP, f"group {group}"), (check,))


FEATURE = Multicast()


def _group(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise UsageError(f"--set mgid={text} is no GID", hint="--set mgid=ff12:401b::16") from error
    if not address.is_multicast:
        raise UsageError(f"{text} is no multicast GID: they begin with ff")
    return str(address)


def _wanted(group: str, values: Mapping[str, str]) -> tuple[str, str]:
    """Return the line of the file, and what the subnet manager answers then."""
    sl = number(values, "sl", 0, 15, 0)
    if is_ip_group(group):
        if values.keys() & {"mtu", "rate"}:
            raise UsageError("an IP group has the MTU and the rate of IPoIB's broadcast group", hint="leave mtu and rate away")
        like = observe_group(effective_group(f"{group.partition(':')[0]}:401b::ffff:ffff")).value
        if like is None:
            raise RefusedError("there is no broadcast group of IPoIB, whose MTU and rate an IP group has")
        return f"mgid={group},sl={sl}", f"{like.rpartition(' ')[0]} {sl}"
    mtu, rate = _mtu(values), number(values, "rate", 0, 63, 3)
    return f"mgid={group},sl={sl},mtu={mtu},rate={rate}", f"P_Key {DEFAULT_KEY:#06x}, rate {rate}, MTU {mtu}, SL {sl}"


def _plan(site: Site, request: Request, change: Change, checks: tuple[Check, ...]) -> Plan:
    if change.old == change.new:
        return Plan("multicast", request.words, basis_of(site, ()), (), ())
    stages = (Stage("group", (change,), checks),)
    note = "OpenSM keeps a group that no file asks for any more, without members, until it restarts"
    return Plan("multicast", request.words, basis_of(site, [change]), stages, mirrored(stages), (note,))


def _mtu(values: Mapping[str, str]) -> int:
    text = values.get("mtu", "2048")
    if not text.isdecimal() or int(text) not in _MTU:
        raise UsageError(f"--set mtu={text} is no MTU", hint=f"one of {', '.join(map(str, _MTU))}")
    return _MTU[int(text)]
