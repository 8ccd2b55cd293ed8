"""NCCL's choice among algorithms and protocols, by its own bandwidth and latency model."""

from __future__ import annotations

from fabctl.bench.nccl.choice import Choice
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads


class Tuner:
    """NCCL's cost model of a communicator of equal nodes.

    Parameters
    ----------
    node : NodeGraph
    n_nodes : int
    gpus_per_node : int
    offloads : Offloads
        `sharp` allows CollNet and NVLS over several nodes, `nvls` allows NVLS, `gdr` decides path types.

    Raises
    ------
    RefusedError
        If the node has no GPU, or one that the catalogue does not know.
    """

    def __init__(self, node: NodeGraph, n_nodes: int, gpus_per_node: int, offloads: Offloads) -> None:
        raise NotImplementedError(node, n_nodes, gpus_per_node, offloads)

    def options(self, operation: str, size_bytes: int) -> list[Choice]:
        """Return all that NCCL considers for a message (nccl-tests' name of the operation), fastest first by its model."""
        raise NotImplementedError(operation, size_bytes)

    def choose(self, operation: str, size_bytes: int) -> Choice:
        """Return what NCCL takes."""
        return self.options(operation, size_bytes)[0]
