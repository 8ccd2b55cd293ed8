"""What two ends should have reached: the slowest cable of the route between them, and the GPUs' memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fabctl.bench.gpudirect_message import message_gb_s, message_us
from fabctl.bench.validation.ground import Expected, Ground, payload_share
from fabctl.congestion.trace import trace
from fabctl.errors import InputError
from fabctl.model.offloads import Offloads
from fabctl.model.rates import Float64
from fabctl.model.tables import RoutingTables
from fabctl.model.validation import BOTH_WAYS, LATENCY, Predicted, Run
from fabctl.traffic.job import JobSpec
from fabctl.traffic.placement import place

LEAST_BANDWIDTH_BYTES = 65536
"""perftest's default size: below, a bandwidth test measures messages per second, which is not predicted."""


def expect_bandwidth(run: Run, ground: Ground) -> Expected:
    """Return what a pair's large messages should have reached.

    Raises
    ------
    InputError
        If the log's LIDs or the job's hosts are not on the fabric.
    """
    if ground.tables is None or ground.rates is None:
        return Expected(notes=("between two hosts: --fabric SOURCE lays a prediction beside it",))
    source, target, notes = _ends(run, ground)
    if "read" in run.test:
        source, target = target, source
    ways = [(source, target), (target, source)] if run.operation == BOTH_WAYS else [(source, target)]
    rates = [_way(ground.tables, ground.rates, *way) for way in ways]
    if not all(rate for rate, _ in rates):
        return Expected(notes=(*notes, f"a cable between the two has no known rate, or no route: {rates[0][1]}"))
    total, (slowest, name) = sum(rate for rate, _ in rates) * payload_share(run), min(rates)
    wire, assumptions = (
        slowest * payload_share(run),
        [f"{payload_share(run):.2%} of a link's data rate is payload; one HCA port at each end"],
    )
    binds, gpu_memory = ("cable", name), ground.node is not None and "device" in run.buffers

    def reached(offloads: Offloads) -> float:
        if not gpu_memory or ground.node is None:
            return total
        return min(total, len(ways) * message_gb_s(ground.node, gdr=offloads.gdr, wire_gb_s=wire))

    def sizes(offloads: Offloads) -> dict[int, Predicted]:
        gb_s = reached(offloads)
        kind, at = binds if gb_s >= total else ("pcie", "GPU memory")
        large = [sample.size_bytes for sample in run.samples if sample.size_bytes >= LEAST_BANDWIDTH_BYTES]
        return {size: Predicted(gb_s=gb_s, binds=kind, binds_at=at) for size in large}

    found = sizes(ground.offloads)
    if len(found) < len(run.samples):
        notes = (*notes, f"below {LEAST_BANDWIDTH_BYTES} bytes the rate of messages bounds, which is not predicted")
    if "device" in run.buffers and ground.node is None:
        notes = (*notes, "GPU memory may bound, too: --node NODE says what is in the hosts")
    return Expected(found, notes, tuple(assumptions), otherwise=sizes if gpu_memory else None, offloads=ground.offloads)


def _ends(run: Run, ground: Ground) -> tuple[int, int, tuple[str, ...]]:
    """Return the two ports of a pair: by LID where the log tells, else the job's first two hosts, else any two."""
    fabric = ground.fabric
    assert fabric is not None  # noqa: S101
    ports = fabric.endpoints
    if all(run.lids):
        found = [ports[fabric.port_lid[ports] == lid] for lid in run.lids]
        if all(len(port) for port in found):
            return int(found[0][0]), int(found[1][0]), ()
        missing = next(lid for lid, port in zip(run.lids, found, strict=True) if not len(port))
        raise InputError(
            f"no HCA of this fabric has LID {missing:#06x}, and the log's does",
            where=f"{run.path}:{run.line}",
            hint="is it the log's fabric?",
        )
    job = place(replace(ground.spec or JobSpec(), ranks_per_host=None), fabric)
    names = f"{job.hosts[0]} and {job.hosts[1]}"
    note = () if ground.spec else (f"the log does not say which hosts it ran on: {names} stand for them; --job FILE says so",)
    return int(job.ports[0, 0]), int(job.ports[1, 0]), note


def _way(tables: RoutingTables, rates: Float64, source: int, target: int) -> tuple[float, str]:
    """Return the data rate of a route in GB/s, and its slowest cable; 0 and why, where there is none."""
    found = trace(tables, source, target)
    if found.problem:
        return 0.0, found.problem
    channels = np.array(found.channels)
    slowest = int(channels[np.argmin(rates[channels])])
    return float(rates[slowest]) / 8, tables.fabric.cable_label(slowest)


def expect_latency(run: Run, ground: Ground) -> Expected:
    """Return what a message from GPU memory to GPU memory should have taken; of host memory no latency is predicted.

    Raises
    ------
    InputError
        If the log's LIDs or the job's hosts are not on the fabric.
    """
    if ground.node is None or run.buffers != ("device", "device"):
        return Expected(notes=("latency between two ends is predicted for GPU memory (D D), on a known --node, only",))
    if ground.tables is None or ground.rates is None:
        return Expected(notes=("between two hosts: --fabric SOURCE lays a prediction beside it",))
    source, target, notes = _ends(run, ground)
    rate, name = _way(ground.tables, ground.rates, source, target)
    if not rate:
        return Expected(notes=(*notes, f"no rate is known between the two: {name}"))
    node, wire = ground.node, rate * payload_share(run)

    def sizes(offloads: Offloads) -> dict[int, Predicted]:
        return {
            sample.size_bytes: Predicted(
                message_us(node, sample.size_bytes, gdr=offloads.gdr, gdrcopy=offloads.gdr, wire_gb_s=wire), binds=LATENCY
            )
            for sample in run.samples
        }

    assumptions = ("GPUDirect RDMA with GDRCopy; its constants are good to a third (docs/models.md): shown, not judged",)
    return Expected(sizes(ground.offloads), notes, assumptions, judged=False, otherwise=sizes, offloads=ground.offloads)
