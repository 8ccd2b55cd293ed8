"""Counters of a switch's ports, by ``perfquery``; nothing is reset."""

from __future__ import annotations

import json

import numpy as np

from fabctl.errors import SourceError
from fabctl.offload.driver import Observed
from fabctl.offload.drivers.mad_text import blocks
from fabctl.offload.drivers.mad_tools import Target, Tools

_NOT_COUNTED = ("PortSelect", "CounterSelect", "CounterSelect2")


def read_counters(tools: Tools, target: Target) -> Observed:
    """Return the counters of all connected ports of a switch, as JSON by port number and name."""
    fabric = tools.fabric
    connected = np.flatnonzero((fabric.port_node == target.node) & (fabric.port_peer >= 0) & (fabric.port_number > 0))
    ports = [str(number) for number in fabric.port_number[connected].tolist()]
    if not ports:
        return Observed("{}", f"{target.label} has no connected port")
    answer = tools.ask("perfquery", "-l", target, ",".join(ports))
    found = blocks(answer.text, "PortSelect")
    if [block["PortSelect"] for block in found] != ports:
        raise SourceError(f"{target.label}: perfquery answered for {len(found)} of {len(ports)} ports")
    counters = {
        block["PortSelect"]: {name: _count(value, target) for name, value in block.items() if name not in _NOT_COUNTED}
        for block in found
    }
    if len({tuple(counted) for counted in counters.values()}) != 1:
        raise SourceError(f"{target.label}: perfquery printed half an answer")
    return Observed(json.dumps(counters), f"$ {answer.command}")


def _count(text: str, target: Target) -> int:
    if not text.isdecimal():
        raise SourceError(f"{target.label}: '{text}' is no count")
    return int(text)
