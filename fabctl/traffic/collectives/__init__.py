"""Collectives as flows on the fabric, one file per algorithm."""

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
