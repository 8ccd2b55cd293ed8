"""The service level of each path as OpenSM's QoS policy (``opensm -Q -Y FILE``), which tables alone cannot carry.

OpenSM answers a path query with the level of the first rule that matches the groups of both ports, and with the level called
``DEFAULT`` where none does. Ports with equal rows of the service level matrix are one source group and ports with equal columns
one destination group; the level of most pairs is the default, that of most pairs of a source group its last rule. A port stands
in one source group and one destination group, so no other order of rules matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError
from fabctl.model.fabric import Fabric
from fabctl.model.tables import RoutingTables

Int32 = NDArray[np.int32]
PER_LINE = 8


@dataclass(frozen=True, eq=False)
class Classes:
    """Ports that are alike: `members` by class, and the SL between a class of sources and one of destinations in `level`."""

    sources: Sequence[Int32]
    destinations: Sequence[Int32]
    level: NDArray[np.uint8]


@dataclass(frozen=True)
class Rule:
    """From any of some source classes to any of some destination classes; empty stands for all."""

    sources: tuple[int, ...]
    destinations: tuple[int, ...]
    level: int


def qos_policy(tables: RoutingTables) -> Iterator[str]:
    """Yield the policy's text.

    Raises
    ------
    RefusedError
        If a policy cannot say it: a port's GUID is unknown, or the LIDs of one port want different SLs.
    """
    classes = port_classes(tables)
    default, rules = match_rules(classes)
    guid = tables.fabric.port_guid
    yield f"# SLs of routes by engine {tables.origin}, computed by fabctl. The first rule that matches counts.\nport-groups\n"
    for prefix, groups in (("s", classes.sources), ("d", classes.destinations)):
        for number, ports in enumerate(groups):
            yield f"port-group\n  name: {prefix}{number}\n"
            for start in range(0, len(ports), PER_LINE):
                line = ", ".join(f"0x{int(value):x}" for value in np.sort(guid[ports])[start : start + PER_LINE])
                yield f"  port-guid: {line}\n"
            yield "end-port-group\n"
    yield "end-port-groups\nqos-levels\n"
    for level in sorted({default, *(rule.level for rule in rules)}):
        yield f"qos-level\n  name: {_level_name(level, default)}\n  sl: {level}\nend-qos-level\n"
    yield "end-qos-levels\nqos-match-rules\n"
    for rule in rules:
        yield "qos-match-rule\n" + _groups("source", "s", rule.sources) + _groups("destination", "d", rule.destinations)
        yield f"  qos-level-name: {_level_name(rule.level, default)}\nend-qos-match-rule\n"
    yield "end-qos-match-rules\n"


def _level_name(level: int, default: int) -> str:
    return "DEFAULT" if level == default else f"sl{level}"


def _groups(word: str, prefix: str, numbers: Sequence[int]) -> str:
    return f"  {word}: {', '.join(f'{prefix}{number}' for number in numbers)}\n" if numbers else ""


def port_classes(tables: RoutingTables) -> Classes:
    """Return the ports in classes of equal rows and equal columns of the service level matrix.

    Sources are the ports of channel adapters and routers, with port 0 of the switch that they hang from; destinations all ports
    with a LID.
    """
    if tables.service_level is None:
        raise ValueError("these tables use SL 0 alone")
    fabric, level = tables.fabric, tables.service_level
    ends = np.where(fabric.port_node < fabric.n_switches, fabric.port_number == 0, fabric.port_peer >= 0)
    ports = np.flatnonzero(ends & (fabric.port_lid > 0) & (fabric.port_lid < level.shape[1])).astype(np.int32)
    _refuse_unsayable(fabric, level, ports)
    leaf = np.where(fabric.port_node < fabric.n_switches, fabric.port_node, fabric.port_node[fabric.port_peer])[ports]
    on_switch = leaf < fabric.n_switches
    leaves = np.unique(leaf[on_switch & (fabric.port_node[ports] >= fabric.n_switches)])
    matrix = level[leaves][:, fabric.port_lid[ports]]
    rows, row_of = _alike(matrix)
    columns, column_of = _alike(rows.T)
    row_of_port = np.full(fabric.n_switches + 1, -1)
    row_of_port[leaves] = row_of
    source_row = row_of_port[np.where(on_switch, leaf, fabric.n_switches)]
    sources = [ports[source_row == row] for row in range(len(rows))]
    destinations = [ports[column_of == column] for column in range(len(columns))]
    return Classes(sources, destinations, columns.T)


def _alike(matrix: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the different rows in order of their first appearance, and which of them each row is."""
    seen: dict[bytes, int] = {}
    kind = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in matrix], dtype=np.int64)
    return matrix[np.unique(kind, return_index=True)[1]], kind


def _refuse_unsayable(fabric: Fabric, level: NDArray[np.uint8], ports: Int32) -> None:
    nameless = ports[fabric.port_guid[ports] == 0]
    if len(nameless):
        raise RefusedError(
            f"the SLs of {len(nameless)} ports cannot be told to OpenSM: their port GUIDs are unknown, as that of"
            f" {fabric.port_label(int(nameless[0]))}",
            hint="ibnetdiscover shows port GUIDs",
        )
    for port in ports[fabric.port_lmc[ports] > 0].tolist():
        first = fabric.port_lid[port]
        own = level[:, first : first + (1 << int(fabric.port_lmc[port]))]
        if (own != own[:, :1]).any():
            raise RefusedError(
                f"the LIDs {first} to {first + own.shape[1] - 1} of {fabric.port_label(port)} want different SLs, and OpenSM's"
                " policy tells paths apart by port",
                hint="route with LMC 0, or with an engine that needs one virtual lane",
            )


def match_rules(classes: Classes) -> tuple[int, list[Rule]]:
    """Return the default level, and the rules for all else.

    Rules are made by source and by destination class; the shorter list is taken.
    """
    weight = np.outer([len(ports) for ports in classes.sources], [len(ports) for ports in classes.destinations])
    default = int(np.argmax(np.bincount(classes.level.ravel(), weights=weight.ravel())))
    by_source = _rules(classes.level, weight, default)
    by_destination = [Rule(rule.destinations, rule.sources, rule.level) for rule in _rules(classes.level.T, weight.T, default)]
    return default, min(by_source, by_destination, key=_length)


def _length(rules: Sequence[Rule]) -> int:
    return sum(len(rule.sources) + len(rule.destinations) + 2 for rule in rules)


def _rules(level: NDArray[np.uint8], weight: NDArray[np.int64], default: int) -> list[Rule]:
    rows_of: dict[tuple[tuple[int, ...], int], list[int]] = {}
    rows_of_usual: dict[int, list[int]] = {}
    for row, levels in enumerate(level):
        usual = int(np.argmax(np.bincount(levels, weights=weight[row])))
        for other in np.unique(levels).tolist():
            if other != usual:
                columns = tuple(np.flatnonzero(levels == other).tolist())
                rows_of.setdefault((columns, other), []).append(row)
        if usual != default:
            rows_of_usual.setdefault(usual, []).append(row)
    rules = [Rule(tuple(rows), columns, other) for (columns, other), rows in rows_of.items()]
    return rules + [Rule(tuple(rows), (), usual) for usual, rows in rows_of_usual.items()]
