"""Cables, and what is on them, by the names that people know."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.model.fabric import Fabric, Float64, speed_name
from fabctl.model.rates import PAYLOAD_SHARE


@dataclass(frozen=True)
class Cable:
    """A directed cable by its names.

    Parameters
    ----------
    source, target : (str, int)
        Node label and port number of the sending and of the receiving end.
    speed : str
        ``4xHDR``; ``assumed`` where the fabric does not tell.
    data_gbps : float
        Rate after line coding, Gb/s; 0 where it is unknown.
    at_host : bool
        Whether one end is an HCA: no route could do better.
    """

    source: tuple[str, int]
    target: tuple[str, int]
    speed: str
    data_gbps: float
    at_host: bool

    @property
    def label(self) -> str:
        """``node/P7 -> node/P3``."""
        return f"{self.source[0]}/P{self.source[1]} -> {self.target[0]}/P{self.target[1]}"


def named_cable(fabric: Fabric, channel: int, rates: Float64) -> Cable:
    """Return a channel by its names.

    Parameters
    ----------
    rates : float64 array of shape (n_channels,)
        Bytes of payload per second (`fabctl.model.rates.payload_rates`).
    """
    port = int(fabric.channel_port[channel])
    known = float(fabric.data_gbps[channel])
    rate = known or float(rates[channel]) * 8 / 1e9 / PAYLOAD_SHARE
    name = speed_name(int(fabric.channel_speed[channel]), int(fabric.channel_lanes[channel]))
    return Cable(
        source=_end(fabric, port),
        target=_end(fabric, int(fabric.port_peer[port])),
        speed="assumed" if rate and not known else name,
        data_gbps=rate,
        at_host=bool(max(fabric.channel_src[channel], fabric.channel_dst[channel]) >= fabric.n_switches),
    )


def _end(fabric: Fabric, port: int) -> tuple[str, int]:
    return fabric.labels[fabric.port_node[port]], int(fabric.port_number[port])


TREE = "(tree)"
"""In the place of the receiving rank of a flow on a tree of switches."""


@dataclass(frozen=True)
class RankPair:
    """One flow on a cable.

    Parameters
    ----------
    job, phase : str
    source, target : str
        Ranks: ``luna-001:3``; the target is `TREE` where all ranks of a tree receive.
    source_port, target_port : str
        HCA ports: ``luna-001 mlx5_3/P1``.
    size_bytes : float
        What it carries in one run of the phase.
    gb_s : float
        Its max-min fair rate while all run, in 1e9 bytes of payload per second.
    """

    job: str
    phase: str
    source: str
    target: str
    source_port: str
    target_port: str
    size_bytes: float
    gb_s: float


@dataclass(frozen=True)
class JobShare:
    """What one phase of a job puts on a cable."""

    job: str
    phase: str
    flows: int
    size_bytes: float
