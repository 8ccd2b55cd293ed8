"""All-to-all with PXN: a block goes by NVLink to the local rank on the destination's rail, and from there over that rail.

NCCL 2.30.7: ``ncclTopoGetNetDev`` in ``src/graph/search.cc`` and ``NCCL_P2P_PXN_LEVEL`` (default 2, as much as possible): a send
takes the NIC of the receiver's rail through a local GPU that is near it. Only ports of one rail talk to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabctl.traffic.algorithm import Algorithm, Round, round_of
from fabctl.traffic.collective import Exchange, refuse_flows
from fabctl.traffic.placement import Job
from fabctl.traffic.schedule import Schedule, step
from fabctl.traffic.shape import Shape

Int = NDArray[np.int64]


def rounds(shape: Shape, _operation: str) -> list[Round]:
    """Return one flow per node and receiver on another node: m S / n from a node of m members.

    A receiver on a rail that not all nodes have gets its blocks from the senders' own HCAs.
    """
    n = len(shape)
    refuse_flows(n * shape.n_nodes, f"an all-to-all of {n:,} ranks")
    size = np.bincount(shape.node)
    known = np.flatnonzero(shape.rail < shape.n_rails)
    node, receiver = (axis.ravel() for axis in np.meshgrid(np.arange(shape.n_nodes), known, indexing="ij"))
    others = np.flatnonzero(shape.rail >= shape.n_rails)
    sender, other = (axis.ravel() for axis in np.meshgrid(np.arange(n), others, indexing="ij"))
    src = np.concatenate([shape.leader[node, shape.rail[receiver]], sender])
    return [round_of(src, np.concatenate([receiver, other]), np.concatenate([size[node], np.ones(len(sender))]) / n)]


def exchanges(job: Job) -> tuple[Exchange, ...]:
    """Return the same for all ranks of a job without writing pairs down.

    ``m p S / n`` for each pair of ports on one rail, with m ranks per port and p per host.
    """
    weight = job.ranks_per_port * job.ranks_per_host / job.n_ranks
    return tuple(Exchange(job.ports[:, [column]], weight) for column in range(job.ports.shape[1]))


def schedule(shape: Shape, _operation: str) -> Schedule:
    """Return the step by NVLink and the step to the receivers. Slot ``n + a n + b`` holds block `b` of rank `a` on its way."""
    n = len(shape)
    src, dst = np.nonzero(~np.eye(n, dtype=bool))
    over = (shape.node[src] != shape.node[dst]) & (shape.rail[dst] < shape.n_rails)
    through = src.copy()
    through[over] = shape.leader[shape.node[src[over]], shape.rail[dst[over]]]
    way = n + src * n + dst
    gather = step(src[over], through[over], dst[over], into=way[over])
    deliver = step(through, dst, np.where(over, way, dst), into=src)
    return Schedule(n, (gather, deliver), room=n * n)


ALGORITHM = Algorithm("pxn", ("alltoall",), schedule, rounds)
