"""Rates of channels: what a cable carries per second, and the share of it that is payload."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from fabctl.errors import RefusedError, UsageError
from fabctl.model.fabric import Fabric
from fabctl.units import DATA_LANE_GBPS, LANE_COUNTS, Speed

Float64 = NDArray[np.float64]

MTU_BYTES = 4096
HEADER_BYTES = 8 + 12 + 4 + 2
"""LRH, BTH, ICRC and VCRC of each packet (InfiniBand Architecture Specification volume 1, chapters 7 to 9). The RETH's 16
bytes come once per RDMA write, one in hundreds of packets, and are left out, as are acknowledgements."""
PAYLOAD_SHARE = MTU_BYTES / (MTU_BYTES + HEADER_BYTES)
"""Share of a link's data rate that carries payload: 0.9937."""


def data_rates(fabric: Fabric, assume: tuple[int, Speed] | None = None) -> Float64:
    """Return each channel's data rate in Gb/s, shape (n_channels,); 0 where it is unknown and nothing is assumed.

    Parameters
    ----------
    assume : (int, Speed), optional
        Lanes and speed of the cables whose own are unknown.
    """
    if assume is None:
        return fabric.data_gbps
    lanes = np.where(fabric.channel_lanes > 0, fabric.channel_lanes, assume[0])
    speed = np.where(fabric.channel_speed > 0, fabric.channel_speed, assume[1])
    return lanes * np.array(DATA_LANE_GBPS)[speed]


def parse_speed(text: str) -> tuple[int, Speed]:
    """Return lanes and speed from ``4xHDR``.

    Raises
    ------
    UsageError
        If `text` is no link speed.

    Examples
    --------
    >>> parse_speed("4xEDR")
    (4, <Speed.EDR: 6>)
    """
    match = re.fullmatch(r"(\d+)x([A-Z]+\d*)", text)
    names = [speed.name for speed in Speed if speed]
    if match is None or int(match[1]) not in LANE_COUNTS or match[2] not in names:
        raise UsageError(f"'{text}' is no link speed", hint=f"write 4xHDR; speeds: {', '.join(names)}")
    return int(match[1]), Speed[match[2]]


def payload_rates(fabric: Fabric, assume: tuple[int, Speed] | None = None) -> Float64:
    """Return each channel's payload rate in bytes per second, shape (n_channels,); 0 where it is unknown."""
    return data_rates(fabric, assume) * 1e9 / 8 * PAYLOAD_SHARE


def refuse_unknown_rates(fabric: Fabric, used: NDArray[np.bool_], rates: Float64) -> None:
    """Raise `RefusedError` naming the first channel in use whose rate is unknown."""
    unknown = np.flatnonzero(used & ~(rates > 0))
    if len(unknown):
        first = fabric.cable_label(int(unknown[0]))
        raise RefusedError(
            f"{len(unknown)} directed cables in use have no known rate, the first: {first}",
            hint="--assume-speed 4xHDR gives all cables of unknown rate that one",
        )
