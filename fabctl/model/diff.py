"""What changed between two states of a fabric: nodes, cables, rates, LIDs, names. Nodes are told apart by GUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fabctl.errors import UsageError
from fabctl.model.fabric import Fabric, NodeKind, speed_name
from fabctl.model.naming import natural_key

KINDS = ("node", "cable", "move", "rate", "lid", "name")
"""What can change, in the order in which changes are listed."""

_End = tuple[int, int]  # node GUID and port number
_Cable = tuple[_End, _End]  # the lower end first
_Rate = tuple[int, int]  # speed and lanes; 0 where unknown


@dataclass(frozen=True)
class Change:
    """One difference.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    change : str
        What happened. A cable is ``moved`` when one of its ends stayed and the other is now elsewhere.
    subject : str
        The node, the port (the one that stayed, for a move), or both ends of the cable.
    guid : str
        Node GUID of the subject, of a cable's first end.
    port : int or None
        Port number of the subject, of a cable's first end; None for a node.
    before, after : str or None
        None for what was not there, or no longer is.
    """

    kind: str
    change: Literal["added", "removed", "moved", "changed"]
    subject: str
    guid: str
    port: int | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class FabricDiff:
    """All differences, sorted by kind and name, and what could not be compared."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def compare(before: Fabric, after: Fabric, ignore: Collection[str] = ()) -> FabricDiff:
    """Return the differences between two states of a fabric.

    Rates that one of the states does not know are not compared, nor are LIDs where one of them has none at all. Blanks in
    descriptions count as one. An adapter whose node GUID one of the states does not know is found by its port GUIDs.

    Parameters
    ----------
    before, after : Fabric
    ignore : collection of str
        `KINDS` to leave out.

    Raises
    ------
    UsageError
        If `ignore` names no kind.

    Complexity
    ----------
    O(nodes + ports).
    """
    for kind in ignore:
        if kind not in KINDS:
            raise UsageError(f"'{kind}' is nothing that diff compares", hint=f"known: {', '.join(KINDS)}")
    old, new = _state(before, {}), _state(after, _same_adapters(before, after))
    found = [*_node_changes(old, new), *_cable_changes(old, new), *_lid_changes(old, new), *_name_changes(old, new)]
    changes = sorted(
        (change for change in found if change.kind not in ignore),
        key=lambda change: (KINDS.index(change.kind), change.change, natural_key(change.subject), change.guid, change.port or 0),
    )
    blind = [which for which, state in (("first", old), ("second", new)) if not any(state.lid.values())]
    notes = [f"the {which} fabric has no LIDs, so LIDs are not compared" for which in blind if "lid" not in ignore]
    return FabricDiff(tuple(changes), tuple(notes))


@dataclass(frozen=True)
class _State:
    """A fabric by GUID: node indices, LIDs of all known ports (0 for none), rates of all cables."""

    fabric: Fabric
    node: dict[int, int]
    lid: dict[_End, int]
    rate: dict[_Cable, _Rate]

    def is_ca(self, end: _End) -> bool:
        return bool(self.fabric.node_kind[self.node[end[0]]] == NodeKind.CA)

    def label(self, guid: int) -> str:
        return self.fabric.labels[self.node[guid]]

    def at(self, end: _End) -> str:
        return f"{self.label(end[0])}/P{end[1]}"


def _state(fabric: Fabric, aliases: dict[int, int]) -> _State:
    guids = [aliases.get(guid, guid) for guid in fabric.node_guid.tolist()]
    ends = [(guids[node], number) for node, number in zip(fabric.port_node.tolist(), fabric.port_number.tolist(), strict=True)]
    rate: dict[_Cable, _Rate] = {}
    peers = fabric.port_peer.tolist()
    rates = zip(fabric.channel_speed.tolist(), fabric.channel_lanes.tolist(), strict=True)
    for port, known in zip(fabric.channel_port.tolist(), rates, strict=True):
        if ends[port] < ends[peers[port]]:
            rate[ends[port], ends[peers[port]]] = known
    lids = dict(zip(ends, fabric.port_lid.tolist(), strict=True))
    return _State(fabric, {guid: node for node, guid in enumerate(guids)}, lids, rate)


def _same_adapters(before: Fabric, after: Fabric) -> dict[int, int]:
    """Return the GUID that `before` knows an adapter by, for each whose GUID in `after` is another."""
    old, new = set(before.node_guid.tolist()), set(after.node_guid.tolist())
    owner = {port: node for port, node in _adapter_ports(before) if node not in new}
    return {node: owner[port] for port, node in _adapter_ports(after) if node not in old and port in owner}


def _adapter_ports(fabric: Fabric) -> Iterator[tuple[int, int]]:
    """Yield port GUID and node GUID of each adapter's ports."""
    ports = np.flatnonzero((fabric.node_kind[fabric.port_node] == NodeKind.CA) & (fabric.port_guid > 0))
    yield from zip(fabric.port_guid[ports].tolist(), fabric.node_guid[fabric.port_node[ports]].tolist(), strict=True)


