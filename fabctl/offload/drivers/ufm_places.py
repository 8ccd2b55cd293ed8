"""What UFM keeps, kind by kind: how each is read, and how it is written with one request.

Requests follow NVIDIA's UFM Enterprise REST API Guide (6.9 to 6.24) and its public UFM SDK; none was tried against a UFM here.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fabctl.errors import InputError, RefusedError, SourceError
from fabctl.model.fabric import Fabric
from fabctl.offload.drivers import ufm_values as values
from fabctl.offload.drivers.ufm_client import AbsentError, UfmClient
from fabctl.offload.secrets import bare_secret

HEALTHY, UNHEALTHY = "healthy", "unhealthy"
ACTIVE_ENGINE = "routing_engine_active"

_NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}", re.ASCII)
_PKEY = re.compile(r"0x([89a-f][0-9a-f]{3})")
_NODE = re.compile(r"0x([0-9a-f]{16})")
_PORT = re.compile(r"0x([0-9a-f]{16})/P(\d{1,3})")
_RESERVATION_POLLS = 10
_FRESH_S = 10.0
"""How old counters may be."""


class Kind(Protocol):
    """One kind of place."""

    form: re.Pattern[str]
    """Which places there can be: the part of a key after the dot, or a target."""
    request: str
    """How it is read, with ``{}`` for the place: the evidence."""

    def read(self, what: str) -> str | None:
        """Return what UFM holds; errors as of `UfmClient.get`."""

    def write(self, what: str, value: str | None) -> None:
        """Write a value with one request.

        Raises
        ------
        InputError
            If it is no value for this place.
        RefusedError
            If UFM does not take it, or what is there now could not be put back.
        FabctlError
            As `UfmClient.change`.
        """


class Settings:
    """Settings of UFM's OpenSM: words as they are, all else as JSON writes it; secrets are neither read nor written."""

    form = _NAME
    request = "GET app/smconf?param_name={}"

    def __init__(self, client: UfmClient) -> None:
        self._client = client

    def read(self, what: str) -> str | None:
        """Return a setting; None if this UFM has none of that name."""
        value = self._setting(what)
        return None if value is None else values.setting_text(value)

    def write(self, what: str, value: str | None) -> None:
        """Write a setting, of the kind that it is."""
        current = self._setting(what)
        if what == ACTIVE_ENGINE:
            raise RefusedError(f"{what} is what OpenSM does, and no setting")
        if current is None or value is None:
            raise RefusedError(f"a setting can be neither added nor removed over REST, and {what} would be")
        body = {what: values.setting_value(value, current)}
        self._client.change(lambda: self.read(what) == value, "PUT", "app", "smconf", body=body)

    def _setting(self, key: str) -> Any:
        if bare_secret(f"{key} x"):
            raise RefusedError(f"{key} is a secret: fabctl neither reads nor writes it")
        try:
            answer = self._client.get("app", "smconf", param_name=key)
        except AbsentError:
            return None
        if not isinstance(answer, dict):
            raise SourceError(f"UFM answers with JSON that is no setting (smconf, {key})")
        return answer.get(key)


class Partitions:
    """Partitions with their members: `fabctl.offload.drivers.ufm_values.Partition`."""

    form = _PKEY
    request = "GET resources/pkeys/{}"

    def __init__(self, client: UfmClient) -> None:
        self._client = client

    def read(self, what: str) -> str | None:
        """Return a partition; None if there is none."""
        found = partition(self._client, what)
        return None if found is None else values.Partition.of_json(found).text

    def write(self, what: str, value: str | None) -> None:
        """Write a partition with all its members, or remove it."""
        number = int(what, 16)
        if number & values.DEFAULT_PKEY == values.DEFAULT_PKEY:
            raise RefusedError("UFM keeps the default partition (0x7fff) itself")
        for text, whose in ((self.read(what), "there now"), (value, "asked for")):
            _refuse_unwritable(what, text, whose)
        if value is None:
            self._client.remove(lambda: self.read(what) is None, "resources", "pkeys", values.pkey_path(number))
        else:
            body = values.Partition.parse(value).body(number)
            self._client.change(lambda: self.read(what) == value, "PUT", "resources", "pkeys", body=body)


