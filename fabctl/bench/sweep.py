"""Sweep over message sizes: each collective's loads are walked once, and the times of all sizes follow from them."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.bench.cost import Cost, cost
from fabctl.bench.nccl.ring import PLATEAU, PROTOCOLS, latency_us
from fabctl.errors import RefusedError, UsageError
from fabctl.model.predictions import BenchTable, Prediction, Row
from fabctl.model.rates import HEADER_BYTES, MTU_BYTES, PAYLOAD_SHARE, Float64
from fabctl.model.tables import RoutingTables
from fabctl.nodeset import NodesetError, fold
from fabctl.traffic.collective import Collective
from fabctl.traffic.placement import Job

ELEMENT_BYTES = 4
"""nccl-tests' default type, float."""
PIECE_BYTES = 16
"""nccl-tests rounds each rank's piece of a split message down to this."""

ASSUMPTIONS = (
    f"{MTU_BYTES}-byte packets with {HEADER_BYTES} bytes of headers: {PAYLOAD_SHARE:.2%} of a link's data rate is payload",
    "the slowest cable bounds: all flows of an operation run all the time, static routes, no adaptive routing, no other job",
    "PCIe, NVLink and GPUs inside the hosts do not bound: large messages are an upper bound of what nccl-tests will show",
    "ring algorithm (NCCL_ALGO=RING), one ring per rail; NCCL itself takes trees for small all-reduces, which are faster",
    f"latency from NCCL 2.30's tuner: NVLink in the hosts, Simple all-reduce x{PLATEAU} (compute capability 8.0 and later)",
    "latency of all-to-all: one hop and a post per peer; of broadcast: one pass down the chain",
    "the fastest protocol is taken, as NCCL does, LL128 being allowed: "
    + ", ".join(f"{name} at {protocol.bandwidth:.0%}" for name, protocol in PROTOCOLS.items())
    + " of the bandwidth",
)


def size_range(begin_bytes: int, end_bytes: int, factor: int) -> list[int]:
    """Return nccl-tests' sizes: from `begin_bytes` to `end_bytes`, each `factor` times the one before.

    Raises
    ------
    UsageError
        If the range is empty, or the factor does not grow.
    """
    if begin_bytes < 1:
        raise UsageError("the smallest size must be at least 1 byte")
    if end_bytes < begin_bytes:
        raise UsageError(f"the largest size ({end_bytes}) is below the smallest ({begin_bytes})")
    if factor < 2:
        raise UsageError(f"the factor between sizes must be at least 2, not {factor}")
    sizes = [begin_bytes]
    while sizes[-1] * factor <= end_bytes:
        sizes.append(sizes[-1] * factor)
    return sizes


def predict(
    job: Job, routes: Sequence[RoutingTables], collectives: Sequence[Collective], sizes: Sequence[int], rates: Float64
) -> BenchTable:
    """Predict the times of `collectives` for all sizes, on each of several sets of routes.

    Parameters
    ----------
    sizes : sequence of int
        Message sizes in bytes, ascending.
    rates : float64 array of shape (n_channels,)
        See `fabctl.model.rates.data_rates`.

    Raises
    ------
    InputError
        If a flow has no route or loops.
    RefusedError
        If a used cable's rate is unknown, or all sizes are too small to be split over the ranks.
    """
    split = [collective.name for collective in collectives if collective.per_rank]
    rounding = (
        [f"{', '.join(split)}: sizes are rounded down to {PIECE_BYTES} bytes per rank, as nccl-tests does"] if split else []
    )
    predictions = []
    for collective in collectives:
        shapes = {_shape(collective, job, size): None for size in sizes}
        shapes.pop((0, 0), None)
        if not shapes:
            least = PIECE_BYTES * job.n_ranks if collective.per_rank else ELEMENT_BYTES
            raise RefusedError(f"{collective.name} over {job.n_ranks} ranks needs messages of at least {least} bytes")
        demand = collective.demand(job)
        for tables in routes:
            price = cost(tables, demand, rates)
            bus_factor = collective.bus_factor(job.n_ranks)
            predictions.append(
                Prediction(
                    routes=tables.origin,
                    collective=collective.name,
                    algorithm=collective.algorithm,
                    redop=collective.redop,
                    root=collective.root,
                    rows=tuple(_row(collective, job, price, size, count) for size, count in shapes),
                    bound=price.bound,
                    peak_busbw_gb_s=bus_factor / price.us_per_byte / 1e3,
                    host_busbw_gb_s=bus_factor / price.host_us_per_byte / 1e3,
                )
            )
    return BenchTable(
        hosts=_folded(job.hosts),
        n_hosts=job.n_hosts,
        ranks_per_host=job.ranks_per_host,
        n_ranks=job.n_ranks,
        rails=job.rails,
        routes=tuple(tables.origin for tables in routes),
        predictions=tuple(predictions),
        assumptions=(*ASSUMPTIONS, _pxn_assumption(job)),
        notes=(*job.notes, *rounding),
    )


def _shape(collective: Collective, job: Job, size_bytes: int) -> tuple[int, int]:
    """Return size and count as nccl-tests prints them for a requested size."""
    count = size_bytes // ELEMENT_BYTES
    if not collective.per_rank:
        return count * ELEMENT_BYTES, count
    per_piece = PIECE_BYTES // ELEMENT_BYTES
    count = count // job.n_ranks // per_piece * per_piece
    return count * ELEMENT_BYTES * job.n_ranks, count


def _row(collective: Collective, job: Job, price: Cost, size_bytes: int, count: int) -> Row:
    def time_us(protocol: str) -> float:
        transfer = size_bytes * price.us_per_byte / PROTOCOLS[protocol].bandwidth
        return latency_us(collective, job, protocol, size_bytes) + transfer

    protocol = min(collective.protocols, key=time_us)
    algbw = size_bytes / time_us(protocol) / 1e3
    return Row(
        size_bytes=size_bytes,
        count=count,
        time_us=time_us(protocol),
        latency_us=latency_us(collective, job, protocol, size_bytes),
        algbw_gb_s=algbw,
        busbw_gb_s=algbw * collective.bus_factor(job.n_ranks),
        protocol=protocol,
    )


def _pxn_assumption(job: Job) -> str:
    if job.pxn:
        return "all-to-all changes to the destination's rail by NVLink inside the sending host (PXN)"
    return "all-to-all leaves through the sending rank's own HCA, whatever the destination's rail; with PXN: pxn: true in the job"


def _folded(hosts: Sequence[str]) -> str:
    try:
        return fold(hosts)
    except NodesetError:
        return ",".join(hosts)
