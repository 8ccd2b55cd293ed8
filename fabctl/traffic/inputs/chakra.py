"""Chakra execution traces, one file per rank, to the collectives and transfers of a job.

The number in a file's name is its rank: ``trace.0.et``. The trace says nothing about hosts: ranks take the first hosts that hold
them, unless a job file names hosts and the trace (``trace: folder``).

The sizes are those of ASTRA-sim (its Ring.cc, among the native collectives): ``comm_size`` is what a rank puts in, so an
all-gather's message, as nccl-tests counts it, is ``comm_size`` times the ranks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from fabctl.errors import InputError
from fabctl.traffic.inputs.chakra_nodes import CommNode, json_nodes, protobuf_nodes
from fabctl.traffic.inputs.protobuf import LEN, WireError, varint
from fabctl.traffic.inputs.source import JobSource, text_of
from fabctl.traffic.inputs.trace_operations import operations
from fabctl.traffic.job import ALL, JobSpec, Placed

_RANK = re.compile(r"(\d{1,9})(?=\D*$)")


def parse_traces(parts: Sequence[tuple[str, bytes]], path: str) -> JobSpec:
    """Read the traces of all ranks.

    Parameters
    ----------
    parts : sequence of (str, bytes)
        File names and contents. One JSON file beside them may name the ranks of the communicators, as ASTRA-sim has it:
        ``{"tp": [0, 1], "dp": [0, 2]}``.
    path : str
        Of all, for messages.

    Raises
    ------
    InputError
        If a file is no trace or is damaged, a rank lacks or comes twice, or the ranks disagree.
    """
    traces: dict[int, tuple[str, list[CommNode]]] = {}
    groups: dict[str, tuple[int, ...]] = {}
    for name, data in parts:
        named = _groups(data, name)
        if named is not None:
            groups |= named
            continue
        rank = _rank(name)
        if rank in traces:
            raise InputError(f"this and {traces[rank][0]} are both of rank {rank}", where=name)
        read = json_nodes if _is_json(data[:64], name) else protobuf_nodes
        traces[rank] = name, read(data, name)
    lacking = next((rank for rank in range(len(traces)) if rank not in traces), None)
    if lacking is not None or len(traces) < 2:
        rank = lacking if lacking is not None else len(traces)
        hint = "give the folder of the traces of all ranks, or a pattern in quotes: 'trace.*.et'"
        raise InputError(f"there is no trace of rank {rank}", where=path, hint=hint)
    found, notes = operations({rank: nodes for rank, (_, nodes) in sorted(traces.items())}, groups, path)
    name = PurePath(path).name.split(".")[0].strip("*") or "trace"
    return JobSpec(
        path=path, name=name, collectives=(), hosts=(Placed(ALL, path),), operations=found, n_ranks=len(traces), notes=notes
    )


def _rank(name: str) -> int:
    match = _RANK.search(re.sub(r"\.(et|json)(\.gz)?$", "", PurePath(name).name))
    if match is None:
        raise InputError("the name of a trace holds its rank: trace.0.et", where=name)
    return int(match[1])


def _groups(data: bytes, name: str) -> dict[str, tuple[int, ...]] | None:
    """Return the communicators' ranks if that is what a file holds."""
    if not name.endswith(".json"):
        return None
    try:
        document: Any = json.loads(text_of(data, name))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not document or not all(isinstance(value, list) for value in document.values()):
        return None
    for group, ranks in document.items():
        if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank >= 0 for rank in ranks):
            return None
        if len(set(ranks)) < len(ranks):
            raise InputError(f"communicator '{group}' has a rank twice", where=name)
    return {group: tuple(ranks) for group, ranks in document.items()}


def _single(data: bytes, path: str) -> tuple[JobSpec, ...]:
    return (parse_traces([(path, data)], path),)


def _is_json(head: bytes, path: str) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and not path.endswith(".et")


def _is_binary(head: bytes, path: str) -> bool:
    """Tell whether a file begins with GlobalMetadata, which holds nothing but length-delimited fields 1 and 2."""
    if path.endswith((".et", ".et.gz")):
        return True
    try:
        length, at = varint(head, 0, path, 0)
        end = at + length
        while at < min(end, len(head)):
            if head[at] not in (1 << 3 | LEN, 2 << 3 | LEN):
                return False
            size, at = varint(head, at + 1, path, 0)
            at += size
    except WireError:
        return False
    return length > 0 and at == end


def _is_json_trace(head: bytes, path: str) -> bool:
    return _is_json(head, path) and bool(
        re.search(rb'"version"\s*:\s*"\d|chakra\.\d|"(?:COMM_COLL|COMM_SEND|COMM_RECV|COMP|METADATA)_NODE"', head)
    )


BINARY = JobSource(_is_binary, _single)
JSON = JobSource(_is_json_trace, _single)
