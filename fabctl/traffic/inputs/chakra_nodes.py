"""The communication nodes of one Chakra trace, from its protobuf or its JSON form.

Field numbers, node types and attribute names are those of mlcommons/chakra, schema/protobuf/et_def.proto, version 0.0.4; the JSON
form is what its jsonizer writes: one object after the other, the metadata first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fabctl.errors import InputError
from fabctl.traffic.inputs.protobuf import Value, fields, messages, signed, zigzag
from fabctl.traffic.inputs.source import line_at, text_of

SCHEMAS = ("0.0.4", "1.0.0")
"""Versions of the schema whose communication nodes read alike: 0.0.4, and what its converter of text files calls 1.0.0."""

SEND, RECV, COLLECTIVE = "COMM_SEND_NODE", "COMM_RECV_NODE", "COMM_COLL_NODE"
_KINDS = {5: SEND, 6: RECV, 7: COLLECTIVE}

_SIGNED, _ZIGZAG, _UNSIGNED, _FIXED_UNSIGNED, _FIXED_SIGNED = (7, 9), (15, 17), (11, 13, 27), (19, 21), (23, 25)
_TEXT, _FLAGS = 29, 28
_JSON_NUMBERS = {f"{kind}{bits}val" for kind in ("int", "uint", "sint", "fixed", "sfixed") for bits in (32, 64)}

Attribute = int | str | tuple[bool, ...]


@dataclass(frozen=True)
class CommNode:
    """A node that communicates.

    Parameters
    ----------
    kind : str
        `SEND`, `RECV` or `COLLECTIVE`.
    name : str
    attributes : dict
        By name: ``comm_type``, ``comm_size``, ``pg_name``, ``comm_src``, ``comm_dst``, ``involved_dim`` and others.
    where : str
        Place in the trace.
    """

    kind: str
    name: str
    attributes: dict[str, Attribute]
    where: str

    def number(self, name: str) -> int | None:
        """Return an attribute that is a number; None where the node has none.

        Raises
        ------
        InputError
            If it is something else.
        """
        value = self.attributes.get(name)
        if value is not None and not isinstance(value, int):
            raise InputError(f"{name} of {self.kind} '{self.name}' is no whole number: {value}", where=self.where)
        return value


def protobuf_nodes(data: bytes, path: str) -> list[CommNode]:
    """Return the communication nodes of an ``.et`` file.

    Raises
    ------
    InputError
        If the file is cut or no trace (the byte is named), or of another version (both are named).
    """
    stream = messages(data, path)
    offset, first = next(stream, (0, b""))
    _check_metadata(first, path, offset)
    nodes = (_protobuf_node(message, path, offset) for offset, message in stream)
    return [node for node in nodes if node is not None]


def json_nodes(data: bytes, path: str) -> list[CommNode]:
    """Return the communication nodes of a jsonized trace.

    Raises
    ------
    InputError
        With ``file:line``: what follows is no JSON, no node, or the trace is of another version.
    """
    nodes = []
    for index, (where, record) in enumerate(_objects(text_of(data, path), path)):
        attributes = dict(_json_attribute(item, where) for item in _list(record.get("attr", []), where))
        if index == 0:
            _check_version(str(record.get("version", "")), str(attributes.get("schema", "")), where)
        kind = record.get("type")
        kind = _KINDS.get(kind) if isinstance(kind, int) else kind
        if index > 0 and kind in _KINDS.values():
            nodes.append(CommNode(str(kind), str(record.get("name", "")), attributes, where))
    return nodes


def _check_metadata(message: bytes, path: str, offset: int) -> None:
    version, schema = "", ""
    for number, value, at in fields(message, path, offset):
        if number not in (1, 2) or not isinstance(value, bytes):
            raise InputError(
                "the trace does not begin with GlobalMetadata: its schema is older than 0.0.4, which fabctl reads",
                where=path,
                hint="convert it again with a newer Chakra",
            )
        if number == 1:
            version = _text(value)
        else:
            name, attribute = _attribute(value, path, at)
            schema = str(attribute) if name == "schema" else schema
    _check_version(version, schema, path)


def _check_version(version: str, schema: str, where: str) -> None:
    found = version or schema.rpartition("chakra.")[2]
    if found and found not in SCHEMAS:
        raise InputError(f"this trace is of Chakra's schema {found!r}, fabctl reads {' and '.join(SCHEMAS)}", where=where)


def _protobuf_node(message: bytes, path: str, offset: int) -> CommNode | None:
    name, kind = "", None
    attributes: dict[str, Attribute] = {}
    for number, value, at in fields(message, path, offset):
        if number == 2:
            name = _text(value)
        elif number == 3:
            kind = _KINDS.get(value) if isinstance(value, int) else None
            if kind is None:
                return None
        elif number == 10:
            key, attribute = _attribute(value, path, at)
            if attribute is not None:
                attributes[key] = attribute
    return CommNode(kind, name, attributes, f"{path}, byte {offset}") if kind else None


def _attribute(message: Value, path: str, offset: int) -> tuple[str, Attribute | None]:
    if not isinstance(message, bytes):
        raise InputError(f"no attribute is at byte {offset}", where=path)
    name, attribute = "", None
    for number, value, at in fields(message, path, offset):
        if number == 1:
            name = _text(value)
        elif number > 2:
            attribute = _value(number, value, path, at)
    return name, attribute


def _value(number: int, value: Value, path: str, offset: int) -> Attribute | None:
    if isinstance(value, int):
        if number in _SIGNED:
            return signed(value)
        if number in _ZIGZAG:
            return zigzag(value)
        return value if number in _UNSIGNED else None
    if number in (*_FIXED_UNSIGNED, *_FIXED_SIGNED):
        return int.from_bytes(value, "little", signed=number in _FIXED_SIGNED)
    if number == _TEXT:
        return _text(value)
    if number == _FLAGS:
        packed = [item for inner, item, _ in fields(value, path, offset) if inner == 1]
        return tuple(flag for item in packed for flag in (map(bool, item) if isinstance(item, bytes) else [bool(item)]))
    return None


def _text(value: Value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _objects(text: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    decoder = json.JSONDecoder()
    at, line, counted = 0, 1, 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return
        line += text.count("\n", counted, at)
        counted = at
        try:
            record, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InputError(f"this is no JSON: {error.msg}", where=f"{path}:{line_at(text, error.pos)}") from error
        except (ValueError, RecursionError) as error:
            raise InputError("this is no trace: numbers or nesting without end", where=f"{path}:{line}") from error
        where = f"{path}:{line}"
        if not isinstance(record, dict):
            raise InputError("this is no node of a trace", where=where)
        if "nodes" in record:
            raise InputError("this is PyTorch's trace, not yet Chakra's", where=where, hint="convert it with chakra_converter")
        yield where, record
        at = end


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"'attr' is no list: {str(value)[:40]}", where=where)
    return value


def _json_attribute(item: Any, where: str) -> tuple[str, Attribute]:
    if not isinstance(item, dict):
        raise InputError(f"this is no attribute: {str(item)[:40]}", where=where)
    name = str(item.get("name", ""))
    for key, value in item.items():
        kind = key.replace("_", "").lower()
        if kind == "boollist" and isinstance(value, dict):
            return name, tuple(bool(flag) for flag in _list(value.get("values", []), where))
        if kind == "boolval":
            return name, int(bool(value))
        if kind in _JSON_NUMBERS:
            try:
                return name, int(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"'{name}' is no whole number: {str(value)[:40]}", where=where) from error
        if kind == "stringval":
            return name, str(value)
    return name, ""
