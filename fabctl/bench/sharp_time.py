"""Times of MPI's all-reduce of host memory, one rank per host: by SHARP's low-latency and streaming trees, and without SHARP.

Four constants are fitted, each to one published number, and tested on others (``tests/bench/numbers_sharp.py``). Sources:

- COMHPC 2016: Graham et al., Scalable Hierarchical Aggregation Protocol (SHArP), abstract. 128 hosts, Switch-IB 2, EDR.
- ISC 2020: Graham et al., SHARP Streaming-Aggregation Hardware Design and Evaluation, abstract. HDR.
- Manual: NVIDIA SHARP 2.6.1 to 3.9, Using SHARP with Open MPI: ``osu_allreduce`` on 128 hosts that it does not describe.
"""

from __future__ import annotations

import math

EDR_GB_S = 12.42
"""Payload of a 4xEDR link."""
SWITCH_US = 0.09
"""From port to port of a Switch-IB 2 (SB7800 data sheet)."""
STEP_US = 6.01 / 7
"""One step of a small host-based all-reduce, from host to host. Fitted: 8 bytes took 6.01 us, 7 steps (COMHPC 2016)."""
STEP_SWITCHES = 13 / 7
"""Switches that such a step crosses on average. Assumed: 16 hosts a leaf, so that 4 of 7 steps cross 1 and 3 cross 3."""
HOST_US = STEP_US - STEP_SWITCHES * SWITCH_US
"""What both hosts together take to send and receive a small message."""
AGGREGATION_US = (14.48 - HOST_US - 3 * SWITCH_US) / 34
"""One task of an aggregation node: to reduce what its children sent or to hand the result down, the wire included. Fitted:
4 KiB took 14.48 us (COMHPC 2016), in 16 operations on leaves and a root: 34 tasks in a row (see `low_latency_us`)."""
SOFTWARE_US_PER_BYTE = (46.93 / 7 - STEP_US) / 4096 - 1 / (1e3 * EDR_GB_S)
"""What the library takes per byte and step besides the wire, up to `HCOLL_BYTES`. Fitted: 4 KiB took 46.93 us without SHARP
(COMHPC 2016). It is HCOLL's of 2016: nothing of the wire explains it."""
HCOLL_BYTES = 4096
"""Largest all-reduce that HCOLL gives to low-latency trees (HCOLL_BCOL_P2P_ALLREDUCE_SHARP_MAX)."""
STREAMING_BYTES = 16384
"""Smallest all-reduce that goes to streaming trees (openucx/ucc pull request 1112; the manual's table agrees)."""
STREAMING_SHARE = 0.95
"""Share of the wire that streaming aggregation reaches (ISC 2020: about 95 % of network bandwidth)."""
STREAMING_SETUP_US = 17.62 - 65536 / (12.5e3 * STREAMING_SHARE)
"""What a streaming all-reduce takes before its bytes. Fitted: 64 KiB took 17.62 us (Manual). Assumed: ports of 100 Gb/s, which is
what the largest messages of the same table reach."""


def low_latency_us(depth: int, payload_bytes: int, size_bytes: int, *, multicast: bool = True) -> float:
    """Return the time of an all-reduce by low-latency trees, in microseconds.

    A message goes up from switch to switch and its result comes down the same way. An aggregation node does one task at a time:
    it reduces or hands down. Longer messages are pipelined in operations: each further one costs the root both tasks.

    Parameters
    ----------
    depth : int
        Cables between the farthest leaf switch and the root.
    payload_bytes : int
        Payload of one operation.
    multicast : bool
        Whether the root's multicast brings the result to all hosts at once, or each aggregation node hands it down (as in 2016).
    """
    operations = max(1, math.ceil(size_bytes / payload_bytes))
    tasks = 2 * (depth + 1) - (depth if multicast else 0)
    return HOST_US + (2 * depth + 1) * SWITCH_US + (tasks + 2 * (operations - 1)) * AGGREGATION_US


def streaming_us(size_bytes: int, wire_gb_s: float) -> float:
    """Return the time of an all-reduce by a streaming tree whose slowest port moves `wire_gb_s`, in microseconds."""
    return STREAMING_SETUP_US + size_bytes / (1e3 * wire_gb_s * STREAMING_SHARE)


def host_based_us(n_hosts: int, size_bytes: int, payload_gb_s: float) -> float:
    """Return the time of an all-reduce without SHARP, in microseconds.

    Up to `HCOLL_BYTES` by recursive doubling: log2 n steps of the whole message. Beyond by reduce-scatter and all-gather: 2 log2
    n steps that move 2 (n - 1) / n times the message, no software counted, yet never faster than `HCOLL_BYTES`.
    """
    steps = math.ceil(math.log2(n_hosts))
    short = min(size_bytes, HCOLL_BYTES)
    doubling = steps * (STEP_US + short * (SOFTWARE_US_PER_BYTE + 1 / (1e3 * payload_gb_s)))
    if size_bytes <= HCOLL_BYTES:
        return doubling
    return max(doubling, 2 * steps * STEP_US + 2 * (n_hosts - 1) / n_hosts * size_bytes / (1e3 * payload_gb_s))
