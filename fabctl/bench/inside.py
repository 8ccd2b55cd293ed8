"""What the inside of a host allows: the slowest NVLink, PCIe link or HCA that an algorithm loads."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.bench.gpudirect import GDR_LEVEL
from fabctl.bench.inside_host import host_of
from fabctl.bench.inside_loads import Loads
from fabctl.bench.inside_traffic import Group, load
from fabctl.errors import UsageError
from fabctl.model.node_graph import HCA, NodeGraph
from fabctl.model.offloads import Offloads
from fabctl.model.predictions import Limit

TIE = 1e-9
"""Relative difference below which the first of two links is named."""


def inside_limits(
    node: NodeGraph,
    operation: str,
    algorithm: str,
    n_nodes: int,
    n_ranks: int,
    hcas: Sequence[str],
    offloads: Offloads,
    gdr_level: str = GDR_LEVEL,
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
    gdr_level : str
        ``NCCL_NET_GDR_LEVEL``.

    Returns
    -------
    tuple of Limit
        In algorithm bandwidth, GB/s: one for each kind that is loaded: ``nvlink``, ``c2c``, ``pcie``, ``hca`` (the HCA's own PCIe
        link), ``smp``, ``memory``. Links of unknown bandwidth do not bound.

    Raises
    ------
    UsageError
        For an algorithm that does not do the operation, or an HCA that the node lacks.
    RefusedError
        If the node lacks GPUs, HCAs or NVSwitches.

    Notes
    -----
    All links are full duplex; a socket's memory carries what is read and what is written together. What the kernels, the copy
    engines and the caches of the CPUs do is left out.
    """
    if n_nodes < 1 or n_ranks < n_nodes or n_ranks % n_nodes:
        raise UsageError(f"{n_ranks} ranks cannot be spread evenly over {n_nodes} hosts")
    host = host_of(node, n_ranks // n_nodes, tuple(hcas), offloads, gdr_level, alone=n_nodes == 1)
    loads = Loads(host)
    load(loads, Group(n_nodes, n_ranks), operation, algorithm)
    return host_limits(loads)


def host_limits(loads: Loads) -> tuple[Limit, ...]:
    """Return what each kind of link allows for what a host is loaded with, as `inside_limits` does; the HCA first of equals."""
    tightest: dict[str, Limit] = {}
    for limit in loads.limits():
        if limit.kind not in tightest or limit.algbw_gb_s < tightest[limit.kind].algbw_gb_s * (1 - TIE):
            tightest[limit.kind] = limit
    return tuple(sorted(tightest.values(), key=lambda limit: (round(limit.algbw_gb_s, 9), limit.kind != HCA)))
