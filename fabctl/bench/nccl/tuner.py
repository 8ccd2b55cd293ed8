"""NCCL's choice among algorithms and protocols, by its own bandwidth and latency model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from fabctl.bench.nccl.choice import PROTOCOLS, Choice
from fabctl.bench.nccl.constants import MAX_CHANNELS, MAX_DIRECT_ARITY
from fabctl.bench.nccl.formulas import SINGLE_PROTOCOL, Communicator, Price, corrected, has_ll128, ring, tree
from fabctl.bench.nccl.graphs import BALANCED_TREE, RING, TREE, Graph
from fabctl.bench.nccl.heads import direct_channels, nvls_channels
from fabctl.bench.nccl.machine import machine
from fabctl.bench.nccl.search import search_channels
from fabctl.errors import RefusedError, UsageError
from fabctl.model import catalog
from fabctl.model.node_graph import NodeGraph
from fabctl.model.offloads import Offloads

OPERATIONS = ("all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce")
"""What the tuner prices, as nccl-tests calls it; sends and receives, and all that is made of them, it does not."""
LANES_GB_S = {"SDR": 1.0, "DDR": 2.0, "QDR": 4.0, "FDR": 7.0, "EDR": 12.5, "HDR": 25.0, "NDR": 50.0, "XDR": 100.0}
"""Rate of a port of four lanes as NCCL counts it (2.30.7, ``src/transport/net_ib``, ``ibvSpeeds``)."""


class Tuner:
    """NCCL's cost model of a communicator of equal nodes.

    Parameters
    ----------
    node : NodeGraph
    n_nodes : int
    gpus_per_node : int
        The node's first so many.
    offloads : Offloads
        `sharp` allows CollNet and NVLS over several nodes, `nvls` allows NVLS, `gdr` decides path types.
    hcas : sequence of str, optional
        Those of the node that the job uses; default all.
    port_gb_s : float
        Rate of one port, GB/s before encoding overheads (25 for HDR); 0: what its model does.

    Raises
    ------
    RefusedError
        If the node has no GPU, one that the catalogue does not know, or HCAs of unknown rate.
    UsageError
        For more GPUs than the node has, or a single rank.
    """

    def __init__(
        self,
        node: NodeGraph,
        n_nodes: int,
        gpus_per_node: int,
        offloads: Offloads,
        *,
        hcas: Sequence[str] | None = None,
        port_gb_s: float = 0.0,
    ) -> None:
        capability = _capability(node)
        if not 1 <= gpus_per_node <= len(node.gpus):
            raise UsageError(f"{gpus_per_node} GPUs per host asked for, a {node.title} has {len(node.gpus)}")
        if n_nodes * gpus_per_node < 2:
            raise UsageError("a collective needs two ranks")
        used = tuple(node.hcas if hcas is None else hcas) if n_nodes > 1 else ()
        if n_nodes > 1 and not used:
            raise RefusedError(f"a {node.title} has no HCA that the job could use")
        rate = port_gb_s or (_port_gb_s(node, used[0]) if used else 0.0)
        self.communicator = Communicator(capability, node.cpu_vendor, n_nodes, gpus_per_node)
        self.machine = machine(node, capability, gpus_per_node, used, rate, offloads)
        self.offloads = offloads
        self._prices: dict[str, tuple[Price, ...]] = {}

    @cached_property
    def ring(self) -> Graph:
        """Channels of rings."""
        return search_channels(self.machine, RING)

    @cached_property
    def tree(self) -> Graph:
        """Channels of trees, as many as of rings."""
        return search_channels(self.machine, BALANCED_TREE, self.ring.channels, self.ring.channels)

    @cached_property
    def chain(self) -> Graph:
        """Channels of CollNetChain, as many as of rings."""
        return search_channels(self.machine, TREE, self.ring.channels, self.ring.channels)

    @cached_property
    def direct(self) -> Graph:
        """Channels of CollNetDirect."""
        return direct_channels(self.machine)

    @cached_property
    def nvls(self) -> Graph:
        """Channels of NVLS and NVLSTree."""
        return nvls_channels(self.machine)

    @property
    def channels(self) -> int:
        """How many channels NCCL runs: twice those that it found."""
        return min(MAX_CHANNELS, 2 * self.ring.channels)

    def graph(self, algorithm: str) -> Graph:
        """Return the channels of an algorithm."""
        match algorithm:
            case "Ring":
                return self.ring
            case "CollNetChain":
                return self.chain
            case "CollNetDirect":
                return self.direct
            case "NVLS" | "NVLSTree":
                return self.nvls
            case _:
                return self.tree

    def options(self, operation: str, size_bytes: int) -> list[Choice]:
        """Return all that NCCL considers for a message (nccl-tests' name of the operation), fastest first by its model.

        Parameters
        ----------
        operation : str
            One of `OPERATIONS`.
        size_bytes : int
            nccl-tests' size: the whole message, of which ``reduce_scatter`` and ``all_gather`` give each rank a part.

        Raises
        ------
        UsageError
            For another operation: NCCL does not price it.
        """
        if operation not in OPERATIONS:
            raise UsageError(f"NCCL's tuner does not price {operation}", hint=f"it prices {', '.join(OPERATIONS)}")
        if operation not in self._prices:
            self._prices[operation] = tuple(self._priced(operation))
        comm, channels = self.communicator, self.channels
        prices = [corrected(price, comm, operation, size_bytes, channels) for price in self._prices[operation]]
        choices = [Choice(p.algorithm, p.protocol, p.gb_s, p.latency_us, size_bytes, p.inter_steps) for p in prices]
        return sorted(choices, key=lambda choice: choice.time_us)

    def choose(self, operation: str, size_bytes: int) -> Choice:
        """Return what NCCL takes."""
        return self.options(operation, size_bytes)[0]

    def _priced(self, operation: str) -> Iterator[Price]:
        comm = self.communicator
        for price_of, graph in ((tree, self.tree), (ring, self.ring)):
            for protocol in PROTOCOLS:
                price = price_of(comm, graph, operation, protocol)
                if price and (protocol != "LL128" or has_ll128(comm, graph)):
                    yield price
        for algorithm, price_of_simple in SINGLE_PROTOCOL.items():
            price = price_of_simple(comm, self.graph(algorithm), operation) if self._has(algorithm) else None
            if price:
                yield price

    def _has(self, algorithm: str) -> bool:
        """Return whether NCCL considers an algorithm at all on this communicator."""
        comm, several = self.communicator, self.communicator.n_nodes > 1
        collnet = several and self.offloads.sharp and comm.per_node <= MAX_DIRECT_ARITY + 1
        if algorithm == "CollNetDirect":
            return collnet and self.machine.nvswitch
        if algorithm == "CollNetChain":
            return collnet
        if algorithm == "NVLS":
            return self._has_nvls and (not several or self.offloads.sharp)
        if algorithm == "NVLSTree":
            return self._has_nvls and several
        return several and comm.per_node == 1

    @property
    def _has_nvls(self) -> bool:
        return self.offloads.nvls and self.nvls.channels >= 2


def _capability(node: NodeGraph) -> int:
    """Return the compute capability of a node's GPUs."""
    if not node.gpus:
        raise RefusedError(f"a {node.title} has no GPU: NCCL does not run on it")
    model = catalog.gpu(node.gpu_model)
    if model is None:
        named = f"GPU model '{node.gpu_model}' is unknown" if node.gpu_model else f"the GPU model of {node.name} is unknown"
        raise RefusedError(f"{named}: NCCL's choice depends on it", hint=f"known: {', '.join(catalog.gpus())}")
    return model.compute_capability


def _port_gb_s(node: NodeGraph, hca: str) -> float:
    """Return the rate of an HCA's port by its model."""
    name = next(device.model for device in node.devices if device.name == hca)
    speed = next((model.speed for model in catalog.hcas() if model.name == name), "")
    if not speed:
        raise RefusedError(f"the rate of {hca} is unknown: its model is '{name}'")
    return LANES_GB_S[speed]