class Listing:
    """Names of all that UFM has of a kind, in order; they can only be read.

    Parameters
    ----------
    client : UfmClient
    path : tuple of str
        Where UFM lists them.
    names : callable
        Takes UFM's answer.
    """

    form = re.compile("fabric")

    def __init__(self, client: UfmClient, path: tuple[str, ...], names: Callable[[Any], list[str]]) -> None:
        self._client = client
        self._path = path
        self._names = names
        self.request = f"GET {'/'.join(path)}"

    def read(self, what: str) -> str | None:
        """Return the names, with blanks between them."""
        return " ".join(self._names(self._client.get(*self._path)))

    def write(self, what: str, value: str | None) -> None:
        """Refuse."""
        raise RefusedError(f"what {self.request} lists can only be read; each has a place of its own")


class Qualities:
    """MTU, rate and service level of partitions: ``mtu=2 rate=2.5 sl=0``."""

    form = _PKEY
    request = "GET resources/pkeys/{}?qos_conf=true"

    def __init__(self, client: UfmClient) -> None:
        self._client = client

    def read(self, what: str) -> str | None:
        """Return a partition's QoS; None if there is no partition, or UFM says nothing of it."""
        found = partition(self._client, what)
        return None if found is None else values.quality_text(found)

    def write(self, what: str, value: str | None) -> None:
        """Write a partition's QoS."""
        if value is None:
            if self.read(what) is not None:
                raise RefusedError(f"the QoS of partition {what} goes with the partition, and cannot be removed")
            return
        body = values.quality_body(value, int(what, 16))
        self._client.change(lambda: self.read(what) == value, "PUT", "resources", "pkeys", "qos_conf", body=body)


class Health:
    """Ports that UFM keeps out of the fabric: ``unhealthy``, which it isolates, or ``healthy``."""

    form = _PORT
    request = "GET app/unhealthy_ports"

    def __init__(self, client: UfmClient) -> None:
        self._client = client

    def read(self, what: str) -> str | None:
        """Return whether UFM keeps a port out."""
        found = values.unhealthy_ports(self._client.get("app", "unhealthy_ports"))
        return UNHEALTHY if _port(what) in found else HEALTHY

    def write(self, what: str, value: str | None) -> None:
        """Keep a port out, or let it in again."""
        if value is None or value not in {HEALTHY, UNHEALTHY}:
            raise InputError(f"a port is {HEALTHY} or {UNHEALTHY}, not '{value}'")
        guid, number = _port(what)
        body: dict[str, object] = {"ports": [f"{values.bare_guid(guid)}_{number}"], "ports_policy": value.upper()}
        if value == UNHEALTHY:
            body["action"] = "isolate"
        self._client.change(lambda: self.read(what) == value, "PUT", "app", "unhealthy_ports", body=body)


class Counters:
    """Counters of all ports of a node, by number: ``{"1": {"SymbolErrorCounter": 0, ...}, ...}``; they can only be read.

    UFM tells those of all nodes at once, so a whole fabric is one question.
    """

    form = _NODE
    request = "POST monitoring/snapshot"

    def __init__(self, client: UfmClient) -> None:
        self._client = client
        self._asked_at = -math.inf
        self._counters: Mapping[int, Mapping[int, Mapping[str, int]]] = {}

    def read(self, what: str) -> str | None:
        """Return the counters; None if UFM has none of this node."""
        if time.monotonic() - self._asked_at > _FRESH_S:
            answer = self._client.query("monitoring", "snapshot", body=values.COUNTERS_QUESTION)
            self._counters, self._asked_at = values.counters_of(answer), time.monotonic()
        ports = self._counters.get(int(what, 16))
        return None if ports is None else json.dumps({str(number): ports[number] for number in sorted(ports)})

    def write(self, what: str, value: str | None) -> None:
        """Refuse."""
        raise RefusedError("counters can only be read over REST")


