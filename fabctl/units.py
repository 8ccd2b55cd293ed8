"""Link speeds, link widths and byte sizes, with their units and sources.

Raw lane rates are signalling rates. Data rates are what is left after line coding: 8b/10b for SDR, DDR and QDR; 64b/66b for
FDR10, FDR and EDR; 256b/257b and RS(544,514) forward error correction for HDR, NDR and XDR. Source: InfiniBand Architecture
Specification volume 2 (release 1.4 and later), chapters on the physical layer, and the IBTA roadmap, whose 4x figures
(8, 16, 32, 40, 54.5, 100, 200, 400, 800 Gb/s) the data rates reproduce.
"""

from __future__ import annotations

import re
from enum import IntEnum

from fabctl.errors import UsageError


class Speed(IntEnum):
    """Lane speed of a link. The numbers are fabctl's own column codes, in order of rate; 0 is unknown."""

    UNKNOWN = 0
    SDR = 1
    DDR = 2
    QDR = 3
    FDR10 = 4
    FDR = 5
    EDR = 6
    HDR = 7
    NDR = 8
    XDR = 9


RAW_LANE_GBPS = (0.0, 2.5, 5.0, 10.0, 10.3125, 14.0625, 25.78125, 53.125, 106.25, 212.5)
"""Raw signalling rate of one lane in Gb/s, by `Speed`."""

DATA_LANE_GBPS = (
    0.0,
    2.5 * 8 / 10,
    5.0 * 8 / 10,
    10.0 * 8 / 10,
    10.3125 * 64 / 66,
    14.0625 * 64 / 66,
    25.78125 * 64 / 66,
    53.125 * 514 / 544 * 256 / 257,
    106.25 * 514 / 544 * 256 / 257,
    212.5 * 514 / 544 * 256 / 257,
)
"""Data rate of one lane in Gb/s after line coding and error correction, by `Speed`."""

LANE_COUNTS = (1, 2, 4, 8, 12)
"""Link widths that the InfiniBand specification knows, in lanes."""


def speed_from_gbps(gbps: float) -> Speed:
    """Return the speed whose raw or nominal lane rate is `gbps`.

    The tools print nominal lane rates: ``2.5``, ``14.0625``, ``25.78125``, ``53.125``, ``100`` (OpenSM's ``SPD=25``).
    A rate within 7 % below or 2 % above the raw rate is that speed; else `Speed.UNKNOWN`.

    Examples
    --------
    >>> speed_from_gbps(25.0).name, speed_from_gbps(14.0).name, speed_from_gbps(10.0).name
    ('EDR', 'FDR', 'QDR')
    """
    if abs(gbps - 10.0) < 0.01:
        return Speed.QDR
    for speed in reversed(Speed):
        raw = RAW_LANE_GBPS[speed]
        if raw * 0.93 <= gbps <= raw * 1.02 and gbps > 0:
            return speed
    return Speed.UNKNOWN


_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return a byte count from ``8``, ``64K``, ``1MiB``, ``16G``, ``1GB``.

    As in nccl-tests, a bare ``K``, ``M``, ``G`` or ``T`` counts in powers of 1024; with ``B`` and no ``i`` (``GB``) it
    counts in powers of 1000.

    Raises
    ------
    UsageError
        If `text` is no size.

    Examples
    --------
    >>> parse_size("64K"), parse_size("1GB"), parse_size("1GiB")
    (65536, 1000000000, 1073741824)
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"'{text}' is not a size", hint="write bytes, or a number with K, M, G (powers of 1024), KB, MB, GB")
    number, prefix, binary = match.groups()
    decimal = not binary and text.strip().lower().endswith("b") and prefix
    unit = (1000 if decimal else 1024) ** _POWER[prefix.lower()]
    return round(float(number) * unit) if "." in number else int(number) * unit


def size_text(size_bytes: int) -> str:
    """Return a byte count as `parse_size` reads it back, in powers of 1024 where it is a whole number of them.

    Examples
    --------
    >>> size_text(65536), size_text(3 << 20), size_text(1000)
    ('64K', '3M', '1000')
    """
    for prefix, power in reversed(_POWER.items()):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{prefix.upper()}"
    return str(size_bytes)
