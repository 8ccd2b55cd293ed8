"""From every rank's communication nodes to a job's operations: who takes part, and what all ranks agree on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from fabctl.errors import InputError
from fabctl.traffic.explicit import Operation
from fabctl.traffic.inputs.chakra_nodes import COLLECTIVE, RECV, SEND, CommNode
from fabctl.traffic.inputs.source import checked_size

COLLECTIVES = {0: "all_reduce", 2: "all_gather", 5: "broadcast", 6: "alltoall", 7: "reduce_scatter", 8: "reduce_scatter"}
"""fabctl's names of CollectiveCommType (mlcommons/chakra, et_def.proto)."""
BARRIER = 9
OTHERS = {1: "REDUCE", 3: "GATHER", 4: "SCATTER"}

Traces = Mapping[int, Sequence[CommNode]]
_Groups = Mapping[str, tuple[int, ...]]


def operations(traces: Traces, groups: _Groups, path: str) -> tuple[tuple[Operation, ...], tuple[str, ...]]:
    """Return a job's operations and what was decided.

    Parameters
    ----------
    traces : mapping of int to sequence of CommNode
        By rank, 0 to n - 1.
    groups : mapping of str to tuple of int
        Ranks of communicators, where a file names them. Another communicator is of all ranks whose traces name it, a node
        without one of all ranks.
    path : str
        For messages.

    Notes
    -----
    The nodes of a communicator pair up in their order. Equal operations of one communicator are counted, so a step of many
    layers stays short.

    Raises
    ------
    InputError
        If ranks disagree on an operation, a size or a peer lacks or is out of range, or nothing is left.
    """
    notes: list[str] = []
    counted: Counter[tuple[str, tuple[int, ...], int]] = Counter()
    places: dict[tuple[str, tuple[int, ...], int], str] = {}
    for found in (_collectives(traces, groups, notes), _transfers(traces, groups)):
        for operation in found:
            key = operation.collective, operation.ranks, operation.size_bytes
            counted[key] += 1
            places.setdefault(key, operation.where)
    if not counted:
        raise InputError("these traces hold no communication between ranks", where=path)
    return tuple(Operation(*key, places[key], times) for key, times in counted.items()), tuple(notes)


def _collectives(traces: Traces, groups: _Groups, notes: list[str]) -> list[Operation]:
    by_group: defaultdict[str, dict[int, list[CommNode]]] = defaultdict(dict)
    left_out: Counter[str] = Counter()
    for rank, nodes in traces.items():
        for node in nodes:
            if node.kind == COLLECTIVE:
                kind = _type(node)
                if kind in OTHERS:
                    left_out[OTHERS[kind]] += 1
                elif kind != BARRIER:
                    by_group[_group_name(node)].setdefault(rank, []).append(node)
    notes += [f"left out: {count} nodes of {name}, which fabctl has no flows for" for name, count in sorted(left_out.items())]
    found: list[Operation] = []
    for name, members in by_group.items():
        ranks = _members(name, members, groups, traces)
        if len(ranks) > 1:
            found += _agreed(name, ranks, members, notes)
    return found


def _type(node: CommNode) -> int:
    kind = node.number("comm_type")
    if kind not in (*COLLECTIVES, *OTHERS, BARRIER):
        raise InputError(f"'{node.name}' is of no known comm_type: {kind}", where=node.where)
    return kind


def _group_name(node: CommNode) -> str:
    name = str(node.attributes.get("pg_name", ""))
    involved = node.attributes.get("involved_dim", ())
    if not name and isinstance(involved, tuple) and not all(involved):
        hint = "give its nodes a pg_name"
        raise InputError(
            f"'{node.name}' involves some dimensions of a topology that the trace does not hold", where=node.where, hint=hint
        )
    return name


def _members(name: str, members: Mapping[int, list[CommNode]], groups: _Groups, traces: Traces) -> tuple[int, ...]:
    ranks = groups.get(name) or (tuple(sorted(members)) if name else tuple(traces))
    for rank in members:
        if rank not in ranks:
            raise InputError(f"rank {rank} is not in communicator '{name}'", where=members[rank][0].where)
    for rank in ranks:
        if rank not in members:
            said = f"communicator '{name}'" if name else "the collectives of all ranks"
            raise InputError(f"rank {rank} takes no part in {said}", where=next(iter(members.values()))[0].where)
    return ranks


