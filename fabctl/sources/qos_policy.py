"""OpenSM's QoS policy as far as it says the SL of a path: port groups by GUID, levels, rules by source and destination.

The first rule that matches a path counts, the level ``DEFAULT`` where none does. What else a policy may hold (pkeys, service ids,
node types) is refused, because the SL would then depend on more than the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric

_KEYS = {
    "port-group": ("name", "port-guid"),
    "qos-level": ("name", "sl"),
    "qos-match-rule": ("source", "destination", "qos-level-name"),
}
_LISTS = ("port-groups", "qos-levels", "qos-match-rules")
_GUID = re.compile(r"0x[0-9a-fA-F]{1,16}")

Block = dict[str, list[str]]


@dataclass(frozen=True)
class QosPolicy:
    """A policy.

    Parameters
    ----------
    groups : dict of str to tuple of int
        Port GUIDs by group.
    rules : tuple of (names, names, int)
        Source groups, destination groups and SL, in order; no names stand for all ports.
    default : int
        SL where no rule matches.
    path : str
        For messages.
    """

    groups: dict[str, tuple[int, ...]]
    rules: tuple[tuple[tuple[str, ...], tuple[str, ...], int], ...]
    default: int
    path: str


def parse(text: str, path: str) -> QosPolicy:
    """Read a policy.

    Raises
    ------
    InputError
        With ``file:line`` for a line that is not understood; or if a group or level is not defined.
    """
    blocks: dict[str, list[Block]] = {kind: [] for kind in _KEYS}
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        where = f"{path}:{number}"
        if not line or line.removeprefix("end-") in _LISTS:
            continue
        if not inside and line in _KEYS:
            inside = line
            blocks[inside].append({key: [] for key in _KEYS[inside]})
        elif line == f"end-{inside}":
            inside = ""
        elif inside:
            key, colon, value = line.partition(":")
            if not colon or key.strip() not in _KEYS[inside]:
                raise InputError(f"this line of a {inside} is not understood: {line[:60]}", where=where)
            blocks[inside][-1][key.strip()] += [word.strip() for word in value.split(",")]
        else:
            raise InputError(f"this line of a QoS policy is not understood: {line[:60]}", where=where)
    if inside:
        raise InputError(f"the policy ends inside a {inside}", where=path, hint="was it cut short?")
    groups = {
        _only(block, "name", path): tuple(_guid(text, path) for text in block["port-guid"]) for block in blocks["port-group"]
    }
    levels = {_only(block, "name", path): _level(_only(block, "sl", path), path) for block in blocks["qos-level"]}
    rules = []
    for block in blocks["qos-match-rule"]:
        name = _only(block, "qos-level-name", path)
        for group in (*block["source"], *block["destination"]):
            if group not in groups:
                raise InputError(f"a rule names port group '{group}', which is not defined", where=path)
        if name not in levels:
            raise InputError(f"a rule names level '{name}', which is not defined", where=path)
        rules.append((tuple(block["source"]), tuple(block["destination"]), levels[name]))
    if "DEFAULT" not in levels:
        raise InputError("the policy has no level DEFAULT", where=path)
    return QosPolicy(groups, tuple(rules), levels["DEFAULT"], path)


def _only(block: Block, key: str, path: str) -> str:
    if len(block[key]) != 1:
        raise InputError(f"a block of the policy has {len(block[key])} lines '{key}', not one", where=path)
    return block[key][0]


def _guid(text: str, path: str) -> int:
    if not _GUID.fullmatch(text):
        raise InputError(f"'{text}' is no port GUID", where=path)
    return int(text, 16)


def _level(text: str, path: str) -> int:
    if not text.isdigit() or int(text) > 15:
        raise InputError(f"'{text}' is no SL", where=path)
    return int(text)


def service_levels(policy: QosPolicy, fabric: Fabric, width: int) -> NDArray[np.uint8]:
    """Return the SL by the switch that a sender hangs from and by destination LID, as `RoutingTables.service_level` has it.

    Raises
    ------
    InputError
        If a rule means some of a switch's hosts and not others.
    """
    own = np.where(fabric.port_node < fabric.n_switches, fabric.port_number == 0, fabric.port_peer >= 0)
    ports = np.flatnonzero(own & (fabric.port_guid != 0))
    port_of = dict(zip(fabric.port_guid[ports].tolist(), ports.tolist(), strict=True))
    member = {name: np.array([port_of[guid] for guid in guids if guid in port_of], int) for name, guids in policy.groups.items()}
    senders = np.flatnonzero((fabric.port_node >= fabric.n_switches) & (fabric.port_peer >= 0))
    count = np.bincount(fabric.port_node[fabric.port_peer[senders]], minlength=fabric.n_nodes)
    owner = fabric.port_of_lid[:width]
    level = np.full((fabric.n_switches, width), policy.default, dtype=np.uint8)
    for sources, destinations, sl in reversed(policy.rules):
        rows = np.arange(fabric.n_switches)
        if sources:
            meant = np.unique(np.concatenate([member[name] for name in sources]))
            meant = meant[fabric.port_node[meant] >= fabric.n_switches]
            hosts = np.bincount(fabric.port_node[fabric.port_peer[meant]], minlength=fabric.n_nodes)
            rows = np.flatnonzero(hosts[: fabric.n_switches])
            some = rows[hosts[rows] < count[rows]]
            if len(some):
                raise InputError(
                    f"the policy gives an SL to {hosts[some[0]]} of the {count[some[0]]} ports on switch"
                    f" '{fabric.labels[some[0]]}', not to all",
                    where=policy.path,
                    hint="have hosts been added since the export? make a new one",
                )
        columns = np.flatnonzero(owner >= 0)
        if destinations:
            meant = np.concatenate([member[name] for name in destinations])
            columns = columns[np.isin(owner[columns], meant)]
        level[np.ix_(rows, columns)] = sl
    return level
