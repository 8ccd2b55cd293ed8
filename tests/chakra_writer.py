"""Chakra traces written by hand from mlcommons/chakra's et_def.proto: an encoder that shares no code with the reader."""

from __future__ import annotations

import json
import struct

TYPES = {"COMP_NODE": 4, "COMM_SEND_NODE": 5, "COMM_RECV_NODE": 6, "COMM_COLL_NODE": 7}
COLLECTIVES = {
    "ALL_REDUCE": 0,
    "REDUCE": 1,
    "ALL_GATHER": 2,
    "BROADCAST": 5,
    "ALL_TO_ALL": 6,
    "REDUCE_SCATTER": 7,
    "BARRIER": 9,
}
FIELDS = {"int32": 7, "int64": 9, "uint32": 11, "uint64": 13, "sint64": 17, "fixed64": 21, "sfixed32": 23, "bool": 27}

Attribute = tuple[str, str, object]  # name, kind, value
Record = tuple[str, str, list[Attribute]]  # type, name, attributes


def number(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while True:
        part, value = value & 0x7F, value >> 7
        out += bytes([part | (0x80 if value else 0)])
        if not value:
            return out


def field(index: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return number(index << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(data)) + data


def attribute(name: str, kind: str, value: object) -> bytes:
    head = field(1, name)
    if kind == "string":
        return head + field(29, str(value))
    if kind == "bools":
        assert isinstance(value, (list, tuple))
        return head + field(28, field(1, bytes(map(int, value))))
    if kind == "double":
        assert isinstance(value, float)
        return head + number(3 << 3 | 1) + struct.pack("<d", value)
    assert isinstance(value, int)
    if kind == "sint64":
        return head + field(17, value << 1 ^ value >> 63)
    if kind == "fixed64":
        return head + number(21 << 3 | 1) + struct.pack("<Q", value)
    if kind == "sfixed32":
        return head + number(23 << 3 | 5) + struct.pack("<i", value)
    return head + field(FIELDS[kind], value)


def node(index: int, record: Record) -> bytes:
    kind, name, attributes = record
    out = field(1, index) if index else b""
    out += field(2, name) + field(3, TYPES[kind])
    out += field(5, number(max(0, index - 1))) + field(7, 12)  # data_deps, packed; duration_micros
    return out + b"".join(field(10, attribute(*item)) for item in attributes)


def trace(records: list[Record], version: str = "0.0.4", schema: str = "") -> bytes:
    metadata = (field(1, version) if version else b"") + (field(2, attribute("schema", "string", schema)) if schema else b"")
    messages = [metadata, *(node(index, record) for index, record in enumerate(records))]
    return b"".join(number(len(message)) + message for message in messages)


def jsonized(records: list[Record], version: str = "0.0.4") -> bytes:
    """Return what chakra_jsonizer prints: protobuf's MessageToJson of each message, one after the other."""
    names = {"string": "stringVal", "bools": "boolList", "double": "doubleVal"}
    objects: list[dict[str, object]] = [{"version": version}]
    for index, (kind, name, attributes) in enumerate(records):
        shown = []
        for key, form, value in attributes:
            if form == "bools":
                value = {"values": value}
            elif form in ("int64", "uint64", "sint64", "fixed64"):
                value = str(value)  # 64-bit numbers are texts in protobuf's JSON
            shown.append({"name": key, names.get(form, f"{form}Val"): value})
        objects.append(
            {"id": str(index), "name": name, "type": kind, "attr": shown}
            if index
            else {"name": name, "type": kind, "attr": shown}
        )
    return "".join(json.dumps(item, indent=2) for item in objects).encode()


def collective(kind: str, size: int, group: str = "", name: str = "coll", form: str = "int64") -> Record:
    attributes: list[Attribute] = [("is_cpu_op", "bool", 0), ("comm_type", form, COLLECTIVES[kind]), ("comm_size", form, size)]
    return "COMM_COLL_NODE", name, [*attributes, ("pg_name", "string", group)] if group else attributes


def send(src: int, dst: int, size: int) -> Record:
    return (
        "COMM_SEND_NODE",
        f"send {src} {dst}",
        [("comm_src", "int32", src), ("comm_dst", "int32", dst), ("comm_size", "uint64", size)],
    )


def recv(src: int, dst: int, size: int) -> Record:
    return (
        "COMM_RECV_NODE",
        f"recv {src} {dst}",
        [("comm_src", "int32", src), ("comm_dst", "int32", dst), ("comm_size", "uint64", size)],
    )


COMPUTE: Record = ("COMP_NODE", "matmul", [("num_ops", "int64", 1 << 40), ("flops", "double", 1.5)])
