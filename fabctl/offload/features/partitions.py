"""Partitions: P_Keys of HCAs, and of the switch ports that enforce them, through OpenSM's ``partitions.conf``, or UFM.

A partition that is taken out of the file loses its P_Keys at the next sweep (measured, 3.3.23), so the old file is the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fabctl.errors import InputError, RefusedError, UsageError
from fabctl.model.assessment import Assessed, Status
from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_hca_port
from fabctl.model.offload_plan import FABRIC, Change, Check, Place, Plan, Risk, Stage
from fabctl.nodeset import expand
from fabctl.offload.basis import basis_of
from fabctl.offload.drivers.opensm import OpensmDriver
from fabctl.offload.drivers.opensm_files import PARTITIONS
from fabctl.offload.drivers.opensm_observe import folded
from fabctl.offload.feature import Request
from fabctl.offload.features.settings import refuse_disabling
from fabctl.offload.partitions_conf import (
    DEFAULT_KEY,
    FULL,
    definitions,
    with_definition,
    without_definitions,
)
from fabctl.offload.site import Site
from fabctl.offload.subnet_manager import OPENSM, held_by_ports, opensm
from fabctl.offload.ufm_partitions import UFM, assess_partitions, partition_plan
from fabctl.offload.undo import mirrored

_NAME = re.compile(r"[A-Za-z][\w.-]{0,31}")
_PKEYS = "pkeys"

Keys = Mapping[tuple[str, int], frozenset[int]]
"""P_Keys of each port, by GUID and number."""


class Partitions:
    """One partition, put into force or taken out."""

    name = "partitions"
    keys: Mapping[str, str] = {
        "key": "P_Key, 0x0001 to 0x7ffe",
        "name": "its name in OpenSM's files and log",
        "members": "node set of hosts, HCAs or GUIDs that talk to all members; with --switch: of these switches by default",
        "limited": "node set of those that talk to full members only",
        "ipoib": "yes: with a broadcast group for IPoIB",
    }

    def assess(self, site: Site) -> Sequence[Assessed]:
        """Return how many partitions each switch enforces at its HCAs' ports."""
        fabric = site.fabric
        driver = next((site.drivers[name] for name in OPENSM if name in site.drivers), None)
        if driver is None and UFM in site.drivers:
            return assess_partitions(site, self.name)
        leaves = sorted({int(fabric.port_node[fabric.port_peer[port]]) for port in fabric.endpoints.tolist()})
        leaves = [leaf for leaf in leaves if leaf < fabric.n_switches]
        if driver is None:
            fact = "P_Keys are not in a dump; --driver opensm or ufm reads them"
            return [Assessed(self.name, fabric.labels[leaf], Status.UNKNOWN, fact) for leaf in leaves]
        out = []
        for leaf, held in zip(leaves, held_by_ports(driver, fabric, _PKEYS, leaves), strict=True):
            found = {key & ~FULL for key in set().union(*map(_set, held.values()))} - {DEFAULT_KEY}
            fact = f"{len(found)} partitions beside the default one"
            out.append(Assessed(self.name, fabric.labels[leaf], Status.ON if found else Status.OFF, fact, "smpquery pkeys"))
        return out

    def plan(self, site: Site, request: Request) -> Plan:
        """Return the new file, and the P_Keys that each HCA and each switch at one must hold then."""
        key = _key(request.values)
        if UFM in site.drivers and not any(name in site.drivers for name in OPENSM):
            return self._through_ufm(site, request, key)
        driver = opensm(site)
        place = Place(driver.name, FABRIC, f"file:{PARTITIONS}")
        old = driver.read(place)
        new: str | None
        if request.enable:
            new, members = self._enabled(site, request, key, old)
            why = f"partition {key:#06x} for {len(members)} ports"
        else:
            new, members = self._disabled(request, key, old), {}
            why = f"without partition {key:#06x}"
        if new == old:
            return Plan(self.name, request.words, basis_of(site, ()), (), ())
        before = _held(driver, site.fabric)
        if not _enforced(driver):
            before = {port: keys for port, keys in before.items() if _end(site.fabric, port) == port}
        gone = frozenset() if request.enable else frozenset({key, key | FULL})
        wanted = {
            port: (keys - gone) | {value for value in (members.get(_end(site.fabric, port)),) if value is not None}
            for port, keys in before.items()
        }
        stages = (Stage("P_Keys", (Change(place, old, new, Risk.SWEEP, why),), _checks(driver, wanted)),)
        notes = _notes(old, request, enforced=_enforced(driver))
        return Plan(self.name, request.words, basis_of(site, stages[0].changes), stages, mirrored(stages), notes)

    def _enabled(self, site: Site, request: Request, key: int, old: str | None) -> tuple[str, dict[tuple[str, int], int]]:
        values, fabric = request.values, site.fabric
        name = values.get("name", f"P{key:04x}")
        if not _NAME.fullmatch(name) or name == "Default":
            raise UsageError(f"--set name={name}: a letter, then letters, digits, _ . and -; not Default")
        full, limited = _full_and_limited(site, request)
        words = [f"{fabric.port_guid[port]:#018x}=full" for port in full] + [
            f"{fabric.port_guid[port]:#018x}=limited" for port in limited
        ]
        new = with_definition(old, name, key, ["ipoib"] if values.get("ipoib") == "yes" else [], [",\n    ".join(words)])
        taken = [one for one in definitions(old or "") if one.key == key or one.name == name]
        if taken:
            mine = definitions(new)[-1]
            if len(taken) == 1 and taken[0].key == key and set(taken[0].members.split(",")) == set(mine.members.split(",")):
                return old or "", {}
            what = f"P_Key {key:#06x}" if taken[0].key == key else f"the name {name}"
            raise RefusedError(
                f"{what} is taken by the partition '{taken[0].name}'",
                hint=f"fabctl offload disable partitions --set key={key:#06x}",
            )
        members = {(_guid(fabric, port), int(fabric.port_number[port])): key | FULL for port in full}
        return new, members | {(_guid(fabric, port), int(fabric.port_number[port])): key for port in limited}

    def _disabled(self, request: Request, key: int, old: str | None) -> str | None:
        refuse_disabling(request.values, but=("key",))
        gone = [one for one in definitions(old or "") if one.key == key]
        return without_definitions(old, gone) if old is not None and gone else old

    def _through_ufm(self, site: Site, request: Request, key: int) -> Plan:
        full: list[int] = []
        limited: list[int] = []
        if request.enable:
            if "name" in request.values:
                raise UsageError("UFM names its partitions itself", hint="leave name= away")
            full, limited = _full_and_limited(site, request)
        else:
            refuse_disabling(request.values, but=("key",))
        return partition_plan(site, request, self.name, key, full, limited, ipoib=request.values.get("ipoib") == "yes")