class Reservations:
    """What SHARP reserves for a job: `fabctl.offload.drivers.ufm_values.Reservation`.

    UFM 6.24 makes reservations from partitions by default, 6.23 if it is told to; then it says yes to these requests and does
    nothing.
    """

    form = _NAME
    request = "GET app/sharp/allocate_resources/{}"

    def __init__(self, client: UfmClient, fabric: Fabric) -> None:
        self._client = client
        self._fabric = fabric

    def read(self, what: str) -> str | None:
        """Return what is reserved under a name; None if nothing is."""
        try:
            found = self._client.get("app", "sharp", "allocate_resources", what)
        except AbsentError:
            return None
        if not isinstance(found, dict):
            raise SourceError("UFM answers with JSON that is no SHARP reservation")
        return values.Reservation.of_json(found[what]).text if what in found else None

    def write(self, what: str, value: str | None) -> None:
        """Reserve for all ports of some hosts, or end a reservation."""

        def holds() -> bool:
            return self.read(what) == value

        old = self.read(what)
        if value is None:
            self._client.remove(holds, "app", "sharp", "resources", what)
        elif old is None:
            body = self._body(what, values.Reservation.parse(value))
            self._client.change(holds, "POST", "app", "sharp", "resources", body=body, partially_alloc="false")
        else:
            raise RefusedError(f"SHARP reservation '{what}' is there already", hint="remove it first, or take another name")
        if self._client.wait(holds, _RESERVATION_POLLS):
            return
        found = self.read(what)
        if found != old:
            raise RefusedError(f"UFM reserves {found} as '{what}', and was asked for {value}")
        raise RefusedError(
            f"UFM said yes, and did nothing with SHARP reservation '{what}': it makes them from partitions itself",
            hint="change the partition; or set reservation_auto_by_pkeys FALSE in sharp_am.cfg",
        )

    def _body(self, app: str, wanted: values.Reservation) -> Mapping[str, object]:
        return {
            "app_id": app,
            "hosts_names": ",".join(self._hosts(wanted)),
            "app_resources_limit": -1,
            "pkey": values.pkey_path(wanted.pkey),
        }

    def _hosts(self, wanted: values.Reservation) -> list[str]:
        """Return the hosts of some ports, which is how UFM wants to be asked for a reservation.

        Raises
        ------
        RefusedError
            If a port is not in the fabric, or one of the hosts has other ports too.
        """
        fabric, hosts = self._fabric, self._fabric.hosts
        host_of = {int(fabric.port_guid[port]): int(hosts.node_host[fabric.port_node[port]]) for port in fabric.endpoints}
        lost = [guid for guid in wanted.guids if guid not in host_of]
        if lost:
            raise RefusedError(f"no host of this fabric has port {lost[0]:#018x}")
        meant = {host_of[guid] for guid in wanted.guids}
        others = [guid for guid, host in host_of.items() if host in meant and guid not in wanted.guids]
        if others:
            raise RefusedError(
                f"UFM reserves for whole hosts, and {hosts.name[host_of[others[0]]]} has port {others[0]:#018x} too",
                hint="reserve for all ports of the hosts",
            )
        return sorted(hosts.name[host] for host in meant)


def partition(client: UfmClient, pkey: str) -> Any:
    """Return UFM's answer on a partition; None if there is none: 404, or ``{}`` from older releases, which the list must confirm.

    Raises
    ------
    SourceError
        If UFM answers with nothing on a partition that it lists.
    """
    try:
        path = values.pkey_path(int(pkey, 16))
        found = client.get("resources", "pkeys", path, guids_data="true", qos_conf="true")
    except AbsentError:
        return None
    if found == {}:
        if pkey in values.keys_of(client.get("resources", "pkeys")):
            raise SourceError(f"UFM lists partition {pkey}, and answers with nothing when it is asked for it")
        return None
    return found


def _refuse_unwritable(pkey: str, text: str | None, whose: str) -> None:
    if text is None:
        return
    found = values.Partition.parse(text)
    if found.index0 is None or not found.members:
        what = "no members" if not found.members else "the P_Key first in the tables of some members only"
        raise RefusedError(f"partition {pkey} as it is {whose} has {what}, and UFM's REST interface cannot write that")


def _port(target: str) -> tuple[int, int]:
    guid, _, number = target.partition("/P")
    return int(guid, 16), int(number)