def _node_changes(old: _State, new: _State) -> Iterator[Change]:
    for guid in old.node.keys() - new.node.keys():
        yield Change("node", "removed", old.label(guid), _text(guid), None, _kind(old, guid), None)
    for guid in new.node.keys() - old.node.keys():
        yield Change("node", "added", new.label(guid), _text(guid), None, None, _kind(new, guid))


def _cable_changes(old: _State, new: _State) -> Iterator[Change]:
    for cable in sorted(old.rate.keys() & new.rate.keys()):
        yield from _rate_change(f"{new.at(cable[0])} - {new.at(cable[1])}", cable[0], old.rate[cable], new.rate[cable])
    gone, come = old.rate.keys() - new.rate.keys(), new.rate.keys() - old.rate.keys()
    for stayed, was, now in _moves(new, list(gone), list(come)):
        yield Change("move", "moved", new.at(stayed), _text(stayed[0]), stayed[1], old.at(was), new.at(now))
        yield from _rate_change(new.at(stayed), stayed, old.rate[_cable(stayed, was)], new.rate[_cable(stayed, now)])
        gone.discard(_cable(stayed, was))
        come.discard(_cable(stayed, now))
    for first, second in gone:
        both, rate = f"{old.at(first)} - {old.at(second)}", speed_name(*old.rate[first, second])
        yield Change("cable", "removed", both, _text(first[0]), first[1], rate, None)
    for first, second in come:
        both, rate = f"{new.at(first)} - {new.at(second)}", speed_name(*new.rate[first, second])
        yield Change("cable", "added", both, _text(first[0]), first[1], None, rate)


def _moves(new: _State, gone: Collection[_Cable], come: Collection[_Cable]) -> list[tuple[_End, _End, _End]]:
    """Pair as many cables that went and that came as share an end: (end that stayed, far end before, far end now).

    Ends at HCAs are paired first, so that a host that moves to another leaf is one move, and not the leaf's. A port has one
    cable that went and one that came, so what is left are paths and rings of cables: pairing from the ends of the paths
    inwards pairs the most.
    """
    went, came = ({end: cable for cable in cables for end in cable} for cables in (gone, come))
    beside: defaultdict[_Cable, dict[_End, _Cable]] = defaultdict(dict)
    for end in sorted(went.keys() & came.keys()):
        beside[went[end]][end], beside[came[end]][end] = came[end], went[end]
    moves: list[tuple[_End, _End, _End]] = []

    def pair(end: _End) -> list[_Cable]:
        """Make a move of the cables at `end`; return their neighbours, which lose them."""
        moves.append((end, _far(went[end], end), _far(came[end], end)))
        neighbours = []
        for cable in (went[end], came[end]):
            for at, other in beside.pop(cable).items():
                if other in beside:
                    del beside[other][at]
                    neighbours.append(other)
        return neighbours

    for end in sorted(went.keys() & came.keys()):
        if new.is_ca(end) and end in beside.get(went[end], ()):
            pair(end)
    for most in (1, 2):  # ends of paths, then the rings
        for start in sorted(beside):
            cables = [start]
            while cables:
                cable = cables.pop()
                if 0 < len(beside.get(cable, ())) <= (most if cable == start else 1):
                    cables += pair(next(iter(beside[cable])))
    return moves


def _far(cable: _Cable, end: _End) -> _End:
    return cable[1] if cable[0] == end else cable[0]


def _rate_change(subject: str, end: _End, old: _Rate, new: _Rate) -> Iterator[Change]:
    if any(was and now and was != now for was, now in zip(old, new, strict=True)):
        yield Change("rate", "changed", subject, _text(end[0]), end[1], speed_name(*old), speed_name(*new))


def _lid_changes(old: _State, new: _State) -> Iterator[Change]:
    if not any(old.lid.values()) or not any(new.lid.values()):
        return
    for end in old.lid.keys() & new.lid.keys():
        was, now = old.lid[end], new.lid[end]
        if was != now:
            yield Change("lid", "changed", new.at(end), _text(end[0]), end[1], str(was or "none"), str(now or "none"))


def _name_changes(old: _State, new: _State) -> Iterator[Change]:
    for guid in old.node.keys() & new.node.keys():
        was, now = (" ".join(state.fabric.node_name[state.node[guid]].split()) for state in (old, new))
        if was != now:
            yield Change("name", "changed", new.label(guid), _text(guid), None, was, now)


def _cable(one: _End, other: _End) -> _Cable:
    return (one, other) if one < other else (other, one)


def _kind(state: _State, guid: int) -> str:
    return NodeKind(state.fabric.node_kind[state.node[guid]]).name.lower()


def _text(guid: int) -> str:
    return f"0x{guid:016x}"
