"""SHARP: small MPI all-reduces by low-latency trees, large ones by streaming aggregation, and both without it."""

from __future__ import annotations

from published import Number

from fabctl.bench.sharp_time import STREAMING_SHARE, host_based_us, low_latency_us, streaming_us
from fabctl.model.rates import PAYLOAD_SHARE
from fabctl.units import size_text

EDR_GB_S, HDR_GB_S = 12.5, 25.0
EDR_PAYLOAD_GB_S, HDR_PAYLOAD_GB_S = EDR_GB_S * PAYLOAD_SHARE, HDR_GB_S * PAYLOAD_SHARE

COMHPC = "Graham et al., SHArP, COMHPC 2016, abstract; 128 hosts, Switch-IB 2"
JSFI = "Bloch et al., Towards A Data Centric System Architecture: SHARP, JSFI 2017, abstract; 128 hosts"
ISC = "Graham et al., SHARP Streaming-Aggregation, ISC 2020, abstract; HDR"
MANUAL = "NVIDIA SHARP manuals 2.6.1 to 3.9, Using SHARP with Open MPI; 128 hosts not described"
MANUAL_ROWS = {16384: 15.48, 32768: 16.26, 65536: 17.62, 131072: 23.09, 262144: 33.90, 524288: 58.98, 1048576: 101.53}
"""Microseconds of osu_allreduce with streaming aggregation, by size in bytes."""


def small_us(size_bytes: int, *, multicast: bool = False) -> float:
    """Return what 128 hosts take on Switch-IB 2, leaves and a root."""
    return low_latency_us(1, 256, size_bytes, multicast=multicast)


def streaming_gain(size_bytes: int) -> float:
    """Return how many times faster streaming is on 128 hosts with HDR."""
    return host_based_us(128, size_bytes, HDR_PAYLOAD_GB_S) / streaming_us(size_bytes, HDR_GB_S)


def manual_row(size_bytes: int) -> Number:
    """Return a row of the manual's table."""
    return Number(
        what=f"{size_text(size_bytes)}iB MPI all-reduce by streaming aggregation",
        unit="us",
        published=MANUAL_ROWS[size_bytes],
        source=MANUAL,
        predicted=lambda: streaming_us(size_bytes, EDR_GB_S),
        tolerance=0.15,
        reason="the same as for the paper's; ports assumed to run at 100 Gb/s",
        fitted=size_bytes == 65536,
    )


NUMBERS = [
    Number(
        what="8 B MPI all-reduce, host-based",
        unit="us",
        published=6.01,
        source=COMHPC,
        predicted=lambda: host_based_us(128, 8, EDR_PAYLOAD_GB_S),
        tolerance=0.15,
        reason="the tolerance asked for",
        fitted=True,
    ),
    Number(
        what="8 B MPI all-reduce by SHARP",
        unit="us",
        published=2.83,
        source=COMHPC,
        predicted=lambda: small_us(8),
        tolerance=0.15,
        reason="an aggregation node's time is fitted to 4 KiB, where operations overlap; the first one takes longer",
    ),
    Number(
        what="4 KiB MPI all-reduce, host-based",
        unit="us",
        published=46.93,
        source=COMHPC,
        predicted=lambda: host_based_us(128, 4096, EDR_PAYLOAD_GB_S),
        tolerance=0.15,
        reason="the tolerance asked for",
        fitted=True,
    ),
    Number(
        what="4 KiB MPI all-reduce by SHARP",
        unit="us",
        published=14.48,
        source=COMHPC,
        predicted=lambda: small_us(4096),
        tolerance=0.15,
        reason="the tolerance asked for",
        fitted=True,
    ),
    Number(
        what="4 KiB MPI all-reduce, host-based, other hosts",
        unit="us",
        published=42.61,
        source=f"{MANUAL}; SHARP takes over again from 16 KiB on",
        predicted=lambda: host_based_us(128, 4096, EDR_PAYLOAD_GB_S),
        tolerance=0.15,
        reason="another cluster, the same library (HCOLL)",
    ),
    Number(
        what="8 B MPI all-reduce by SHARP, other hosts",
        unit="us",
        published=8.43,
        source=MANUAL,
        predicted=lambda: low_latency_us(1, 1024, 8),
        tolerance=0.15,
        reason="",
        explained="the manual's hosts take three times what the paper's did for the same; what they are it does not say",
    ),
    Number(
        what="8 B MPI all-reduce by SHARP: what multicast of the result saves",
        unit="%",
        published=16,
        source=JSFI,
        predicted=lambda: 100 * (1 - small_us(8, multicast=True) / small_us(8)),
        tolerance=0.15,
        reason="one task of an aggregation node less, each as long as the others",
    ),
    Number(
        what="4 to 64 B MPI all-reduce: what SHARP saves on 32 hosts",
        unit="us",
        published=2.96,
        source="openucx/ucc pull request 328, mean of five sizes, 40 ranks a host",
        predicted=lambda: host_based_us(32, 8, EDR_PAYLOAD_GB_S) - low_latency_us(1, 1024, 8),
        tolerance=0.3,
        reason="the five differences scatter from 2.0 to 4.4; another library, hardware not named",
    ),
    Number(
        what="streaming aggregation, share of the wire",
        unit="%",
        published=95,
        source=ISC,
        predicted=lambda: 100 * STREAMING_SHARE,
        tolerance=0.01,
        reason="a constant of the model",
        fitted=True,
    ),
    Number(
        what="streaming aggregation, share of point-to-point bandwidth",
        unit="%",
        published=96,
        source="the same paper in the ISC 2020 programme",
        predicted=lambda: 100 * STREAMING_SHARE / PAYLOAD_SHARE,
        tolerance=0.01,
        reason="published in whole per cent",
    ),
    *(manual_row(size) for size in MANUAL_ROWS),
    Number(
        what="streaming aggregation against host-based, 64 KiB",
        unit="times",
        published=3.5,
        source=f"{ISC}: 2 to 5 for medium and large messages",
        predicted=lambda: streaming_gain(65536),
        tolerance=1.5 / 3.5,
        reason="the published range",
    ),
    Number(
        what="streaming aggregation against host-based, 256 MiB",
        unit="times",
        published=2,
        source=f"{ISC}: 2 to 5 for medium and large messages",
        predicted=lambda: streaming_gain(1 << 28),
        tolerance=0.1,
        reason="of large host-based messages the model counts the wire alone",
        at_least=True,
    ),
]