FEATURE = Partitions()


def _held(driver: OpensmDriver, fabric: Fabric) -> Keys:
    """Return the P_Keys of all HCA ports, and of the switch ports before them."""
    ends = fabric.endpoints[fabric.is_hca[fabric.port_node[fabric.endpoints]]]
    peers = fabric.port_peer[ends]
    ports = [*ends.tolist(), *peers[(peers >= 0) & (fabric.port_node[peers] < fabric.n_switches)].tolist()]
    nodes = sorted({int(fabric.port_node[port]) for port in ports})
    return {
        (fabric.guid_text(node), number): _set(keys)
        for node, found in zip(nodes, held_by_ports(driver, fabric, _PKEYS, nodes), strict=True)
        for number, keys in found.items()
    }


def _checks(driver: OpensmDriver, wanted: Keys) -> tuple[Check, ...]:
    """Return what must be read back, one check for each node."""
    nodes: dict[str, dict[str, list[int]]] = {}
    for (target, number), keys in wanted.items():
        nodes.setdefault(target, {}).setdefault(_text(keys), []).append(number)
    return tuple(Check(Place(driver.name, target, _PKEYS), folded(ports)) for target, ports in nodes.items())


def _enforced(driver: OpensmDriver) -> bool:
    """Return whether OpenSM gives P_Keys to the switch ports before HCAs."""
    values = driver.settings.values
    return values.get("part_enforce", "both") != "off" and values.get("no_partition_enforcement", "FALSE") != "TRUE"


