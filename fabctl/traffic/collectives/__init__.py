"""Collectives as flows on the fabric, one file per algorithm.

`ALGORITHMS` are the ways to do an operation, for groups of a job (`fabctl.traffic.algorithm`); `COLLECTIVES` are the operations
as ``bench`` predicts them.
"""

from fabctl.registry import Entry, Registry

COLLECTIVES = Registry(
    "collective",
    {
        "all_reduce": Entry("fabctl.traffic.operations:ALL_REDUCE", "ring all-reduce, one ring per rail"),
        "reduce_scatter": Entry("fabctl.traffic.operations:REDUCE_SCATTER", "ring reduce-scatter, one ring per rail"),
        "all_gather": Entry("fabctl.traffic.operations:ALL_GATHER", "ring all-gather, one ring per rail"),
        "alltoall": Entry("fabctl.traffic.operations:ALLTOALL", "every rank to every other rank"),
        "broadcast": Entry("fabctl.traffic.operations:BROADCAST", "pipelined chain from rank 0, one per rail"),
    },
    group="fabctl.collectives",
)

ALGORITHMS = Registry(
    "algorithm",
    {
        "ring": Entry("fabctl.traffic.collectives.ring:ALGORITHM", "NCCL's rings, one per channel, each on its rail"),
        "tree": Entry("fabctl.traffic.collectives.tree:ALGORITHM", "NCCL's double binary trees over the nodes, two per channel"),
        "halving-doubling": Entry(
            "fabctl.traffic.collectives.halving_doubling:ALGORITHM", "partners r xor 2**k, in log2 n steps"
        ),
        "bruck": Entry("fabctl.traffic.collectives.bruck:ALGORITHM", "partners 2**k away, in ceil(log2 n) steps for any n"),
        "hierarchical": Entry(
            "fabctl.traffic.collectives.hierarchical:ALGORITHM", "inside the nodes first, then a ring per rail"
        ),
        "pairwise": Entry("fabctl.traffic.collectives.pairwise:ALGORITHM", "a message for every pair, all at once"),
        "pxn": Entry("fabctl.traffic.collectives.pxn:ALGORITHM", "by NVLink to the destination's rail, then over that rail"),
        "pipeline": Entry("fabctl.traffic.collectives.pipeline:ALGORITHM", "each stage to the next"),
        "nvls-tree": Entry("fabctl.traffic.collectives.nvls_tree:ALGORITHM", "the NVLink switch reduces, trees join the nodes"),
        "sharp": Entry("fabctl.traffic.collectives.sharp:ALGORITHM", "switches reduce: each edge of a tree once up, once down"),
        "multicast": Entry("fabctl.traffic.collectives.multicast:ALGORITHM", "switches copy: each edge of a tree once"),
    },
    group="fabctl.algorithms",
)

DEFAULT_ALGORITHM = {
    "all_reduce": "ring",
    "reduce_scatter": "ring",
    "all_gather": "ring",
    "alltoall": "pairwise",
    "broadcast": "ring",
    "sendrecv": "pipeline",
}
"""What does an operation if nobody chooses."""
