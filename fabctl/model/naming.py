"""Names as operators know them: natural order, short labels, host and device parts of a node description."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fabctl.printable import printable

_DIGITS = re.compile(r"(\d+)")
_SWITCH_OS = re.compile(r"^M[FA]\d*;(?P<name>[^:]+):(?P<model>[^/]*)(?P<place>(?:/\w+)*)$")
_HOST_DEVICE = re.compile(
    r"^(?P<host>[^\s]+)\s+(?P<device>HCA-\d+|mlx\d+_\w+|mthca\d+|qib\d+|hfi\d+_\d+|ib[a-z]*\d[\w-]*|rocep\w+|rdma\d+)\b", re.ASCII
)
_FACTORY = re.compile(
    r"^MT\d+|ConnectX|Connect-IB|InfiniHost|InfiniScale|Mellanox Technologies|NVIDIA|Voltaire|Topspin|QLogic|^ib\w*-?hca$",
    re.IGNORECASE,
)
DEFAULT_HOST_NAMES = frozenset({"localhost", "localhost.localdomain", "ubuntu", "debian", "linux", "(none)", "unknown"})
"""Names that an unconfigured operating system gives a machine: two machines may well share one."""


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that puts ``leaf-9`` before ``leaf-10``.

    Examples
    --------
    >>> sorted(["n10", "n9", "n1"], key=natural_key)
    ['n1', 'n9', 'n10']
    """
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in _DIGITS.split(name) if part)


def is_factory_name(description: str) -> bool:
    """Return whether a description is what the vendor burned in, and so names no machine."""
    return not description.strip() or bool(_FACTORY.search(description))


def split_host_device(description: str) -> tuple[str, str] | None:
    """Return (host, device) of an HCA's description; None where it names no machine.

    The device is empty where the description is one bare word (ibsim, hand-made fabrics).

    Examples
    --------
    >>> split_host_device("luna-0314 mlx5_7"), split_host_device("node00001")
    (('luna-0314', 'mlx5_7'), ('node00001', ''))
    >>> split_host_device("MT4129 ConnectX7   Mellanox Technologies") is None
    True
    """
    match = _HOST_DEVICE.match(description)
    if match is not None:
        return printable(match["host"]), match["device"]
    text = description.strip()
    if is_factory_name(text) or " " in text:
        return None
    return printable(text), ""


def short_label(description: str) -> str:
    """Return a node description without the switch operating system's decoration, printable.

    Examples
    --------
    >>> short_label("MF0;CSPINE1-80:MQM8700/U1"), short_label("MF0;core-A:MCS8500/L16/U2")
    ('CSPINE1-80', 'core-A/L16/U2')
    """
    match = _SWITCH_OS.match(description.strip())
    if match is None:
        return printable(" ".join(description.split()))
    place = match["place"]
    return printable(match["name"] + ("" if place == "/U1" else place))


def unique_labels(descriptions: Sequence[str], guids: NDArray[np.uint64]) -> tuple[str, ...]:
    """Return one label per node; where several nodes would share one, the GUID is added."""
    short = [short_label(description) for description in descriptions]
    count = Counter(short)
    return tuple(
        label if label and count[label] == 1 else f"{label or 'unnamed'} (0x{int(guid):016x})"
        for label, guid in zip(short, guids, strict=True)
    )
