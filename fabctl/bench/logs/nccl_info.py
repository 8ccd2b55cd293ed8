"""What NCCL's own lines in a log say: ``NCCL_DEBUG=INFO``, and the variables of the command line above it.

The lines are those of NCCL 2.4 to 2.30 (``src/init.cc``, ``src/transport/net.cc``, ``net_ib``, ``src/enqueue.cc``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from fabctl.bench.nccl.choice import ALGORITHMS, PROTOCOLS
from fabctl.model.validation import NcclFacts

_VERSION = re.compile(r"\bNCCL version (\d[\w.]*)")
_SET = re.compile(r"\b(NCCL_[A-Z0-9_]+) set by environment to (.+?)\.?$")
_ASSIGNED = re.compile(r"\b(NCCL_[A-Z0-9_]+)=(\"[^\"]*\"|'[^']*'|[^\s'\"]+)")
_NETWORK = re.compile(r"NCCL INFO Using network (.+?)$")
_DEVICES = re.compile(r"NET/IB(?:ext\w*)? : Using ((?:\[\d+\][^\s;]+\s*)+)")
_DEVICE = re.compile(r"\[\d+\]([^\s;]+)")
_WAY = re.compile(r"\[(send|receive)\] via NET/(\S.*)$")
_CHANNELS = re.compile(r"(\d+) (coll|collnet|nvls) channels")
_CHOICE = re.compile(r"(\d+) Bytes -> Algo (\w+) proto (\w+)", re.IGNORECASE)


def read_facts(lines: Iterable[str]) -> NcclFacts:
    """Return what lines of a log say of NCCL; lines of anything else are passed over."""
    version = network = ""
    variables: dict[str, str] = {}
    hcas: dict[str, None] = {}
    gdr, staged = Counter[str](), Counter[str]()
    channels: dict[str, int] = {}
    choices: dict[int, tuple[str, str]] = {}
    for line in lines:
        if "NCCL" not in line:
            continue
        if " via NET/" in line and (match := _WAY.search(line)):
            (gdr if "/GDRDMA" in match[2] else staged)[match[1]] += 1
            network = network or match[2].partition("/")[0]
        elif "NCCL version" in line and (match := _VERSION.search(line)):
            version = version or match[1]
        elif "set by environment" in line and (match := _SET.search(line)):
            variables[match[1]] = match[2].strip()
        elif " Using network " in line and (match := _NETWORK.search(line)):
            network = match[1].strip()
        elif " : Using [" in line and (match := _DEVICES.search(line)):
            hcas |= dict.fromkeys(_DEVICE.findall(match[1]))
        elif " coll channels" in line:
            channels |= {kind: int(count) for count, kind in _CHANNELS.findall(line)}
        elif " Bytes -> Algo " in line and (match := _CHOICE.search(line)):
            choices[int(match[1])] = _named(match[2], ALGORITHMS), _named(match[3], PROTOCOLS)
        elif "NCCL INFO" not in line:
            variables |= {name: value.strip("'\"") for name, value in _ASSIGNED.findall(line)}
    return NcclFacts(version, variables, network, tuple(hcas), dict(gdr), dict(staged), channels, choices)


def _named(word: str, names: tuple[str, ...]) -> str:
    """Return NCCL's name of an algorithm or a protocol that a log gives by number or in capitals."""
    if word.isdigit():
        return names[int(word)] if int(word) < len(names) else word
    return next((name for name in names if name.lower() == word.lower().replace("_", "")), word)
