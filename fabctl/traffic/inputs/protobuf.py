"""Protocol Buffers' wire format, as much of it as a trace needs: length-delimited messages and their fields.

A message is fields of a tag (``number << 3 | wire type``) and a value: a varint, 4 or 8 bytes, or a length and bytes (Protocol
Buffers documentation, Encoding). A file of several messages has each one's length, a varint, before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from fabctl.errors import InputError

VARINT, I64, LEN, I32 = 0, 1, 2, 5

Value = int | bytes


class WireError(InputError):
    """The bytes are no message: where they begin to be none is said."""


def messages(data: bytes, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the bytes of each message of a file.

    Raises
    ------
    WireError
        If the file ends within a message.
    """
    at = 0
    while at < len(data):
        length, start = varint(data, at, path, 0)
        if start + length > len(data):
            raise WireError(
                f"the file ends at byte {len(data)}, within the message that begins at byte {at} and has {length} bytes",
                where=path,
                hint="the file was cut short: copy it again",
            )
        yield start, data[start : start + length]
        at = start + length


def fields(message: bytes, path: str, offset: int) -> Iterator[tuple[int, Value, int]]:
    """Yield number, value and offset in the file of each field; 4 and 8 byte values come as bytes.

    Parameters
    ----------
    offset : int
        Where the message begins in the file.

    Raises
    ------
    WireError
        If the bytes are no message.
    """
    at = 0
    while at < len(message):
        begin = at
        tag, at = varint(message, at, path, offset)
        number, kind = tag >> 3, tag & 7
        value: Value
        if kind == VARINT:
            value, at = varint(message, at, path, offset)
        else:
            if kind == LEN:
                length, at = varint(message, at, path, offset)
            else:
                length = {I64: 8, I32: 4}.get(kind, -1)
            if length < 0 or number == 0:
                raise WireError(f"no field begins at byte {offset + begin}", where=path, hint="is this a Chakra trace?")
            if at + length > len(message):
                raise WireError(f"the field at byte {offset + begin} is longer than its message", where=path)
            value = message[at : at + length]
            at += length
        yield number, value, offset + at - (len(value) if isinstance(value, bytes) else 0)


def varint(data: bytes, at: int, path: str, offset: int) -> tuple[int, int]:
    """Return the unsigned number at a place, and the place behind it."""
    value = shift = 0
    begin = at
    while shift < 64:
        if at >= len(data):
            raise WireError(
                f"the bytes end within the number at byte {offset + begin}", where=path, hint="the file was cut short"
            )
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise WireError(f"no number begins at byte {offset + begin}", where=path)


def signed(value: int) -> int:
    """Return the two's complement reading of a 64-bit number."""
    return value - (1 << 64) if value >> 63 else value


def zigzag(value: int) -> int:
    """Return the signed number behind a zigzag one."""
    return (value >> 1) ^ -(value & 1)