def _key(values: Mapping[str, str]) -> int:
    text = values.get("key", "")
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,4}|\d{1,5}", text):
        raise UsageError("a partition needs its key", hint="--set key=0x0012")
    key = int(text, 0)
    if not 0 < key < DEFAULT_KEY:
        raise UsageError(f"P_Key {text} is not within 0x0001 and 0x7ffe; membership is not part of it")
    return key


def _full_and_limited(site: Site, request: Request) -> tuple[list[int], list[int]]:
    """Return the HCA ports that are to be full members, and those that are to be limited ones."""
    values, fabric = request.values, site.fabric
    if values.get("ipoib", "no") not in ("yes", "no"):
        raise UsageError("--set ipoib takes yes or no")
    full, limited = _members(site, request), _ports(fabric, values.get("limited", ""))
    both = sorted(set(full) & set(limited))
    if "members" not in values:
        full = [port for port in full if port not in set(limited)]
    elif both:
        raise UsageError(f"{fabric.port_label(both[0])} is both a full and a limited member")
    unknown = next((port for port in (*full, *limited) if not fabric.port_guid[port]), None)
    if unknown is not None:
        raise InputError(f"the port GUID of {fabric.port_label(unknown)} is unknown", hint="--live knows it")
    return full, limited


def _members(site: Site, request: Request) -> list[int]:
    fabric = site.fabric
    if "members" in request.values:
        return _ports(fabric, request.values["members"])
    if len(request.switches) == fabric.n_switches:
        raise UsageError("a partition needs members", hint="--set members=node-[01-16], or --switch leaf-01")
    ends = fabric.endpoints[fabric.is_hca[fabric.port_node[fabric.endpoints]]]
    found = ends[np.isin(fabric.port_node[fabric.port_peer[ends]], request.switches)].tolist()
    if not found:
        raise InputError("no HCA hangs from these switches", hint="--set members=NODESET")
    return found


def _ports(fabric: Fabric, nodeset: str) -> list[int]:
    """Return the connected HCA ports of hosts, HCAs, ports or GUIDs."""
    hosts = fabric.hosts
    ends = fabric.endpoints[fabric.is_hca[fabric.port_node[fabric.endpoints]]]
    out: list[int] = []
    for name in expand(nodeset) if nodeset else ():
        if name in hosts.name:
            out += ends[hosts.node_host[fabric.port_node[ends]] == hosts.name.index(name)].tolist()
        else:
            out.append(find_hca_port(fabric, name))
    return list(dict.fromkeys(out))


def _end(fabric: Fabric, port: tuple[str, int]) -> tuple[str, int]:
    """Return the HCA port that a port is, or that hangs from it."""
    node = int(np.flatnonzero(fabric.node_guid == int(port[0], 16))[0])
    if node >= fabric.n_switches:
        return port
    own = np.flatnonzero((fabric.port_node == node) & (fabric.port_number == port[1]))[0]
    peer = int(fabric.port_peer[own])
    return _guid(fabric, peer), int(fabric.port_number[peer])


def _guid(fabric: Fabric, port: int) -> str:
    return fabric.guid_text(int(fabric.port_node[port]))


def _set(text: str) -> frozenset[int]:
    return frozenset(int(word, 16) for word in text.split())


def _text(keys: Iterable[int]) -> str:
    return " ".join(f"{key:#06x}" for key in sorted(keys))


def _notes(old: str | None, request: Request, *, enforced: bool) -> tuple[str, ...]:
    notes = [] if enforced else ["part_enforce is off: switches let packets of any partition through, HCAs alone check"]
    if old is None:
        notes.append("there was no partitions.conf: the new one says first what OpenSM does without, full membership for all")
    elif not any(one.key == DEFAULT_KEY for one in definitions(old)):
        notes.append(
            "partitions.conf has no rule for the default partition: all ports but the subnet manager's are limited there"
        )
    if request.values.get("ipoib") == "yes":
        notes.append("OpenSM keeps the IPoIB broadcast group, without members, until it restarts, even if the partition goes")
    return tuple(notes)
