"""Constants of NCCL's tuner: what it assumes of latencies, and of the bandwidth that algorithms and protocols reach.

Source: NVIDIA NCCL 2.30.7, ``src/graph/tuning.cc`` (``ncclTunerConstantsDefaults``, ``treeCorrectionFactor``); what comes from
another file says so.
"""

from __future__ import annotations

BASE_US = {
    "Tree": {"LL": 6.8, "LL128": 14.0, "Simple": 8.4},
    "Ring": {"LL": 6.6, "LL128": 14.0, "Simple": 8.4},
    "CollNetDirect": {"Simple": 0.0},
    "CollNetChain": {"Simple": 0.0},
    "NVLS": {"Simple": 0.0},
    "NVLSTree": {"Simple": 0.0},
    "PAT": {"Simple": 8.0},
}
"""``baseLatencies``; the protocols listed are those that the algorithm has."""

NVLINK_US = {
    "Tree": {"LL": 0.6, "LL128": 1.25, "Simple": 4.0},
    "Ring": {"LL": 0.6, "LL128": 1.9, "Simple": 3.4},
    "CollNetDirect": {"Simple": 3.7},
    "CollNetChain": {"Simple": 2.8},
    "NVLS": {"Simple": 25.0},
    "NVLSTree": {"Simple": 25.0},
    "PAT": {"Simple": 4.0},
}
"""``hwLatencies``, one hop over NVLink."""

PCI_US = {
    "Tree": {"LL": 1.0, "LL128": 1.9, "Simple": 4.0},
    "Ring": {"LL": 1.0, "LL128": 2.5, "Simple": 5.7},
    "CollNetDirect": {"Simple": 3.7},
    "CollNetChain": {"Simple": 2.8},
    "NVLS": {"Simple": 0.0},
    "NVLSTree": {"Simple": 0.0},
    "PAT": {"Simple": 4.0},
}
"""``hwLatencies``, one hop over PCIe."""

NET_US = {
    "Tree": {"LL": 5.0, "LL128": 8.5, "Simple": 14.0},
    "Ring": {"LL": 2.7, "LL128": 4.0, "Simple": 14.0},
    "CollNetDirect": {"Simple": 31.0},
    "CollNetChain": {"Simple": 30.0},
    "NVLS": {"Simple": 18.0},
    "NVLSTree": {"Simple": 20.9},
    "PAT": {"Simple": 14.0},
}
"""``hwLatencies``, one hop over the network."""

GENERATIONS = (("volta", 0), ("ampere", 80), ("hopper", 90), ("blackwell", 100))
"""Rows of the tables below, and the compute capability that each begins with: what is older than Volta counts as Volta."""

LL_MAX_GB_S = {
    "volta": (39.0, 39.0, 20.4),
    "ampere": (87.7, 22.5, 19.0),
    "hopper": (141.0, 45.0, 35.0),
    "blackwell": (282.0, 90.0, 70.0),
}
"""``llMaxBws`` for 1, 2 and more nodes. On several nodes the row follows the CPU: the first for Intel's, the second for AMD's."""

RING_LL128_GB_S = {
    "volta": (20.0, 20.0, 20.0),
    "ampere": (20.0, 20.0, 20.0),
    "hopper": (36.7, 36.7, 36.7),
    "blackwell": (40.0, 40.0, 40.0),
}
"""``perChMaxRingLL128Bws``: of one channel, for 1, 2 and more nodes; so are the following."""

TREE_LL128_GB_S = {
    "volta": (20.0, 20.0, 20.0),
    "ampere": (20.0, 20.0, 20.0),
    "hopper": (36.7, 36.7, 29.0),
    "blackwell": (55.6, 31.67, 20.0),
}
"""``perChMaxTreeLL128Bws``."""

TREE_GB_S = {
    "volta": (26.5, 18.5, 10.0),
    "ampere": (24.0, 23.6, 17.8),
    "hopper": (38.7, 41.4, 36.0),
    "blackwell": (70.0, 42.8, 24.0),
}
"""``perChMaxTreeBws``."""

NVLS_TREE_GB_S = {
    "volta": (26.5, 18.5, 10.0),
    "ampere": (24.0, 23.6, 17.8),
    "hopper": (0.0, 57.7, 45.5),
    "blackwell": (0.0, 96.0, 80.0),
}
"""``perChMaxNVLSTreeBws``."""

NVLS_EFFICIENCY = {"volta": 0.0, "ampere": 0.0, "hopper": 0.85, "blackwell": 0.74}
"""``nvlsEfficiency``."""

TREE_CORRECTION = {
    "LL": (1, 1, 1, 1, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1),
    "LL128": (1, 1, 1, 1, 1, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1, 1, 1),
    "Simple": (
        *(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5),
        *(0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9, 0.9),
    ),
}
"""``treeCorrectionFactor``: share of its bandwidth that a tree reaches, by powers of two from 64 bytes; Tree without the last."""

PLATEAU = 1.4
"""Factor on the latency of a multi-node all-reduce by Ring and Simple."""
PLATEAU_OLD = 1.9
"""The same before compute capability 8.0."""
PLATEAU_BYTES = 64
"""Bytes per rank and channel from which on the plateau applies."""
POST_US = {"amd": 2.0}
"""Posting a network send (``getNetOverhead``), three times that for Simple."""
POST_DEFAULT_US = 1.0

ARITY_US = 0.4
"""What each further GPU of a node adds to CollNetDirect."""
MAX_DIRECT_ARITY = 7
"""``NCCL_MAX_DIRECT_ARITY``: CollNet takes one GPU more per node, no more."""
MAX_NVLS_ARITY = 32
"""``NCCL_MAX_NVLS_ARITY``."""
MAX_CHANNELS = 64
"""``MAXCHANNELS``; a search finds half as many, and NCCL doubles what it found."""


def generation(compute_capability: int) -> str:
    """Return the row of NCCL's tables for a compute capability (``ncclTuningGetCompCapIndex``)."""
    return next(name for name, first in reversed(GENERATIONS) if compute_capability >= first)
