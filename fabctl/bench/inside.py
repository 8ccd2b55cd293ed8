"""What the inside of a host allows: the slowest NVLink, PCIe link or HCA that an algorithm loads."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit


def inside_limits(
    node: NodeGraph, operation: str, algorithm: str, n_nodes: int, n_ranks: int, hcas: Sequence[str], offloads: Offloads
) -> tuple[Limit, ...]:
    """Return what each kind of link in a host allows for large messages, tightest first.

    Parameters
    ----------
    operation : str
        nccl-tests' name.
    algorithm : str
        NCCL's (`fabctl.bench.nccl.choice.ALGORITHMS`), or ``pairwise`` and ``pxn`` for all-to-all.
    hcas : sequence of str
        Those of the node that the job uses, in rail order.

    Returns
    -------
    tuple of Limit
        In algorithm bandwidth, GB/s.
    """
    raise NotImplementedError(node, operation, algorithm, n_nodes, n_ranks, hcas, offloads)
