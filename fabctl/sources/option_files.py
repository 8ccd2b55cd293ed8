"""The small files of OpenSM's routing options: lists of GUIDs (``-a``, ``-i``) and hop weights (``-w``)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import InputError
from fabctl.model.fabric import Fabric
from fabctl.model.lookup import find_switch
from fabctl.sources.reading import decode, read_bytes

HEAVIEST = 255
"""OpenSM counts hops in one byte."""

_WEIGHT = re.compile(r"(0x[0-9a-fA-F]{1,16})\s+(\d+)\s+(\d+)")


def read_names(path: str) -> Iterator[tuple[str, str]]:
    """Yield the entries of a list, one to a line, each with its ``file:line``; what follows a ``#`` is a comment.

    Raises
    ------
    InputError
        If the file cannot be read, or names nothing.
    """
    empty = True
    for place, text in _lines(path):
        empty = False
        yield text, place
    if empty:
        raise InputError("this file names nothing", where=path, hint="one GUID or name to a line")


def read_hop_weights(path: str, fabric: Fabric) -> NDArray[np.int16]:
    """Return the length in hops of each channel from a file of lines ``<switch guid> <port> <weight>``.

    Returns
    -------
    int16 array of shape (n_channels,)
        1 for channels that the file does not list; ports without a cable have no effect.

    Raises
    ------
    InputError
        With ``file:line``, for a line in another form, an unknown switch or port, or two weights of one port.
    """
    weight = np.ones(len(fabric.channel_port), dtype=np.int16)
    seen: dict[tuple[int, int], int] = {}
    for place, text in _lines(path):
        match = _WEIGHT.fullmatch(text)
        if match is None:
            raise InputError(
                f"not understood: {text[:40]!r}", where=place, hint="one line for each: <switch guid> <port> <weight>"
            )
        guid, number, hops = match[1], int(match[2]), int(match[3])
        switch = find_switch(fabric, guid, place)
        ports = int(fabric.node_port_count[switch]) or 254
        if not 1 <= number <= ports:
            raise InputError(f"{fabric.labels[switch]} has ports 1 to {ports}, not {number}", where=place)
        if not 1 <= hops <= HEAVIEST:
            raise InputError(f"a hop weighs 1 to {HEAVIEST}, not {hops}", where=place)
        if seen.setdefault((switch, number), hops) != hops:
            raise InputError(f"{fabric.labels[switch]}/P{number} has two weights", where=place)
        if fabric.channel_at[switch, number] >= 0:
            weight[fabric.channel_at[switch, number]] = hops
    return weight


def _lines(path: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(decode(read_bytes(path), path).splitlines(), 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if text:
            yield f"{path}:{number}", text
