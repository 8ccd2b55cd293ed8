"""What changed between two states of a fabric: nodes, cables, rates, LIDs, names. Nodes are told apart by GUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

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
        The node, the port that stayed, or both ends of the cable.
    guid : str
        Node GUID of the subject (of a cable's first end).
    port : int or None
        Port number of the subject (of a cable's first end); None for a node.
    before, after : str or None
        None for what was not or is no more there.
    """

    kind: str
    change: Literal["added", "removed", "moved", "changed"]
    subject: str
    guid: str
    port: int | None
    before: str | None
    after: str | None


def compare(before: Fabric, after: Fabric, ignore: Collection[str] = ()) -> tuple[Change, ...]:
    """Return the differences between two states of a fabric, sorted by kind and by name.

    Rates that one state does not know are not compared, nor LIDs where a state has none at all. Blanks at the ends of descriptions do not count.

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
    both = _Pair(before, after)
    steps: dict[str, Callable[[_Pair], Iterable[Change]]] = {"node": _nodes, "rate": _rates, "lid": _lids, "name": _names}
    changes = [change for kind, step in steps.items() if kind not in ignore for change in step(both)]
    changes += [change for change in both.cable_changes if change.kind not in ignore]
    return tuple(
        sorted(changes, key=lambda change: (KINDS.index(change.kind), change.change, natural_key(change.subject), change.guid))
    )


class _State:
    """One state of the fabric, by GUID."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        guids = fabric.node_guid.tolist()
        self.node = {guid: node for node, guid in enumerate(guids)}
        ends: list[_End] = [
            (guids[node], number) for node, number in zip(fabric.port_node.tolist(), fabric.port_number.tolist(), strict=True)
        ]
        lids = fabric.port_lid.tolist()
        self.lid = {end: lid for end, lid in zip(ends, lids, strict=True) if lid}
        self.lids: dict[_End, int] = dict(zip(ends, lids, strict=True))
        self.rate: dict[_Cable, _Rate] = {}
        peers = fabric.port_peer.tolist()
        rates = zip(fabric.channel_speed.tolist(), fabric.channel_lanes.tolist(), strict=True)
        for port, rate in zip(fabric.channel_port.tolist(), rates, strict=True):
            if ends[port] <= ends[peers[port]]:
                self.rate[ends[port], ends[peers[port]]] = rate
