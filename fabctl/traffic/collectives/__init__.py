"""Collectives as flows on the fabric, one file per algorithm.

`ALGORITHMS` are the ways to do an operation, for groups of a job (`fabctl.traffic.algorithm`); `COLLECTIVES` are the operations
as ``bench`` predicts them.
"""

from fabctl.registry import Entry, Registry

COLLECTIVES = Registry(
    "collective",
    {
        "all_reduce": Entry("fabctl.traffic.collectives.all_reduce:COLLECTIVE", "ring all-reduce, one ring per rail"),
        "reduce_scatter": Entry("fabctl.traffic.collectives.reduce_scatter:COLLECTIVE", "ring reduce-scatter, one ring per rail"),
        "all_gather": Entry("fabctl.traffic.collectives.all_gather:COLLECTIVE", "ring all-gather, one ring per rail"),
        "alltoall": Entry("fabctl.traffic.collectives.alltoall:COLLECTIVE", "every rank to every other rank"),
        "broadcast": Entry("fabctl.traffic.collectives.broadcast:COLLECTIVE", "pipelined chain from rank 0, one per rail"),
    },
    group="fabctl.collectives",
)

ALGORITHMS = Registry(
    "algorithm",
    {
        "ring": Entry("fabctl.traffic.collectives.ring:ALGORITHM", "NCCL's rings, one per channel, each on its rail"),
        "tree": Entry("fabctl.traffic.collectives.tree:ALGORITHM", "NCCL's double binary trees over the nodes, two per channel"),
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
