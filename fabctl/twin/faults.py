"""Faults on the twin: what they are called, how they are read, and which console commands of ibsim make them.

A faults file is a YAML list of what ``fabctl twin faults`` takes, done in its order::

    - cut: leaf-1/P20
    - cut: [leaf-2/P20, leaf-2/P21]
    - lose: spine-3
    - restore: leaf-1/P20
    - counter: leaf-1/P3 SymbolErrorCounter=77 PortXmitWait=1000
    - drop: n0004 30

Names are those that fabctl prints: a port is ``node/P7``, and a cable ``node/P7 -> node/P3`` stands for its first end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.twin.ibsim import Ibsim
from fabctl.twin.netfile import node_ids
from fabctl.yamlspec import Node, load, suggestion

VERBS = {
    "cut": "unplug the cable of a port",
    "lose": "unplug all cables of a node",
    "restore": "plug what was cut or lost in again",
    "counter": "set error counters of a port",
    "drop": "have a node lose a share of the management packets sent to it, in percent",
}
REROUTED = ("cut", "lose", "restore")
"""Faults after which the subnet manager routes anew."""

FIELDS = {
    "PortCounters": (
        "SymbolErrorCounter",
        "LinkErrorRecoveryCounter",
        "LinkDownedCounter",
        "PortRcvErrors",
        "PortRcvRemotePhysicalErrors",
        "PortRcvSwitchRelayErrors",
        "PortXmitDiscards",
        "PortXmitConstraintErrors",
        "PortRcvConstraintErrors",
        "LocalLinkIntegrityErrors",
        "ExcessiveBufferOverrunErrors",
        "VL15Dropped",
        "PortXmitData",
        "PortRcvData",
        "PortXmitPkts",
        "PortRcvPkts",
        "PortXmitWait",
    ),
    "PortCountersExtended": ("PortUnicastXmitPkts", "PortUnicastRcvPkts", "PortMultiCastXmitPkts", "PortMultiCastRcvPkts"),
    "PortRcvErrorDetails": (
        "PortLocalPhysicalErrors",
        "PortMalformedPacketErrors",
        "PortBufferOverrunErrors",
        "PortDLIDMappingErrors",
        "PortVLMappingErrors",
        "PortLoopingErrors",
    ),
    "PortXmitDiscardDetails": (
        "PortInactiveDiscards",
        "PortNeighborMTUDiscards",
        "PortSwLifetimeLimitDiscards",
        "PortSwHOQLifetimeLimitDiscards",
    ),
}
"""Counters that ibsim 0.10 has, by attribute; ``Attribute.Counter`` chooses where a name occurs in several."""

_PORT = re.compile(r"(.+)/P(\d+)")
_SETTING = re.compile(r"([A-Za-z0-9.]+)=(\d+)")


@dataclass(frozen=True)
class Fault:
    """One fault as the user wrote it.

    Parameters
    ----------
    verb : str
        One of `VERBS`.
    target : str
        Label of a node, a port or a cable.
    counters : tuple of (str, int)
        Counters and the values that they get.
    percent : int
        Share of management packets to drop.
    """

    verb: str
    target: str
    counters: tuple[tuple[str, int], ...] = ()
    percent: int = 0


def parse_faults(verb: str, words: Sequence[str]) -> list[Fault]:
    """Read a verb and what follows it, as words of a command line.

    Raises
    ------
    UsageError
        If the verb is unknown, or what follows is not what it takes.
    """
    if verb not in VERBS:
        raise UsageError(f"unknown fault '{verb}'", hint=suggestion(verb, VERBS))
    if verb == "counter":
        settings = [_SETTING.fullmatch(word) for word in words[1:]]
        if not settings or None in settings:
            raise UsageError(f"'{' '.join(words)}' sets no counter", hint="write: counter leaf-1/P3 SymbolErrorCounter=77")
        return [Fault(verb, words[0], counters=tuple((_qualified(found[1]), int(found[2])) for found in settings if found))]
    if verb == "drop":
        if len(words) != 2 or not words[1].isdecimal() or int(words[1]) > 100:
            raise UsageError(f"'{' '.join(words)}' names no share of packets", hint="write: drop n0004 30, in percent, 0 to 100")
        return [Fault(verb, words[0], percent=int(words[1]))]
    if not words:
        raise UsageError(f"{verb} wants names", hint=f"to {VERBS[verb]}")
    return [Fault(verb, word) for word in words]


def read_faults(path: str, text: str) -> list[Fault]:
    """Read a faults file.

    Raises
    ------
    InputError
        With ``file:line:column``, if it is not in the form that the module's docstring shows.
    """
    return [fault for item in load(text, path).items() for fault in _item(item)]


def _item(item: Node) -> Iterator[Fault]:
    entries = item.mapping(VERBS)
    if len(entries) != 1:
        raise item.error("one fault for each line of the list", hint="begin each with a dash: - cut: leaf-1/P20")
    for verb, value in entries.items():
        for word in value.items() if value.is_list else [value]:
            try:
                yield from parse_faults(verb, _words(verb, word.text()))
            except UsageError as error:
                raise word.error(error.message, hint=error.hint) from error


def _words(verb: str, text: str) -> list[str]:
    """Take what follows a target apart from it; the target itself may hold spaces."""
    if verb == "drop":
        return [word.strip() for word in text.rpartition(" ")[::2] if word.strip()]
    if verb == "counter":
        words = text.split()
        first = next((index for index, word in enumerate(words) if "=" in word and index), len(words))
        return [" ".join(words[:first]), *words[first:]]
    return [text.strip()]


def _qualified(name: str) -> str:
    _, dot, field = name.rpartition(".")
    owners = [owner for owner, fields in FIELDS.items() if field in fields]
    if not owners:
        known = [field for fields in FIELDS.values() for field in fields]
        near = get_close_matches(field, known, n=1)
        raise UsageError(f"ibsim has no counter '{name}'", hint=f"did you mean '{near[0]}'?" if near else ", ".join(known))
    return name if dot else f"{owners[0]}.{field}"


def manager_port(fabric: Fabric, node: int) -> int:
    """Return the cabled port on which programs see the fabric: an adapter's P1, a switch's first; -1 if there is none.

    ibsim's preload shows programs an adapter's first port and no other.
    """
    cabled = (fabric.port_node == node) & (fabric.port_peer >= 0)
    if node >= fabric.n_switches:
        cabled &= fabric.port_number == 1
    ports = np.flatnonzero(cabled)
    return int(ports[0]) if len(ports) else -1


class Injector:
    """Makes faults on a running ibsim whose network file was written from a fabric.

    Parameters
    ----------
    sim : Ibsim
    fabric : Fabric
    """

    def __init__(self, sim: Ibsim, fabric: Fabric) -> None:
        self._sim = sim
        self._fabric = fabric
        self._ids = node_ids(fabric)
        self._node = {label: node for node, label in enumerate(fabric.labels)}

    def commands(self, fault: Fault) -> list[str]:
        """Return ibsim's console commands for a fault.

        Raises
        ------
        UsageError
            If the fabric has no such node, port or cable.
        RefusedError
            If the fault would take the subnet manager off the fabric.
        """
        node, number = self._place(fault.target)
        name = f'"{self._ids[node]}"'
        if number is not None:
            name += f"[{number}]"
        elif fault.verb in ("cut", "counter"):
            raise UsageError(
                f"{fault.verb} wants a port, and '{fault.target}' is a node", hint=f"write {fault.target}/P1; to lose all: lose"
            )
        if fault.verb in ("cut", "lose"):
            if fault.verb == "lose" and number is not None:
                raise UsageError(f"lose wants a node, and '{fault.target}' is a port", hint=f"write: cut {fault.target}")
            self._refuse_isolation(node, number)
            return [f"Unlink {name}"]
        if fault.verb == "restore":
            return [f"ReLink {name}"]
        if fault.verb == "drop":
            return [f"Error {name} {fault.percent}"]
        return [f"PerformanceSet {name} {field}={value}" for field, value in fault.counters]

    def inject(self, faults: Sequence[Fault]) -> None:
        """Make faults; all are checked first.

        Raises
        ------
        UsageError, RefusedError
            As of `commands`; or if ibsim refuses, as for a cable that is cut already.
        SourceError
            If ibsim has ended.
        """
        for command in [command for fault in faults for command in self.commands(fault)]:
            self._sim.tell(command)

    def _place(self, target: str) -> tuple[int, int | None]:
        """Return a target's node and port number; None for the whole node."""
        target = target.partition(" -> ")[0]
        node = self._node.get(target)
        if node is not None:
            return node, None
        port = _PORT.fullmatch(target)
        node = self._node.get(port[1]) if port else None
        if port is None or node is None:
            wanted = port[1] if port else target
            near = get_close_matches(wanted, self._node, n=1)
            hint = f"did you mean '{near[0]}{f'/P{port[2]}' if port else ''}'?" if near else "fabctl discover --links lists ports"
            raise UsageError(f"this fabric has no '{target}'", hint=hint)
        fabric, number = self._fabric, int(port[2])
        cabled = fabric.port_number[(fabric.port_node == node) & (fabric.port_peer >= 0)]
        if number not in cabled:
            known = ", ".join(f"P{other}" for other in np.sort(cabled)[:40])
            raise UsageError(f"'{port[1]}' has no cable at P{number}", hint=f"it has: {known}" if known else "")
        return node, number

    def _refuse_isolation(self, node: int, number: int | None) -> None:
        """Refuse to cut the cable on which the subnet manager hangs; one that runs on a switch has others."""
        fabric = self._fabric
        host = self._ids.index(self._sim.host)
        if host < fabric.n_switches and node != host:
            return
        own = manager_port(fabric, host)
        ends: list[tuple[int, int | None]] = [(host, None)]
        if host >= fabric.n_switches:
            ends.append((int(fabric.port_node[fabric.port_peer[own]]), None))
            ends += [(int(fabric.port_node[port]), int(fabric.port_number[port])) for port in (own, fabric.port_peer[own])]
        if (node, number) in ends:
            raise RefusedError(
                f"the subnet manager and the tools run on {fabric.labels[host]}: this fault would take them off the fabric",
                hint="choose another node for them: fabctl twin run --host NODE",
            )
