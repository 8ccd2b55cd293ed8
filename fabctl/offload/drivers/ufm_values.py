"""UFM's JSON as values that fabctl plans, writes and compares: one line of text each, equal whenever UFM's state is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from fabctl.errors import InputError, SourceError
from fabctl.printable import printable

FULL_MEMBER = 0x8000
DEFAULT_PKEY = 0x7FFF

_GUID = re.compile(r"(?:0x)?([0-9a-fA-F]{16})")
_PARTITION = re.compile(
    r"ipoib=(?P<ipoib>yes|no) index0=(?P<index0>yes|no|mixed)(?P<members>(?: 0x[0-9a-f]{16}=(?:full|limited))*)"
)
_FLAGS = {"yes": True, "no": False, "mixed": None}


@dataclass(frozen=True)
class Partition:
    """A partition as UFM keeps it.

    Parameters
    ----------
    members : mapping of int to bool
        Port GUIDs; True: full member.
    ipoib : bool
        Whether IP over InfiniBand runs in it.
    index0 : bool, optional
        Whether the P_Key is the first in its members' tables; None: for some of them.
    """

    members: Mapping[int, bool]
    ipoib: bool = True
    index0: bool | None = False

    @property
    def text(self) -> str:
        """``ipoib=yes index0=no 0x0c42a10300280000=full ...``, the GUIDs in order."""
        members = (f"{guid:#018x}={'full' if full else 'limited'}" for guid, full in sorted(self.members.items()))
        index0 = "mixed" if self.index0 is None else _yes(self.index0)
        return " ".join((f"ipoib={_yes(self.ipoib)}", f"index0={index0}", *members))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` wrote.

        Raises
        ------
        InputError
            For anything else.
        """
        match = _PARTITION.fullmatch(text)
        if match is None:
            raise InputError(f"'{text}' is no partition", hint="ipoib=yes index0=no 0x0c42a10300280000=full ...")
        members = (member.split("=") for member in match["members"].split())
        return cls({int(guid, 16): kind == "full" for guid, kind in members}, match["ipoib"] == "yes", _FLAGS[match["index0"]])

    @classmethod
    def of_json(cls, answer: Any) -> Self:
        """Return it from ``GET resources/pkeys/PKEY?guids_data=true``.

        Raises
        ------
        SourceError
            If the answer is not in that form.
        """
        with _as_documented("a partition"):
            members, first = {}, set()
            for member in answer["guids"]:
                if member["membership"] not in {"full", "limited"}:
                    raise ValueError(member)
                members[guid_of(member["guid"])] = member["membership"] == "full"
                first.add(bool(member.get("index0", False)))
            index0 = None if len(first) > 1 else first == {True}
            return cls(members, bool(answer["ip_over_ib"]), index0)

    def body(self, pkey: int) -> dict[str, object]:
        """Return what ``PUT resources/pkeys`` takes."""
        guids = sorted(self.members)
        return {
            "pkey": pkey_path(pkey),
            "ip_over_ib": self.ipoib,
            "index0": bool(self.index0),
            "guids": [bare_guid(guid) for guid in guids],
            "memberships": ["full" if self.members[guid] else "limited" for guid in guids],
        }


def keys_of(answer: Any) -> list[str]:
    """Return the P_Keys of all partitions, ``0x8012``, in order, from ``GET resources/pkeys``.

    Raises
    ------
    SourceError
        If the answer is not in that form, or lacks the default partition, which is always there.
    """
    with _as_documented("a list of partitions"):
        keys = sorted(int(key, 16) for key in answer)
        if DEFAULT_PKEY not in keys:
            raise ValueError(keys)
        return [f"{key | FULL_MEMBER:#06x}" for key in keys]


def reservations_of(answer: Any) -> list[str]:
    """Return the names of all SHARP reservations, in order, from ``GET app/sharp/allocate_resources``.

    Raises
    ------
    SourceError
        If the answer is not in that form.
    """
    with _as_documented("a list of SHARP reservations"):
        return sorted(printable(name) for name in answer)


def quality_text(answer: Any) -> str | None:
    """Return ``mtu=2 rate=2.5 sl=0`` of a partition read with ``qos_conf=true``; None if UFM says nothing of it."""
    with _as_documented("a partition's QoS"):
        found = answer.get("qos_conf")
        return f"mtu={found['mtu_limit']} rate={found['rate_limit']:g} sl={found['service_level']}" if found else None


def quality_body(text: str, pkey: int) -> dict[str, object]:
    """Return what ``PUT resources/pkeys/qos_conf`` takes.

    Raises
    ------
    InputError
        If the text is not as `quality_text` writes it.
    """
    match = re.fullmatch(r"mtu=(\d+) rate=(\d+(?:\.\d+)?) sl=(\d+)", text)
    if match is None:
        raise InputError(f"'{text}' is no QoS of a partition", hint="mtu=2 rate=2.5 sl=0")
    return {
        "pkey": pkey_path(pkey),
        "mtu_limit": int(match[1]),
        "rate_limit": float(match[2]),
        "service_level": int(match[3]),
    }


