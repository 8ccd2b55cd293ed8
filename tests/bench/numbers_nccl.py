"""NCCL's tuner against its own arithmetic, its own logs, and what its maintainers and users measured."""

from __future__ import annotations

from functools import cache

from published import Number

from fabctl.bench.nccl.choice import Choice
from fabctl.bench.nccl.tuner import Tuner
from fabctl.model.offloads import Offloads
from fabctl.nodes.reading import load_node

DEFAULT, SHARP, NO_NVLS = Offloads(), Offloads(sharp=True), Offloads(nvls=False)
HUGE = 16 * 2**30
BUS = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
"""busbw / algbw, without (n - 1) / n."""


@cache
def tuner(node: str, n_nodes: int, offloads: Offloads = DEFAULT, gpus: int = 8, n_hcas: int = 0, port_gb_s: float = 0.0) -> Tuner:
    """Return a tuner; `n_hcas` of the node's HCAs, evenly spread (0: all)."""
    graph = load_node(node)
    hcas = graph.hcas[:: len(graph.hcas) // n_hcas] if n_hcas else graph.hcas
    return Tuner(graph, n_nodes, gpus, offloads, hcas=hcas, port_gb_s=port_gb_s)


def option(used: Tuner, operation: str, size: int, way: str = "") -> Choice:
    """Return what NCCL takes; of one algorithm, or algorithm and protocol (``Ring/LL``), if named."""
    return next(o for o in used.options(operation, size) if f"{o.algorithm}/{o.protocol}/".startswith(way))


def latency(n_nodes: int, way: str, published: float) -> Number:
    """Return a worked value of NCCL's latency model."""
    return Number(
        what=f"NCCL's latency, {way} all-reduce, {n_nodes} nodes",
        unit="us",
        published=published,
        source="NCCL 2.30.7, src/graph/tuning.cc, worked by hand: 8 GPUs a node on NVLink, Intel",
        predicted=lambda: option(tuner("dgx-h100", n_nodes, SHARP), "all_reduce", 8, f"{way}/").latency_us,
        tolerance=1e-6,
        reason="its own arithmetic",
    )


def logged(
    what: str, published: float, source: str, used: Tuner, operation: str, size: int, way: str = "", tolerance: float = 1e-6
) -> Number:
    """Return a time that NCCL itself printed."""
    exact = "to the last digit that it prints"
    return Number(
        what=f"NCCL's own estimate, {what}",
        unit="us",
        published=published,
        source=source,
        predicted=lambda: option(used, operation, size, way).time_us,
        tolerance=tolerance,
        reason=exact if tolerance == 1e-6 else "NCCL of 2024 counted two network steps of a ring more",
    )


def busbw(
    what: str,
    published: float,
    source: str,
    used: Tuner,
    way: str = "",
    *,
    operation: str = "all_reduce",
    size: int = HUGE,
    tolerance: float = 0.03,
    reason: str = "NCCL counts round figures, below what wires and kernels reach",
    explained: str = "",
    per: int = 1,
) -> Number:
    """Return a measured busbw beside that of NCCL's own time; `per`: of each port."""
    n = used.communicator.n_ranks
    return Number(
        what=what,
        unit="GB/s busbw",
        published=published,
        source=source,
        predicted=lambda: (
            BUS[operation]
            * (n - 1)
            / n
            * size
            / 1e3
            / option(used, operation, size, f"{way}/Simple" if way else "").time_us
            / per
        ),
        tolerance=tolerance,
        reason=reason,
        explained=explained,
    )


def collnet(n_hcas: int, published: float, explained: str = "") -> Number:
    """Return the algbw of CollNet on DGX A100."""
    return Number(
        what=f"DGX A100, CollNet with {n_hcas} HDR ports",
        unit="GB/s algbw",
        published=published,
        source="nccl issue 320 (sjeaugey), a rule of thumb; chains of GPUs",
        predicted=lambda: option(tuner("dgx-a100", 4, SHARP, n_hcas=n_hcas), "all_reduce", HUGE, "CollNetChain").bandwidth_gb_s,
        tolerance=0.1,
        reason="a rule of thumb, of an NCCL that is older than its own model of CollNet",
        explained=explained,
    )


VELA = "nccl issue 1453, log: 3 nodes of 8 H100, one 200 Gb/s port each GPU, NVLS not taken"
MRATA = "nccl issue 1595, log: 8 H100 in a node, NVLS not taken"
CODING = "nccl issue 1519, log of the tuning table: 2 nodes of 8 H100"
HEADS = "NVLS is the right choice from 6 GPUs on, but NCCL counts no channel of a head faster than 60 GB/s, the top of its list"
EIGHT_H100 = "nccl issue 1455 (measured), nccl-tests issue 212 (sjeaugey)"

NUMBERS = [
    latency(4, "Ring/Simple", 282.8),
    latency(4, "Tree/Simple", 120.4),
    latency(4, "NVLSTree/Simple", 108.6),
    latency(4, "NVLS/Simple", 43.0),
    latency(4, "CollNetDirect/Simple", 44.0),
    latency(4, "CollNetChain/Simple", 69.2),
    latency(4, "Ring/LL", 78.8),
    latency(4, "Tree/LL", 35.2),
    latency(128, "Ring/Simple", 9657.2),
    latency(128, "Tree/Simple", 260.4),
    latency(128, "NVLSTree/Simple", 317.6),
    latency(128, "CollNetDirect/Simple", 44.0),
    latency(128, "Tree/LL", 85.2),
    logged("8 B all-reduce", 25.200924, VELA, tuner("dgx-h100", 3, NO_NVLS, port_gb_s=25.0), "all_reduce", 8),
    logged("256 KiB all-reduce", 54.707825, VELA, tuner("dgx-h100", 3, NO_NVLS, port_gb_s=25.0), "all_reduce", 2**18),
    logged(
        "8 GiB all-reduce", 86069.96875, VELA, tuner("dgx-h100", 3, NO_NVLS, port_gb_s=25.0), "all_reduce", 2**33, "Ring", 1e-3
    ),
    logged("768 MiB all-reduce", 3970.683594, MRATA, tuner("dgx-h100", 1, NO_NVLS), "all_reduce", 768 * 2**20),
    logged(
        "1002 KiB all-gather",
        34.693867,
        f"{MRATA}; the operation is not named",
        tuner("dgx-h100", 1),
        "all_gather",
        1026048,
        "Ring/Simple",
    ),
    logged("empty all-gather by Ring/LL", 23.3, CODING, tuner("dgx-h100", 2), "all_gather", 0, "Ring/LL/"),
    logged("empty all-gather by Ring/LL128", 44.6, CODING, tuner("dgx-h100", 2), "all_gather", 0, "Ring/LL128/"),
    logged("empty all-gather by Ring/Simple", 70.0, CODING, tuner("dgx-h100", 2), "all_gather", 0, "Ring/Simple/"),
    Number(
        what="8 B all-reduce, 32 nodes of 8 A100",
        unit="us",
        published=62.99,
        source="nccl issue 652, nccl-tests",
        predicted=lambda: tuner("dgx-a100", 32).choose("all_reduce", 8).time_us,
        tolerance=0.1,
        reason="4 HDR ports a node there, on a network that is not described",
    ),
    busbw("one EDR port", 12.2, "nccl-tests issue 29 (sjeaugey), as good as it gets", tuner("dgx-1-v100", 4, n_hcas=1), "Ring"),
    busbw("DGX-1, 4 EDR ports", 48.0, "nccl-tests issue 29 (sjeaugey)", tuner("dgx-1-v100", 4), "Ring"),
    busbw("HGX A100, 4 HDR ports", 96.45, "nccl-tests issue 119, perfect (sjeaugey)", tuner("dgx-a100", 2, n_hcas=4), "Ring"),
    busbw("DGX A100, 8 HDR ports", 192.0, "nccl issue 812 (AddyLaddy)", tuner("dgx-a100", 2), "Ring"),
    busbw(
        "DGX A100, 4 nodes, 4 GiB",
        191.05,
        "nccl issue 812 (AddyLaddy)",
        tuner("dgx-a100", 4),
        "Ring",
        size=2**32,
        reason="NCCL's plateau of a ring",
    ),
    busbw("one NDR port of DGX H100", 47.0, "nccl-tests issue 290 (AddyLaddy), 46 to 48", tuner("dgx-h100", 4), "Ring", per=8),
    busbw("8 H100, 4 ports of 400 Gb/s, 5 nodes, ring", 190.0, "nccl issue 1368, RoCE", tuner("dgx-h100", 5, n_hcas=4), "Ring"),
    busbw("8 H100, 4 ports of 400 Gb/s, 5 nodes, tree", 150.0, "nccl issue 1368, RoCE", tuner("dgx-h100", 5, n_hcas=4), "Tree"),
    busbw(
        "8 H100, 8 NDR ports, 2 nodes, NVLSTree",
        430.0,
        "nccl issue 1221, RoCE",
        tuner("dgx-h100", 2),
        tolerance=0.08,
        reason="RoCE",
    ),
    busbw(
        "8 H100, 8 NDR ports, 4 nodes, NVLSTree",
        375.0,
        "nccl issue 1649, GTC 2024, 370 to 380",
        tuner("dgx-h100", 4),
        "NVLSTree",
        tolerance=0.04,
        reason="NCCL caps a channel of NVLSTree at 45.5 GB/s",
    ),
    busbw(
        "GB200 NVL72, 3 trays in 3 racks, ring",
        196.72,
        "nccl issue 1801",
        tuner("gb200-nvl72", 3, NO_NVLS, gpus=4),
        "Ring",
        size=2**34,
    ),
    busbw(
        "GB200 NVL72, 3 trays in 3 racks, tree",
        234.43,
        "nccl issue 1801",
        tuner("gb200-nvl72", 3, NO_NVLS, gpus=4),
        "Tree",
        explained="NCCL counts 24 GB/s of a tree's channel on Blackwell: it takes the ring, which is what the issue is about",
    ),
    busbw(
        "8 A100 in a node",
        232.54,
        "nccl-tests issue 175",
        tuner("dgx-a100", 1),
        size=2**32,
        tolerance=0.05,
        reason="the GPUs bind",
    ),
    busbw("8 H100 in a node, ring", 367.5, f"{EIGHT_H100}, 365 to 370", tuner("dgx-h100", 1), "Ring"),
    busbw(
        "8 H100 in a node, reduce-scatter",
        362.16,
        "nccl issue 1047",
        tuner("dgx-h100", 1),
        "Ring",
        operation="reduce_scatter",
        size=2**33,
    ),
    busbw("4 H100 in a node", 370.0, EIGHT_H100, tuner("dgx-h100", 1, gpus=4)),
    busbw("5 H100 in a node, NVLS", 420.0, EIGHT_H100, tuner("dgx-h100", 1, gpus=5), explained=HEADS),
    busbw("6 H100 in a node, NVLS", 440.0, EIGHT_H100, tuner("dgx-h100", 1, gpus=6), explained=HEADS),
    busbw("7 H100 in a node, NVLS", 460.0, EIGHT_H100, tuner("dgx-h100", 1, gpus=7), explained=HEADS),
    busbw("8 H100 in a node, NVLS", 480.0, EIGHT_H100, tuner("dgx-h100", 1)),
    busbw("8 H200 in a node, NVLS, 4 GiB", 475.0, "nccl-tests issue 272", tuner("dgx-h100", 1), size=2**32),
    collnet(4, 80.0, "the rule is 20 GB/s of a port that SHARP drives; NCCL counts 24 of it"),
    collnet(8, 110.0),
]