def _agreed(name: str, ranks: tuple[int, ...], members: Mapping[int, list[CommNode]], notes: list[str]) -> list[Operation]:
    """Return the operations of one communicator, on which its ranks must agree."""
    found = []
    first = members[ranks[0]]
    for rank in ranks[1:]:
        if len(members[rank]) != len(first):
            text = f"ranks {ranks[0]} and {rank} disagree: {len(first)} and {len(members[rank])} collectives of '{name}'"
            raise InputError(text, where=members[rank][-1].where)
    uneven = False
    for index, node in enumerate(first):
        nodes = [members[rank][index] for rank in ranks]
        kinds = [_type(other) for other in nodes]
        sizes = [_size(other) for other in nodes]
        collective = COLLECTIVES[kinds[0]]
        for other, kind, size in zip(nodes, kinds, sizes, strict=True):
            if kind != kinds[0] or (size != sizes[0] and collective != "alltoall"):
                here = f"{COLLECTIVES[kind]} of {size} bytes"
                raise InputError(f"{here}, where {node.where} has {collective} of {sizes[0]}", where=other.where)
        uneven |= min(sizes) < max(sizes)
        size_bytes = max(sizes) * (len(ranks) if collective == "all_gather" else 1)
        found.append(Operation(collective, ranks, checked_size(size_bytes, node.where, f"'{node.name}'"), node.where))
    if uneven:
        notes.append(f"an all-to-all of communicator '{name}' has ranks that send less: the largest size counts for all")
    return found


def _size(node: CommNode) -> int:
    size = node.number("comm_size")
    if size is None:
        raise InputError(f"'{node.name}' has no comm_size", where=node.where)
    return size


def _transfers(traces: Traces, groups: _Groups) -> list[Operation]:
    """Return the sends, each checked against its receiver's trace."""
    names: defaultdict[str, set[int]] = defaultdict(set)
    for rank, nodes in traces.items():
        for node in nodes:
            names[str(node.attributes.get("pg_name", ""))].add(rank)
    sent: defaultdict[tuple[int, int, int], list[CommNode]] = defaultdict(list)
    received: Counter[tuple[int, int, int]] = Counter()
    for rank, nodes in traces.items():
        for node in nodes:
            if node.kind in (SEND, RECV):
                key = "comm_dst" if node.kind == SEND else "comm_src"
                name = str(node.attributes.get("pg_name", ""))
                peer = _peer(node, key, rank, (groups.get(name) or names[name]) if name else (), traces)
                size_bytes = checked_size(_size(node), node.where, f"'{node.name}'")
                if node.kind == SEND:
                    sent[rank, peer, size_bytes].append(node)
                else:
                    received[peer, rank, size_bytes] += 1
    for pair in sent.keys() | received.keys():
        if len(sent.get(pair, ())) != received[pair]:
            src, dst, size = pair
            here = sent[pair][0].where if sent.get(pair) else ""
            text = f"rank {src} sends {size} bytes {len(sent.get(pair, ()))} times to rank {dst}, which receives {received[pair]}"
            raise InputError(text, where=here or _first(traces[dst]))
    return [Operation("sendrecv", (src, dst), size, node.where) for (src, dst, size), nodes in sent.items() for node in nodes]


def _peer(node: CommNode, key: str, rank: int, members: Collection[int], traces: Traces) -> int:
    peer = node.number(key)
    if peer is None:
        others = [member for member in members if member != rank]
        if len(others) != 1:
            raise InputError(f"'{node.name}' does not say {'to' if key == 'comm_dst' else 'from'} whom", where=node.where)
        return others[0]
    if peer not in traces or peer == rank:
        raise InputError(f"{key} of '{node.name}' is {peer}: no other rank of {len(traces)}", where=node.where)
    return peer


def _first(nodes: Sequence[CommNode]) -> str:
    return nodes[0].where if nodes else ""
