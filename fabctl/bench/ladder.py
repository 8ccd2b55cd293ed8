"""Sets of offloads to compare: one added after the other, or as asked."""

from __future__ import annotations

from dataclasses import dataclass

from fabctl.errors import UsageError
from fabctl.model.catalog import gpu
from fabctl.model.node_graph import NVSWITCH, NodeGraph
from fabctl.model.offloads import CPU_CENTRIC, CPU_SET, Offloads, offload_set

BASE, FABRIC = "CPU-centric", "fabric alone"
"""Everything through host memory and by the CPU; what can be said of hosts whose inside is unknown."""
STEPS = {
    "GPUDirect RDMA": "gdr",
    "GPUDirect Async": "async",
    "NVLink SHARP": "nvls",
    "SHARP": "sharp",
    "adaptive routing": "ar",
}
"""The default ladder: each step adds an offload to those before it that the hardware has."""
OF_GPUS = {"gdr", "async", "nvls"}
"""Steps that mean nothing where hosts have no GPUs."""
NVLS_FROM = 90
"""Compute capability of the first GPUs whose NVSwitches reduce."""


@dataclass(frozen=True)
class Rung:
    """A set of offloads.

    Parameters
    ----------
    label : str
        For people.
    names : tuple of str
        Offloads to count on, on top of `base`, or of what the rung below counts on if `cumulative`.
    cumulative : bool
    base : Offloads
    """

    label: str
    names: tuple[str, ...] = ()
    cumulative: bool = False
    base: Offloads = CPU_CENTRIC


def default_ladder(node: NodeGraph | None) -> tuple[Rung, ...]:
    """Return `BASE` and the steps up from it that mean something on such hosts; of unknown hosts those of the fabric alone."""
    if node is None:
        return Rung(FABRIC, base=Offloads()), Rung("+ adaptive routing", ("ar",), base=Offloads())
    model = gpu(node.gpu_model)
    reduces = bool(node.of_kind(NVSWITCH) and model and model.compute_capability >= NVLS_FROM)
    left_out = set() if reduces else {"nvls"}
    if not node.gpus:
        left_out |= OF_GPUS
    steps = {label: name for label, name in STEPS.items() if name not in left_out}
    return Rung(BASE), *(Rung(f"+ {label}", (name,), cumulative=True) for label, name in steps.items())


def read_ladder(text: str) -> tuple[Rung, ...]:
    """Return the rungs of ``cpu,gdr,gdr+sharp``: sets of offloads (`offload_set`), the first being the baseline.

    Raises
    ------
    UsageError
        For an unknown offload, or nothing at all.
    """
    rungs = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        offloads, names = offload_set(entry)
        rungs.append(Rung(BASE if entry == CPU_SET else entry, names, base=offloads))
    if not rungs:
        raise UsageError("--offloads names nothing", hint="sets of offloads, like cpu,gdr,gdr+sharp")
    return tuple(dict.fromkeys(rungs))