@dataclass(frozen=True)
class Reservation:
    """What SHARP reserves for a job.

    Parameters
    ----------
    guids : tuple of int
        Port GUIDs, in order.
    pkey : int
        Of the job's partition, without the membership bit; UFM takes the default one if it is not told another.
    """

    guids: tuple[int, ...]
    pkey: int = DEFAULT_PKEY

    @property
    def text(self) -> str:
        """``pkey=0x8012 0x248a0703008a850a ...``."""
        return " ".join((f"pkey={self.pkey | FULL_MEMBER:#06x}", *(f"{guid:#018x}" for guid in self.guids)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `text` wrote.

        Raises
        ------
        InputError
            For anything else.
        """
        match = re.fullmatch(r"pkey=0x([89a-f][0-9a-f]{3})((?: 0x[0-9a-f]{16})+)", text)
        if match is None:
            raise InputError(f"'{text}' is no SHARP reservation", hint="pkey=0x8012 0x248a0703008a850a ...")
        guids = tuple(sorted(int(guid, 16) for guid in match[2].split()))
        return cls(guids, int(match[1], 16) & DEFAULT_PKEY)

    @classmethod
    def of_json(cls, answer: Any) -> Self:
        """Return it from an entry of ``GET app/sharp/allocate_resources``.

        Raises
        ------
        SourceError
            If the answer is not in that form.
        """
        with _as_documented("a SHARP reservation"):
            pkey = int(answer.get("pkey") or hex(DEFAULT_PKEY), 16) & DEFAULT_PKEY
            return cls(tuple(sorted(guid_of(guid) for guid in answer["guids"])), pkey)


def setting_text(value: Any) -> str:
    """Return a setting of UFM's subnet manager as text: words as they are, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def setting_value(text: str, current: Any) -> Any:
    """Return a text as a setting of the same kind as the current one.

    Raises
    ------
    InputError
        If it is of another kind.
    """
    if isinstance(current, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    kinds = (bool,) if isinstance(current, bool) else (int, float) if isinstance(current, (int, float)) else (type(current),)
    if value is None or not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"'{text}' is not of the kind of {setting_text(current)}", hint="true or false, a number, or text")
    return value


def unhealthy_ports(answer: Any) -> dict[tuple[int, int], str]:
    """Return node GUID and port number of each unhealthy port, and why it is, from ``GET app/unhealthy_ports``.

    Raises
    ------
    SourceError
        If the answer is not in that form.
    """
    with _as_documented("unhealthy ports"):
        found = {}
        for port in _all(answer):
            why = port.get("Condition") or "no reason given"
            key = guid_of(port["UnhealthyGUID"]), int(port["UnhealthyPortNumber"])
            found[key] = ", ".join(why) if isinstance(why, list) else str(why)
        return found


def switches_of(answer: Any) -> set[int]:
    """Return the GUIDs of all switches from ``GET resources/systems?type=switch``.

    Raises
    ------
    SourceError
        If the answer is not in that form.
    """
    with _as_documented("a list of systems"):
        found = (_GUID.fullmatch(str(system.get("guid"))) for system in _all(answer) if system.get("type") == "switch")
        return {int(guid[1], 16) for guid in found if guid}


def guid_of(text: str) -> int:
    """Return a GUID as UFM writes it, with or without ``0x``.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _GUID.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1], 16)


def bare_guid(guid: int) -> str:
    """Return a GUID as UFM's paths and bodies have it."""
    return f"{guid:016x}"


def pkey_path(pkey: int) -> str:
    """Return a P_Key as UFM's paths have it: without the membership bit."""
    return f"{pkey & DEFAULT_PKEY:#x}"


COUNTERS = {
    "Infiniband_SymbolErrors": "SymbolErrorCounter",
    "Infiniband_LinkRecovers": "LinkErrorRecoveryCounter",
    "Infiniband_LinkDowned": "LinkDownedCounter",
    "Infiniband_RcvErrors": "PortRcvErrors",
    "Infiniband_RcvRemotePhysErrors": "PortRcvRemotePhysicalErrors",
    "Infiniband_RcvSwRelayErrors": "PortRcvSwitchRelayErrors",
    "Infiniband_XmtDiscards": "PortXmitDiscards",
    "Infiniband_XmtConstraintErrors": "PortXmitConstraintErrors",
    "Infiniband_RcvConstraintErrors": "PortRcvConstraintErrors",
    "Infiniband_LinkIntegrityErrors": "LocalLinkIntegrityErrors",
    "Infiniband_ExcBufOverrunErrors": "ExcessiveBufferOverrunErrors",
    "Infiniband_VL15Dropped": "VL15Dropped",
    "Infiniband_XmitWait": "PortXmitWait",
    "Infiniband_PckOut": "PortXmitPkts",
    "Infiniband_PckIn": "PortRcvPkts",
}
"""UFM's names of counters, and those of the InfiniBand specification, which perfquery prints."""


COUNTERS_QUESTION = {
    "attributes": list(COUNTERS),
    "functions": ["RAW"],
    "scope_object": "Site",
    "interval": 2,
    "monitor_object": "Port",
    "objects": ["Grid.default"],
}
"""What ``POST monitoring/snapshot`` takes to tell the counters of all ports."""


def counters_of(answer: Any) -> dict[int, dict[int, dict[str, int]]]:
    """Return counters by node GUID and port number from ``POST monitoring/snapshot``: the newest of its snapshots.

    Raises
    ------
    SourceError
        If the answer is not in that form.
    """
    found: dict[int, dict[int, dict[str, int]]] = {}
    with _as_documented("a snapshot of counters"):
        for port, entry in answer[max(answer)]["Port"].items():
            node, _, number = port.rpartition("_")
            values = entry.get("statistics", entry)
            counters = {COUNTERS[key]: int(value) for key, value in values.items() if key in COUNTERS}
            found.setdefault(guid_of(node), {})[int(number)] = counters
    return found


@contextmanager
def _as_documented(what: str) -> Iterator[None]:
    """Turn what a missing or odd field raises into a `SourceError`; the answer itself is not repeated: it may hold secrets."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SourceError(f"UFM answers with JSON that is not {what} as its REST guide shows one") from error


def _all(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError(type(answer))
    return answer


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
