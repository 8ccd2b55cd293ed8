"""What a table of predictions takes for granted, for people: only what applies to it."""

from __future__ import annotations

from collections.abc import Sequence

from fabctl.bench.mpi import ASSUMPTIONS as MPI
from fabctl.bench.nccl.constants import PLATEAU
from fabctl.bench.nccl.ring import WIRE_SHARE
from fabctl.bench.scene import Scene
from fabctl.bench.walked import PATTERN
from fabctl.model.rates import HEADER_BYTES, MTU_BYTES, PAYLOAD_SHARE
from fabctl.traffic.collective import Collective

PACKETS = f"{MTU_BYTES}-byte packets with {HEADER_BYTES} bytes of headers: {PAYLOAD_SHARE:.2%} of a link's data rate is payload"
STATIC = "the slowest cable bounds: all flows of an operation run all the time, static routes, no adaptive routing, no other job"
ADAPTIVE = "the slowest cable bounds: flows split over the ports of adaptive groups until the load is balanced, no other job"
BY_PROTOCOL = ", ".join(f"{name} at {share:.0%}" for name, share in WIRE_SHARE.items())
UNKNOWN_HOSTS = (
    "PCIe, NVLink and GPUs inside the hosts do not bound: large messages are an upper bound of what nccl-tests will show",
    "ring algorithm (NCCL_ALGO=RING), one ring per rail; NCCL itself takes trees for small all-reduces, which are faster",
    f"latency from NCCL 2.30's tuner: NVLink in the hosts, Simple all-reduce x{PLATEAU} (compute capability 8.0 and later)",
    f"the fastest protocol is taken, as NCCL does, LL128 being allowed: {BY_PROTOCOL} of the bandwidth",
)
CHOICE = "algorithm and protocol as NCCL 2.30.7 chooses them for such hosts"
SLOWEST = "time = latency + bytes over the slowest of what NCCL itself counts on, the host's links{}"
PAIRS_LATENCY = "latency of all-to-all: one hop and a post per peer, which NCCL does not price"
CHAIN_LATENCY = "latency of broadcast: one pass down the chain"
PXN = "all-to-all changes to the destination's rail by NVLink inside the sending host (PXN)"
NO_PXN = "all-to-all leaves through the sending rank's own HCA; NCCL 2.12 and later may change rails first: --with pxn"


def assumptions(scene: Scene, collectives: Sequence[Collective]) -> tuple[str, ...]:
    """Return the assumptions behind some collectives."""
    setup, fabric = scene.setup, scene.walked is not None
    names = {collective.name for collective in collectives if collective.algorithm != PATTERN}
    lines = [PACKETS, ADAPTIVE if setup.offloads.adaptive else STATIC] if fabric else []
    if setup.node is None:
        lines += [*UNKNOWN_HOSTS, *([CHAIN_LATENCY] if "broadcast" in names else [])]
    elif not setup.node.gpus:
        lines += MPI
    else:
        lines += [f"{CHOICE}; it does not know the routes" if fabric else CHOICE]
        lines += [SLOWEST.format(", and the fabric's cables" if fabric else "")]
    if "alltoall" in names:
        lines += [PAIRS_LATENCY, *([PXN if scene.pxn else NO_PXN] if fabric else [])]
    return (*lines, *scene.reasons)
